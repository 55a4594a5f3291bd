"""The one int64 memory of the state: its control words, the allocator and the sorted runs that grow in it."""

from __future__ import annotations

from numba import njit

# Control words at the head of every memory.
TOP, USED, KEYS, EPOCH, DIRTY, STOP, GROUPS, TRACK, OFFSET_COLUMN, WORST, WIDTH = range(11)
CLASSES = 40
FREE_HEADS = 16
FREE_COUNTS = FREE_HEADS + CLASSES
WANTED = FREE_COUNTS + CLASSES
GROUP_TABLE = WANTED + CLASSES

# Why a kernel stopped before its last event.
STOP_DONE, STOP_MEMORY, STOP_INDEX, STOP_DIRTY = range(4)

# Words of a group's description, which the group table points to.
(
    KEY_WIDTH,
    INPUTS,
    LEVELS,
    LIST_K,
    LIST_FIELDS,
    BY_TIME,
    RECORD_WORDS,
    FREE_RECORD,
    FREE_RECORDS,
    GROUP_KEYS,
    GROUP_NEWEST,
    TTL,
    COUNTS_COLUMN,
    WHEN_COLUMN,
    KEY_COLUMNS,
    INPUT_COLUMNS,
    FIELD_COLUMNS,
    OPS,
    HOPS,
    KEEPS,
    STAGE,
    EVER_AT,
    LEVELS_AT,
    LIST_AT,
    DESCRIPTION_WORDS,
) = range(25)

# A record: group, epoch of the last touch, newest time, key words, ever, levels, list.
RECORD_GROUP, RECORD_EPOCH, RECORD_NEWEST, RECORD_KEY = range(4)
# A run: where its block is, entries that fit, first live entry, live entries.
RUN_AT, RUN_CAP, RUN_START, RUN_COUNT, RUN_WORDS = range(5)
# A level: newest tile, a version that moves when tiles before the last one change place or value, then its run.
LEVEL_NEWEST, LEVEL_VERSION, LEVEL_RUN = range(3)
LEVEL_WORDS = LEVEL_RUN + RUN_WORDS
# The event being applied, in the group's stage: time, offset, inputs, fields.
STAGE_WHEN, STAGE_OFFSET, STAGE_INPUTS = range(3)

SMALLEST_BLOCK = 8
LINE_WORDS = 8
"""Records start at the words of a 64-byte line."""


@njit(cache=True, nogil=True)
def class_of(words: int) -> int:
    """The size class whose blocks hold this many words; a class is twice the one before, from 8 words on."""
    size = SMALLEST_BLOCK
    found = 0
    while size < words:
        size <<= 1
        found += 1
    return found


@njit(cache=True, nogil=True)
def take_block(mem, size_class: int) -> int:
    """A block of the class: from its free list, else from the top; the caller has made sure of the room."""
    size = SMALLEST_BLOCK << size_class
    at = mem[FREE_HEADS + size_class]
    if at != 0:
        mem[FREE_HEADS + size_class] = mem[at]
        mem[FREE_COUNTS + size_class] -= 1
    else:
        at = mem[TOP]
        mem[TOP] = at + size
    mem[USED] += size
    return at


@njit(cache=True, nogil=True)
def give_block(mem, at: int, size_class: int) -> None:
    """Hands a block back to the free list of its class."""
    mem[at] = mem[FREE_HEADS + size_class]
    mem[FREE_HEADS + size_class] = at
    mem[FREE_COUNTS + size_class] += 1
    mem[USED] -= SMALLEST_BLOCK << size_class


@njit(cache=True, nogil=True)
def must_grow(mem, run: int) -> bool:
    """Whether one more entry at the end of the run needs a larger block; a quarter of dead entries is moved over first."""
    cap = mem[run + RUN_CAP]
    start = mem[run + RUN_START]
    if start + mem[run + RUN_COUNT] < cap:
        return False
    return cap == 0 or start == 0 or start * 4 < cap


@njit(cache=True, nogil=True)
def grown_class(mem, run: int, width: int) -> int:
    """The size class a run's block grows to."""
    cap = mem[run + RUN_CAP]
    if cap == 0:
        return class_of(width)
    return class_of(cap * width) + 1


@njit(cache=True, nogil=True)
def make_room(mem, run: int, width: int) -> bool:
    """Room for one entry at the end of the run; True when its live entries moved."""
    start = mem[run + RUN_START]
    count = mem[run + RUN_COUNT]
    if start + count < mem[run + RUN_CAP]:
        return False
    old = mem[run + RUN_AT]
    to = old
    if must_grow(mem, run):
        size_class = grown_class(mem, run, width)
        to = take_block(mem, size_class)
        old_class = size_class - 1
        had = mem[run + RUN_CAP]
        mem[run + RUN_CAP] = (SMALLEST_BLOCK << size_class) // width
        mem[run + RUN_AT] = to
        copy_words(mem, old + start * width, to, count * width)
        if had != 0:
            give_block(mem, old, old_class)
    else:
        copy_words(mem, old + start * width, to, count * width)
    mem[run + RUN_START] = 0
    return True


@njit(cache=True, nogil=True)
def copy_words(mem, source: int, target: int, words: int) -> None:
    """Moves words to a lower place or to another block."""
    for j in range(words):
        mem[target + j] = mem[source + j]


@njit(cache=True, nogil=True)
def open_gap(mem, run: int, width: int, place: int) -> int:
    """The word of a fresh entry at `place` (counted from the first live one); later entries move up; room is there."""
    first = mem[run + RUN_AT] + mem[run + RUN_START] * width
    count = mem[run + RUN_COUNT]
    at = first + place * width
    j = first + count * width - 1
    while j >= at:
        mem[j + width] = mem[j]
        j -= 1
    mem[run + RUN_COUNT] = count + 1
    return at


@njit(cache=True, nogil=True)
def drop_run(mem, run: int, width: int) -> None:
    """Empties a run and hands its block back."""
    if mem[run + RUN_CAP] != 0:
        give_block(mem, mem[run + RUN_AT], class_of(mem[run + RUN_CAP] * width))
    for j in range(RUN_WORDS):
        mem[run + j] = 0


@njit(cache=True, nogil=True)
def lower_bound(mem, first: int, last: int, width: int, value: int) -> int:
    """The word of the first entry in ``mem[first:last]`` whose first word is at least `value`; `last` if none."""
    low = 0
    high = (last - first) // width
    while low < high:
        mid = (low + high) >> 1
        if mem[first + mid * width] < value:
            low = mid + 1
        else:
            high = mid
    return first + low * width
