"""Where one feature's cells part: which rows, in which way, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mainstem.base.errors import FeatureError
from mainstem.parity.features.meta import FeatureMeta
from mainstem.parity.features.rows import Paired
from mainstem.parity.features.tables import Ints, ValueTable
from mainstem.parity.features.values import (
    Column,
    Floats,
    Lists,
    Mask,
    Numbers,
    column_at,
    edit_distances,
    places_apart,
    ragged,
    ulps,
    unequal,
    unequal_lists,
    union,
)


@dataclass(frozen=True, slots=True)
class Cells:
    """One feature on all matched rows.

    ``told[rows]`` where at least one side has a value or the states differ (None: everywhere), ``finite[rows]`` where both
    have a finite number (None: everywhere). The rest are row numbers, ascending: ``differing`` both have a value and the
    bits differ, ``missing`` only the recomputed side has one, ``extra`` only the served side, ``states`` the states differ.
    """

    left: Column
    right: Column
    told: Mask | None
    finite: Mask | None
    differing: Ints
    missing: Ints
    extra: Ints
    states: Ints

    @property
    def diverging(self) -> Ints:
        """All rows on which the sides part in any way, ascending."""
        return union(self.differing, self.missing, self.extra, self.states)


@dataclass(frozen=True, slots=True)
class Gaps:
    """How far apart the cells of ``differing`` are. Shapes: all ``[differing]``.

    ``distance`` is |served - recomputed| (of lists of one length: the largest of their elements), NaN where a side is not
    finite; ``relative`` is twice that over the sum of sizes; ``edits`` is 0 for numbers; ``beyond`` says that the
    feature's documented bound does not cover it. Of lists of floats (vectors) ``edits`` counts the places that differ.
    """

    distance: Floats
    relative: Floats
    ulp: np.ndarray[tuple[int], np.dtype[np.uint64]]
    edits: Ints
    signed_zero: Mask
    beyond: Mask


def cells_of(feature: FeatureMeta, served: ValueTable, recomputed: ValueTable, rows: Paired) -> Cells:
    """Compares one feature on all rows, bit by bit.

    Raises:
        FeatureError: The feature is a list on one side and a number on the other (``parity-047``).
    """
    places = (None if rows.in_place[0] else rows.left, None if rows.in_place[1] else rows.right)
    name = feature.name
    left, right = column_at(served.column(name), places[0], name), column_at(recomputed.column(name), places[1], name)
    if isinstance(left, Lists) != isinstance(right, Lists):
        raise FeatureError(
            f"feature {name!r} is {left.kind} in the served table and {right.kind} in the recomputed one",
            code="parity-047",
            hint="a list and a number cannot be the same feature: compare under one feature set",
        )
    states = _state_differences(served.state(name), recomputed.state(name), places, len(rows.left))
    missing, extra, both = _presence(left.present, right.present)
    told = None
    if left.present is not None and right.present is not None:
        told = left.present | right.present
        told[states] = True
        told = None if told.all() else told
    differing = _differing(left, right, both)
    return Cells(left, right, told, _finite(left, right, both), differing, missing, extra, states)


def _presence(one: Mask | None, other: Mask | None) -> tuple[Ints, Ints, Mask | None]:
    none = np.empty(0, np.int64)
    if one is None and other is None:
        return none, none, None
    if one is None or other is None:
        present = one if one is not None else other
        assert present is not None
        gone = np.flatnonzero(~present)
        return (none, gone, present) if one is None else (gone, none, present)
    return np.flatnonzero(other & ~one), np.flatnonzero(one & ~other), one & other


def _differing(left: Column, right: Column, both: Mask | None) -> Ints:
    if isinstance(left, Lists) and isinstance(right, Lists):
        rows = np.arange(len(left.lengths)) if both is None else np.flatnonzero(both)
        return unequal_lists(left, right, rows)
    at = unequal(left.values, right.values)
    return at if both is None else at[both[at]]


def _finite(left: Column, right: Column, both: Mask | None) -> Mask | None:
    if isinstance(left, Lists) or isinstance(right, Lists):
        return both
    finite = both
    for side in (left, right):
        if side.values.dtype != np.int64:
            one = np.isfinite(side.values)
            if not one.all():
                finite = one if finite is None else finite & one
    return finite


def _state_differences(
    one: pa.ChunkedArray | None, other: pa.ChunkedArray | None, places: tuple[Ints | None, Ints | None], rows: int
) -> Ints:
    """Where both sides say how the value came about, and not the same."""
    if one is None or other is None:
        return np.empty(0, np.int64)
    left, right = column_at(one, places[0], "state"), column_at(other, places[1], "state")
    assert isinstance(left, Numbers)
    assert isinstance(right, Numbers)
    at = np.flatnonzero(left.values != right.values)
    for side in (left, right):
        at = at if side.present is None else at[side.present[at]]
    return at


def gaps_of(feature: FeatureMeta, cells: Cells) -> Gaps:
    """How far apart the cells are whose bits differ."""
    left, right, at = cells.left, cells.right, cells.differing
    if isinstance(left, Lists) and isinstance(right, Lists):
        return _list_gaps(feature, left, right, at)
    one, other = left.values[at], right.values[at]
    distance, relative = _apart(one, other)
    ulp = ulps(one, other)
    signed_zero = np.asarray((one == 0) & (other == 0))
    beyond = np.ones(len(at), bool)
    if feature.tolerance == "sketch":
        largest = np.maximum(np.abs(one.astype(np.float64)), np.abs(other.astype(np.float64)))
        beyond = ~(distance <= feature.bound * largest)
    return Gaps(distance, relative, ulp, np.zeros(len(at), np.int64), signed_zero, beyond)


def _apart(one: np.ndarray, other: np.ndarray) -> tuple[Floats, Floats]:
    one, other = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(one - other)
        size = np.abs(one) + np.abs(other)
        known = np.isfinite(one) & np.isfinite(other)
        relative = np.divide(2 * distance, size, out=np.zeros(len(one)), where=known & (size > 0))
    return np.where(known, distance, np.nan), np.where(known, np.minimum(relative, 2.0), np.nan)


def _list_gaps(feature: FeatureMeta, left: Lists, right: Lists, at: Ints) -> Gaps:
    # Numbers with a fraction are vectors, whose places mean something: nothing is put in or taken out, places differ.
    vectors = left.values.dtype != np.int64 and right.values.dtype != np.int64
    edits = places_apart(left, right, at) if vectors else edit_distances(left, right, at)
    distance, relative = np.full(len(at), np.nan), np.full(len(at), np.nan)
    ulp, signed_zero = np.zeros(len(at), np.uint64), np.zeros(len(at), bool)
    alike = np.flatnonzero(left.lengths[at] == right.lengths[at])
    rows = at[alike]
    lengths = left.lengths[rows]
    starts = np.cumsum(lengths) - lengths
    if len(rows):
        one = left.values[ragged(left.starts[rows], lengths)]
        other = right.values[ragged(right.starts[rows], lengths)]
        apart, share = _apart(one, other)
        distance[alike] = np.maximum.reduceat(apart, starts)
        relative[alike] = np.maximum.reduceat(share, starts)
        ulp[alike] = np.maximum.reduceat(ulps(one, other), starts)
        signed_zero[alike] = np.logical_and.reduceat((one == other) | (np.isnan(one) & np.isnan(other)), starts)
    beyond = np.ones(len(at), bool)
    if feature.tolerance == "sketch":
        beyond = edits > feature.bound * np.maximum(left.lengths[at], right.lengths[at])
    return Gaps(distance, relative, ulp, edits, signed_zero, beyond)
