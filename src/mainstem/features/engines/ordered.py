"""The as-of join where events came in the order of their times: differences of running totals, a few words an event.

Most keys of most logs have no late event. For those a window's sum is the total now less the total where the window begins, and
the last events are the last rows: no tiles, no list to keep. Whole numbers wrap the same way however they are grouped, so the bits
are those of ``kernel.asof``, to which every other key and every other kind of window is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.features.kernel.asof import EventColumns, RequestColumns, as_of, as_of_list
from mainstem.features.kernel.grouping import Grouped
from mainstem.features.kernel.rules import as_float, oldest_tile, tile_of
from mainstem.features.kernel.shape import ADD, DECAY, EVER, UNTIMED, GroupShape, Window
from mainstem.features.kernel.windows import WindowSet

Ints = NDArray[np.int64]
_EARLIEST = -(2**61)
"""Times before this are left to the other join: where a window begins must not overflow."""


def windows_as_of(
    shape: GroupShape,
    events: EventColumns,
    requests: RequestColumns,
    windows: Sequence[Window],
    grouped: Grouped,
    threads: int = 1,
) -> NDArray[np.float64]:
    """The same bits as ``as_of``.

    Shapes:
        result: [requests, windows, inputs].
    """
    encoded = WindowSet.of(shape, windows)
    if any(op != ADD for op in shape.ops) or any(window.kind == DECAY for window in windows):
        return as_of(shape, events, requests, encoded, grouped=grouped, threads=threads)
    out = np.empty((len(requests.now), len(windows), shape.inputs))
    left = np.zeros(grouped.size, np.bool_)
    hops = np.array(shape.hops_ms or (1,), np.int64)

    def work(first: int, last: int) -> None:
        sum_ordered(
            grouped.events, grouped.event_starts, grouped.requests, grouped.request_starts, grouped.position, first, last,
            events.when, events.inputs, requests.now, encoded.codes, hops, out, left,
        )  # fmt: skip

    _in_ranges(grouped, threads, work)
    rows = _rows_of(grouped, left)
    if len(rows):
        some = RequestColumns(requests.keys[rows], requests.now[rows], requests.as_of[rows])
        out[rows] = as_of(shape, events, some, encoded, threads=threads)
    return out


def lists_as_of(
    shape: GroupShape, events: EventColumns, requests: RequestColumns, grouped: Grouped, threads: int = 1
) -> tuple[Ints, Ints, Ints]:
    """The same as ``as_of_list``: how many there are, their times and fields, newest first."""
    n, k = len(requests.now), shape.list_k
    assert events.fields is not None
    fields = events.fields
    count, when = np.zeros(n, np.int64), np.full((n, k), UNTIMED, np.int64)
    listed = np.zeros((n, k, shape.list_fields), np.int64)
    left = np.zeros(grouped.size, np.bool_)

    def work(first: int, last: int) -> None:
        list_ordered(
            grouped.events, grouped.event_starts, grouped.requests, grouped.request_starts, grouped.position, first, last,
            events.when, fields, shape.by_time, k, count, when, listed, left,
        )  # fmt: skip

    _in_ranges(grouped, threads, work)
    rows = _rows_of(grouped, left)
    if len(rows):
        some = RequestColumns(requests.keys[rows], requests.now[rows], requests.as_of[rows])
        count[rows], when[rows], listed[rows] = as_of_list(shape, events, some, threads=threads)
    return count, when, listed


@njit(cache=True, nogil=True)
def _begins(times, count: int, begin: int) -> int:
    """How many of the first times lie before ``begin``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if times[middle] < begin:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def sum_ordered(
    events, event_starts, requests, request_starts, position, first_key, last_key, when, inputs, now, codes, hops, out, left
) -> None:  # fmt: skip
    """Fills ``out`` for the keys whose events and requests came in the order of their times; marks the others in ``left``."""
    most = 1
    for key in range(first_key, last_key):
        most = max(most, event_starts[key + 1] - event_starts[key])
    width = inputs.shape[1]
    times = np.empty(most, np.int64)
    totals = np.zeros((most + 1, width), np.int64)
    for key in range(first_key, last_key):
        start, size = event_starts[key], event_starts[key + 1] - event_starts[key]
        last = _EARLIEST
        for at in range(size):
            row = events[start + at]
            times[at] = when[row]
            if times[at] < last:
                left[key] = True
                break
            last = times[at]
            for j in range(width):
                totals[at + 1, j] = totals[at, j] + inputs[row, j]
        seen = 0
        for j in range(request_starts[key], request_starts[key + 1]):
            if left[key]:
                break
            while seen < size and events[start + seen] < position[j]:
                seen += 1
            request = requests[j]
            if now[request] < _EARLIEST or (seen > 0 and now[request] < times[seen - 1]):
                left[key] = True
                break
            for window in range(codes.shape[0]):
                before = 0
                if codes[window, 0] != EVER:
                    hop = hops[codes[window, 0]]
                    oldest = oldest_tile(tile_of(now[request], hop), codes[window, 1], codes[window, 2])
                    before = _begins(times, seen, oldest * hop)
                for c in range(width):
                    out[request, window, c] = as_float(ADD, totals[seen, c] - totals[before, c])


@njit(cache=True, nogil=True)
def list_ordered(
    events, event_starts, requests, request_starts, position, first_key, last_key, when, fields, by_time, k, count, whens,
    listed, left,
) -> None:  # fmt: skip
    """Fills lists for the keys whose events came in the order of their times (any order, where lists keep that of arrival)."""
    for key in range(first_key, last_key):
        start, size = event_starts[key], event_starts[key + 1] - event_starts[key]
        if by_time:
            for at in range(1, size):
                if when[events[start + at]] < when[events[start + at - 1]]:
                    left[key] = True
                    break
        if left[key]:
            continue
        seen = 0
        for j in range(request_starts[key], request_starts[key + 1]):
            while seen < size and events[start + seen] < position[j]:
                seen += 1
            request = requests[j]
            count[request] = min(seen, k)
            for place in range(min(seen, k)):
                row = events[start + seen - 1 - place]
                whens[request, place] = when[row]
                for c in range(fields.shape[1]):
                    listed[request, place, c] = fields[row, c]


def _rows_of(grouped: Grouped, keys: NDArray[np.bool_]) -> Ints:
    """The requests of some keys."""
    return grouped.requests[np.repeat(keys, np.diff(grouped.request_starts))].astype(np.int64)


def _in_ranges(grouped: Grouped, threads: int, work: Callable[[int, int], None]) -> None:
    """Does the keys in ranges of about equal rows, side by side when there is more than one thread."""
    rows = grouped.event_starts + grouped.request_starts
    cuts = np.searchsorted(rows, np.linspace(0, rows[-1], threads + 1)[1:-1]).tolist() if grouped.size > 1 else []
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, first, last) for first, last in pairwise([0, *cuts, grouped.size])]:
            done.result()
