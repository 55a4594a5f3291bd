"""One key's record: how a staged event goes into it and how a window is read out of it, for both executors."""

from __future__ import annotations

from numba import njit

from mainstem.features.kernel.memory import (
    BY_TIME,
    EVER_AT,
    HOPS,
    INPUTS,
    KEEPS,
    LEVEL_NEWEST,
    LEVEL_RUN,
    LEVEL_VERSION,
    LEVEL_WORDS,
    LEVELS,
    LEVELS_AT,
    LIST_AT,
    LIST_FIELDS,
    LIST_K,
    OPS,
    RECORD_EPOCH,
    RECORD_NEWEST,
    RUN_AT,
    RUN_COUNT,
    RUN_START,
    STAGE,
    STAGE_INPUTS,
    STAGE_OFFSET,
    STAGE_WHEN,
    lower_bound,
    make_room,
    open_gap,
)
from mainstem.features.kernel.rules import as_float, combine, decay_sum, identity_of, listed_after, oldest_tile, tile_of
from mainstem.features.kernel.shape import ADD, DECAY, EVER, UNTIMED


@njit(cache=True, nogil=True)
def clear_record(mem, group: int, record: int) -> None:
    """Empties a record; blocks that its runs hold stay with them."""
    ops = mem[group + OPS]
    for j in range(mem[group + INPUTS]):
        mem[record + mem[group + EVER_AT] + j] = identity_of(mem[ops + j])
    mem[record + RECORD_EPOCH] = 0
    mem[record + RECORD_NEWEST] = UNTIMED
    for level in range(mem[group + LEVELS]):
        at = record + mem[group + LEVELS_AT] + level * LEVEL_WORDS
        mem[at + LEVEL_NEWEST] = UNTIMED
        mem[at + LEVEL_VERSION] += 1
        mem[at + LEVEL_RUN + RUN_START] = 0
        mem[at + LEVEL_RUN + RUN_COUNT] = 0
    at = record + mem[group + LIST_AT]
    mem[at + RUN_START] = 0
    mem[at + RUN_COUNT] = 0


@njit(cache=True, nogil=True)
def add_event(mem, group: int, record: int) -> None:
    """Takes the staged event into the record: ever, the tiles of each level, the list."""
    stage = mem[group + STAGE]
    ops = mem[group + OPS]
    ever = record + mem[group + EVER_AT]
    for j in range(mem[group + INPUTS]):
        mem[ever + j] = combine(mem[ops + j], mem[ever + j], mem[stage + STAGE_INPUTS + j])
    when = mem[stage + STAGE_WHEN]
    if when != UNTIMED:
        if when > mem[record + RECORD_NEWEST]:
            mem[record + RECORD_NEWEST] = when
        at = record + mem[group + LEVELS_AT]
        for level in range(mem[group + LEVELS]):
            tile = tile_of(when, mem[mem[group + HOPS] + level])
            _add_to_tile(mem, group, at + level * LEVEL_WORDS, tile, mem[mem[group + KEEPS] + level])
    if mem[group + LIST_K] > 0:
        _add_to_list(mem, group, record + mem[group + LIST_AT])


@njit(cache=True, nogil=True)
def _forget(mem, run: int, width: int, tile: int) -> None:
    """Lets go of the tiles up to and including `tile`."""
    start = mem[run + RUN_START]
    count = mem[run + RUN_COUNT]
    block = mem[run + RUN_AT]
    while count > 0 and mem[block + start * width] <= tile:
        start += 1
        count -= 1
    mem[run + RUN_START] = start
    mem[run + RUN_COUNT] = count


@njit(cache=True, nogil=True)
def _add_to_tile(mem, group: int, level: int, tile: int, keep: int) -> None:
    """Takes the staged inputs into a tile: the newest, a new newest one, or a late one that is still kept."""
    run = level + LEVEL_RUN
    width = 1 + mem[group + INPUTS]
    newest = mem[level + LEVEL_NEWEST]
    place = mem[run + RUN_COUNT]
    if newest == UNTIMED or tile > newest:
        mem[level + LEVEL_NEWEST] = tile
        _forget(mem, run, width, tile - keep)
        place = mem[run + RUN_COUNT]
    elif tile <= newest - keep:
        return
    else:
        first = mem[run + RUN_AT] + mem[run + RUN_START] * width
        while place > 0 and mem[first + (place - 1) * width] > tile:
            place -= 1
        if place != mem[run + RUN_COUNT]:
            mem[level + LEVEL_VERSION] += 1
        if place > 0 and mem[first + (place - 1) * width] == tile:
            _combine_stage(mem, group, first + (place - 1) * width + 1)
            return
        mem[level + LEVEL_VERSION] += 1
    if make_room(mem, run, width):
        mem[level + LEVEL_VERSION] += 1
    at = open_gap(mem, run, width, place)
    mem[at] = tile
    stage = mem[group + STAGE] + STAGE_INPUTS
    for j in range(mem[group + INPUTS]):
        mem[at + 1 + j] = mem[stage + j]


@njit(cache=True, nogil=True)
def _combine_stage(mem, group: int, at: int) -> None:
    """Combines the staged inputs into the accumulators at `at`."""
    stage = mem[group + STAGE] + STAGE_INPUTS
    ops = mem[group + OPS]
    for j in range(mem[group + INPUTS]):
        mem[at + j] = combine(mem[ops + j], mem[at + j], mem[stage + j])


@njit(cache=True, nogil=True)
def _add_to_list(mem, group: int, run: int) -> None:
    """Lists the staged event at its place; of a full list the smallest goes, and a smaller newcomer is ignored."""
    stage = mem[group + STAGE]
    when = mem[stage + STAGE_WHEN]
    offset = mem[stage + STAGE_OFFSET]
    fields = mem[group + LIST_FIELDS]
    width = 2 + fields
    place = mem[run + RUN_COUNT]
    first = mem[run + RUN_AT] + mem[run + RUN_START] * width
    while place > 0:
        at = first + (place - 1) * width
        if not listed_after(mem[group + BY_TIME], mem[at], mem[at + 1], when, offset):
            break
        place -= 1
    if mem[run + RUN_COUNT] == mem[group + LIST_K]:
        if place == 0:
            return
        mem[run + RUN_START] += 1
        mem[run + RUN_COUNT] -= 1
        place -= 1
    make_room(mem, run, width)
    at = open_gap(mem, run, width, place)
    mem[at] = when
    mem[at + 1] = offset
    inputs = stage + STAGE_INPUTS + mem[group + INPUTS]
    for j in range(fields):
        mem[at + 2 + j] = mem[inputs + j]


@njit(cache=True, nogil=True)
def window_words(mem, group: int, record: int, level: int, oldest: int, current: int) -> tuple[int, int]:
    """Which words of a level's run a window from tile `oldest` to `current` reads: first, and past the last."""
    run = record + mem[group + LEVELS_AT] + level * LEVEL_WORDS + LEVEL_RUN
    width = 1 + mem[group + INPUTS]
    first = mem[run + RUN_AT] + mem[run + RUN_START] * width
    last = first + mem[run + RUN_COUNT] * width
    while last > first and mem[last - width] > current:
        last -= width
    return lower_bound(mem, first, last, width, oldest), last


@njit(cache=True, nogil=True)
def combine_words(mem, first: int, last: int, width: int, column: int, op: int) -> int:
    """One accumulator over the tiles in ``mem[first:last]``."""
    value = identity_of(op)
    if op == ADD:
        for at in range(first + 1 + column, last, width):
            value += mem[at]
    else:
        for at in range(first + 1 + column, last, width):
            value = combine(op, value, mem[at])
    return value


@njit(cache=True, nogil=True)
def read_nothing(mem, group: int, values, raw, exact: bool, request: int, window: int) -> None:
    """Writes the identity of every accumulator."""
    for j in range(mem[group + INPUTS]):
        op = mem[mem[group + OPS] + j]
        if exact:
            raw[request, window, j] = identity_of(op)
        else:
            values[request, window, j] = as_float(op, identity_of(op))


@njit(cache=True, nogil=True)
def read_window(mem, group, record, now, codes, weights, values, raw, exact, request, window) -> None:
    """Reads one window of one record.

    Args:
        mem: int64 words.
        group: Where the group's description is.
        record: Where the record is; 0 for a key without one.
        now: Shifted time of the request, or ``UNTIMED``.
        codes: int64 [windows, 4]: level, reach, kind, where its weights start.
        weights: float64, of all DECAY windows.
        values: float64 [requests, windows, inputs] to fill, unless `exact`.
        raw: int64 [requests, windows, inputs] to fill if `exact`.
        exact: Whether the caller wants the int64 accumulators.
        request: Row to fill.
        window: Window to read and column to fill.
    """
    level = codes[window, 0]
    if record == 0 or (level != EVER and now == UNTIMED):
        read_nothing(mem, group, values, raw, exact, request, window)
        return
    if level == EVER:
        first = record + mem[group + EVER_AT] - 1
        last = first + 1 + mem[group + INPUTS]
        current = 0
    else:
        current = tile_of(now, mem[mem[group + HOPS] + level])
        oldest = oldest_tile(current, codes[window, 1], codes[window, 2])
        first, last = window_words(mem, group, record, level, oldest, current)
    width = 1 + mem[group + INPUTS]
    for j in range(mem[group + INPUTS]):
        op = mem[mem[group + OPS] + j]
        if level != EVER and codes[window, 2] == DECAY and op == ADD:
            values[request, window, j] = decay_sum(mem, first, last, width, j, current, weights, codes[window, 3])
        elif level != EVER and codes[window, 2] == DECAY:
            values[request, window, j] = as_float(op, identity_of(op))
        elif exact:
            raw[request, window, j] = combine_words(mem, first, last, width, j, op)
        else:
            values[request, window, j] = as_float(op, combine_words(mem, first, last, width, j, op))


@njit(cache=True, nogil=True)
def read_listed(mem, group: int, record: int, request: int, k: int, counts, whens, fields) -> None:
    """Copies the newest `k` listed events of a record out, newest first; places without one are UNTIMED and zeros."""
    found = 0
    if record != 0:
        run = record + mem[group + LIST_AT]
        width = 2 + mem[group + LIST_FIELDS]
        found = min(mem[run + RUN_COUNT], k)
        at = mem[run + RUN_AT] + (mem[run + RUN_START] + mem[run + RUN_COUNT] - 1) * width
        for place in range(found):
            whens[request, place] = mem[at]
            for j in range(mem[group + LIST_FIELDS]):
                fields[request, place, j] = mem[at + 2 + j]
            at -= width
    counts[request] = found
    for place in range(found, k):
        whens[request, place] = UNTIMED
        for j in range(mem[group + LIST_FIELDS]):
            fields[request, place, j] = 0
