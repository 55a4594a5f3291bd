"""How a request would have been served if one thing had gone wrong: the ways in which a cause is tried out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.features.attributes import AttributeTable
from mainstem.features.events import Events
from mainstem.features.kernel.shape import DECAY
from mainstem.features.language.aggregate import Aggregate
from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.feature import Attribute
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Group, Plan
from mainstem.features.steps import Tables
from mainstem.parity.features.configuration import Asked, Configuration
from mainstem.parity.features.everything import Everything
from mainstem.parity.features.evidence import Variant
from mainstem.parity.features.recomputed import Recomputed

Ints = NDArray[np.int64]
HOUR_MS: Final = 3_600_000
ZONES_H: Final = (-8.0, -7.0, -5.0, -1.0, 1.0, 2.0, 5.5, 8.0, 9.0)
SKEWS_MS: Final = (-300_000.0, -60_000.0, -1_000.0, 1_000.0, 60_000.0, 300_000.0)
FACTORS: Final = (1_000.0, 0.001, 60.0)
BEHIND: Final = (1.0, 10.0, 100.0, 1_000.0)
NO_LATENESS: Final = "1s"
"""How late an event may come where late ones are dropped."""
ZONE_COLUMN: Final = "utc_offset_ms"


@dataclass(frozen=True, slots=True)
class Suspects:
    """Recomputes rows in the ways of ``evidence.Variant``.

    Attributes:
        streams: The log's events by stream, under their offsets.
        asked: The requests, whose numbers are the request ids of the rows.
        own: The offset of what became of each request's first item.
        lag: By how many events each request's server said it was behind the offset it wrote.
        names: The columns that are computed.
    """

    configuration: Configuration
    streams: Mapping[str, Events]
    asked: Asked
    own: Ints
    lag: Ints
    names: Collection[str]
    place: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", {one: at for at, one in enumerate(self.asked.request_id.tolist())})

    def __call__(self, variant: Variant, keys: pa.Table) -> pa.Table | None:
        """The value table of the requests of these rows; None for a variant it does not know."""
        ids, first = np.unique(np.array([int(one) for one in keys["request_id"].to_pylist()]), return_index=True)
        at = np.array([self.place[one] for one in ids.tolist()])
        as_of = keys["offset"].to_numpy()[first]
        way: Callable[..., _Way] | None = _WAYS.get(variant.name)
        if way is None:
            return None
        plain = _Way(self._narrow(), dict(self.streams), self.asked.take(at), as_of)
        done = way(plain, variant, self, at)
        again = Recomputed(
            done.configuration,
            done.streams,
            plan=done.plan,
            threads=1,
            names=self.names,
            swapped=done.swapped,
            default=done.default,
        )
        return again.table(done.asked, done.as_of)

    def _narrow(self) -> Configuration:
        """Only what the suspected columns need."""
        features = self.configuration.features
        return replace(
            self.configuration, features=features.only([features.owner_of[name].name for name in self.names])
        )


@dataclass(frozen=True, slots=True)
class _Way:
    """One recomputation with one thing done differently."""

    configuration: Configuration
    streams: dict[str, Events]
    asked: Asked
    as_of: Ints
    plan: Plan | None = None
    swapped: tuple[str, str] | None = None
    default: float | None = None


def variants_of(configuration: Configuration, starts: Sequence[int], names: Collection[str]) -> tuple[Variant, ...]:
    """What may have gone wrong with some columns, the cheap and telling ways first.

    Args:
        configuration: Tells which tables, columns and keys there are.
        starts: Offsets from which something may have gone wrong.
        names: The columns in which a difference begins: what they do not depend on is not tried.
    """
    features = configuration.features
    own = {features.owner_of[name].name for name in names}
    behind = [features.by_name[name] for name in own | {b for name in own for b in features.everything_behind(name)}]
    counted = any(one.source is not None for one in behind)
    windowed = any(isinstance(one.of, Aggregate) and one.windows != ("ever",) for one in behind)
    clocked = windowed or any(one.name == "now_ms" for one in behind)
    zoned = any(isinstance(one.of, Attribute) and one.of.column == ZONE_COLUMN for one in behind)
    attributes = {f"{one.of.table}.{one.of.column}" for one in behind if isinstance(one.of, Attribute)}
    places = [
        one
        for one in scaled_places(configuration)
        if (counted if one.startswith("event:") else one.removeprefix("table:") in attributes)
    ]
    keys = {one.key for one in behind}
    events = (
        *(Variant("lagging") for _ in range(counted)),
        *(Variant("stopped", start) for start in starts if counted),
        *(Variant("double_counted", start) for start in starts if counted),
        *(Variant("late_dropped") for _ in range(counted)),
        *(Variant("label_leaked") for _ in range(counted)),
        *(Variant("other_key", 0.0, f"{key}>{other}") for key, other in key_pairs(configuration) if (key,) in keys),
        *(Variant("behind", by) for by in BEHIND if counted),
    )
    return (
        *(Variant("timezone", hours * HOUR_MS) for hours in ZONES_H if zoned),
        *(Variant("hop", by) for by in (1.0, -1.0) if windowed),
        *(Variant("clock_skew", by) for by in SKEWS_MS if clocked),
        *(Variant("scale", factor, place) for place in places for factor in FACTORS),
        *events,
        *(
            Variant("default_swapped", value)
            for value in (0.0, -1.0, 1.0)
            if any(features.by_name[n].role for n in own)
        ),
    )


def key_pairs(configuration: Configuration) -> list[tuple[str, str]]:
    """Keys of candidates that could be mistaken for each other: each with the name that would be read in its place."""
    kinds: dict[str, Kind] = {"item_id": Kind(Shape.C)}
    whole = Everything(configuration.plan, configuration.tables)
    kinds |= {name: whole.kind_of(name) for name, _ in ((c.name, c) for c in whole.columns)}
    by_name = configuration.features.by_name
    keys = dict.fromkeys(g.key[0] for g in configuration.plan.groups if len(g.key) == 1 and not g.latest)
    usable = [
        key
        for key in keys
        if key in kinds
        and kinds[key].shape is Shape.C
        and (key == "item_id" or (isinstance(of := by_name[key].of, Attribute) and of.key == "item_id"))
    ]
    return [(one, other) for one in usable for other in usable if one != other]


def scaled_places(configuration: Configuration) -> list[str]:
    """What may have been counted in another unit: numbers of events that are no whole ones, and times of tables."""
    columns = [pair for events in configuration.streams.values() for pair in events.columns.items()]
    streams = [f"event:{name}" for name, column in columns if column.dtype.kind == "f"]
    tables = [
        f"table:{table}.{column}"
        for table, held in configuration.tables.items()
        for column in held.columns
        if column.endswith("created_ms")
    ]
    return [*dict.fromkeys(streams), *tables]


# -- one function a way


def _moved(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    return replace(way, asked=replace(way.asked, time_ms=way.asked.time_ms + int(variant.amount)))


def _zone(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    tables = shifted_zone(way.configuration.tables, variant.amount)
    return replace(way, configuration=replace(way.configuration, tables=tables))


def _hop(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    return replace(way, plan=with_reach(way.configuration.plan, int(variant.amount)))


def _scale(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    kind, _, name = variant.place.partition(":")
    if kind == "event":
        streams = {stream: scaled_events(events, name, variant.amount) for stream, events in way.streams.items()}
        return replace(way, streams=streams)
    tables = scaled_table(way.configuration.tables, name, variant.amount)
    return replace(way, configuration=replace(way.configuration, tables=tables))


def _default(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    return replace(way, default=variant.amount)


def _late(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    return replace(way, configuration=without_late(way.configuration, ""))


def _behind(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    return replace(way, as_of=way.as_of - int(variant.amount))


def _lagging(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    return replace(way, as_of=way.as_of - of.lag[at])


def _stopped(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    return replace(way, as_of=np.minimum(way.as_of, int(variant.amount)))


def _doubled(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    streams = {}
    for stream, events in way.streams.items():
        times = 1 + (events.offset >= int(variant.amount))
        streams[stream] = events.take(np.repeat(np.arange(len(events)), times))
    return replace(way, streams=streams)


def _other_key(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    key, _, other = variant.place.partition(">")
    features, whole = way.configuration.features, of.configuration.features
    if other in whole.by_name and other not in features.by_name:
        features = FeatureSet([*features.features, whole.by_name[other]])
    return replace(way, configuration=replace(way.configuration, features=features), swapped=(key, other))


def _leaked(way: _Way, variant: Variant, of: Suspects, at: Ints) -> _Way:
    """Puts what became of each request directly before it."""
    own = of.own[at]
    order = np.argsort(way.as_of, kind="stable")
    before = np.empty(len(order), np.int64)
    before[order] = np.arange(len(order))
    # Every offset gets room for the sample's outcomes before it.
    room = len(at) + 1
    streams: dict[str, Events] = {}
    for stream, events in way.streams.items():
        moved = events.offset * room + len(at)
        place = np.searchsorted(events.offset, own)
        place = np.minimum(place, len(events) - 1)
        there = events.offset[place] == own
        later = there & (own >= way.as_of)
        moved[place[later]] = way.as_of[later] * room + before[later]
        by_offset = np.argsort(moved, kind="stable")
        streams[stream] = replace(events.take(by_offset), offset=moved[by_offset])
    return replace(way, streams=streams, as_of=way.as_of * room + before + 1)


_WAYS: Final[Mapping[str, Callable[[_Way, Variant, Suspects, Ints], _Way]]] = {
    "clock_skew": _moved,
    "timezone": _zone,
    "hop": _hop,
    "scale": _scale,
    "default_swapped": _default,
    "late_dropped": _late,
    "behind": _behind,
    "lagging": _lagging,
    "stopped": _stopped,
    "double_counted": _doubled,
    "other_key": _other_key,
    "label_leaked": _leaked,
}


# -- what the planted faults do too


def with_columns(tables: Tables, table: str, columns: Mapping[str, NDArray[Any]]) -> dict[str, AttributeTable]:
    """The tables with some columns replaced."""
    held = tables[table]
    return {**tables, table: replace(held, columns={**held.columns, **columns})}


def shifted_zone(tables: Tables, by_ms: float) -> Tables:
    """Tables in which everybody's local time is so much later."""
    for name, table in tables.items():
        if ZONE_COLUMN in table.columns:
            tables = with_columns(tables, name, {ZONE_COLUMN: table.columns[ZONE_COLUMN] + by_ms})
    return tables


def scaled_table(tables: Tables, place: str, by: float) -> Tables:
    """Tables in which one column is in another unit; times of the unknown stay what they are."""
    table, _, column = place.partition(".")
    held = tables[table].columns[column]
    return with_columns(tables, table, {column: np.where(held > 0, held * by, held)})


def scaled_events(events: Events, name: str, by: float) -> Events:
    """Events in which one column is in another unit."""
    if name not in events.columns:
        return events
    return Events(
        events.offset, {**events.columns, name: (events.columns[name] * by).astype(events.columns[name].dtype)}
    )


def without_late(configuration: Configuration, source: str) -> Configuration:
    """A configuration whose source (all of them when none is named) admits no event older than the newest."""
    made = {}
    for one in configuration.features.sources:
        if source in ("", one.name):
            made[one.name] = replace(one, drop_after=NO_LATENESS)
    features = [
        replace(f, source=made[f.source.name]) if f.source is not None and f.source.name in made else f
        for f in configuration.features.features
    ]
    return replace(configuration, features=FeatureSet(features))


def with_reach(plan: Plan, by: int, group: str = "") -> Plan:
    """A plan whose windows (of one group, or all) reach so many tiles further."""
    made = copy.copy(plan)
    made.groups = tuple(_reaching(one, by) if group in ("", one.name) else one for one in plan.groups)
    return made


def _reaching(group: Group, by: int) -> Group:
    windows = tuple(
        window if window.level < 0 or window.kind == DECAY else replace(window, reach=max(1, window.reach + by))
        for window in group.windows
    )
    return replace(
        group, windows=windows, shape=replace(group.shape, keeps=tuple(keep + 2 for keep in group.shape.keeps))
    )
