"""The rules both executors call: tile of a time, combining, bounds of a window, decay, conversion, order of a list."""

from __future__ import annotations

import numpy as np
from numba import njit

from mainstem.features.kernel.shape import ADD, BYTEMAX, CLOCK, LARGEST, MAX, MIN, UNTIMED


@njit(cache=True, nogil=True)
def tile_of(when: int, hop: int) -> int:
    """Which tile a time falls in: the floor, also before 1970."""
    return when // hop


@njit(cache=True, nogil=True)
def bytemax(left: int, right: int) -> int:
    """The bytewise maximum of two words of eight unsigned registers."""
    if right == 0:
        return left
    if left == 0:
        return right
    out = 0
    for byte in range(8):
        shift = 8 * byte
        out |= max((left >> shift) & 255, (right >> shift) & 255) << shift
    return out


@njit(cache=True, nogil=True)
def identity_of(op: int) -> int:
    """What an accumulator of this op holds before any event."""
    if op == MIN:
        return LARGEST
    if op == MAX:
        return UNTIMED
    return 0


@njit(cache=True, nogil=True)
def combine(op: int, left: int, right: int) -> int:
    """Two accumulators of one op as one; ADD wraps at 64 bits, so any grouping gives the same bits."""
    if op == ADD:
        return left + right
    if op == MIN:
        return min(left, right)
    if op == MAX:
        return max(left, right)
    return bytemax(left, right)


@njit(cache=True, nogil=True)
def oldest_tile(current: int, reach: int, kind: int) -> int:
    """The oldest tile a window reads when `current` is the running one."""
    if kind == CLOCK:
        return current - reach + 1
    return current - reach


@njit(cache=True, nogil=True)
def as_float(op: int, value: int) -> float:
    """An accumulator as a feature value: one rounding; NaN for an empty minimum or maximum and for packed registers."""
    if op == ADD:
        return np.float64(value)
    if op == BYTEMAX or value == identity_of(op):
        return np.nan
    return np.float64(value)


@njit(cache=True, nogil=True)
def decay_sum(mem, first: int, last: int, width: int, column: int, current: int, weights, weight_at: int) -> float:
    """The weighted sum of the tiles in ``mem[first:last]``, newest first, one after the other.

    Args:
        mem: int64 words; an entry is its tile index, then its accumulators.
        first: Word of the oldest entry of the window.
        last: Word past its newest entry.
        width: Words of an entry.
        column: Accumulator to sum (an ADD one).
        current: The running tile.
        weights: float64, those of this window from `weight_at` on, by age in tiles.
        weight_at: Where they start.
    """
    total = 0.0
    at = last - width
    while at >= first:
        total += np.float64(mem[at + 1 + column]) * weights[weight_at + current - mem[at]]
        at -= width
    return total


@njit(cache=True, nogil=True)
def listed_after(by_time: int, left_when: int, left_offset: int, when: int, offset: int) -> bool:
    """Whether a listed event stands after a new one; of equals the one that came first stands first."""
    if by_time != 0 and left_when != when:
        return left_when > when
    return left_offset > offset
