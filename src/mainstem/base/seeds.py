"""Random numbers that are a pure function of what they are for, so that any answer can be made again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A well-mixed 64-bit number for each key.

    Source: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        z = keys + _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return z ^ (z >> np.uint64(31))


def uniforms(*keys: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Numbers in [0, 1) fixed by the keys alone: same keys, same numbers, on any machine.

    Args:
        keys: Integers or integer arrays that broadcast together, such as a seed, a request id and item ids.
    """
    state = np.zeros((), dtype=np.uint64)
    for key in keys:
        state = mix(state ^ np.asarray(key, dtype=np.int64).astype(np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
