"""One configuration of the engine, as parity sees it: what it declares, what happened, what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.features.events import Events
from mainstem.features.language.feature import Role
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.features.steps import Arrays, Tables

Ints = NDArray[np.int64]
Side = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """n requests of a log, each with m candidates of which the first ``logged`` are written down.

    Shapes:
        ``request_id, time_ms, logged, failed`` and every array of ``context`` are ``[n]``, ``candidates`` is ``[n, m]``.
        ``own`` holds the place, in the events that ``arranged`` is given, of what became of each request's first item.

    Attributes:
        context: What the request carries, but for its time.
        failed: The viewer's lookup failed: their features are the declared defaults.
    """

    request_id: Ints
    time_ms: Ints
    context: Mapping[str, Ints]
    candidates: Ints
    logged: Ints
    failed: NDArray[np.bool_]
    own: Ints

    def __len__(self) -> int:
        return len(self.request_id)

    def take(self, at: Ints) -> Asked:
        """Some of the requests."""
        context = {name: array[at] for name, array in self.context.items()}
        return Asked(
            self.request_id[at],
            self.time_ms[at],
            context,
            self.candidates[at],
            self.logged[at],
            self.failed[at],
            self.own[at],
        )


class Door(Protocol):
    """The request path of a stack as its server runs it, around the one live state."""

    @property
    def state(self) -> LiveState:
        """What events move."""
        ...

    def apply(self, events: Events) -> None:
        """Takes in the next events of the log."""
        ...

    def sides(self, given: Arrays, candidates: Ints) -> tuple[Side, Side]:
        """The viewer's columns ``[u]`` and the candidates' ``[n, c]`` of one request."""
        ...

    def load(self, path: Path) -> None:
        """Goes on from a saved state."""
        ...


def no_more(ids: Ints) -> Arrays:
    """A candidate carries nothing but its id."""
    return {}


@dataclass(frozen=True, slots=True)
class Configuration:
    """A feature set with everything it is computed from.

    Attributes:
        streams: What happened, by stream, in the order of event times; untimed events first.
        user: Roles of the viewer's columns as a ``SideReader`` reads them; none where the server reads values as they are.
        candidate: Roles of the candidates' columns.
        of_candidates: What else a candidate carries beside its id.
        dtype: In which type such a reader hands them on.
        nobody: The context of a viewer whose lookup failed.
        door: Opens the server's own request path with empty state; without one a ``SideReader`` stands in for it.
        plan: The compiled features.
    """

    name: str
    features: FeatureSet
    tables: Tables
    streams: Mapping[str, Events]
    user: tuple[Role, ...] = ("user",)
    candidate: tuple[Role, ...] = ("item", "cross")
    dtype: type[np.float32] | type[np.float64] = np.float32
    of_candidates: Callable[[Ints], Arrays] = no_more
    nobody: Mapping[str, int] = field(default_factory=lambda: {"user_id": -1})
    door: Callable[[], Door] | None = None
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", Plan(self.features))

    def given(self, asked: Asked, at: Ints, candidates: Ints) -> Arrays:
        """What some requests carry, each with some of its candidates. Shapes: candidates [len(at), any]."""
        out: Arrays = {"now_ms": asked.time_ms[at]}
        for name, array in asked.context.items():
            out[name] = (
                np.where(asked.failed[at], self.nobody.get(name, 0), array[at]) if name in self.nobody else array[at]
            )
        return out | {"item_id": candidates} | self.of_candidates(candidates)


@dataclass(frozen=True, slots=True)
class Arranged:
    """Events in the order in which they reached the log.

    Attributes:
        streams: By stream, with their offsets.
        arrival_ms: When each offset was written. Shapes: [events].
        offset_of: The offset of each event, by its place in the streams given, one stream after the other.
    """

    streams: Mapping[str, Events]
    arrival_ms: Ints
    offset_of: Ints
    stream_of: NDArray[np.int64]
    place_of: Ints

    def between(self, first: int, end: int) -> list[tuple[str, Events]]:
        """The events of some offsets, cut where the stream changes, in log order."""
        if end <= first:
            return []
        names = tuple(self.streams)
        stream = self.stream_of[first:end]
        cuts = [0, *(np.flatnonzero(np.diff(stream)) + 1).tolist(), end - first]
        out = []
        for start, stop in pairwise(cuts):
            place = int(self.place_of[first + start])
            events = self.streams[names[int(stream[start])]]
            out.append((names[int(stream[start])], events.take(slice(place, place + stop - start))))
        return out


def arranged(
    streams: Mapping[str, Events],
    seed: int,
    delay_ms: int = 60_000,
    late_share: float = 0.01,
    late_ms: int = 6 * 3_600_000,
) -> Arranged:
    """Events as they reach a log: each ``delay_ms`` after it began, some of them hours late.

    Args:
        streams: In the order of event times.
        seed: Decides which events are late, and by how much.
        delay_ms: How long an outcome takes to be known.
        late_share: Of the timed events.
        late_ms: How late they are at most.
    """
    time_ms = np.concatenate([np.asarray(one.columns["time_ms"], np.int64) for one in streams.values()])
    stream = np.repeat(np.arange(len(streams)), [len(one) for one in streams.values()])
    draw = np.random.default_rng(seed)
    late = (draw.random(len(time_ms)) < late_share) * draw.integers(0, late_ms, len(time_ms))
    arrival = np.where(time_ms < 0, -1, time_ms + delay_ms + late)
    order = np.argsort(arrival, kind="stable")
    offset = np.empty(len(order), np.int64)
    offset[order] = np.arange(len(order))
    out: dict[str, Events] = {}
    place_of = np.empty(len(order), np.int64)
    for number, (name, events) in enumerate(streams.items()):
        own = offset[stream == number]
        by_offset = np.argsort(own, kind="stable")
        place_of[own[by_offset]] = np.arange(len(own))
        out[name] = replace(events.take(by_offset), offset=own[by_offset])
    return Arranged(out, arrival[order], offset, stream[order], place_of)
