"""The compiled half of the as-of join: one record reused for key after key, running sums over its closed tiles."""

from __future__ import annotations

from numba import njit

from mainstem.features.kernel.memory import (
    EVER_AT,
    HOPS,
    INPUTS,
    LEVEL_RUN,
    LEVEL_VERSION,
    LEVEL_WORDS,
    LEVELS_AT,
    OPS,
    RUN_AT,
    RUN_COUNT,
    RUN_START,
    STAGE,
    STAGE_INPUTS,
    STAGE_OFFSET,
    STAGE_WHEN,
    lower_bound,
)
from mainstem.features.kernel.rules import as_float, oldest_tile, tile_of
from mainstem.features.kernel.shape import ADD, DECAY, EVER, UNTIMED
from mainstem.features.kernel.state import add_event, clear_record, read_listed, read_window

# A running window: version of the level it was summed at, its current tile, first and past-the-last summed entry.
SUM_VERSION, SUM_CURRENT, SUM_FIRST, SUM_LAST = range(4)


@njit(cache=True, nogil=True)
def _gather(events, at: int, end: int, when, inputs, fields, buffer) -> None:
    """Copies the next events' columns next to each other: many misses in flight at once, none while they are applied."""
    width = inputs.shape[1]
    for j in range(min(end - at, buffer.shape[0])):
        row = events[at + j]
        buffer[j, 0] = when[row]
        for c in range(width):
            buffer[j, 1 + c] = inputs[row, c]
        for c in range(fields.shape[1]):
            buffer[j, 1 + width + c] = fields[row, c]


@njit(cache=True, nogil=True)
def _apply_one(mem, group: int, record: int, row: int, buffer, j: int) -> None:
    """Applies a gathered event; its row stands for its offset, whose order is the same."""
    stage = mem[group + STAGE]
    mem[stage + STAGE_WHEN] = buffer[j, 0]
    mem[stage + STAGE_OFFSET] = row
    for c in range(1, buffer.shape[1]):
        mem[stage + STAGE_INPUTS - 1 + c] = buffer[j, c]
    add_event(mem, group, record)


@njit(cache=True, nogil=True)
def _apply_until(
    mem, group: int, record: int, events, at: int, stop: int, place: int, base: int, end: int,
    when, inputs, fields, buffer,
) -> tuple[int, int]:  # fmt: skip
    """Applies a key's events that stand before `place` in the log.

    Args:
        mem: int64 words.
        group: Where the group's description is.
        record: The record to fill.
        events: int32, `Grouped.events`.
        at: First event to apply.
        stop: Past the key's last.
        place: Position in the log to stop before.
        base: The event that the buffer starts with.
        end: Past the last event of the range of keys.
        when: int64 [events].
        inputs: int64 [events, inputs].
        fields: int64 [events, fields].
        buffer: int64 [chunk, 1 + inputs + fields], working space.

    Returns:
        The first event not applied, and the event that the buffer starts with now.
    """
    while at < stop and events[at] < place:
        if at >= base + buffer.shape[0]:
            _gather(events, at, end, when, inputs, fields, buffer)
            base = at
        _apply_one(mem, group, record, events[at], buffer, at - base)
        at += 1
    return at, base


@njit(cache=True, nogil=True)
def _runs_on(mem, level: int, window: int, current: int, sums) -> bool:
    """Whether a running sum can go on to `current`: no tile behind the last one changed, and no time went back."""
    run = level + LEVEL_RUN
    return (
        sums[window, SUM_VERSION] == mem[level + LEVEL_VERSION]
        and sums[window, SUM_CURRENT] <= current
        and (mem[run + RUN_COUNT] > 0)
    )


@njit(cache=True, nogil=True)
def _restart(mem, group: int, level: int, window: int, oldest: int, sums, totals) -> None:
    """Starts a running sum at the first entry from tile `oldest` on, with nothing summed."""
    run = level + LEVEL_RUN
    width = 1 + mem[group + INPUTS]
    block = mem[run + RUN_AT]
    first = block + mem[run + RUN_START] * width
    last = first + mem[run + RUN_COUNT] * width
    place = (lower_bound(mem, first, last, width, oldest) - block) // width
    sums[window, SUM_VERSION] = mem[level + LEVEL_VERSION]
    sums[window, SUM_FIRST] = place
    sums[window, SUM_LAST] = place
    for j in range(mem[group + INPUTS]):
        totals[window, j] = 0


@njit(cache=True, nogil=True)
def _advance(mem, group: int, level: int, window: int, oldest: int, sums, totals) -> None:
    """Moves a running sum's two ends: closed entries (all but the last) join, those before `oldest` leave."""
    run = level + LEVEL_RUN
    width = 1 + mem[group + INPUTS]
    block = mem[run + RUN_AT]
    start = mem[run + RUN_START]
    first = sums[window, SUM_FIRST]
    last = sums[window, SUM_LAST]
    while last < start + mem[run + RUN_COUNT] - 1:
        for j in range(mem[group + INPUTS]):
            totals[window, j] += mem[block + last * width + 1 + j]
        last += 1
    while first < last and (first < start or mem[block + first * width] < oldest):
        for j in range(mem[group + INPUTS]):
            totals[window, j] -= mem[block + first * width + 1 + j]
        first += 1
    sums[window, SUM_FIRST] = first
    sums[window, SUM_LAST] = last


@njit(cache=True, nogil=True)
def read_running(mem, group, record, now, codes, window, values, raw, exact, request, sums, totals) -> bool:
    """Reads one window of sums by moving its running sum on; False when the tiles must be walked instead."""
    if codes[window, 0] == EVER or codes[window, 2] == DECAY or now == UNTIMED:
        return False
    level = record + mem[group + LEVELS_AT] + codes[window, 0] * LEVEL_WORDS
    run = level + LEVEL_RUN
    width = 1 + mem[group + INPUTS]
    current = tile_of(now, mem[mem[group + HOPS] + codes[window, 0]])
    if mem[run + RUN_COUNT] == 0:
        return False
    newest = mem[run + RUN_AT] + (mem[run + RUN_START] + mem[run + RUN_COUNT] - 1) * width
    if mem[newest] > current:
        return False
    oldest = oldest_tile(current, codes[window, 1], codes[window, 2])
    if not _runs_on(mem, level, window, current, sums):
        _restart(mem, group, level, window, oldest, sums, totals)
    sums[window, SUM_CURRENT] = current
    _advance(mem, group, level, window, oldest, sums, totals)
    for j in range(mem[group + INPUTS]):
        value = totals[window, j]
        if mem[newest] >= oldest:
            value += mem[newest + 1 + j]
        if exact:
            raw[request, window, j] = value
        else:
            values[request, window, j] = as_float(ADD, value)
    return True


@njit(cache=True, nogil=True)
def only_sums(mem, group: int) -> bool:
    """Whether every accumulator of a group is a sum, which can be taken away again."""
    sums = 0
    for j in range(mem[group + INPUTS]):
        if mem[mem[group + OPS] + j] == ADD:
            sums += 1
    return sums == mem[group + INPUTS]


@njit(cache=True, nogil=True)
def join_windows(
    mem, group, record, events, event_starts, requests, request_starts, position, first_key, last_key,
    when, inputs, fields, now, codes, weights, values, raw, exact, sums, totals, buffer,
) -> None:  # fmt: skip
    """Reads the windows of the requests of a range of keys as of each request's place in the log.

    Args:
        mem: int64 words of an arena of this one group.
        group: Where its description is.
        record: The record to reuse.
        events: int32, `Grouped.events`; the next four are its other fields.
        event_starts: See `Grouped`.
        requests: See `Grouped`.
        request_starts: See `Grouped`.
        position: See `Grouped`.
        first_key: First key of the range.
        last_key: Past its last.
        when: int64 [events] shifted times.
        inputs: int64 [events, inputs].
        fields: int64 [events, 0]; windows need none.
        now: int64 [requests] shifted times, in the order of `requests`.
        codes: int64 [windows, 4], see `state.read_window`.
        weights: float64, of DECAY windows.
        values: float64 [requests, windows, inputs] to fill, unless `exact`.
        raw: int64 [requests, windows, inputs] to fill if `exact`.
        exact: Whether the caller wants the int64 accumulators.
        sums: int64 [windows, 4], working space.
        totals: int64 [windows, inputs], working space.
        buffer: int64 [chunk, 1 + inputs + fields], working space.
    """
    running = only_sums(mem, group)
    base = -buffer.shape[0]
    end = event_starts[last_key]
    for key in range(first_key, last_key):
        clear_record(mem, group, record)
        at = event_starts[key]
        for j in range(request_starts[key], request_starts[key + 1]):
            request = requests[j]
            at, base = _apply_until(
                mem, group, record, events, at, event_starts[key + 1], position[j], base, end,
                when, inputs, fields, buffer,
            )  # fmt: skip
            for window in range(codes.shape[0]):
                if running and read_running(
                    mem, group, record, now[j], codes, window, values, raw, exact, request, sums, totals
                ):
                    continue
                read_window(mem, group, record, now[j], codes, weights, values, raw, exact, request, window)


@njit(cache=True, nogil=True)
def join_lists(
    mem, group, record, events, event_starts, requests, request_starts, position, first_key, last_key,
    when, inputs, fields, k, counts, whens, listed, buffer,
) -> None:  # fmt: skip
    """Copies the lists of the requests of a range of keys as of each request's place in the log; see `join_windows`."""
    base = -buffer.shape[0]
    end = event_starts[last_key]
    for key in range(first_key, last_key):
        clear_record(mem, group, record)
        at = event_starts[key]
        for j in range(request_starts[key], request_starts[key + 1]):
            request = requests[j]
            at, base = _apply_until(
                mem, group, record, events, at, event_starts[key + 1], position[j], base, end,
                when, inputs, fields, buffer,
            )  # fmt: skip
            read_listed(mem, group, record, request, k, counts, whens, listed)


@njit(cache=True, nogil=True)
def join_before(
    mem, group, record, events, event_starts, first_key, last_key, when, inputs, fields, out, buffer
) -> None:
    """Copies the ever accumulators as they were before each event of a range of keys; see `join_windows`."""
    ever = record + mem[group + EVER_AT]
    base = -buffer.shape[0]
    for key in range(first_key, last_key):
        clear_record(mem, group, record)
        for at in range(event_starts[key], event_starts[key + 1]):
            for j in range(mem[group + INPUTS]):
                out[events[at], j] = mem[ever + j]
            base = _apply_until(
                mem, group, record, events, at, at + 1, when.size, base, event_starts[last_key],
                when, inputs, fields, buffer,
            )[1]  # fmt: skip
