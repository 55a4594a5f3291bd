"""One request on two sides, brought under the same candidates and the same names: numbers, sources and rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.parity.trace import Floats, Ints, StageRecord

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart two numbers may be and still agree: the larger of an absolute and a relative distance."""

    absolute: float
    relative: float


FEATURES: Final = Tolerance(1e-8, 1e-5)
NUMBERS: Final = Tolerance(1e-6, 1e-6)
"""For predictions and values: what the identity test allows."""
VALUE: Final = ("value",)


@dataclass(frozen=True, slots=True)
class Columns:
    """Named numbers of the candidates both sides have.

    Shapes: ``left[m, c]``, ``right[m, c]``, ``told[m]`` where both sides got that far, ``differs[m, c]`` (False where not told).
    """

    names: tuple[str, ...]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    told: Mask
    differs: Mask
    same_names: bool

    @property
    def rows(self) -> Mask:
        """The candidates on which any column differs."""
        return np.asarray(self.differs.any(axis=1))


@dataclass(frozen=True, slots=True)
class SourceBits:
    """How many candidates each source offered on either side, on both, and among its first k. Shapes: all ``[sources]``."""

    names: tuple[str, ...]
    left: Ints
    right: Ints
    both: Ints
    first_k: Floats


@dataclass(frozen=True, slots=True)
class Fires:
    """How often each rule fired, and on which side alone, on candidates both sides have. Shapes: all ``[rules]``.

    ``earliest`` is the first rule, in the order of application, that treats any candidate otherwise on the two sides.
    """

    names: tuple[str, ...]
    left: Ints
    right: Ints
    left_only: Ints
    right_only: Ints
    earliest: str | None


def merged(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    """The names of both sides, in the order of the side that knows more of them."""
    first, second = (left, right) if len(left) >= len(right) else (right, left)
    return tuple(dict.fromkeys((*first, *second)))


def column(values: Floats | None) -> Floats | None:
    """One number a candidate, as an array of one column."""
    return None if values is None else values[:, None]


def present(array: Floats | None, rows: Ints) -> Mask:
    """Which candidates a stage has any number for; none when the stage is not told."""
    if array is None:
        return np.zeros(len(rows), bool)
    return np.asarray(~np.isnan(array[rows]).all(axis=1))


def columns_of(
    left_names: tuple[str, ...],
    left: Floats | None,
    right_names: tuple[str, ...],
    right: Floats | None,
    li: Ints,
    ri: Ints,
    tolerance: Tolerance,
    reached: tuple[Mask, Mask] | None = None,
) -> Columns | None:
    """Both sides' numbers under the names they share; None when a side tells nothing or they share no name.

    A candidate with no number at all never reached the stage, unless the stage before it has numbers (``reached``): then
    the missing number is a difference.
    """
    names = tuple(name for name in left_names if name in right_names)
    if left is None or right is None or not names:
        return None
    one = left[li][:, [left_names.index(name) for name in names]].astype(np.float64)
    other = right[ri][:, [right_names.index(name) for name in names]].astype(np.float64)
    told_left, told_right = present(one, np.arange(len(li))), present(other, np.arange(len(ri)))
    if reached is not None:
        told_left, told_right = told_left | reached[0], told_right | reached[1]
    told = told_left & told_right
    differs = ~_agree(one, other, tolerance) & told[:, None]
    return Columns(names, one, other, told, differs, set(left_names) == set(right_names))


def _agree(one: NDArray[np.float64], other: NDArray[np.float64], tolerance: Tolerance) -> Mask:
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= np.maximum(
            tolerance.absolute, tolerance.relative * np.maximum(np.abs(one), np.abs(other))
        )
    both_infinite = np.isinf(one) | np.isinf(other)
    return np.asarray(np.where(both_infinite, one == other, near) | (np.isnan(one) & np.isnan(other)))


def states_of(left: StageRecord, right: StageRecord, li: Ints, ri: Ints) -> Mask | None:
    """Where the two sides say otherwise how a feature came about (present, missing, late)."""
    if left.feature_state is None or right.feature_state is None or left.features is None or right.features is None:
        return None
    names = tuple(name for name in left.feature_names if name in right.feature_names)
    one = left.feature_state[li][:, [left.feature_names.index(name) for name in names]]
    other = right.feature_state[ri][:, [right.feature_names.index(name) for name in names]]
    return np.asarray(one != other)


def sources_of(left: StageRecord, right: StageRecord, li: Ints, ri: Ints, k: int) -> tuple[SourceBits | None, Mask]:
    """What each source offered on both sides, and which shared candidates came from the same sources."""
    if left.source_mask is None or right.source_mask is None:
        return None, np.ones(len(li), bool)
    names = merged(left.source_names, right.source_names)
    one, other = _bits(left, names), _bits(right, names)
    first_one, first_other = one & (one.cumsum(axis=0) <= k), other & (other.cumsum(axis=0) <= k)
    deepest = np.minimum(k, np.maximum(one.sum(axis=0), other.sum(axis=0)))
    shared = (first_one[li] & first_other[ri]).sum(axis=0)
    bits = SourceBits(
        names=names,
        left=one.sum(axis=0),
        right=other.sum(axis=0),
        both=(one[li] & other[ri]).sum(axis=0),
        first_k=np.divide(shared, deepest, out=np.ones(len(names)), where=deepest > 0),
    )
    return bits, (one[li] == other[ri]).all(axis=1)


def _bits(record: StageRecord, names: tuple[str, ...]) -> Mask:
    """Whether each source of ``names`` offered each candidate."""
    offered = np.zeros((len(record.item_ids), len(names)), bool)
    if record.source_mask is not None:
        masks = record.source_mask.astype(np.uint64)
        for bit, name in enumerate(record.source_names):
            offered[:, names.index(name)] = (masks >> np.uint64(bit)) & np.uint64(1) == 1
    return offered


def fires_of(left: StageRecord, right: StageRecord, li: Ints, ri: Ints) -> Fires | None:
    """Which rules fired on which side, on the candidates both have."""
    if left.removed_by is None or right.removed_by is None:
        return None
    names = merged(left.rule_names, right.rule_names)
    moves = left.demoted_by is not None and right.demoted_by is not None
    one, other = _fired(left, names, moves), _fired(right, names, moves)
    left_only, right_only = one[li] & ~other[ri], other[ri] & ~one[li]
    apart = np.flatnonzero((left_only | right_only).any(axis=0))
    return Fires(
        names=names,
        left=one.sum(axis=0),
        right=other.sum(axis=0),
        left_only=left_only.sum(axis=0),
        right_only=right_only.sum(axis=0),
        earliest=names[apart[0]] if len(apart) else None,
    )


def _fired(record: StageRecord, names: tuple[str, ...], moves: bool) -> Mask:
    """Whether each rule of ``names`` removed (or, with ``moves``, moved) each candidate."""
    fired = np.zeros((len(record.item_ids), len(names)), bool)
    for code, name in enumerate(record.rule_names):
        at = names.index(name)
        if record.removed_by is not None:
            fired[:, at] |= record.removed_by == code
        if moves and record.demoted_by is not None:
            fired[:, at] |= record.demoted_by[:, code]
    return fired
