"""How many different values were seen: HyperLogLog registers as BYTEMAX accumulators, and their estimate.

Source: Flajolet et al. 2007 (the registers); Ertl 2017, "New cardinality estimation algorithms for HyperLogLog
sketches", algorithm 6 (the estimate: no tables, no switch between ranges).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.kernel.index import mix
from mainstem.features.kernel.shape import BYTEMAX

PRECISIONS = (6, 8)
"""2**6 registers in 8 words, or 2**8 in 32."""
HIGHEST = 64
ALPHA = 0.5 / math.log(2.0)


def relative_error(precision: int) -> float:
    """The standard error of an estimate as a share of the true number: 0.13 at precision 6, 0.065 at 8."""
    return 1.04 / math.sqrt(1 << _known(precision))


def register_ops(precision: int) -> tuple[int, ...]:
    """The ops of the accumulators that hold the registers: 8 at precision 6, 32 at 8."""
    return (BYTEMAX,) * (1 << _known(precision) >> 3)


def register_words(values: NDArray[np.int64], precision: int) -> NDArray[np.int64]:
    """The accumulator inputs of events that each show one value: one register set, all others 0.

    Args:
        values: What is counted; equal values set equal registers.
        precision: 6 or 8.

    Raises:
        FeatureError: ``feature-027`` for another precision.

    Shapes:
        values: [n]; result: [n, words].
    """
    out = np.zeros((len(values), len(register_ops(precision))), np.int64)
    fill_words(np.ascontiguousarray(values, np.int64), precision, out)
    return out


def distinct(registers: NDArray[np.int64]) -> NDArray[np.float64]:
    """The estimated number of different values behind packed registers.

    Args:
        registers: What `read_registers` gave for the BYTEMAX accumulators, in their order.

    Raises:
        FeatureError: ``feature-027`` when the words are not those of a known precision.

    Shapes:
        registers: [..., words]; result: [...].
    """
    words = registers.shape[-1]
    if words not in [len(register_ops(precision)) for precision in PRECISIONS]:
        raise _unknown(f"registers of {words} words")
    flat = np.ascontiguousarray(registers, np.int64).reshape(-1, words)
    out = np.empty(len(flat))
    estimate(flat, 3 + int(words).bit_length() - 1, out)
    return out.reshape(registers.shape[:-1])


def _known(precision: int) -> int:
    if precision not in PRECISIONS:
        raise _unknown(f"precision {precision}")
    return precision


def _unknown(found: str) -> FeatureError:
    return FeatureError(f"{found} of a distinct count", code="feature-027", hint="use precision 6 or 8")


@njit(cache=True, nogil=True)
def fill_words(values, precision: int, out) -> None:
    """Sets, for each value, the register its hash names to the place of the first one in the rest of the hash."""
    for row in range(values.size):
        hashed = mix(np.uint64(values[row]) + np.uint64(0x9E3779B97F4A7C15))
        register = np.int64(hashed >> np.uint64(64 - precision))
        rest = hashed << np.uint64(precision)
        rank = 1
        while rank <= 64 - precision and (rest >> np.uint64(63)) == np.uint64(0):
            rest = rest << np.uint64(1)
            rank += 1
        out[row, register >> 3] = np.int64(rank) << (8 * (register & 7))


@njit(cache=True, nogil=True)
def _low_part(share: float) -> float:
    """Ertl's sigma: what registers that are still 0 add."""
    if share == 1.0:
        return np.inf
    power, total, before = 1.0, share, -1.0
    while total != before:
        before = total
        share *= share
        total += share * power
        power += power
    return total


@njit(cache=True, nogil=True)
def _high_part(share: float) -> float:
    """Ertl's tau: what registers that are full take away."""
    if share == 0.0 or share == 1.0:
        return 0.0
    power, total, before = 1.0, 1.0 - share, -1.0
    while total != before:
        before = total
        share = math.sqrt(share)
        power *= 0.5
        total -= (1.0 - share) ** 2 * power
    return total / 3.0


@njit(cache=True, nogil=True)
def estimate(registers, precision: int, out) -> None:
    """Writes the estimate of each row of packed registers."""
    size = 1 << precision
    highest = HIGHEST - precision
    counts = np.empty(HIGHEST + 2, np.int64)
    for row in range(registers.shape[0]):
        counts[:] = 0
        for register in range(size):
            counts[min((registers[row, register >> 3] >> (8 * (register & 7))) & 255, highest + 1)] += 1
        total = size * _high_part(1.0 - counts[highest + 1] / size)
        for rank in range(highest, 0, -1):
            total = 0.5 * (total + counts[rank])
        total += size * _low_part(counts[0] / size)
        out[row] = ALPHA * size * size / total
