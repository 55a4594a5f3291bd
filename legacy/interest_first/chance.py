"""Chance that can be replayed: every draw is a pure function of (seed, request, item)."""

from __future__ import annotations

import numpy as np

_WORD = (1 << 64) - 1


def _stir(word: int) -> int:
    """One SplitMix64 step on a Python integer (Steele, Lea, Flood 2014)."""
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)


def _stir_all(words: np.ndarray) -> np.ndarray:
    """The same step on a whole uint64 array; it must give what `_stir` gives."""
    with np.errstate(over="ignore"):
        words = words + np.uint64(0x9E3779B97F4A7C15)
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))


def draw(seed: int, request_id: int, thing: int) -> float:
    """A number in [0, 1) for one thing of one request. Slots and interests use negative numbers, items their id."""
    word = _stir(_stir(_stir(seed & _WORD) ^ (request_id & _WORD)) ^ (thing & _WORD))
    return (word >> 11) * 2.0**-53


def draws(seed: int, request_id: int, things: np.ndarray) -> np.ndarray:
    """`draw` for many things of one request."""
    start = np.uint64(_stir(_stir(seed & _WORD) ^ (request_id & _WORD)))
    words = _stir_all(things.astype(np.int64).view(np.uint64) ^ start)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
