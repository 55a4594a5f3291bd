"""What an item contains, as 64 numbers: a signed random projection of hashed tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH = 64
_BITS = np.arange(WIDTH, dtype=np.uint64)
_CHUNK_ROWS = 65_536

TOKEN_WEIGHTS = {"category": 1.0, "tag": 0.8, "kind": 0.4, "audio": 0.6, "duration": 0.7, "creator": 0.8}


def scramble(values: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """A 64-bit fingerprint of each token (splitmix64): the same on every machine and in every run."""
    with np.errstate(over="ignore"):
        z = values.astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def token_directions(values: NDArray[np.int64], salt: int) -> NDArray[np.float64]:
    """Each token's direction in content space: one sign per bit of its fingerprint."""
    bits = (scramble(values, salt)[:, None] >> _BITS[None, :]) & np.uint64(1)
    return bits.astype(np.float64) * 0.25 - 0.125


def content_vectors(tokens: dict[str, NDArray[np.int64]], tags: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Where does each item lie in content space?

    Args:
        tokens: One column a token family (``category``, ``kind``, ``audio``, ``duration``, ``creator``); -1 is absent.
        tags: Every item's tags.

    Returns:
        ``[n, 64]`` unit vectors; an item without any token is all zero.
    """
    count = len(tags)
    summed = np.zeros((count, WIDTH))
    for salt, name in enumerate(("category", "kind", "audio", "duration", "creator"), start=1):
        _add_tokens(summed, np.arange(count), tokens[name], salt, TOKEN_WEIGHTS[name])
    lengths = np.array([len(t) for t in tags], dtype=np.int64)
    flat = np.array([t for row in tags for t in row], dtype=np.int64)
    _add_tokens(summed, np.repeat(np.arange(count), lengths), flat, 6, TOKEN_WEIGHTS["tag"])
    norms = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.divide(summed, norms, out=np.zeros_like(summed), where=norms > 0)


def _add_tokens(
    summed: NDArray[np.float64], rows: NDArray[np.int64], values: NDArray[np.int64], salt: int, weight: float
) -> None:
    for start in range(0, len(values), _CHUNK_ROWS):
        part = values[start : start + _CHUNK_ROWS]
        there = part >= 0
        np.add.at(summed, rows[start : start + _CHUNK_ROWS][there], weight * token_directions(part[there], salt))
