"""Raw rows by key part: a table of any size streamed once, each row in the part its key hashes to, with its content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mainstem.base.seeds import mix
from mainstem.features.extract.errors import ExtractionError

Table = pl.DataFrame | pl.LazyFrame | pa.Table | pa.RecordBatchReader | ds.Dataset | Path | str
"""Rows of any size: a Polars or Arrow table, a reader of batches, a dataset, a Parquet file or a folder of them."""

_ENCODER: Final = msgspec.msgpack.Encoder()


def part_of(keys: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Which part each key lies in: fixed by the key alone."""
    return (mix(keys.astype(np.uint64)) % np.uint64(parts)).astype(np.int64)


def content_hashes(rows: pl.DataFrame, columns: tuple[str, ...]) -> NDArray[np.bytes_]:
    """16 bytes a row that change when, and in practice only when, a value the extractor reads changes. Shapes: [n], ``V16``."""
    encode, blake = _ENCODER.encode, hashlib.blake2b
    plain = rows.select(_plain(rows[name]) for name in columns)
    digests = [blake(encode(row), digest_size=16).digest() for row in plain.iter_rows()]
    return np.frombuffer(b"".join(digests), np.dtype("V16"))


def batches(table: Table, columns: tuple[str, ...], batch_rows: int) -> Iterator[pl.DataFrame]:
    """The named columns of a table, some rows at a time, never the whole of a file.

    Raises:
        ExtractionError: ``feature-061`` when a column is missing; ``feature-066`` when there is no table there.
    """
    for batch in _stream(table, columns, batch_rows):
        frame = batch if isinstance(batch, pl.DataFrame) else pl.DataFrame(pa.Table.from_batches([batch]))
        yield frame.select(columns)  # a reader of batches may hold more


class Spill:
    """Rows of each part in a file of their own, so that one part at a time is in memory."""

    def __init__(self, folder: Path, parts: int) -> None:
        self._folder = folder
        self._writers: list[Any] = [None] * parts
        self.rows = 0

    def add(self, rows: pl.DataFrame, key: str) -> None:
        """Appends rows, each to its part.

        Raises:
            ExtractionError: ``feature-067`` when a key is missing or not a whole number.
        """
        keys = _keys(rows, key)
        parts = part_of(keys, len(self._writers))
        order = np.argsort(parts, kind="stable")
        bounds = np.searchsorted(parts[order], np.arange(len(self._writers) + 1))
        sorted_rows = rows.with_columns(pl.Series(key, keys))[order].to_arrow()
        for part in np.flatnonzero(np.diff(bounds)).tolist():
            self._write(part, sorted_rows.slice(int(bounds[part]), int(bounds[part + 1] - bounds[part])))
        self.rows += rows.height

    def close(self) -> None:
        """Ends every file."""
        for writer in filter(None, self._writers):
            writer.close()

    def read(self, part: int) -> pl.DataFrame | None:
        """The rows of one part, as they came; None when there are none."""
        path = self._path(part)
        if not path.exists():
            return None
        with pa.memory_map(str(path)) as source:
            return pl.DataFrame(pa.ipc.open_stream(source).read_all())

    def drop(self, part: int) -> None:
        """Forgets a part that is done."""
        self._path(part).unlink(missing_ok=True)

    def _path(self, part: int) -> Path:
        return self._folder / f"rows-{part:05d}.arrows"

    def _write(self, part: int, rows: pa.Table) -> None:
        if self._writers[part] is None:
            self._writers[part] = pa.ipc.new_stream(str(self._path(part)), rows.schema)
        self._writers[part].write_table(rows)


def in_key_order(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """Rows by ascending key.

    Raises:
        ExtractionError: ``feature-068`` when a key stands twice with different content; exact repeats count once.
    """
    rows = rows.unique(maintain_order=True).sort(key)
    twice = rows[key].filter(rows[key].is_duplicated())
    if len(twice):
        raise ExtractionError(
            f"{twice.n_unique()} keys have more than one row with different content, {twice[0]} for one",
            code="feature-068",
            hint="keep the latest row of each key before extracting",
        )
    return rows


def _keys(rows: pl.DataFrame, key: str) -> NDArray[np.int64]:
    if not rows[key].dtype.is_integer() or rows[key].null_count():
        raise ExtractionError(
            f"key column {key!r} is {rows[key].dtype} with {rows[key].null_count()} nulls: every row needs a whole number",
            code="feature-067",
            hint="map other ids to whole numbers first (`mainstem data import` does)",
        )
    return rows[key].cast(pl.Int64).to_numpy()


def _plain(values: pl.Series) -> pl.Series:
    """Text as text, whatever its encoding in memory; the rest as it is."""
    if values.dtype == pl.Categorical or isinstance(values.dtype, pl.Enum):
        return values.cast(pl.String)
    return values


def _stream(table: Table, columns: tuple[str, ...], batch_rows: int) -> Iterable[Any]:
    if isinstance(table, pl.LazyFrame):
        _need(columns, table.collect_schema().names())
        return table.select(columns).collect_batches(chunk_size=batch_rows)
    if isinstance(table, pl.DataFrame):
        _need(columns, table.columns)
        return table.select(columns).iter_slices(batch_rows)
    source: Any = _dataset(Path(table)) if isinstance(table, str | Path) else table
    _need(columns, source.schema.names)
    if isinstance(source, ds.Dataset):
        return source.to_batches(columns=list(columns), batch_size=batch_rows)
    return source.select(list(columns)).to_batches(batch_rows) if isinstance(source, pa.Table) else source


def _need(columns: tuple[str, ...], found: list[str]) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise ExtractionError(
            f"the table has no column {', '.join(map(repr, missing))}",
            code="feature-061",
            hint="the table has: " + ", ".join(found),
        )


def _dataset(path: Path) -> ds.Dataset:
    files = sorted(path.glob("**/*.parquet")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise ExtractionError(
            f"{path.name!r} is neither a Parquet file nor a folder that holds one",
            code="feature-066",
            hint="name a file or folder that is there; any other table comes as a Polars or Arrow table",
        )
    return ds.dataset([str(file) for file in files], format="parquet", schema=pq.read_schema(files[0]))
