"""Where do events and requests come from: Parquet, DuckDB, Polars or Arrow, read batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as pds

from mainstem.base.errors import FeatureError


@dataclass(frozen=True, slots=True)
class TableInput:
    """Rows of one table that are read batch by batch, in their order.

    Attributes:
        given: A folder or file of Parquet, a DuckDB relation, a Polars frame, or an Arrow table or reader. A folder's files are
            read in the order of their names. A reader can be read once.
        what: How errors call it.
    """

    given: Any
    what: str

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Tables of exactly ``rows`` rows (the last one of fewer), with these columns.

        Raises:
            FeatureError: It cannot be read as a table (``feature-040``), or lacks a column (``feature-009``).
        """
        held: list[pa.Table] = []
        waiting = 0
        for batch in self._told(columns, rows):
            held.append(self._chosen(pa.Table.from_batches([batch]), columns))
            waiting += batch.num_rows
            while waiting >= rows:
                whole = pa.concat_tables(held)
                yield whole.slice(0, rows)
                held, waiting = [whole.slice(rows)], waiting - rows
        if waiting:
            yield pa.concat_tables(held)

    def rows(self) -> int | None:
        """How many rows there are, where that is known without reading them."""
        given = self.given
        if isinstance(given, pa.Table | pl.DataFrame):
            return len(given)
        return self._dataset().count_rows() if isinstance(given, str | Path) else None

    def identity(self) -> str:
        """The same for the same rows, so that a job that was stopped may go on; empty where that cannot be told."""
        given = self.given
        digest = hashlib.sha256()
        if isinstance(given, str | Path):
            for path in sorted(map(Path, self._dataset().files)):
                found = path.stat()
                digest.update(f"{path.name} {found.st_size} {found.st_mtime_ns}\n".encode())
            return digest.hexdigest()
        if isinstance(given, pl.DataFrame):
            given = given.to_arrow()
        if not isinstance(given, pa.Table):
            return ""
        digest.update(str(given.schema).encode())
        for batch in given.to_batches():
            for column in batch.columns:
                for buffer in column.buffers():
                    digest.update(memoryview(buffer) if buffer is not None else b"-")
            digest.update(str(batch.num_rows).encode())
        return digest.hexdigest()

    def _told(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._raw(columns, rows)
        except (OSError, pa.ArrowInvalid) as error:
            raise FeatureError(
                f"{self.what} cannot be read: {str(error).splitlines()[0]}",
                code="feature-040",
                hint="write the file anew; a part of it is missing or is no Parquet",
            ) from error

    def _raw(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        given = self.given
        if isinstance(given, str | Path):
            found = self._dataset()
            self._check(found.schema.names, columns)
            for fragment in sorted(found.get_fragments(), key=lambda one: one.path):
                yield from fragment.scanner(
                    columns=list(columns), batch_size=rows, use_threads=False, batch_readahead=1
                ).to_batches()
        elif isinstance(given, pa.Table):
            self._check(given.column_names, columns)
            yield from given.select(list(columns)).to_batches(max_chunksize=rows)
        elif isinstance(given, pa.RecordBatchReader):
            yield from given
        elif isinstance(given, pl.LazyFrame):
            for frame in given.collect_batches(chunk_size=rows, maintain_order=True):
                yield from _of_frame(frame)
        elif isinstance(given, pl.DataFrame):
            self._check(given.columns, columns)
            for frame in given.select(columns).iter_slices(rows):
                yield from _of_frame(frame)
        elif type(given).__module__.partition(".")[0] in ("duckdb", "_duckdb"):
            yield from given.to_arrow_reader(rows)
        else:
            raise FeatureError(
                f"{self.what} are given as {type(given).__name__}",
                code="feature-040",
                hint="give a folder of Parquet, a DuckDB relation, a Polars frame, an Arrow table or a record batch reader",
            )

    def _dataset(self) -> Any:
        path = Path(self.given)
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise FeatureError(
                f"{self.what} are to be read from {path.name}, where there is no Parquet file",
                code="feature-040",
                hint="name a Parquet file, or a folder with at least one",
            )
        return pds.dataset([str(file) for file in files], format="parquet")

    def _chosen(self, table: pa.Table, columns: Sequence[str]) -> pa.Table:
        self._check(table.column_names, columns)
        return table.select(list(columns))

    def _check(self, found: Sequence[str], wanted: Sequence[str]) -> None:
        missing = [name for name in wanted if name not in found]
        if missing:
            raise FeatureError(
                f"{self.what} have no column {', '.join(missing)}; found {', '.join(found)}",
                code="feature-009",
                hint="add the columns, or declare the source without them",
            )


def _of_frame(frame: pl.DataFrame) -> Iterator[pa.RecordBatch]:
    yield from frame.to_arrow().to_batches()
