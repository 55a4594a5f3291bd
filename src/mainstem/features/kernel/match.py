"""A list and candidates joined by a key: one look at each place, one at each candidate."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]

_SPREAD: Final = -7046029254386353131
"""2**64 divided by the golden ratio, as a signed word: neighbouring keys fall far apart."""


@njit(cache=True, nogil=True)
def _slot(table: Ints, owners: Ints, key: int) -> int:
    """Where a key stands in the table, or the free slot where it belongs."""
    mask = len(table) - 1
    at = ((key * _SPREAD) >> 32) & mask
    while table[at] >= 0 and owners[table[at]] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def _gather(keys: Ints, values: Numbers, request: int, sums: int, table: Ints, owners: Ints, held: Numbers) -> None:
    """The parts of every different key of one list, newest place first."""
    table[:] = -1
    found = 0
    for place in range(keys.shape[1]):
        key = keys[request, place]
        if key < 0:
            continue
        at = _slot(table, owners, key)
        if table[at] < 0:
            table[at] = found
            owners[found] = key
            held[found, :sums] = 0.0
            held[found, sums:] = np.nan
            found += 1
        row = table[at]
        for part in range(values.shape[0]):
            value = values[part, request, place]
            if value != value:
                continue
            if part < sums:
                held[row, part] += value
            elif not held[row, part] >= value:
                held[row, part] = value


@njit(cache=True, nogil=True)
def _matched(keys: Ints, asked: Ints, values: Numbers, sums: int, out: Numbers) -> None:
    places = keys.shape[1]
    size = 16
    while size < 2 * places:
        size *= 2
    table, owners = np.empty(size, np.int64), np.empty(places, np.int64)
    held = np.empty((places, values.shape[0]), np.float64)
    for request in range(keys.shape[0]):
        _gather(keys, values, request, sums, table, owners, held)
        for candidate in range(asked.shape[1]):
            key = asked[request, candidate]
            row = table[_slot(table, owners, key)] if key >= 0 else -1
            for part in range(values.shape[0]):
                if row >= 0:
                    out[part, request, candidate] = held[row, part]
                else:
                    out[part, request, candidate] = 0.0 if part < sums else np.nan


def matched(keys: Ints, asked: Ints, values: Numbers, sums: int) -> Numbers:
    """What the places with each asked key add up to.

    Args:
        keys: Of each place of a request's list, newest first; below 0 is none.
        asked: The keys looked for.
        values: Of each part at each place; NaN is left out.
        sums: So many of the parts are sums (0 without a place); of the others the largest is read (NaN without one).

    Shapes:
        ``keys[B, K]``, ``asked[B, n]``, ``values[parts, B, K]``; the answer is ``[parts, B, n]``.
    """
    out = np.empty((len(values), *asked.shape), np.float64)
    _matched(
        np.ascontiguousarray(keys, np.int64),
        np.ascontiguousarray(asked, np.int64),
        np.ascontiguousarray(values, np.float64),
        sums,
        out,
    )
    return out


@njit(cache=True, nogil=True)
def _distinct(keys: Ints, table: Ints, owners: Ints, places: Ints) -> int:
    table[:] = -1
    found = 0
    for at in range(len(keys)):
        slot = _slot(table, owners, keys[at])
        if table[slot] < 0:
            table[slot] = found
            owners[found] = keys[at]
            found += 1
        places[at] = table[slot]
    return found


def distinct(keys: Ints) -> tuple[Ints, Ints]:
    """The different keys in the order of their first places, and where among them each key stands. Shapes: [m], [n]."""
    size = 1 << max(4, (2 * len(keys)).bit_length())
    owners, places = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    found = _distinct(np.ascontiguousarray(keys, np.int64), np.empty(size, np.int64), owners, places)
    return owners[:found], places
