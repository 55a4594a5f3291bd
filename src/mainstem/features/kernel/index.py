"""Where the record of (group, key) is: open addressing over one int64 table, a tag and an address in each slot."""

from __future__ import annotations

import numpy as np
from numba import njit

from mainstem.features.kernel.memory import KEY_WIDTH, KEYS, RECORD_GROUP, RECORD_KEY

ADDRESS_BITS = 44
"""A slot is a tag above and an address below; 2**44 words are 128 TiB."""
ADDRESS = (1 << ADDRESS_BITS) - 1
TAG = (1 << (63 - ADDRESS_BITS)) - 1


@njit(cache=True, nogil=True)
def mix(word):
    """SplitMix64's finish of a uint64: every input bit moves every output bit."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(cache=True, nogil=True)
def hash_key(group: int, key_0: int, key_1: int, key_2: int) -> np.int64:
    """63 hash bits of a group and its key words (absent words are 0); equality is always checked on the words."""
    word = mix(np.uint64(key_0) + np.uint64(group + 1) * np.uint64(0x9E3779B97F4A7C15))
    if key_1 != 0 or key_2 != 0:
        word = mix(word ^ (np.uint64(key_1) * np.uint64(0xD6E8FEB86659FD93)))
        word = mix(word ^ (np.uint64(key_2) * np.uint64(0xA0761D6478BD642F)))
    return np.int64(word >> np.uint64(1))


@njit(cache=True, nogil=True)
def record_hash(mem, description: int, record: int) -> np.int64:
    """The hash of the key that a record belongs to."""
    width = mem[description + KEY_WIDTH]
    key = record + RECORD_KEY
    key_1 = mem[key + 1] if width > 1 else 0
    key_2 = mem[key + 2] if width > 2 else 0
    return hash_key(mem[record + RECORD_GROUP], mem[key], key_1, key_2)


@njit(cache=True, nogil=True)
def find_slot(mem, index, group: int, width: int, key_0: int, key_1: int, key_2: int) -> int:
    """The slot of a key, or the empty slot where it belongs."""
    hashed = hash_key(group, key_0, key_1, key_2)
    mask = index.size - 1
    tag = hashed >> ADDRESS_BITS
    slot = hashed & mask
    while index[slot] != 0:
        if (index[slot] >> ADDRESS_BITS) == tag:
            record = index[slot] & ADDRESS
            key = record + RECORD_KEY
            same = mem[record + RECORD_GROUP] == group and mem[key] == key_0
            if same and (width < 2 or mem[key + 1] == key_1) and (width < 3 or mem[key + 2] == key_2):
                return slot
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def fill_slot(mem, index, slot: int, hashed: np.int64, record: int) -> None:
    """Puts a record into its empty slot."""
    index[slot] = ((hashed >> ADDRESS_BITS) << ADDRESS_BITS) | record
    mem[KEYS] += 1


@njit(cache=True, nogil=True)
def clear_slot(mem, index, table: int, slot: int) -> None:
    """Empties a slot and moves later entries of its chain down, so that no tombstones are left.

    Args:
        mem: int64 words.
        index: The table.
        table: Where the words that point to the groups' descriptions start.
        slot: The slot to empty.
    """
    mask = index.size - 1
    hole = slot
    probe = (hole + 1) & mask
    while index[probe] != 0:
        record = index[probe] & ADDRESS
        home = record_hash(mem, mem[table + mem[record + RECORD_GROUP]], record) & mask
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            index[hole] = index[probe]
            hole = probe
        probe = (probe + 1) & mask
    index[hole] = 0
    mem[KEYS] -= 1


@njit(cache=True, nogil=True)
def rebuild_index(mem, table: int, old, new) -> None:
    """Enters every record of an old table into a new, empty one."""
    mask = new.size - 1
    for slot in range(old.size):
        if old[slot] != 0:
            record = old[slot] & ADDRESS
            at = record_hash(mem, mem[table + mem[record + RECORD_GROUP]], record) & mask
            while new[at] != 0:
                at = (at + 1) & mask
            new[at] = old[slot]
