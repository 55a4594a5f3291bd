"""One feature's column as bits: numbers and lists, of either side, in the order of the matched rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.parity.features.tables import NONE, Ints

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_NAN: Final = np.float64("nan").view(np.int64)
_BEYOND: Final = 2.0**63
"""The first float64 that is no int64."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """One side's numbers of a feature. Shapes: ``values, present [rows]``; ``present`` None when all are.

    ``values`` are int64, float64 or float32; absent ones are 0.
    """

    values: NDArray[np.generic]
    present: Mask | None
    kind: str


@dataclass(frozen=True, slots=True)
class Lists:
    """One side's lists of a feature. Shapes: ``lengths, starts, present [rows]``; ``values`` every element, list after list."""

    values: NDArray[np.generic]
    lengths: Ints
    starts: Ints
    present: Mask | None
    kind: str

    def element_at(self, rows: Ints, place: int) -> NDArray[np.generic]:
        """The elements at one place of some rows' lists, which must be that long."""
        return self.values[self.starts[rows] + place]

    def flat(self, rows: Ints) -> NDArray[np.generic]:
        """All elements of some rows (ascending), one list after another."""
        if len(rows) == len(self.lengths):
            return self.values
        return self.values[ragged(self.starts[rows], self.lengths[rows])]


Column = Numbers | Lists


def taken(column: Column, rows: Ints) -> Column:
    """Some rows of a column, without what it holds of the others."""
    present = None if column.present is None else column.present[rows]
    if isinstance(column, Numbers):
        return Numbers(column.values[rows], present, column.kind)
    lengths = column.lengths[rows]
    values = column.values[ragged(column.starts[rows], lengths)]
    return Lists(values, lengths, np.cumsum(lengths) - lengths, present, column.kind)


def ragged(starts: Ints, lengths: Ints) -> Ints:
    """The places ``starts[i] .. starts[i] + lengths[i] - 1`` of every i, one after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def column_at(column: pa.ChunkedArray, rows: Ints | None, name: str) -> Column:
    """The feature's values at these rows; -1 is a row the side does not have, None means all rows as they stand.

    Raises:
        FeatureError: The column is neither numbers nor lists of numbers (``parity-046``).
    """
    whole = column.combine_chunks()
    array = whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)
    if _is_list(array.type):
        if rows is not None:
            array = array.take(pa.array(rows, mask=rows == NONE))
        return _lists(array, name)
    return _numbers(array, rows, name)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _numbers(array: pa.Array, rows: Ints | None, name: str) -> Numbers:
    values, present = _plain(array, name)
    if rows is not None:
        absent = rows == NONE
        if absent.any():
            present = ~absent if present is None else np.where(absent, False, present[rows])
            values = np.where(absent, values.dtype.type(0), values[rows] if len(values) else values.dtype.type(0))
        else:
            values, present = values[rows], None if present is None else present[rows]
    return Numbers(values, present, str(array.type))


def _plain(array: pa.Array, name: str) -> tuple[NDArray[np.generic], Mask | None]:
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        target = pa.int64()
    elif pa.types.is_float64(kind) or pa.types.is_float32(kind):
        target = kind
    else:
        raise FeatureError(
            f"feature {name!r} is of type {kind}; numbers and lists of numbers can be compared",
            code="parity-046",
            hint="log int64, float32, float64 or lists of them",
        )
    present = None if array.null_count == 0 else array.is_valid().to_numpy(zero_copy_only=False)
    filled = (
        (array if present is None else array.fill_null(0)) if not pa.types.is_boolean(kind) else array.fill_null(False)
    )
    return filled.cast(target).to_numpy(zero_copy_only=False), present


def _lists(array: pa.Array, name: str) -> Lists:
    present = None if array.null_count == 0 else array.is_valid().to_numpy(zero_copy_only=False)
    lengths = (
        pc.call_function("list_value_length", [array]).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    inner = array.flatten()
    values, known = _plain(inner, name)
    if known is not None:
        if values.dtype == np.int64:
            raise FeatureError(
                f"a list of feature {name!r} holds nulls among whole numbers",
                code="parity-046",
                hint="leave unused places out of the list",
            )
        values = np.where(known, values, values.dtype.type(np.nan))
    return Lists(values, lengths, np.cumsum(lengths) - lengths, present, f"list<{array.type.value_type}>")


def union(*parts: Ints) -> Ints:
    """All numbers of some ascending arrays, ascending and each once. Sorts: numpy's own way hashes, which is far slower here."""
    told = [part for part in parts if len(part)]
    if len(told) <= 1:
        return told[0] if told else np.empty(0, np.int64)
    together = np.sort(np.concatenate(told), kind="stable")
    return together[np.concatenate([[True], together[1:] != together[:-1]])]


def unequal(one: NDArray[np.generic], other: NDArray[np.generic]) -> Ints:
    """Where two arrays of numbers differ in a bit: NaN equals NaN whatever its payload, 0.0 and -0.0 differ.

    Of two types, numbers are equal when they are the same number: a float32 and the float64 it widens to are.
    """
    if one.dtype == other.dtype:
        bits = np.int32 if one.dtype == np.float32 else np.int64
        at = np.flatnonzero(one.view(bits) != other.view(bits))
        if one.dtype != np.int64 and len(at):
            at = at[~(np.isnan(one[at]) & np.isnan(other[at]))]
        return at
    same = codes(one) == codes(other)
    for number in (one, other):
        if number.dtype == np.int64:
            wide = number.astype(np.float64)
            fits = wide < _BEYOND
            same &= fits & (np.where(fits, wide, 0.0).astype(np.int64) == number)
    return np.flatnonzero(~same)


def codes(values: NDArray[np.generic]) -> Ints:
    """The bits of each number as a float64, with one pattern for every NaN. Whole numbers are widened first."""
    wide = np.ascontiguousarray(values, np.float64)
    bits = wide.view(np.int64)
    unknown = np.isnan(wide)
    return np.where(unknown, _NAN, bits) if unknown.any() else bits


def unequal_lists(one: Lists, other: Lists, rows: Ints) -> Ints:
    """Which of these rows' lists differ in length or in any element."""
    same_length = one.lengths[rows] == other.lengths[rows]
    alike = rows[same_length]
    lengths = one.lengths[alike]
    bad = unequal(one.flat(alike), other.flat(alike))
    ends = np.cumsum(lengths)
    owner = np.searchsorted(ends, bad, side="right")
    first = np.ones(len(owner), bool)
    first[1:] = owner[1:] != owner[:-1]
    return union(rows[~same_length], alike[owner[first]])


def ulps(one: NDArray[np.generic], other: NDArray[np.generic]) -> NDArray[np.uint64]:
    """How many numbers of the type lie between each two; for whole numbers their distance. NaN against a number: the most."""
    if one.dtype != other.dtype:
        one, other = one.astype(np.float64), other.astype(np.float64)
    if one.dtype == np.int64:
        low, high = np.minimum(one, other), np.maximum(one, other)
        return high.astype(np.uint64) - low.astype(np.uint64)
    bits, lowest = (np.int32, -(2**31)) if one.dtype == np.float32 else (np.int64, -(2**63))
    steps = []
    for values in (one, other):
        raw = np.ascontiguousarray(values).view(bits).astype(np.int64)
        steps.append(np.where(raw < 0, lowest - raw, raw))
    distance = np.maximum(*steps).astype(np.uint64) - np.minimum(*steps).astype(np.uint64)
    unknown = np.isnan(one) != np.isnan(other)
    return np.where(unknown, np.uint64(2**64 - 1), distance)


def places_apart(one: Lists, other: Lists, rows: Ints) -> Ints:
    """At how many places two vectors differ, a place that only one of them has included; for each of these rows."""
    lengths, widths = one.lengths[rows], other.lengths[rows]
    shared = np.minimum(lengths, widths)
    left, right = one.values[ragged(one.starts[rows], shared)], other.values[ragged(other.starts[rows], shared)]
    owner = np.searchsorted(np.cumsum(shared), unequal(left, right), side="right")
    return np.bincount(owner, minlength=len(rows)) + np.maximum(lengths, widths) - shared


def edit_distances(one: Lists, other: Lists, rows: Ints, block: int = 4096) -> Ints:
    """How many elements must be put in, taken out or replaced to make one list the other, for each of these rows.

    The dynamic programme runs over all rows of a block at once, one element of the first lists after another.
    """
    found = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        found[start : start + block] = _block_distances(_padded(one, part), _padded(other, part), one, other, part)
    return found


def _padded(lists: Lists, rows: Ints) -> Ints:
    lengths = lists.lengths[rows]
    wide = int(lengths.max(initial=0))
    out = np.zeros((len(rows), wide), np.int64)
    out[np.arange(wide) < lengths[:, None]] = codes(lists.flat(rows))
    return out


def _block_distances(one: Ints, other: Ints, left: Lists, right: Lists, rows: Ints) -> Ints:
    lengths, widths = left.lengths[rows], right.lengths[rows]
    columns = np.arange(other.shape[1] + 1)
    last = np.broadcast_to(columns, (len(rows), len(columns))).copy()
    answer = widths.copy()
    for at in range(one.shape[1]):
        best = np.empty_like(last)
        best[:, 0] = at + 1
        best[:, 1:] = np.minimum(last[:, 1:] + 1, last[:, :-1] + (other != one[:, at : at + 1]))
        # An element put in costs one more than its left neighbour: a running minimum of the costs less their column.
        last = np.minimum.accumulate(best - columns, axis=1) + columns
        ended = np.flatnonzero(lengths == at + 1)
        answer[ended] = last[ended, widths[ended]]
    return answer
