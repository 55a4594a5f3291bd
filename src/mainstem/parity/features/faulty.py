"""Twelve faults, each planted in the served world by really doing the wrong thing there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features.events import Events
from mainstem.features.language.aggregate import Aggregate
from mainstem.features.language.feature import Attribute
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.features.steps import Arrays, Tables
from mainstem.parity.features import suspects
from mainstem.parity.features.configuration import Arranged, Asked, Configuration, Side
from mainstem.parity.features.everything import Everything, swapped_steps
from mainstem.parity.features.served import Course, Replay, Server

Ints = NDArray[np.int64]
Draw = np.random.Generator


@dataclass(frozen=True, slots=True)
class Planted:
    """A served world with one fault in it.

    Attributes:
        story: What was done, and where.
        cause: What a comparison should call it.
        features: The declared features in which it begins.
    """

    name: str
    story: str
    cause: str
    features: frozenset[str]
    replay: Replay


class _Tables(Replay):
    """The server's tables or plan are not the log's."""

    wrong_tables: Tables
    wrong_plan: Plan

    def made_server(self) -> Server:
        return Server(self.wrong_plan, self.wrong_tables, self.configuration)


def _with(
    base: type[Replay],
    world: World,
    tables: Tables | None = None,
    plan: Plan | None = None,
    **more: Any,
) -> Replay:
    """A replay of some kind with what is wrong about it set before it begins."""
    made = base.__new__(base)
    for name, value in more.items():
        setattr(made, name, value)
    if isinstance(made, _Tables):
        made.wrong_tables = tables or world.configuration.tables
        made.wrong_plan = plan or world.configuration.plan
    made.__init__(world.configuration, world.log, world.asked, world.course)  # type: ignore[misc]
    return made


@dataclass(frozen=True, slots=True)
class World:
    """Where a fault is planted."""

    configuration: Configuration
    log: Arranged
    asked: Asked
    course: Course

    @property
    def counted(self) -> frozenset[str]:
        """Every feature that is kept from events."""
        return frozenset(feature.name for feature in self.configuration.features if feature.source is not None)

    @property
    def clocked(self) -> frozenset[str]:
        """Every feature that reads the clock itself: by its name, or through a window."""
        features = self.configuration.features
        windowed = {f.name for f in features if isinstance(f.of, Aggregate) and f.windows != ("ever",)}
        return frozenset(windowed | {f.name for f in features if "now_ms" in features.reads(f.name)})

    def reading(self, *names: str) -> frozenset[str]:
        """The features that read one of these names of tables or events directly."""
        found = set()
        for feature in self.configuration.features:
            of, source = feature.of, feature.source
            if isinstance(of, Attribute) and of.column in names:
                found.add(feature.name)
            if source is not None and set(names) & _behind_columns(feature.described()["of"], source.derive):
                found.add(feature.name)
        return frozenset(found)


def _behind_columns(of: Any, derive: Mapping[str, str]) -> set[str]:
    """Every column that an aggregate's texts name, through the source's own derived ones."""
    text = repr(of)
    found: set[str] = set()
    while True:
        more = {name for name in derive if name in text and name not in found}
        if not more:
            break
        found |= more
        text += " ".join(derive[name] for name in more)
    return found | set(re.findall(r"[A-Za-z_]\w*", text))


def _timezone(world: World, draw: Draw) -> Planted:
    hours = float(draw.choice([-8, -7, -5, 1, 2, 5.5, 8, 9]))
    tables = suspects.shifted_zone(world.configuration.tables, hours * suspects.HOUR_MS)
    features = world.reading(suspects.ZONE_COLUMN)
    story = f"the server's users live {hours:+g} h from where they do"
    return Planted("timezone", story, "timezone", features, _with(_Tables, world, tables))


def _unit(world: World, draw: Draw) -> Planted:
    place = str(draw.choice(suspects.scaled_places(world.configuration)))
    kind, _, name = place.partition(":")
    by = 1_000.0 if kind == "event" else 0.001
    features = world.reading(name.split(".")[-1])
    story = f"the server counts {name} times {by:g}"
    if kind == "event":
        return Planted("unit", story, "unit", features, _with(_Scaled, world, column=name, by=by))
    tables = suspects.scaled_table(world.configuration.tables, name, by)
    return Planted("unit", story, "unit", features, _with(_Tables, world, tables))


class _Scaled(Replay):
    column: str
    by: float

    def taken(self, stream: str, events: Events) -> Events:
        return suspects.scaled_events(events, self.column, self.by)


def _window(world: World, draw: Draw) -> Planted:
    plan = world.configuration.plan
    windowed = [group for group in plan.groups if any(window.level >= 0 for window in group.windows)]
    group = windowed[int(draw.integers(len(windowed)))]
    by = int(draw.choice([-1, 1]))
    features = frozenset(
        f.name
        for f in plan.features
        if isinstance(f.of, Aggregate) and f.windows != ("ever",) and f.key == group.key and f.source == group.source
    )
    story = f"the server's windows over {', '.join(group.key)} reach {by:+d} tile"
    wrong = suspects.with_reach(plan, by, group.name)
    return Planted("window", story, "window_off_by_one", features, _with(_Tables, world, plan=wrong))


class _Stale(Replay):
    start: int

    def place(self, at: int, target: int) -> int:
        return min(target, self.start)

    def said(self, at: int, target: int) -> int:
        return target


def _stale(world: World, draw: Draw) -> Planted:
    start = _somewhere(world, draw)
    story = f"the server stopped taking events in at offset {start} and did not notice"
    return Planted("stale", story, "stale_state", world.counted, _with(_Stale, world, start=start))


def _late(world: World, draw: Draw) -> Planted:
    wrong = suspects.without_late(world.configuration, "")
    story = "the server drops events that are older than the newest it has seen"
    return Planted("late", story, "late", world.counted, _with(_Tables, world, plan=wrong.plan))


class _Defaults(Replay):
    at: int
    value: float

    def defaults(self) -> Side:
        out = super().defaults()
        out[self.at] = self.value
        return out


def _default(world: World, draw: Draw) -> Planted:
    features = [f for role in world.configuration.user for f in world.configuration.features if f.role == role]
    at, usable = 0, []
    for feature in features:
        if len(feature.columns) == 1 and feature.default != 0.0:
            usable.append((at, feature.name))
        at += len(feature.columns)
    place, name = usable[int(draw.integers(len(usable)))]
    story = f"the server writes 0 for {name} when the lookup failed"
    return Planted("default", story, "default", frozenset({name}), _with(_Defaults, world, at=place, value=0.0))


class _OtherKey(Replay):
    key: str
    other: str

    def made_server(self) -> Server:
        return _OtherKeyServer(
            self.configuration.plan, self.configuration.tables, self.configuration, self.key, self.other
        )


class _OtherKeyServer(Server):
    def __init__(self, plan: Plan, tables: Tables, configuration: Configuration, key: str, other: str) -> None:
        self._swap = (key, other)
        super().__init__(plan, tables, configuration)
        self.reading = Everything(plan, tables, None, self._swap)

    def open(self, state: LiveState) -> None:
        super().open(state)
        if self.sides is not None:
            wrong = self.sides._candidate
            wrong.steps = swapped_steps(self.plan, wrong.steps, *self._swap)


def _join(world: World, draw: Draw) -> Planted:
    pairs = suspects.key_pairs(world.configuration)
    key, other = pairs[int(draw.integers(len(pairs)))]
    groups = {group.key for group in world.configuration.plan.groups if group.key == (key,)}
    features = frozenset(f.name for f in world.configuration.features if f.key in groups and f.source is not None)
    story = f"the server reads what is kept per {key} under {other}"
    return Planted("join", story, "join_key", features, _with(_OtherKey, world, key=key, other=other))


def _truncated(world: World, draw: Draw) -> Planted:
    tables = world.configuration.tables
    used = dict.fromkeys((f.of.table, f.of.column) for f in world.configuration.features if isinstance(f.of, Attribute))
    wide = [(table, column) for table, column in used if _is_embedding(tables[table].columns[column])]
    table, column = wide[int(draw.integers(len(wide)))]
    held = np.array(tables[table].columns[column])
    cut = int(draw.integers(held.shape[1] // 4, 3 * held.shape[1] // 4))
    held[:, cut:] = 0
    features = world.reading(column)
    story = f"the server's {table}.{column} ends after {cut} of {held.shape[1]} numbers"
    wrong = suspects.with_columns(tables, table, {column: held})
    return Planted("truncated", story, "truncated_embedding", features, _with(_Tables, world, wrong))


def _is_embedding(values: NDArray[Any]) -> bool:
    return values.ndim > 1 and values.shape[1] >= 16 and not bool(np.isin(values, (0.0, 1.0)).all())


class _Skewed(Replay):
    by: int

    def context(self, at: int, given: Arrays) -> Arrays:
        return given | {"now_ms": given["now_ms"] + self.by}


def _clock(world: World, draw: Draw) -> Planted:
    by = int(draw.choice(suspects.SKEWS_MS))
    story = f"the server's clock is {by / 1000:+g} s from the request's"
    return Planted("clock", story, "clock_skew", world.clocked, _with(_Skewed, world, by=by))


class _Doubled(Replay):
    start: int

    def apply(self, stream: str, events: Events) -> None:
        state = self.server.state
        for part in (events.take(events.offset < self.start), events.take(events.offset >= self.start)):
            if not len(part):
                continue
            before = state.applied
            state.apply(stream, self.taken(stream, part))
            if int(part.offset[0]) >= self.start:
                state.applied = before  # as a follower does that lost its place
                state.apply(stream, self.taken(stream, part))


def _double(world: World, draw: Draw) -> Planted:
    start = _somewhere(world, draw)
    story = f"from offset {start} on the server takes every event in twice"
    return Planted("double", story, "double_count", world.counted, _with(_Doubled, world, start=start))


class _Leaked(Replay):
    leaks: NDArray[np.bool_]
    own: Ints

    def before(self, at: int) -> None:
        if not self.leaks[at] or self.own[at] <= self.server.state.applied:
            return
        state, own = self.server.state, int(self.own[at])
        before = state.applied
        for stream, events in self.log.between(own, own + 1):
            state.apply(stream, events)
        state.applied = before
        self._known.add(own)

    def taken(self, stream: str, events: Events) -> Events:
        known = np.isin(events.offset, list(self._known))
        return events.take(~known) if known.any() else events

    def apply(self, stream: str, events: Events) -> None:
        super().apply(stream, events)
        state = self.server.state
        state.applied = max(state.applied, int(events.offset[-1]))  # also when all of them were known already

    _known: set[int]


def _leak(world: World, draw: Draw) -> Planted:
    leaks = draw.random(len(world.asked)) < 0.5
    own = world.log.offset_of[world.asked.own]
    made = _with(_Leaked, world, leaks=leaks, own=own, _known=set())
    return Planted("leak", "half of the requests see what became of their own item", "label_leak", world.counted, made)


class _Replicas(Replay):
    mine: NDArray[np.bool_]
    late: int

    def run(self, progress: Callable[[float], None] | None = None) -> Any:
        self._primary, self._replica = self.server, self.made_server()
        return super().run(progress)

    def place(self, at: int, target: int) -> int:
        self.server = self._primary
        self.apply_to(target, 20_000)
        self._head = target
        if self.mine[at]:
            self.server = self._replica
            return max(0, target - self.late)
        return target

    def restart(self, head: int, through_process: bool) -> None:
        """Replicas are not restarted here."""

    def said(self, at: int, target: int) -> int:
        return self._head

    def meter(self, at: int) -> int:
        return self._head - (self.server.state.applied + 1)


def _replica(world: World, draw: Draw) -> Planted:
    mine, late = draw.random(len(world.asked)) < 0.4, int(draw.integers(150, 900))
    made = _with(_Replicas, world, mine=mine, late=late)
    return Planted(
        "replica", f"two of five requests meet a replica {late} events behind", "replica_lag", world.counted, made
    )  # fmt: skip


def _somewhere(world: World, draw: Draw) -> int:
    """An offset that about a third to two thirds of the requests have passed."""
    moment = int(world.asked.time_ms[int(len(world.asked) * draw.uniform(0.35, 0.6))])
    return int(np.searchsorted(world.log.arrival_ms, moment))


FAULTS: Final[Mapping[str, Callable[[World, Draw], Planted]]] = {
    "timezone": _timezone,
    "unit": _unit,
    "window": _window,
    "stale": _stale,
    "late": _late,
    "default": _default,
    "join": _join,
    "truncated": _truncated,
    "clock": _clock,
    "double": _double,
    "leak": _leak,
    "replica": _replica,
}
"""Every fault of the drill: what it plants in a world, at a place that is drawn."""


def planted(name: str, world: World, seed: int) -> Planted:
    """The served world with this fault in it, at a place the seed decides."""
    return FAULTS[name](world, np.random.default_rng((seed, list(FAULTS).index(name))))


__all__ = ["FAULTS", "Planted", "World", "planted", "replace"]
