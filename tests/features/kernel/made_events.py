"""Random groups, events and requests, and the plain twin's answers to them: what the kernel tests share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from mainstem.features.kernel.asof import EventColumns, RequestColumns
from mainstem.features.kernel.reference import PlainEvent, PlainKey, read_exact, read_list, read_values, replay
from mainstem.features.kernel.shape import CLOCK, DECAY, UNTIMED, EventLayout, GroupShape, Window

HOPS, KEEPS = (7, 50), (6, 3)

# One tuple of ops for all examples keeps them comparable; every op is in it.
OPS = (0, 1, 2, 3, 0)
WINDOWS = (
    Window(),
    Window(0, 0),
    Window(0, 2),
    Window(0, 5),
    Window(0, 6, CLOCK),
    Window(0, 1, CLOCK),
    Window(1, 2),
    Window(1, 1, CLOCK),
    Window(0, 4, DECAY, (1.0, 0.7, 0.49, 0.343, 0.1)),
    Window(1, 1, DECAY, (0.9, 0.3)),
)
EXACT = WINDOWS[:8]


@dataclass(frozen=True)
class Case:
    """A shape, its events and its requests."""

    shape: GroupShape
    events: tuple[PlainEvent, ...]
    requests: tuple[tuple[tuple[int, ...], int, int], ...]

    def columns(self) -> EventColumns:
        return event_columns(self.shape, self.events)

    def asked(self) -> RequestColumns:
        keys = np.array([key for key, _, _ in self.requests], np.int64).reshape(-1, self.shape.key_width)
        rest = np.array([(now, at) for _, now, at in self.requests], np.int64).reshape(-1, 2)
        return RequestColumns(keys, rest[:, 0].copy(), rest[:, 1].copy())


def event_columns(shape: GroupShape, events: tuple[PlainEvent, ...]) -> EventColumns:
    n = len(events)
    return EventColumns(
        np.array([event.key for event in events], np.int64).reshape(n, shape.key_width),
        np.array([event.when for event in events], np.int64),
        np.array([event.inputs for event in events], np.int64).reshape(n, shape.inputs),
        np.array([event.offset for event in events], np.int64),
        np.array([event.fields for event in events], np.int64).reshape(n, shape.list_fields),
    )


def event_rows(layout: EventLayout, group: int, events: tuple[PlainEvent, ...]) -> np.ndarray:
    """Rows of the dense layout that concern one group only."""
    rows = np.zeros((len(events), layout.width), np.int64)
    columns = layout.groups[group]
    for row, event in zip(rows, events, strict=True):
        row[layout.offset], row[columns.counts], row[columns.when] = event.offset, 1, event.when
        row[list(columns.keys)] = event.key
        row[list(columns.inputs)] = event.inputs
        row[list(columns.fields)] = event.fields
    return rows


times = st.one_of(st.integers(-60, 200), st.just(UNTIMED))
wide = st.integers(-(2**63), 2**63 - 1)


@st.composite
def cases(draw: st.DrawFn, *, ops: tuple[int, ...] = OPS) -> Case:
    """Keys that collide, times that go back, repeat and are missing, offsets with gaps and repeats."""
    width = draw(st.integers(1, 3))
    shape = GroupShape(width, ops, HOPS, KEEPS, draw(st.integers(0, 4)), 2, draw(st.booleans()))
    scale = draw(st.sampled_from([1, 2**40]))
    words = st.sampled_from([0, scale, -scale])
    keys = st.tuples(*[words] * width)
    steps = draw(st.lists(st.integers(0, 2), max_size=60))
    offsets = np.cumsum([3, *steps])[1:].tolist()
    entry = st.tuples(keys, times, st.tuples(*[wide] * len(ops)), st.tuples(wide, wide))
    events = tuple(PlainEvent(offset, *draw(entry)) for offset in offsets)
    last = offsets[-1] if offsets else 3
    asked = st.tuples(keys, times, st.integers(0, last + 2))
    return Case(shape, events, tuple(draw(st.lists(asked, max_size=25))))


def plain_states(case: Case) -> list[PlainKey | None]:
    """The state of each request's key as of its offset."""
    replays = {at: replay(case.shape, case.events, at) for at in {at for _, _, at in case.requests}}
    return [replays[at].get(key) for key, _, at in case.requests]


def plain_values(case: Case, windows: tuple[Window, ...] = WINDOWS) -> np.ndarray:
    return np.array(
        [
            [read_values(case.shape, key, now, window) for window in windows]
            for key, (_, now, _) in zip(plain_states(case), case.requests, strict=True)
        ]
    ).reshape(len(case.requests), len(windows), case.shape.inputs)


def plain_exact(case: Case, windows: tuple[Window, ...] = EXACT) -> np.ndarray:
    return np.array(
        [
            [read_exact(case.shape, key, now, window) for window in windows]
            for key, (_, now, _) in zip(plain_states(case), case.requests, strict=True)
        ],
        np.int64,
    ).reshape(len(case.requests), len(windows), case.shape.inputs)


def plain_lists(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape, k, states = case.shape, case.shape.list_k, plain_states(case)
    read = [read_list(shape, key, k) for key in states]
    counts = np.array([len(key.listed) if key is not None else 0 for key in states], np.int64)
    whens = np.array([[when for when, _ in entries] for entries in read], np.int64).reshape(len(states), k)
    fields = np.array([[fields for _, fields in entries] for entries in read], np.int64).reshape(len(states), k, 2)
    return counts, whens, fields


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal shapes and equal bits; all NaN count as one."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.dtype == np.float64:
        empty = np.isnan(left)
        return np.array_equal(empty, np.isnan(right)) and np.array_equal(
            np.where(empty, 0.0, left).view(np.int64), np.where(empty, 0.0, right).view(np.int64)
        )
    return np.array_equal(left, right)
