"""What was shown, as rows to learn from: a log folder or an Arrow table, read a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mainstem.base.errors import FeatureError
from mainstem.base.heads import HEADS
from mainstem.data.log import Log, read_table
from mainstem.data.tables import TABLES
from mainstem.features.dataset.digest import plain_table, table_sha256

ROW: Final = ("offset", "as_of", "request_id", "user_id", "item_id", "time_ms")
"""The columns that name a row, in every training set."""

NEEDED: Final = ("request_id", "user_id", "item_id", "time_ms")

KNOWN_AFTER: Final = frozenset({*HEADS, "viewed", "watch_ms"})
"""Columns of an impression that are only known after it: no feature ever sees them."""


@dataclass(frozen=True, slots=True)
class Served:
    """Impressions in log order, from a file or from memory.

    Attributes:
        name: Of the log.
        sha256: Of its values.
        rows: How many there are.
        columns: Their names.
        table: The rows, when they are in memory.
        path: The Parquet file, when they are not.
        items: One row an item, for keys that stand there.
        made: The log comes from a made world.
    """

    name: str
    sha256: str
    rows: int
    columns: tuple[str, ...]
    table: pa.Table | None
    path: Path | None
    items: pl.DataFrame
    made: bool = False

    @classmethod
    def of(cls, source: Log | pa.Table, items: pl.DataFrame | None = None) -> Served:
        """The impressions of a log folder or of an Arrow table.

        Args:
            source: A table needs ``request_id``, ``user_id``, ``item_id`` and ``time_ms``; it may have ``offset``.
            items: Columns that a label rule joins by, by ``item_id``; a log's own items when not given.

        Raises:
            FeatureError: A column is missing (``feature-082``).
        """
        if isinstance(source, Log):
            path = source.folder / TABLES["impressions"].file
            file = pq.ParquetFile(path)
            known = tuple(file.schema_arrow.names)
            own = items if items is not None else read_table(source.folder, "items")
            name, rows = source.manifest.name, file.metadata.num_rows
            found = cls(name, source.manifest.sha256, rows, known, None, path, own, source.manifest.made)
        else:
            table = plain_table(source)
            sha = table_sha256([table], table.schema)
            own = items if items is not None else pl.DataFrame(schema={"item_id": pl.Int64})
            found = cls("table", sha, len(table), tuple(table.column_names), table, None, own)
        for name in NEEDED:
            if name not in found.columns:
                raise FeatureError(
                    f"a training set needs the column {name!r}; found {', '.join(found.columns)}",
                    code="feature-082",
                    hint="docs/concepts/training-sets.md lists what a row needs",
                )
        return found

    def narrow(self, names: Sequence[str]) -> pl.DataFrame:
        """Some columns of all rows, with those that only the items have joined in."""
        own = [name for name in dict.fromkeys(names) if name in self.columns]
        table = self.table.select(own) if self.table is not None else pq.read_table(self._file(), columns=own)
        frame = pl.DataFrame(table)
        others = [name for name in names if name not in own and name in self.items.columns]
        if not others:
            return frame
        keys = self.items.select(pl.col("item_id").cast(frame["item_id"].dtype), *others)
        return frame.join(keys, on="item_id", how="left", maintain_order="left")

    def pieces(self, ends: Sequence[int]) -> Iterator[pa.Table]:
        """All rows, cut at the given row numbers; holds one piece and one batch at a time."""
        waiting: list[pa.Table] = []
        held, start = 0, 0
        batches = self._batches()
        for end in ends:
            while held < end - start:
                waiting.append(next(batches))
                held += len(waiting[-1])
            whole = pa.concat_tables(waiting)
            yield plain_table(whole.slice(0, end - start))
            waiting = [whole.slice(end - start)]
            held, start = held - (end - start), end

    def _batches(self) -> Iterator[pa.Table]:
        if self.table is not None:
            yield self.table
            return
        file = pq.ParquetFile(self._file())
        for batch in file.iter_batches(batch_size=65_536):
            yield pa.Table.from_batches([batch])

    def _file(self) -> Path:
        assert self.path is not None
        return self.path


def offsets_of(frame: pl.DataFrame, first_offset: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The offset of every row: its own, or counted on.

    Raises:
        FeatureError: Offsets do not ascend (``feature-082``).
    """
    if "offset" not in frame.columns:
        return np.arange(first_offset, first_offset + frame.height, dtype=np.int64)
    offset = frame["offset"].cast(pl.Int64).to_numpy()
    late = np.flatnonzero(np.diff(offset) <= 0)
    if len(late):
        at = int(late[0])
        raise FeatureError(
            f"offset {offset[at + 1]} comes after offset {offset[at]} in row {at + 1}: rows must be in log order, each once",
            code="feature-082",
            hint="sort the rows by their offset",
        )
    return offset
