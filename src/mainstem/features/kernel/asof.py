"""The offline executor: what a read would have given at each request's place in the log, for a whole log at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.kernel import memory as m
from mainstem.features.kernel.arena import NO_RAW, NO_VALUES, refuse_decay
from mainstem.features.kernel.asof_kernel import join_before, join_lists, join_windows
from mainstem.features.kernel.describe import describe, record_words
from mainstem.features.kernel.grouping import Grouped, group_rows
from mainstem.features.kernel.shape import EVER, EventLayout, GroupShape, Window
from mainstem.features.kernel.windows import WindowSet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GATHERED = 256
"""Events whose columns are gathered at once before they are applied."""


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The events of one group in log order, column by column.

    Args:
        keys: Key words, int64 [n, key_width].
        when: Shifted event times, int64 [n]; ``UNTIMED`` where there is none.
        inputs: Accumulator inputs, int64 [n, inputs].
        offset: Log offsets, int64 [n], never descending.
        fields: Listed fields, int64 [n, list_fields]; None where no list is read.
    """

    keys: Ints
    when: Ints
    inputs: Ints
    offset: Ints
    fields: Ints | None = None


@dataclass(frozen=True, slots=True)
class RequestColumns:
    """The requests to one group, in any order.

    Args:
        keys: Key words, int64 [n, key_width].
        now: Shifted request times, int64 [n]; ``UNTIMED`` where there is none.
        as_of: int64 [n]; a request sees the events with a smaller offset.
    """

    keys: Ints
    now: Ints
    as_of: Ints


def group_requests(events: EventColumns, requests: RequestColumns) -> Grouped:
    """The sort that `as_of` and its siblings start with; made once, it can be passed to several of them.

    Raises:
        FeatureError: ``feature-025`` when the events do not stand in log order.
    """
    _check_order(events.offset)
    position = np.searchsorted(events.offset, requests.as_of, side="left").astype(np.int64)
    return group_rows(_rows(events.keys), _rows(requests.keys), position)


def as_of(
    shape: GroupShape,
    events: EventColumns,
    requests: RequestColumns,
    windows: Sequence[Window] | WindowSet,
    *,
    grouped: Grouped | None = None,
    threads: int = 1,
) -> Floats:
    """The windows of each request as of its place in the log: the bits that `Arena.read` gives at that place.

    Args:
        shape: What the state table keeps.
        events: The log of the group.
        requests: What is asked, and when.
        windows: What to combine.
        grouped: `group_requests` of the same columns, if there is one.
        threads: Ranges of keys worked on side by side; the values do not depend on it.

    Returns:
        float64; an empty minimum or maximum and packed registers are NaN.

    Raises:
        FeatureError: ``feature-021`` for arrays of another kind, ``feature-025`` for events out of log order,
            ``feature-026`` for windows the group does not keep.

    Shapes:
        result: [requests, windows, inputs].
    """
    encoded = windows if isinstance(windows, WindowSet) else WindowSet.of(shape, windows)
    values = np.empty((len(requests.now), encoded.size, shape.inputs))
    _join_windows(shape, events, requests, encoded, grouped, threads, values, NO_RAW, False)
    return values


def as_of_registers(
    shape: GroupShape,
    events: EventColumns,
    requests: RequestColumns,
    windows: Sequence[Window] | WindowSet,
    *,
    grouped: Grouped | None = None,
    threads: int = 1,
) -> Ints:
    """The same as `as_of` as int64 accumulators: packed registers, exact sums; refuses a DECAY window.

    Shapes:
        result: [requests, windows, inputs].
    """
    encoded = windows if isinstance(windows, WindowSet) else WindowSet.of(shape, windows)
    refuse_decay(encoded)
    raw = np.empty((len(requests.now), encoded.size, shape.inputs), np.int64)
    _join_windows(shape, events, requests, encoded, grouped, threads, NO_VALUES, raw, True)
    return raw


def as_of_list(
    shape: GroupShape,
    events: EventColumns,
    requests: RequestColumns,
    k: int | None = None,
    *,
    grouped: Grouped | None = None,
    threads: int = 1,
) -> tuple[Ints, Ints, Ints]:
    """The newest `k` listed events of each request as of its place in the log (all listed when None), newest first.

    Returns:
        How many there are, their times and their fields; unused places are ``UNTIMED`` and zeros.

    Raises:
        FeatureError: ``feature-021`` for arrays of another kind, ``feature-025`` for events out of log order.

    Shapes:
        result: [requests], [requests, k], [requests, k, list_fields].
    """
    shape = replace(shape, ops=(), hops_ms=(), keeps=())
    k = shape.list_k if k is None else k
    n = len(requests.now)
    counts, whens = np.empty(n, np.int64), np.empty((n, k), np.int64)
    listed = np.empty((n, k, shape.list_fields), np.int64)
    fields = events.fields if events.fields is not None else np.zeros((len(events.when), 0), np.int64)
    _check(shape, len(events.when), events.keys, events.when, fields=fields)
    _check(shape, n, requests.keys, requests.now)
    g = grouped or group_requests(events, requests)
    inputs = np.zeros((len(events.when), 0), np.int64)

    def work(first: int, last: int) -> None:
        mem, group, record = _scratch(shape)
        join_lists(
            mem, group, record, g.events, g.event_starts, g.requests, g.request_starts, g.position, first, last,
            np.ascontiguousarray(events.when), inputs, _rows(fields), k, counts, whens, listed, _buffer(shape),
        )  # fmt: skip

    _in_ranges(g, threads, work)
    return counts, whens, listed


def as_of_before(shape: GroupShape, events: EventColumns, *, threads: int = 1) -> Ints:
    """The ever accumulators of each event's key as they were before that event: what a chained source reads.

    Raises:
        FeatureError: ``feature-021`` for arrays of another kind, ``feature-025`` for events out of log order.

    Shapes:
        result: [events, inputs].
    """
    shape = replace(shape, hops_ms=(), keeps=(), list_k=0, list_fields=0)
    n = len(events.when)
    _check(shape, n, events.keys, events.when, inputs=events.inputs)
    _check_order(events.offset)
    g = group_rows(_rows(events.keys), _rows(events.keys), np.arange(n))
    out = np.empty((n, shape.inputs), np.int64)
    fields = np.zeros((n, 0), np.int64)

    def work(first: int, last: int) -> None:
        mem, group, record = _scratch(shape)
        join_before(
            mem, group, record, g.events, g.event_starts, first, last,
            np.ascontiguousarray(events.when), _rows(events.inputs), fields, out, _buffer(shape),
        )  # fmt: skip

    _in_ranges(g, threads, work)
    return out


def _join_windows(
    shape: GroupShape,
    events: EventColumns,
    requests: RequestColumns,
    encoded: WindowSet,
    grouped: Grouped | None,
    threads: int,
    values: Floats,
    raw: Ints,
    exact: bool,
) -> None:
    """Fills `values` or `raw`."""
    shape, codes = _only_read(shape, encoded)
    _check(shape, len(events.when), events.keys, events.when, inputs=events.inputs)
    _check(shape, len(requests.now), requests.keys, requests.now)
    g = grouped or group_requests(events, requests)
    fields = np.zeros((len(events.when), 0), np.int64)
    when, inputs, now = np.ascontiguousarray(events.when), _rows(events.inputs), requests.now[g.requests]

    def work(first: int, last: int) -> None:
        mem, group, record = _scratch(shape)
        sums = np.full((encoded.size, 4), -1, np.int64)
        totals = np.zeros((encoded.size, shape.inputs), np.int64)
        join_windows(
            mem, group, record, g.events, g.event_starts, g.requests, g.request_starts, g.position, first, last,
            when, inputs, fields, now, codes, encoded.weights, values, raw, exact, sums, totals, _buffer(shape),
        )  # fmt: skip

    _in_ranges(g, threads, work)


def _only_read(shape: GroupShape, encoded: WindowSet) -> tuple[GroupShape, Ints]:
    """The shape without its list and the levels no window reads, and the windows' codes by what is left."""
    levels = sorted({int(level) for level in encoded.codes[:, 0]} - {EVER})
    hops = tuple(shape.hops_ms[level] for level in levels)
    keeps = tuple(shape.keeps[level] for level in levels)
    codes = encoded.codes.copy()
    codes[:, 0] = [EVER if level == EVER else levels.index(level) for level in codes[:, 0].tolist()]
    return replace(shape, hops_ms=hops, keeps=keeps, list_k=0, list_fields=0), codes


def _scratch(shape: GroupShape) -> tuple[Ints, int, int]:
    """A memory for one record of this shape with all it can grow to: the words, its description, the record."""
    mem = describe((shape,), EventLayout.dense((shape,)), (None,), 0, None, False)
    group, record = int(mem[m.GROUP_TABLE]), int(mem[m.TOP])
    mem[m.TOP] += record_words(shape)
    return np.concatenate([mem, np.zeros(int(mem[m.WORST]), np.int64)]), group, record


def _buffer(shape: GroupShape) -> Ints:
    return np.empty((GATHERED, 1 + shape.inputs + shape.list_fields), np.int64)


def _in_ranges(grouped: Grouped, threads: int, work: Callable[[int, int], None]) -> None:
    """Does the keys in ranges of about equal rows, side by side when there is more than one thread."""
    if threads <= 1 or grouped.size < 2:
        work(0, grouped.size)
        return
    rows = grouped.event_starts + grouped.request_starts
    cuts = np.searchsorted(rows, np.linspace(0, rows[-1], threads + 1)[1:-1]).tolist()
    bounds = [0, *cuts, grouped.size]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, first, last) for first, last in pairwise(bounds)]:
            done.result()


def _rows(array: Ints) -> Ints:
    return np.ascontiguousarray(array)


def _check_order(offset: Ints) -> None:
    if len(offset) > 1 and not bool(np.all(offset[1:] >= offset[:-1])):
        at = int(np.argmax(offset[1:] < offset[:-1])) + 1
        raise FeatureError(
            f"event {at} has offset {offset[at]} after {offset[at - 1]}",
            code="feature-025",
            hint="sort the events by log offset",
        )


def _check(
    shape: GroupShape, n: int, keys: Ints, times: Ints, inputs: Ints | None = None, fields: Ints | None = None
) -> None:
    wanted = [("keys", keys, (n, shape.key_width)), ("times", times, (n,))]
    if inputs is not None:
        wanted.append(("inputs", inputs, (n, shape.inputs)))
    if fields is not None:
        wanted.append(("fields", fields, (n, shape.list_fields)))
    for what, array, size in wanted:
        if array.dtype != np.int64 or array.shape != size:
            raise FeatureError(
                f"{what} are {array.dtype} {array.shape}, expected int64 {size}",
                code="feature-021",
                hint="one row for each event or request",
            )
