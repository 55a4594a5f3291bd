"""The served world: a server that takes the log in batch by batch, is restarted, and answers requests in between."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.features.events import Events
from mainstem.features.language.expression import Shape
from mainstem.features.language.feature import Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.language.program import Bound, Program
from mainstem.features.language.resolve import Compute
from mainstem.features.live import LiveState
from mainstem.features.reader import SideReader
from mainstem.features.steps import Arrays, Tables, run_steps
from mainstem.parity.features.configuration import Arranged, Asked, Configuration, Side
from mainstem.parity.features.everything import Everything
from mainstem.parity.features.meta import EMPTY, FAILED, KNOWN, STATE, FeatureMeta
from mainstem.parity.features.value_rows import (
    Rows,
    columns_of_roles,
    filled_places,
    key_columns,
    lists_of,
    metas_of,
    value_column,
)

Ints = NDArray[np.int64]
Progress = Callable[[float], None]
FIRST_STEP: Final = 20_000
"""Events applied at once before the first request."""
STEP: Final = 5_000
"""Most events a follower applies at once."""


@dataclass(frozen=True, slots=True)
class Course:
    """How the served world goes: what may differ from run to run without changing a bit.

    Attributes:
        seed: Decides batch sizes and how far the follower is behind at each request.
        poll_ms: A request finds the follower up to so far behind the log.
        restarts: Times the state is saved and loaded again, evenly spread; the first goes through another process.
        other_process: Whether it does.
    """

    seed: int = 7
    poll_ms: int = 2_000
    restarts: int = 3
    other_process: bool = True


@dataclass(frozen=True, slots=True)
class Served:
    """What the server wrote down.

    Shapes: ``as_of, lag, behind`` are [requests]; ``lag`` is the log's head less the offset the server wrote down, ``behind`` by
    how many events its own meter said it was behind that.
    """

    table: pa.Table
    as_of: Ints
    lag: Ints
    behind: Ints
    metas: tuple[FeatureMeta, ...]


class Server:
    """One process's live state with its readers.

    Args:
        plan: What is compiled.
        tables: Where attributes come from.
        configuration: Which roles are read in float32.
    """

    def __init__(self, plan: Plan, tables: Tables, configuration: Configuration) -> None:
        self.plan, self.tables, self._of = plan, tables, configuration
        self.reading = Everything(plan, tables)
        self.start(None)

    def start(self, saved: Path | None) -> None:
        """Begins with empty state, or with a saved one, through the stack's own door where nothing was changed behind it."""
        own = self.plan is self._of.plan and self.tables is self._of.tables
        self.door = self._of.door() if own and self._of.door is not None else None
        state = LiveState(self.plan, self.tables) if self.door is None else self.door.state
        if saved is not None:
            (state if self.door is None else self.door).load(saved)
        self.open(state)

    def apply(self, stream: str, events: Events) -> None:
        """Takes in a batch, through the door where there is one."""
        if self.door is None or events.offset[0] != self.state.applied + 1:
            self.state.apply(stream, events)
        else:
            self.door.apply(events)

    def answer(self, given: Arrays, n: int) -> tuple[Side, Side] | None:
        """The ranker's columns of one request, of the viewer and of each candidate."""
        if self.door is not None:
            return self.door.sides(given, given["item_id"][0])
        if self.sides is None:
            return None
        user, context = self.sides.user(given, {})
        return user, self.sides.candidates(context, {}, n)

    def open(self, state: LiveState) -> None:
        """Serves from this state from now on."""
        self.state = state
        self.sides = SideReader(state, self._of.user, self._of.candidate, self._of.dtype) if self._of.user else None
        self._bounds: dict[int, Bound] = {}

    def read(self, given: Arrays, n: int) -> Arrays:
        """Every declared column of one request. Shapes: with one request and n candidates."""
        values = dict(given)
        reading, state = self.reading, self.state
        for step in reading.steps:
            if isinstance(step, Compute):
                if step.name not in values:
                    values |= self._run(step.program, values, n)
            else:
                run_steps((step,), values, state.tables, lambda group, held: state.read_group(reading, group, held), {})
        out = self._run(reading.program, values, n)
        return {c.name: values[c.vector] if c.vector else out[c.name] for c in reading.columns}

    def _run(self, program: Program, values: Arrays, n: int) -> Arrays:
        bound = self._bounds.get(id(program))
        if bound is None or bound.candidates < n:
            widths, places = self.reading.widths_of(program, values), self.reading.places
            bound = self._bounds[id(program)] = program.bind(1, places, n, widths=widths)
        bound.load(values)
        bound.run(1, n)
        out: Arrays = {}
        for output in program.outputs:
            found = bound.result(output.name)[:1]
            shape = output.kind.shape
            out[output.name] = np.array(
                found[:, :n] if shape is Shape.C else found[:, :, :n] if shape is Shape.M else found
            )
        return out


class Replay:
    """Serves the requests of a log while its events come in.

    Args:
        configuration: What is declared and asked.
        log: The events in the order of the log.
        asked: The requests, in the order of their times.
        course: Batches, lags, restarts.
    """

    def __init__(self, configuration: Configuration, log: Arranged, asked: Asked, course: Course) -> None:
        self.configuration, self.log, self.asked, self.course = configuration, log, asked, course
        self.server = self.made_server()
        self._draw = np.random.default_rng(course.seed)
        self._rows = Rows(self.server.reading)
        self._lists = lists_of(self.server.reading)
        self._user_sides: list[Side] = []
        self._candidate_sides: list[Side] = []

    # -- what a planted fault changes
    def made_server(self) -> Server:
        """A server with empty state."""
        return Server(self.configuration.plan, self.configuration.tables, self.configuration)

    def taken(self, stream: str, events: Events) -> Events:
        """The events as the server takes them in."""
        return events

    def context(self, at: int, given: Arrays) -> Arrays:
        """What the server makes of a request's context."""
        return given

    def place(self, at: int, target: int) -> int:
        """Up to which offset the state is brought before a request."""
        return target

    def before(self, at: int) -> None:
        """Called before a request is answered."""

    # -- the run
    def run(self, progress: Progress | None = None) -> Served:
        """Everything that was served, as a value table."""
        asked, arrival = self.asked, self.log.arrival_ms
        n = len(asked)
        head = np.searchsorted(arrival, asked.time_ms, side="right")
        behind = self._draw.integers(0, self.course.poll_ms + 1, n)
        target = np.maximum.accumulate(np.searchsorted(arrival, asked.time_ms - behind, side="right"))
        restarts = set(np.linspace(0, n, self.course.restarts + 2).astype(int)[1:-1].tolist())
        as_of, late = np.zeros(n, np.int64), np.zeros(n, np.int64)
        for at in range(n):
            self.apply_to(self.place(at, int(target[at])), FIRST_STEP if at == 0 else STEP)
            if at in restarts:
                self.restart(int(head[at]), self.course.other_process and at == min(restarts))
            self.before(at)
            as_of[at], late[at] = self.said(at, int(target[at])), self.meter(at)
            self._answer(at)
            if progress is not None and at % 64 == 0:
                progress(at / n)
        return Served(self._table(as_of), as_of, head - as_of, late, self._metas())

    def said(self, at: int, target: int) -> int:
        """The offset that the server writes beside the request."""
        return self.server.state.applied + 1

    def meter(self, at: int) -> int:
        """By how many events the server's own meter says it is behind the offset it writes."""
        return 0

    def apply_to(self, end: int, most: int) -> None:
        """Brings the state up to an offset, in batches like a follower's: some large, some of one event."""
        state = self.server.state
        while state.applied + 1 < end:
            first = state.applied + 1
            size = most if end - first > most else int(self._draw.choice((1, 7, 64, STEP), p=(0.05, 0.05, 0.1, 0.8)))
            for stream, events in self.log.between(first, min(end, first + size)):
                self.apply(stream, events)

    def apply(self, stream: str, events: Events) -> None:
        """Takes in one batch."""
        held = self.taken(stream, events)
        if len(held):
            self.server.apply(stream, held)

    def restart(self, head: int, through_process: bool) -> None:
        """Saves the state, and goes on from the file in a fresh one; once through another process, which applies what is next."""
        with tempfile.TemporaryDirectory() as folder:
            held, later = Path(folder) / "state.npz", Path(folder) / "later.npz"
            self.server.state.save(held)
            if through_process:
                first = self.server.state.applied + 1
                # What it applies belongs to the log already; the request simply finds the follower less far behind.
                batches = self.log.between(first, min(first + 50, head))
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    job = (self.configuration.features, self.configuration.tables, batches, held, later)
                    pool.submit(goes_on_elsewhere, *job).result()
                held = later
            self.server.start(held)

    def _answer(self, at: int) -> None:
        asked, one = self.asked, np.array([at])
        candidates = asked.candidates[one]
        given = self.context(at, self.configuration.given(asked, one, candidates))
        n, kept = candidates.shape[1], asked.logged[one]
        values = self.server.read(given, n)
        self._rows.add(values, kept, filled_places(values, self._lists))
        sides = self.server.answer(given, n)
        if sides is not None:
            self._user_sides.append(self.defaults() if asked.failed[at] else sides[0])
            self._candidate_sides.append(sides[1][: int(kept[0])])

    def defaults(self) -> Side:
        """The viewer's columns when their lookup failed."""
        features = self.configuration.features
        return np.array(
            [d for role in self.configuration.user for d in features.defaults_of(role)], self.configuration.dtype
        )

    def _metas(self) -> tuple[FeatureMeta, ...]:
        return metas_of(self.configuration.plan, self._rows.columns)

    def _table(self, as_of: Ints) -> pa.Table:
        sides = None
        if self._user_sides:
            sides = (np.stack(self._user_sides), np.concatenate(self._candidate_sides))
        return value_table(self.configuration, self.asked, as_of, self._rows, sides)


def goes_on_elsewhere(
    features: FeatureSet, tables: Tables, batches: list[tuple[str, Events]], held: Path, later: Path
) -> None:
    """Loads a snapshot, applies some batches and saves another; run in a process of its own."""
    state = LiveState(Plan(features), tables)
    state.load(held)
    for stream, events in batches:
        state.apply(stream, events)
    state.save(later)


def value_table(
    configuration: Configuration,
    asked: Asked,
    as_of: Ints,
    rows: Rows,
    sides: tuple[Side, Side] | None,
) -> pa.Table:
    """A value table of collected values; the ranker's columns as it reads them where ``sides`` are given."""
    place = np.arange(asked.candidates.shape[1]) < asked.logged[:, None]
    items = asked.candidates[place]
    users, counts = len(asked), asked.logged
    keys = {
        "request_id": asked.request_id,
        "time_ms": asked.time_ms,
        "offset": as_of,
        "user_id": asked.context["user_id"],
    }
    columns = key_columns(keys, items, counts, configuration.features.fingerprint)
    ranked = _ranked(configuration, sides)
    for name, feature in rows.columns:
        of_candidates = rows.kinds[name].shape.candidate
        numbers, lengths = rows.column(name)
        if name in ranked:
            if lengths is None:
                columns[name + STATE] = _state_column(feature, numbers, of_candidates, asked, len(items))
            numbers = ranked[name]
        columns[name] = value_column(numbers, lengths, of_candidates, users, len(items))
    return pa.table(columns)


def _state_column(feature: Feature, numbers: NDArray[Any], of_candidates: bool, asked: Asked, items: int) -> pa.Array:
    state = np.where(np.isnan(numbers), EMPTY, KNOWN).astype(np.int8)
    if feature.role == "user" and not of_candidates:
        state[asked.failed] = FAILED
    return value_column(state, None, of_candidates, len(asked), items)


def _ranked(configuration: Configuration, sides: tuple[Side, Side] | None) -> Mapping[str, Side]:
    """The columns of the ranker's input by feature; of several columns one after the other, row by row."""
    if sides is None:
        return {}
    out: dict[str, Side] = {}
    for side, roles in zip(sides, (configuration.user, configuration.candidate), strict=True):
        for feature, at in columns_of_roles(configuration.plan, roles):
            if len(feature.columns) == 1 or feature.width > 1:
                out[feature.name] = np.ascontiguousarray(side[:, at]).reshape(-1)
            else:
                out |= {name: side[:, at.start + place] for place, name in enumerate(feature.columns)}
    return out
