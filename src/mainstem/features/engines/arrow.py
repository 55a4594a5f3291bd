"""Arrays as Arrow columns and back: numbers without a copy, lists and vectors as lists of one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def arrow_of(array: NDArray[Any]) -> pa.Array:
    """A column of numbers, or of lists of one length. NaN stays NaN. Shapes: [n] or [n, k]."""
    if array.ndim == 1:
        return pa.array(array, from_pandas=False)
    flat = pa.array(np.ascontiguousarray(array).reshape(-1), from_pandas=False)
    return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])


def array_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """The array that ``arrow_of`` made a column of."""
    if isinstance(column, pa.ChunkedArray):
        parts = [array_of(chunk) for chunk in column.chunks]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else _none_of(column.type)
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False)


def table_of(columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    """A table of arrays."""
    return pa.table({name: arrow_of(array) for name, array in columns.items()})


def batch_of(columns: Mapping[str, NDArray[Any]]) -> pa.RecordBatch:
    """A batch of arrays."""
    return pa.RecordBatch.from_pydict({name: arrow_of(array) for name, array in columns.items()})


def stacked(table: pa.Table, names: Sequence[str], dtype: type[np.int64] | type[np.float64]) -> NDArray[Any]:
    """Some columns beside each other. Shapes: [n, names]."""
    out = np.empty((table.num_rows, len(names)), dtype)
    for at, name in enumerate(names):
        out[:, at] = array_of(table.column(name))
    return out


def _none_of(kind: pa.DataType) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(kind):
        return np.empty((0, kind.list_size), kind.value_type.to_pandas_dtype())
    return np.empty(0, kind.to_pandas_dtype())
