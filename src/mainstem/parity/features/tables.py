"""A table of feature values, in memory or in Parquet files, read one column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.parity.features.meta import KEYS, STATE, FeatureMeta

Ints = NDArray[np.int64]
NONE: Final = -1
"""The place of a row that a side does not have."""
Source = pa.Table | ds.Dataset | Path | str


class ValueTable:
    """The values of one side; only the columns asked for are ever in memory, so a wide table may be larger than it.

    Args:
        source: A table in memory, a Parquet file, a folder of them, or an Arrow dataset.
        side: What the table is called in a refusal.

    Raises:
        FeatureError: A key column is absent (``parity-042``).
    """

    def __init__(self, source: Source, side: str) -> None:
        self.side = side
        self._source = ds.dataset(source, format="parquet") if isinstance(source, (str, Path)) else source
        self.schema: pa.Schema = self._source.schema
        absent = [name for name in KEYS if name not in self.schema.names]
        if absent:
            raise FeatureError(
                f"the {side} table has no column {', '.join(absent)}",
                code="parity-042",
                hint=f"a value table has {', '.join(KEYS)} and one column for each feature",
            )

    def columns(self, names: Sequence[str]) -> pa.Table:
        """These columns of all rows."""
        if isinstance(self._source, pa.Table):
            return self._source.select(list(names))
        return self._source.to_table(columns=list(names))

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows."""
        return self.columns([name]).column(0)

    def state(self, name: str) -> pa.ChunkedArray | None:
        """The state column of a feature; None when the side logs none."""
        return self.column(name + STATE) if name + STATE in self.schema.names else None

    def rows(self, at: Ints, names: Sequence[str]) -> pa.Table:
        """These columns of some rows, in the order asked for; streamed, so only those rows are kept."""
        if isinstance(self._source, pa.Table):
            return self._source.select(list(names)).take(pa.array(at))
        order = np.argsort(at, kind="stable")
        wanted, start, parts = at[order], 0, []
        for batch in self._source.to_batches(columns=list(names)):
            low, high = np.searchsorted(wanted, [start, start + batch.num_rows])
            if high > low:
                parts.append(batch.take(pa.array(wanted[low:high] - start)))
            start += batch.num_rows
        taken = pa.Table.from_batches(parts, schema=pa.schema([self.schema.field(name) for name in names]))
        return taken.take(pa.array(np.argsort(order, kind="stable")))

    def check(self, features: Sequence[FeatureMeta]) -> None:
        """Refuses a table that lacks a feature (``parity-043``)."""
        for feature in features:
            if feature.name not in self.schema.names:
                raise FeatureError(
                    f"the {self.side} table has no column for feature {feature.name!r}",
                    code="parity-043",
                    hint=did_you_mean(feature.name, [n for n in self.schema.names if n not in KEYS]),
                )
