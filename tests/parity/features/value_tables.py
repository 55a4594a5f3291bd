"""Small value tables for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa

DAY = 86_400_000


def table(rows: int, columns: Mapping[str, object], *, text_ids: bool = False, days: int = 4) -> pa.Table:
    """Rows of five candidates a request, over a few days."""
    request = np.arange(rows) // 5
    return pa.table(
        {
            "request_id": pa.array([f"r{one:05d}" for one in request]) if text_ids else pa.array(request + 100),
            "time_ms": pa.array(np.arange(rows) * (days * DAY // max(rows, 1))),
            "offset": pa.array(1_000 + np.arange(rows) // 5 * 7),
            "feature_set": pa.array(["v1"] * rows),
            "user_id": pa.array(request % 3),
            "item_id": pa.array(np.arange(rows) % 5),
        }
        | {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    )


def with_column(values: pa.Table, name: str, column: object) -> pa.Table:
    """The table with one column put in another's place."""
    array = column if isinstance(column, pa.Array) else pa.array(column)
    return values.set_column(values.schema.get_field_index(name), name, array)


def rechunked(values: pa.Table, order: np.ndarray, cuts: list[int]) -> pa.Table:
    """The rows in another order and in other chunks."""
    taken = values.take(pa.array(order))
    bounds = [0, *sorted(cut % (len(order) + 1) for cut in cuts), len(order)]
    parts = [taken.slice(low, high - low) for low, high in pairwise(bounds)]
    return pa.concat_tables(parts)
