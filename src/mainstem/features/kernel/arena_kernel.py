"""The compiled half of the arena: apply event rows, read keys, drop and expire them; it stops where room runs out."""

from __future__ import annotations

from numba import njit

from mainstem.features.kernel.index import ADDRESS, clear_slot, fill_slot, find_slot, hash_key
from mainstem.features.kernel.memory import (
    CLASSES,
    COUNTS_COLUMN,
    DIRTY,
    EPOCH,
    EVER_AT,
    FIELD_COLUMNS,
    FREE_COUNTS,
    FREE_RECORD,
    FREE_RECORDS,
    GROUP_KEYS,
    GROUP_NEWEST,
    GROUP_TABLE,
    GROUPS,
    HOPS,
    INPUT_COLUMNS,
    INPUTS,
    KEEPS,
    KEY_COLUMNS,
    KEY_WIDTH,
    KEYS,
    LEVEL_RUN,
    LEVEL_WORDS,
    LEVELS,
    LEVELS_AT,
    LINE_WORDS,
    LIST_AT,
    LIST_FIELDS,
    LIST_K,
    OFFSET_COLUMN,
    OPS,
    RECORD_EPOCH,
    RECORD_GROUP,
    RECORD_KEY,
    RECORD_NEWEST,
    RECORD_WORDS,
    RUN_AT,
    RUN_COUNT,
    RUN_START,
    SMALLEST_BLOCK,
    STAGE,
    STAGE_INPUTS,
    STAGE_OFFSET,
    STAGE_WHEN,
    STOP,
    STOP_DIRTY,
    STOP_DONE,
    STOP_INDEX,
    STOP_MEMORY,
    TOP,
    TRACK,
    TTL,
    USED,
    WANTED,
    WHEN_COLUMN,
    WORST,
    class_of,
    drop_run,
    grown_class,
    must_grow,
)
from mainstem.features.kernel.pack import fits_memory, unpack_record
from mainstem.features.kernel.prefetch import prefetch
from mainstem.features.kernel.rules import as_float, identity_of, oldest_tile, tile_of
from mainstem.features.kernel.shape import DECAY, EVER, UNTIMED
from mainstem.features.kernel.state import (
    add_event,
    clear_record,
    combine_words,
    read_listed,
    read_window,
    window_words,
)

AHEAD = 4
"""Events between one stage of the look-ahead and the next."""


@njit(cache=True, nogil=True)
def new_record(mem, index, slot: int, group: int, key_0: int, key_1: int, key_2: int) -> int:
    """An empty record for a key, entered at its slot; the caller has made sure of the room."""
    description = mem[GROUP_TABLE + group]
    words = mem[description + RECORD_WORDS]
    record = mem[description + FREE_RECORD]
    if record != 0:
        mem[description + FREE_RECORD] = mem[record]
        mem[description + FREE_RECORDS] -= 1
    else:
        record = mem[TOP]
        mem[TOP] = record + words
    for j in range(words):
        mem[record + j] = 0
    mem[USED] += words
    mem[description + GROUP_KEYS] += 1
    mem[record + RECORD_GROUP] = group
    mem[record + RECORD_KEY] = key_0
    if mem[description + KEY_WIDTH] > 1:
        mem[record + RECORD_KEY + 1] = key_1
    if mem[description + KEY_WIDTH] > 2:
        mem[record + RECORD_KEY + 2] = key_2
    clear_record(mem, description, record)
    fill_slot(mem, index, slot, hash_key(group, key_0, key_1, key_2), record)
    return record


@njit(cache=True, nogil=True)
def _touch(mem, dirty, record: int) -> None:
    """Notes a record as touched, once in an epoch."""
    if mem[TRACK] != 0 and mem[record + RECORD_EPOCH] != mem[EPOCH]:
        mem[record + RECORD_EPOCH] = mem[EPOCH]
        row = mem[DIRTY]
        group = mem[record + RECORD_GROUP]
        dirty[row, 0] = group
        for j in range(mem[mem[GROUP_TABLE + group] + KEY_WIDTH]):
            dirty[row, 1 + j] = mem[record + RECORD_KEY + j]
        mem[DIRTY] = row + 1


@njit(cache=True, nogil=True)
def _want_for(mem, description: int, record: int) -> int:
    """Counts the blocks one event may take from the free lists into WANTED; the words of a new record are returned."""
    words = 0
    if record == 0 and mem[description + FREE_RECORDS] == 0:
        words = mem[description + RECORD_WORDS]
    width = 1 + mem[description + INPUTS]
    for level in range(mem[description + LEVELS]):
        run = record + mem[description + LEVELS_AT] + level * LEVEL_WORDS + LEVEL_RUN
        if record == 0:
            mem[WANTED + class_of(width)] += 1
        elif must_grow(mem, run):
            mem[WANTED + grown_class(mem, run, width)] += 1
    if mem[description + LIST_K] > 0:
        run = record + mem[description + LIST_AT]
        width = 2 + mem[description + LIST_FIELDS]
        if record == 0:
            mem[WANTED + class_of(width)] += 1
        elif must_grow(mem, run):
            mem[WANTED + grown_class(mem, run, width)] += 1
    return words


@njit(cache=True, nogil=True)
def _row_key(mem, description: int, rows, row: int) -> tuple[int, int, int]:
    """The key words of a group in an event row; absent words are 0."""
    columns = mem[description + KEY_COLUMNS]
    width = mem[description + KEY_WIDTH]
    key_1 = rows[row, mem[columns + 1]] if width > 1 else 0
    key_2 = rows[row, mem[columns + 2]] if width > 2 else 0
    return rows[row, mem[columns]], key_1, key_2


@njit(cache=True, nogil=True)
def _key_of(keys, at: int) -> tuple[int, int, int]:
    """The key words of row `at` of a key matrix; absent words are 0."""
    key_1 = keys[at, 1] if keys.shape[1] > 1 else 0
    key_2 = keys[at, 2] if keys.shape[1] > 2 else 0
    return keys[at, 0], key_1, key_2


@njit(cache=True, nogil=True)
def _concerns(mem, description: int, rows, row: int) -> bool:
    """Whether an event row counts for a group."""
    column = mem[description + COUNTS_COLUMN]
    return column < 0 or rows[row, column] != 0


@njit(cache=True, nogil=True)
def _fits_exactly(mem, index, rows, row: int) -> bool:
    """Whether the free lists and the top hold room for all that one event may take, over all groups."""
    words = 0
    for c in range(CLASSES):
        mem[WANTED + c] = 0
    for group in range(mem[GROUPS]):
        description = mem[GROUP_TABLE + group]
        if _concerns(mem, description, rows, row):
            key_0, key_1, key_2 = _row_key(mem, description, rows, row)
            slot = find_slot(mem, index, group, mem[description + KEY_WIDTH], key_0, key_1, key_2)
            words += _want_for(mem, description, index[slot] & ADDRESS)
    for c in range(CLASSES):
        words += max(0, mem[WANTED + c] - mem[FREE_COUNTS + c]) * (SMALLEST_BLOCK << c)
    return mem[TOP] + words <= mem.size


@njit(cache=True, nogil=True)
def _stop_for(mem, index, dirty, rows, row: int) -> int:
    """Why one more event cannot be applied whole, or STOP_DONE when it can."""
    groups = mem[GROUPS]
    if (mem[KEYS] + groups) * 2 > index.size:
        return STOP_INDEX
    if mem[TRACK] != 0 and mem[DIRTY] + groups > dirty.shape[0]:
        return STOP_DIRTY
    if mem[TOP] + mem[WORST] > mem.size and not _fits_exactly(mem, index, rows, row):
        return STOP_MEMORY
    return STOP_DONE


@njit(cache=True, nogil=True)
def _stage(mem, description: int, rows, row: int) -> None:
    """Copies what one group reads of an event row to its stage."""
    stage = mem[description + STAGE]
    mem[stage + STAGE_WHEN] = rows[row, mem[description + WHEN_COLUMN]]
    mem[stage + STAGE_OFFSET] = rows[row, mem[OFFSET_COLUMN]]
    columns = mem[description + INPUT_COLUMNS]
    to = stage + STAGE_INPUTS
    for j in range(mem[description + INPUTS]):
        mem[to + j] = rows[row, mem[columns + j]]
    if mem[description + LIST_K] > 0:
        to += mem[description + INPUTS]
        columns = mem[description + FIELD_COLUMNS]
        for j in range(mem[description + LIST_FIELDS]):
            mem[to + j] = rows[row, mem[columns + j]]


@njit(cache=True, nogil=True)
def _copy_ever(mem, description: int, record: int, out, row: int) -> None:
    """Copies the ever accumulators of a record (0: of a key without one) into a row."""
    for j in range(mem[description + INPUTS]):
        if record == 0:
            out[row, j] = identity_of(mem[mem[description + OPS] + j])
        else:
            out[row, j] = mem[record + mem[description + EVER_AT] + j]


@njit(cache=True, nogil=True)
def _fetch_slots(mem, index, rows, row: int) -> None:
    """Asks for the slots that an event to come will look its keys up in."""
    mask = index.size - 1
    for group in range(mem[GROUPS]):
        description = mem[GROUP_TABLE + group]
        if _concerns(mem, description, rows, row):
            key_0, key_1, key_2 = _row_key(mem, description, rows, row)
            prefetch(index, hash_key(group, key_0, key_1, key_2) & mask)


@njit(cache=True, nogil=True)
def _fetch_records(mem, index, rows, row: int) -> None:
    """Asks for the records of an event to come, where its slots are near by now."""
    mask = index.size - 1
    for group in range(mem[GROUPS]):
        description = mem[GROUP_TABLE + group]
        if _concerns(mem, description, rows, row):
            key_0, key_1, key_2 = _row_key(mem, description, rows, row)
            record = index[hash_key(group, key_0, key_1, key_2) & mask] & ADDRESS
            for line in range(0, mem[description + RECORD_WORDS], LINE_WORDS):
                prefetch(mem, record + line)


@njit(cache=True, nogil=True)
def _fetch_runs(mem, index, rows, row: int) -> None:
    """Asks for the ends of the runs of an event to come, where its records are near by now."""
    mask = index.size - 1
    for group in range(mem[GROUPS]):
        description = mem[GROUP_TABLE + group]
        if _concerns(mem, description, rows, row):
            key_0, key_1, key_2 = _row_key(mem, description, rows, row)
            record = index[hash_key(group, key_0, key_1, key_2) & mask] & ADDRESS
            if record != 0 and mem[record + RECORD_GROUP] == group:
                run = record + mem[description + LEVELS_AT] + LEVEL_RUN
                width = 1 + mem[description + INPUTS]
                for _ in range(mem[description + LEVELS]):
                    prefetch(mem, mem[run + RUN_AT] + (mem[run + RUN_START] + mem[run + RUN_COUNT]) * width - 1)
                    run += LEVEL_WORDS
                if mem[description + LIST_K] > 0:
                    run = record + mem[description + LIST_AT]
                    width = 2 + mem[description + LIST_FIELDS]
                    prefetch(mem, mem[run + RUN_AT] + (mem[run + RUN_START] + mem[run + RUN_COUNT]) * width - 1)


@njit(cache=True, nogil=True)
def _look_ahead(mem, index, rows, row: int) -> None:
    """Has what the next events will touch on its way while this one is applied."""
    if row + 3 * AHEAD < rows.shape[0]:
        _fetch_slots(mem, index, rows, row + 3 * AHEAD)
    if row + 2 * AHEAD < rows.shape[0]:
        _fetch_records(mem, index, rows, row + 2 * AHEAD)
    if row + AHEAD < rows.shape[0]:
        _fetch_runs(mem, index, rows, row + AHEAD)


@njit(cache=True, nogil=True)
def apply_rows(mem, index, dirty, rows, first: int, before_group: int, before) -> int:
    """Applies event rows from `first` on, each to all groups it concerns, and stops before one without room.

    Args:
        mem: int64 words.
        index: The key table.
        dirty: int64 [rows, 4] of touched keys.
        rows: int64 [events, width], laid out as the arena was told.
        first: First row to apply.
        before_group: Group whose ever accumulators are noted before each event; -1 for none.
        before: int64 [events, inputs of that group] to fill; identity where the event does not concern it.

    Returns:
        The row it stopped before; the number of rows when it is through. ``mem[STOP]`` says why.
    """
    for row in range(first, rows.shape[0]):
        stop = _stop_for(mem, index, dirty, rows, row)
        if stop != STOP_DONE:
            mem[STOP] = stop
            return row
        _look_ahead(mem, index, rows, row)
        for group in range(mem[GROUPS]):
            description = mem[GROUP_TABLE + group]
            if not _concerns(mem, description, rows, row):
                if group == before_group:
                    _copy_ever(mem, description, 0, before, row)
                continue
            key_0, key_1, key_2 = _row_key(mem, description, rows, row)
            slot = find_slot(mem, index, group, mem[description + KEY_WIDTH], key_0, key_1, key_2)
            record = index[slot] & ADDRESS
            if record == 0:
                record = new_record(mem, index, slot, group, key_0, key_1, key_2)
            if group == before_group:
                _copy_ever(mem, description, record, before, row)
            _stage(mem, description, rows, row)
            add_event(mem, description, record)
            newest = mem[mem[description + STAGE] + STAGE_WHEN]
            if newest > mem[description + GROUP_NEWEST]:
                mem[description + GROUP_NEWEST] = newest
            _touch(mem, dirty, record)
    mem[STOP] = STOP_DONE
    return rows.shape[0]


@njit(cache=True, nogil=True)
def find_record(mem, index, group: int, keys, at: int) -> int:
    """The record of a key, 0 when there is none."""
    key_0, key_1, key_2 = _key_of(keys, at)
    width = mem[mem[GROUP_TABLE + group] + KEY_WIDTH]
    return index[find_slot(mem, index, group, width, key_0, key_1, key_2)] & ADDRESS


@njit(cache=True, nogil=True)
def _look_ahead_keys(mem, index, group: int, keys, at: int) -> None:
    """Has the slots and records of the next keys on their way while this one is read."""
    mask = index.size - 1
    if at + 2 * AHEAD < keys.shape[0]:
        key_0, key_1, key_2 = _key_of(keys, at + 2 * AHEAD)
        prefetch(index, hash_key(group, key_0, key_1, key_2) & mask)
    if at + AHEAD < keys.shape[0]:
        key_0, key_1, key_2 = _key_of(keys, at + AHEAD)
        record = index[hash_key(group, key_0, key_1, key_2) & mask] & ADDRESS
        for line in range(0, mem[mem[GROUP_TABLE + group] + RECORD_WORDS], LINE_WORDS):
            prefetch(mem, record + line)


@njit(cache=True, nogil=True)
def _read_numbers(mem, description: int, record: int, now: int, asked, values, request: int, window: int) -> None:
    """What `read_window` gives for sums and extremes, with two arrays to pass instead of five: a third of its time."""
    level, reach, kind = asked
    ops, inputs = mem[description + OPS], mem[description + INPUTS]
    if record == 0 or (level != EVER and now == UNTIMED):
        for j in range(inputs):
            values[request, window, j] = as_float(mem[ops + j], identity_of(mem[ops + j]))
    elif level == EVER:
        at = record + mem[description + EVER_AT]
        for j in range(inputs):
            values[request, window, j] = as_float(mem[ops + j], mem[at + j])
    else:
        current = tile_of(now, mem[mem[description + HOPS] + level])
        oldest = oldest_tile(current, reach, kind)
        first, last = window_words(mem, description, record, level, oldest, current)
        for j in range(inputs):
            op = mem[ops + j]
            values[request, window, j] = as_float(op, combine_words(mem, first, last, 1 + inputs, j, op))


@njit(cache=True, nogil=True)
def read_keys(mem, index, group: int, keys, now, codes, weights, values, raw, exact: bool) -> None:
    """Reads all windows of all keys; see `state.read_window` for the arrays."""
    description = mem[GROUP_TABLE + group]
    for request in range(keys.shape[0]):
        _look_ahead_keys(mem, index, group, keys, request)
        record = find_record(mem, index, group, keys, request)
        for window in range(codes.shape[0]):
            if not exact and codes[window, 2] != DECAY:
                asked = (codes[window, 0], codes[window, 1], codes[window, 2])
                _read_numbers(mem, description, record, now[request], asked, values, request, window)
                continue
            read_window(mem, description, record, now[request], codes, weights, values, raw, exact, request, window)


@njit(cache=True, nogil=True)
def read_lists(mem, index, group: int, keys, k: int, counts, whens, fields) -> None:
    """Copies the newest `k` listed events of all keys out."""
    description = mem[GROUP_TABLE + group]
    for request in range(keys.shape[0]):
        _look_ahead_keys(mem, index, group, keys, request)
        record = find_record(mem, index, group, keys, request)
        read_listed(mem, description, record, request, k, counts, whens, fields)


@njit(cache=True, nogil=True)
def known_keys(mem, index, group: int, keys, out) -> None:
    """Which keys have a record."""
    for request in range(keys.shape[0]):
        out[request] = find_record(mem, index, group, keys, request) != 0


@njit(cache=True, nogil=True)
def _free_slot(mem, index, slot: int) -> None:
    """Frees the record at a slot, its blocks and the slot."""
    record = index[slot] & ADDRESS
    description = mem[GROUP_TABLE + mem[record + RECORD_GROUP]]
    clear_slot(mem, index, GROUP_TABLE, slot)
    for level in range(mem[description + LEVELS]):
        run = record + mem[description + LEVELS_AT] + level * LEVEL_WORDS + LEVEL_RUN
        drop_run(mem, run, 1 + mem[description + INPUTS])
    drop_run(mem, record + mem[description + LIST_AT], 2 + mem[description + LIST_FIELDS])
    mem[record] = mem[description + FREE_RECORD]
    mem[description + FREE_RECORD] = record
    mem[description + FREE_RECORDS] += 1
    mem[description + GROUP_KEYS] -= 1
    mem[USED] -= mem[description + RECORD_WORDS]


@njit(cache=True, nogil=True)
def drop_key(mem, index, dirty, group: int, keys) -> bool:
    """Forgets the key in row 0 of `keys`; False when it is not known, or when its note had no room (``mem[STOP]``)."""
    key_0, key_1, key_2 = _key_of(keys, 0)
    width = mem[mem[GROUP_TABLE + group] + KEY_WIDTH]
    slot = find_slot(mem, index, group, width, key_0, key_1, key_2)
    mem[STOP] = STOP_DONE
    if index[slot] == 0:
        return False
    if mem[TRACK] != 0 and mem[DIRTY] + 1 > dirty.shape[0]:
        mem[STOP] = STOP_DIRTY
        return False
    _touch(mem, dirty, index[slot] & ADDRESS)
    _free_slot(mem, index, slot)
    return True


@njit(cache=True, nogil=True)
def _free_old_tiles(mem, description: int, record: int, now: int) -> None:
    """Frees the tiles that no window of a request at `now` or later reads; what is newest stays known."""
    for level in range(mem[description + LEVELS]):
        run = record + mem[description + LEVELS_AT] + level * LEVEL_WORDS + LEVEL_RUN
        width = 1 + mem[description + INPUTS]
        oldest = tile_of(now, mem[mem[description + HOPS] + level]) - mem[mem[description + KEEPS] + level]
        while mem[run + RUN_COUNT] > 0 and mem[mem[run + RUN_AT] + mem[run + RUN_START] * width] <= oldest:
            mem[run + RUN_START] += 1
            mem[run + RUN_COUNT] -= 1
        if mem[run + RUN_COUNT] == 0:
            drop_run(mem, run, width)


@njit(cache=True, nogil=True)
def expire_keys(mem, index, now) -> int:
    """Drops the keys past their group's time to live and frees tiles past their keep.

    Args:
        mem: int64 words.
        index: The key table.
        now: int64 [groups], shifted time of each group's clock; ``UNTIMED`` leaves a group as it is.

    Returns:
        How many keys went.
    """
    gone = 0
    slot = 0
    while slot < index.size:
        record = index[slot] & ADDRESS
        if record != 0 and now[mem[record + RECORD_GROUP]] != UNTIMED:
            group = mem[record + RECORD_GROUP]
            description = mem[GROUP_TABLE + group]
            newest = mem[record + RECORD_NEWEST]
            if mem[description + TTL] >= 0 and newest != UNTIMED and newest < now[group] - mem[description + TTL]:
                _free_slot(mem, index, slot)
                gone += 1
                continue
            _free_old_tiles(mem, description, record, now[group])
        slot += 1
    return gone


@njit(cache=True, nogil=True)
def put_record(mem, index, group: int, keys, words) -> None:
    """Makes checked packed words the state of the key in row 0 of `keys`; ``mem[STOP]`` says when there is no room."""
    description = mem[GROUP_TABLE + group]
    if (mem[KEYS] + 1) * 2 > index.size:
        mem[STOP] = STOP_INDEX
        return
    if not fits_memory(mem, description, words):
        mem[STOP] = STOP_MEMORY
        return
    key_0, key_1, key_2 = _key_of(keys, 0)
    width = mem[description + KEY_WIDTH]
    slot = find_slot(mem, index, group, width, key_0, key_1, key_2)
    if index[slot] != 0:
        _free_slot(mem, index, slot)
        slot = find_slot(mem, index, group, width, key_0, key_1, key_2)
    record = new_record(mem, index, slot, group, key_0, key_1, key_2)
    unpack_record(mem, description, record, words)
    mem[STOP] = STOP_DONE


@njit(cache=True, nogil=True)
def group_keys(mem, index, group: int, out) -> int:
    """Writes the keys of a group, in the table's order; how many they are."""
    found = 0
    for slot in range(index.size):
        record = index[slot] & ADDRESS
        if record != 0 and mem[record + RECORD_GROUP] == group:
            for j in range(out.shape[1]):
                out[found, j] = mem[record + RECORD_KEY + j]
            found += 1
    return found
