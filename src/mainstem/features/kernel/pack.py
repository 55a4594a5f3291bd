"""One key's live state as words without addresses, and back."""

from __future__ import annotations

from numba import njit

from mainstem.features.kernel.memory import (
    CLASSES,
    EVER_AT,
    FREE_COUNTS,
    FREE_RECORDS,
    INPUTS,
    KEEPS,
    LEVEL_NEWEST,
    LEVEL_RUN,
    LEVEL_WORDS,
    LEVELS,
    LEVELS_AT,
    LIST_AT,
    LIST_FIELDS,
    LIST_K,
    RECORD_NEWEST,
    RECORD_WORDS,
    RUN_AT,
    RUN_CAP,
    RUN_COUNT,
    RUN_START,
    SMALLEST_BLOCK,
    TOP,
    WANTED,
    class_of,
    take_block,
)


@njit(cache=True, nogil=True)
def packed_words(mem, group: int, record: int) -> int:
    """How many words the packed record takes."""
    words = 1 + mem[group + INPUTS]
    for level in range(mem[group + LEVELS]):
        run = record + mem[group + LEVELS_AT] + level * LEVEL_WORDS + LEVEL_RUN
        words += 2 + mem[run + RUN_COUNT] * (1 + mem[group + INPUTS])
    return words + 1 + mem[record + mem[group + LIST_AT] + RUN_COUNT] * (2 + mem[group + LIST_FIELDS])


@njit(cache=True, nogil=True)
def _pack_run(mem, run: int, width: int, out, at: int) -> int:
    out[at] = mem[run + RUN_COUNT]
    first = mem[run + RUN_AT] + mem[run + RUN_START] * width
    words = mem[run + RUN_COUNT] * width
    for j in range(words):
        out[at + 1 + j] = mem[first + j]
    return at + 1 + words


@njit(cache=True, nogil=True)
def pack_record(mem, group: int, record: int, out) -> None:
    """Writes newest time, ever, per level newest tile and tiles, then the list."""
    out[0] = mem[record + RECORD_NEWEST]
    for j in range(mem[group + INPUTS]):
        out[1 + j] = mem[record + mem[group + EVER_AT] + j]
    at = 1 + mem[group + INPUTS]
    for level in range(mem[group + LEVELS]):
        place = record + mem[group + LEVELS_AT] + level * LEVEL_WORDS
        out[at] = mem[place + LEVEL_NEWEST]
        at = _pack_run(mem, place + LEVEL_RUN, 1 + mem[group + INPUTS], out, at + 1)
    _pack_run(mem, record + mem[group + LIST_AT], 2 + mem[group + LIST_FIELDS], out, at)


@njit(cache=True, nogil=True)
def _run_end(words, at: int, width: int, most: int) -> int:
    """Where a packed run ends; -1 when its count does not fit."""
    if at < 0 or at >= words.size or words[at] < 0 or words[at] > most:
        return -1
    return at + 1 + words[at] * width


@njit(cache=True, nogil=True)
def fits_group(mem, group: int, words) -> bool:
    """Whether packed words have the lengths that the group's records have."""
    at = 1 + mem[group + INPUTS]
    for level in range(mem[group + LEVELS]):
        at = _run_end(words, at + 1, 1 + mem[group + INPUTS], mem[mem[group + KEEPS] + level])
        if at < 0:
            return False
    return _run_end(words, at, 2 + mem[group + LIST_FIELDS], mem[group + LIST_K]) == words.size


@njit(cache=True, nogil=True)
def fits_memory(mem, group: int, words) -> bool:
    """Whether the free lists and the top hold room for the record of (checked) packed words."""
    need = 0
    if mem[group + FREE_RECORDS] == 0:
        need = mem[group + RECORD_WORDS]
    for c in range(CLASSES):
        mem[WANTED + c] = 0
    at = 1 + mem[group + INPUTS]
    for _ in range(mem[group + LEVELS]):
        at = _want_run(mem, 1 + mem[group + INPUTS], words, at + 1)
    _want_run(mem, 2 + mem[group + LIST_FIELDS], words, at)
    for c in range(CLASSES):
        need += max(0, mem[WANTED + c] - mem[FREE_COUNTS + c]) * (SMALLEST_BLOCK << c)
    return mem[TOP] + need <= mem.size


@njit(cache=True, nogil=True)
def _want_run(mem, width: int, words, at: int) -> int:
    if words[at] > 0:
        mem[WANTED + class_of(words[at] * width)] += 1
    return at + 1 + words[at] * width


@njit(cache=True, nogil=True)
def _unpack_run(mem, run: int, width: int, words, at: int) -> int:
    count = words[at]
    if count > 0:
        size_class = class_of(count * width)
        mem[run + RUN_AT] = take_block(mem, size_class)
        mem[run + RUN_CAP] = (SMALLEST_BLOCK << size_class) // width
        mem[run + RUN_COUNT] = count
        for j in range(count * width):
            mem[mem[run + RUN_AT] + j] = words[at + 1 + j]
    return at + 1 + count * width


@njit(cache=True, nogil=True)
def unpack_record(mem, group: int, record: int, words) -> None:
    """Fills an empty record from packed words; the caller has checked them and made sure of the room."""
    mem[record + RECORD_NEWEST] = words[0]
    for j in range(mem[group + INPUTS]):
        mem[record + mem[group + EVER_AT] + j] = words[1 + j]
    at = 1 + mem[group + INPUTS]
    for level in range(mem[group + LEVELS]):
        place = record + mem[group + LEVELS_AT] + level * LEVEL_WORDS
        mem[place + LEVEL_NEWEST] = words[at]
        at = _unpack_run(mem, place + LEVEL_RUN, 1 + mem[group + INPUTS], words, at + 1)
    _unpack_run(mem, record + mem[group + LIST_AT], 2 + mem[group + LIST_FIELDS], words, at)
