"""Which row of a table has a key: open addressing over rows that are only ever added."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.features.kernel.index import mix

Ints = NDArray[np.int64]
_FIRST = 64


@njit(cache=True, nogil=True)
def _slot_of(slots, held, asked, at: int) -> int:
    """The slot of a key, or the empty slot where it belongs."""
    hashed = np.uint64(0)
    for word in range(asked.shape[1]):
        hashed = mix(hashed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(asked[at, word]) + np.uint64(1))
    mask = slots.size - 1
    slot = np.int64(hashed >> np.uint64(1)) & mask
    while slots[slot] != 0:
        row = slots[slot] - 1
        same = True
        for word in range(asked.shape[1]):
            same = same and held[row, word] == asked[at, word]
        if same:
            return slot
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _rows_of(slots, held, count: int, asked, out, add: bool) -> int:
    """Fills in rows; answers how many keys there are then."""
    for at in range(asked.shape[0]):
        out[at] = -1
        there = True
        for word in range(asked.shape[1]):
            there = there and asked[at, word] >= 0
        if not there:
            continue
        slot = _slot_of(slots, held, asked, at)
        if slots[slot] == 0 and add:
            held[count] = asked[at]
            count += 1
            slots[slot] = count
        out[at] = slots[slot] - 1
    return count


@njit(cache=True, nogil=True)
def _enter(slots, held, count: int) -> None:
    for row in range(count):
        slots[_slot_of(slots, held, held, row)] = row + 1


class KeyRows:
    """Keys of one to three whole numbers, each with a row: 0, 1, 2, ... in the order in which they came.

    Args:
        width: Words of a key. A key with a word below 0 is none.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._held = np.zeros((_FIRST, width), np.int64)
        self._slots = np.zeros(4 * _FIRST, np.int64)

    @property
    def keys(self) -> Ints:
        """The keys by row. Shapes: [count, width]."""
        return self._held[: self.count]

    def find(self, keys: Ints) -> Ints:
        """The row of each key, -1 where there is none."""
        out = np.empty(len(keys), np.int64)
        _rows_of(self._slots, self._held, self.count, np.ascontiguousarray(keys), out, False)
        return out

    def made(self, keys: Ints) -> Ints:
        """The row of each key, a new one where there was none; -1 where it is no key."""
        self._make_room(self.count + len(keys))
        out = np.empty(len(keys), np.int64)
        self.count = _rows_of(self._slots, self._held, self.count, np.ascontiguousarray(keys), out, True)
        return out

    def restore(self, keys: Ints) -> None:
        """Takes keys by row."""
        self.__init__(keys.shape[1])
        self.made(np.ascontiguousarray(keys))

    def _make_room(self, most: int) -> None:
        if most > len(self._held):
            room = max(most, 2 * len(self._held)) - len(self._held)
            self._held = np.concatenate([self._held, np.zeros((room, self._held.shape[1]), np.int64)])
        if 2 * most > len(self._slots):
            self._slots = np.zeros(1 << int(4 * most - 1).bit_length(), np.int64)
            _enter(self._slots, self._held, self.count)
