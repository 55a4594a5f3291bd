"""Which events and requests belong to one key: dense ids of the keys asked for, and a counting sort by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.features.kernel.index import hash_key

Ints = NDArray[np.int64]
Ids = NDArray[np.int32]

DIRECT_ENTRIES = 1 << 24
"""Up to this many combinations of key words get a table entry each; more are hashed."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """The rows of each key asked for, keys in the order of their first request.

    Args:
        events: Event rows, key by key, each key's in log order.
        event_starts: Where a key's events start, [keys + 1].
        requests: Request rows, key by key, each key's by position in the log.
        request_starts: Where a key's requests start, [keys + 1].
        position: How many events of the log stand before a request, in the order of `requests`.
    """

    events: Ids
    event_starts: Ints
    requests: Ids
    request_starts: Ints
    position: Ints

    @property
    def size(self) -> int:
        """How many keys are asked for."""
        return len(self.event_starts) - 1


def group_rows(event_keys: Ints, request_keys: Ints, position: Ints) -> Grouped:
    """Sorts events and requests by key in time linear in their number.

    Args:
        event_keys: Key words of each event, in log order.
        request_keys: Key words of each request.
        position: Per request how many events of the log it sees at most.

    Shapes:
        event_keys: [events, w]; request_keys: [requests, w]; position: [requests].
    """
    request_ids = np.empty(len(request_keys), np.int32)
    event_ids = np.empty(len(event_keys), np.int32)
    low, sizes = _ranges(request_keys)
    if np.prod(sizes.astype(np.float64)) <= DIRECT_ENTRIES:
        table = np.full(max(1, int(np.prod(sizes))), -1, np.int32)
        keys = number_direct(request_keys, low, sizes, table, request_ids)
        look_direct(event_keys, low, sizes, table, event_ids)
    else:
        table = np.full(1 << max(4, int(2 * len(request_keys) - 1).bit_length()), -1, np.int32)
        first = np.empty(len(request_keys), np.int32)
        keys = number_hashed(request_keys, table, first, request_ids)
        look_hashed(event_keys, request_keys, table, first, event_ids)
    ordered = len(position) < 2 or bool(np.all(position[1:] >= position[:-1]))
    order = (
        np.arange(len(position), dtype=np.int32) if ordered else np.argsort(position, kind="stable").astype(np.int32)
    )
    events, event_starts = sort_by_id(event_ids, np.arange(0, dtype=np.int32), keys)
    requests, request_starts = sort_by_id(request_ids, order, keys)
    return Grouped(events, event_starts, requests, request_starts, position[requests])


def _ranges(keys: Ints) -> tuple[Ints, Ints]:
    """The smallest word and the number of values from it to the largest, by key column."""
    if len(keys) == 0:
        return np.zeros(keys.shape[1], np.int64), np.ones(keys.shape[1], np.int64)
    low, high = keys.min(axis=0), keys.max(axis=0)
    spread = high.astype(np.float64) - low.astype(np.float64)
    return low, np.where(spread < DIRECT_ENTRIES, high - low + 1, DIRECT_ENTRIES + 1)


@njit(cache=True, nogil=True)
def _entry(keys, row: int, low, sizes) -> int:
    """The table entry of a key; -1 when it is outside the ranges."""
    entry = 0
    for j in range(keys.shape[1]):
        if keys[row, j] < low[j] or keys[row, j] - low[j] >= sizes[j]:
            return -1
        entry = entry * sizes[j] + keys[row, j] - low[j]
    return entry


@njit(cache=True, nogil=True)
def number_direct(keys, low, sizes, table, ids) -> int:
    """Numbers keys by first appearance through a table with an entry for each combination; how many there are."""
    found = 0
    for row in range(keys.shape[0]):
        entry = _entry(keys, row, low, sizes)
        if table[entry] < 0:
            table[entry] = found
            found += 1
        ids[row] = table[entry]
    return found


@njit(cache=True, nogil=True)
def look_direct(keys, low, sizes, table, ids) -> None:
    """The numbers of keys in a direct table; -1 for those without one."""
    for row in range(keys.shape[0]):
        entry = _entry(keys, row, low, sizes)
        ids[row] = table[entry] if entry >= 0 else -1


@njit(cache=True, nogil=True)
def _slot_of(keys, row: int, known, table, first) -> int:
    """The slot of a key in a hashed table, or the empty one where it belongs."""
    width = keys.shape[1]
    key_1 = keys[row, 1] if width > 1 else 0
    key_2 = keys[row, 2] if width > 2 else 0
    mask = table.size - 1
    slot = hash_key(0, keys[row, 0], key_1, key_2) & mask
    while table[slot] >= 0:
        other = first[table[slot]]
        same = True
        for j in range(width):
            same = same and known[other, j] == keys[row, j]
        if same:
            break
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def number_hashed(keys, table, first, ids) -> int:
    """Numbers keys by first appearance through a hash table; `first` gets the row each number was first seen in."""
    found = 0
    for row in range(keys.shape[0]):
        slot = _slot_of(keys, row, keys, table, first)
        if table[slot] < 0:
            table[slot] = found
            first[found] = row
            found += 1
        ids[row] = table[slot]
    return found


@njit(cache=True, nogil=True)
def look_hashed(keys, known, table, first, ids) -> None:
    """The numbers of keys in a hashed table; -1 for those without one."""
    for row in range(keys.shape[0]):
        ids[row] = table[_slot_of(keys, row, known, table, first)]


@njit(cache=True, nogil=True)
def sort_by_id(ids, order, keys: int):
    """A stable counting sort of rows by id, rows without one (-1) left out.

    Args:
        ids: int32 [rows].
        order: int32, the rows in the order to keep within an id; empty for as they stand.
        keys: How many ids there are.

    Returns:
        The rows id by id, and where each id's rows start, [keys + 1].
    """
    starts = np.zeros(keys + 1, np.int64)
    for row in range(ids.size):
        if ids[row] >= 0:
            starts[ids[row] + 1] += 1
    for key in range(keys):
        starts[key + 1] += starts[key]
    out = np.empty(starts[keys], np.int32)
    at = starts[:keys].copy()
    for j in range(ids.size):
        row = order[j] if order.size > 0 else j
        key = ids[row]
        if key >= 0:
            out[at[key]] = row
            at[key] += 1
    return out, starts
