"""The join for events in the order of their times gives the bits of the join for any events."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.features.engines.ordered import lists_as_of, windows_as_of
from mainstem.features.kernel.asof import EventColumns, RequestColumns, as_of, as_of_list, group_requests
from mainstem.features.kernel.shape import ADD, CLOCK, COVER, DECAY, EVER, MAX, UNTIMED, GroupShape, Window

WINDOWS = (Window(0, 3), Window(0, 4, CLOCK), Window(1, 2, COVER), Window(EVER))


def made(seed: int, late: float, untimed: float, ahead: float) -> tuple[EventColumns, RequestColumns]:
    draw = np.random.default_rng(seed)
    n, asked = 600, 300
    when = np.sort(draw.integers(-500, 3_000, n))
    when = np.where(draw.random(n) < late, when - draw.integers(0, 900, n), when)
    when[draw.random(n) < untimed] = UNTIMED
    keys = draw.integers(0, 25, (n, 2)) // 5
    offset = np.sort(draw.choice(5 * n, n, replace=False))
    largest = draw.integers(-(2**62), 2**62, (n, 2))
    events = EventColumns(keys, when, largest, offset, draw.integers(0, 9, (n, 1)))
    seen = draw.integers(0, 5 * n, asked)
    now = -500 + seen * 3_500 // (5 * n) + draw.integers(0, 400, asked)
    now = np.where(draw.random(asked) < ahead, now - 700, now)
    now[draw.random(asked) < untimed] = UNTIMED
    return events, RequestColumns(draw.integers(0, 30, (asked, 2)) // 5, now, seen)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("late", "untimed", "ahead"), [(0, 0, 0), (0.02, 0, 0), (0, 0.01, 0), (0, 0, 0.1), (0.3, 0.1, 0.3)]
)
@pytest.mark.parametrize("by_time", [True, False])
def test_the_bits_of_the_other_join(seed: int, late: float, untimed: float, ahead: float, by_time: bool) -> None:
    events, requests = made(seed, late, untimed, ahead)
    grouped = group_requests(events, requests)
    shape = GroupShape(2, (ADD, ADD), (100, 700), (5, 3), 3, 1, by_time)
    for threads in (1, 3):
        found = windows_as_of(shape, events, requests, WINDOWS, grouped, threads)
        assert found.tobytes() == as_of(shape, events, requests, WINDOWS).tobytes()
        lists = lists_as_of(shape, events, requests, grouped, threads)
        for one, other in zip(lists, as_of_list(shape, events, requests), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("ops", "windows"), [((ADD, MAX), WINDOWS), ((ADD, ADD), (Window(0, 1, DECAY, (1.0, 0.5)),))])
def test_what_is_left_to_the_other_join(ops: tuple[int, ...], windows: tuple[Window, ...]) -> None:
    events, requests = made(0, 0.0, 0.0, 0.0)
    shape = GroupShape(2, ops, (100, 700), (5, 3))
    found = windows_as_of(shape, events, requests, windows, group_requests(events, requests))
    assert found.tobytes() == as_of(shape, events, requests, windows).tobytes()
