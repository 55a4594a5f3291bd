"""One run of a back-fill, stage by stage: requests, events, keys that are asked, tasks, and blocks of finished columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.engines.arrow import arrow_of
from mainstem.features.engines.columns import SourceColumns, StreamIntake
from mainstem.features.engines.inputs import TableInput
from mainstem.features.engines.runners import Runner, Threads, in_order
from mainstem.features.engines.shelf import MemoryShelf, Shelf
from mainstem.features.engines.spaces import AS_OF, OFFSET, ROW, Space, space_answers
from mainstem.features.engines.waves import used_names, waves_of
from mainstem.features.events import Events
from mainstem.features.intake import Intake, clock_of
from mainstem.features.language.feature import EMPTY, KNOWN
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import FoldGroup, Group, Plan
from mainstem.features.language.resolve import ReadGroup, Step, list_columns
from mainstem.features.language.source import Source
from mainstem.features.reading import Column, Reading, add_listed
from mainstem.features.steps import Arrays, Tables, as_key, run_steps

Progress = Callable[[str, float], None]
STATE: Final = "__state"
_FINISH: Final = 8_192
"""Requests finished at once: what lists and vectors are worked on with stays in the cache."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be computed out of what; see ``BackfillJob``."""

    plan: Plan
    events: Mapping[str, Any]
    requests: Any
    tables: Tables
    wanted: tuple[str, ...]
    keep: tuple[str, ...]
    runner: Runner
    block: int
    chunk: int


class Run:
    """One run of a job: its stages in order, each skipped where an earlier run finished it."""

    def __init__(self, job: Order, shelf: Shelf, progress: Progress) -> None:
        self.job, self.plan, self.shelf, self._progress = job, job.plan, shelf, progress
        plan = job.plan
        self.reading = Reading(plan, job.tables, job.wanted)
        self._waves = waves_of(self.reading)
        self._sources, self._spaces = _columns_of(plan, job.tables, self.reading)
        self._after = [step for step in self.reading.steps if not isinstance(step, ReadGroup)]
        self._threads = job.runner.workers if isinstance(job.runner, Threads) else 1
        self._used = used_names(self.reading) | {ROW}
        self.rows = 0
        self.told: dict[str, Any] = {}

    def answer(self) -> None:
        """Everything up to the answers of all tasks."""
        for stage, work in (("requests", self._requests), ("events", self._events)):
            if not self.shelf.is_done(stage):
                told = work()
                self.shelf.sealed()
                self.shelf.finish(stage, told)
            self.told[stage] = self.shelf.told(stage)
        self.rows = self.told["requests"]["rows"]
        for at, wave in enumerate(self._waves):
            names = {group.name for group in wave.groups}
            spaces = [
                space for space in self._spaces if any(one.name in names for one in (*space.groups, *space.folds))
            ]
            if not self.shelf.is_done(f"wave{at}"):
                self._ask(spaces, wave.steps, at)
                self.shelf.sealed()
                self.shelf.finish(f"wave{at}", {})
            self._tasks(spaces)

    def part(self, at: int) -> pa.RecordBatch:
        """A block of requests with their values."""
        table, given = self._given(at)
        values = given | self._answers(at, len(table), len(self._waves))
        done: dict[str, list[NDArray[Any]]] = {}
        pieces = (
            {name: array[first : first + _FINISH] for name, array in values.items()}
            for first in range(0, max(len(table), 1), _FINISH)
        )
        for piece in in_order(self._finished, pieces, self._threads):
            for name, array in piece.items():
                done.setdefault(name, []).append(array)
        first = at * self.job.block
        out: dict[str, Any] = {ROW: arrow_of(np.arange(first, first + len(table)))}
        out |= {name: table.column(name).combine_chunks() for name in self.job.keep}
        for column in self.job.wanted:
            for name in (column, f"{column}{STATE}"):
                parts = done[name]
                out[name] = _arrow(np.concatenate(parts) if len(parts) > 1 else parts[0])
        return pa.RecordBatch.from_pydict(out)

    # -- what comes in
    def _requests(self) -> dict[str, int]:
        given = TableInput(self.job.requests, "the requests")
        names = list(dict.fromkeys((*self.reading.context, AS_OF, *self.job.keep)))
        rows = 0
        for table in given.batches(names, self.job.block):
            _check_requests(table, self.reading.context)
            self.shelf.put_block("given", table)
            rows += len(table)
            self._progress("requests", 1.0)
        if not rows:
            raise FeatureError("there are no requests", code="feature-047", hint="give at least one row")
        return {"rows": rows}

    def _events(self) -> dict[str, int]:
        told = {"read": 0, "dropped": 0}
        for stream in dict.fromkeys(source.of_stream for source in self.plan.sources):
            if stream not in self.job.events:
                raise FeatureError(
                    f"the definitions read the stream {stream!r}, and its events are not given",
                    code="feature-047",
                    hint=did_you_mean(stream, self.job.events),
                )
            self._stream(stream, told)
        return told

    def _stream(self, stream: str, told: dict[str, int]) -> None:
        intake = StreamIntake(self.plan, self.job.tables, stream, self._sources)
        source = _together(intake.sources)
        given = TableInput(self.job.events[stream], f"the events of {stream!r}")
        total, last = given.rows() or 0, -(2**63)
        none = pa.table({name: pa.array([], kind) for name, kind in {**source.columns, OFFSET: "int64"}.items()})

        def batches() -> Iterator[tuple[Events, dict[str, int]]]:
            for table in chain([none], given.batches([OFFSET, *source.columns], self.job.chunk)):
                events = Events.from_arrow(table, source)
                yield events, intake.marks(events)

        workers = self._threads if intake.apart else 1
        for events, (late, taken) in in_order(lambda one: (one[0], intake.take(*one)), batches(), workers):
            if len(events):
                if int(events.offset[0]) <= last:
                    Events.checked(np.array([last, events.offset[0]]), {})
                told.setdefault(f"first_{stream}", int(events.offset[0]))
                last = told[f"last_{stream}"] = int(events.offset[-1])
            for of, columns in taken:
                self.shelf.put_events(self._sources[of.name].spaces, columns)
            told["read"] += len(events)
            told["dropped"] += late
            self._progress("events", told["read"] / max(total, told["read"], 1))

    # -- what is asked
    def _given(self, at: int) -> tuple[pa.Table, Arrays]:
        """A block of requests as it came, and as the programs take it."""
        table = self.shelf.block("given", at)
        values, _ = as_given(self.reading, table)
        return table, values

    def _ask(self, spaces: list[Space], steps: tuple[Step, ...], wave: int) -> None:
        for at in range(-(-self.rows // self.job.block)):
            table, values = self._given(at)
            values |= self._answers(at, len(table), wave)
            run_steps(steps, values, self.job.tables, _reads_nothing, {}, past=True)
            for space in spaces:
                columns: dict[str, NDArray[Any]] = {
                    ROW: np.arange(at * self.job.block, at * self.job.block + len(table)),
                    AS_OF: _whole_numbers(table.column(AS_OF)),
                }
                columns |= {w: as_key(values[name]).reshape(-1) for w, name in zip(space.words, space.key, strict=True)}
                now = values.get("now_ms")
                for group in {group.zone: group for group in space.groups}.values():
                    columns[f"now_{group.zone}"] = (
                        np.zeros(len(table), np.int64)
                        if now is None
                        else clock_of(group, now.astype(np.int64), values).reshape(-1)
                    )
                self.shelf.put_requests(f"{space.name}.asked", columns, space.words)

    def _tasks(self, spaces: list[Space]) -> None:
        left = [(s, b) for s in spaces for b in range(self.shelf.buckets) if not self.shelf.has_answers(s, b)]
        for done, (space, bucket, answers) in enumerate(self._run_tasks(left)):
            self.shelf.put_answers(space, bucket, self._needed(answers))
            self._progress("tasks", (done + 1) / len(left))
        for space in spaces:
            self.shelf.forget(space)

    def _run_tasks(self, left: list[tuple[Space, int]]) -> Iterator[tuple[Space, int, Any]]:
        shelf = self.shelf
        if isinstance(shelf, MemoryShelf) and isinstance(self.job.runner, Threads):
            for space, _ in left:
                events, asked = shelf.events(space, 0), shelf.requests(f"{space.name}.asked", 0)
                shelf.forget(space)
                yield space, 0, space_answers(space, self.job.tables, events, asked, self.job.runner.workers)
            return

        def load(space: Space, bucket: int) -> Callable[[], tuple[pa.Table, pa.Table]]:
            return lambda: (shelf.events(space, bucket), shelf.requests(f"{space.name}.asked", bucket))

        beside = {name.partition(".")[0] for space, _ in left for fold in space.folds for name in fold.fold.beside}
        tables = {name: table for name, table in self.job.tables.items() if name in beside}
        yield from self.job.runner.run(tables, ((space, bucket, load(space, bucket)) for space, bucket in left))

    def _needed(self, answers: Any) -> Any:
        """Without the parts of lists that nothing reads."""
        if isinstance(answers, dict):
            return {name: array for name, array in answers.items() if name in self._used}
        return answers.select([name for name in answers.column_names if name in self._used])

    # -- what goes out
    def _answers(self, at: int, n: int, waves: int) -> Arrays:
        """What the tasks of the first waves said about a block, under the names programs read."""
        names = {group.name for wave in self._waves[:waves] for group in wave.groups}
        first = at * self.job.block
        out: Arrays = {}
        for space in self._spaces:
            shapes = {
                name: self.reading.group_shapes[group.name].candidate
                for group in (*space.groups, *space.folds)
                if group.name in names
                for name in _names_of(group)
                if name in self._used
            }
            if not shapes:
                continue
            for bucket in range(self.shelf.buckets):
                found = self.shelf.answers(space, bucket, first, first + n)
                rows = found.pop(ROW) - first
                for name, array in found.items():
                    if self.shelf.buckets == 1:
                        out[name] = array
                    else:
                        out.setdefault(name, np.empty((n, *array.shape[1:]), array.dtype))[rows] = array
            out |= {name: out[name][:, None] for name, candidate in shapes.items() if candidate}
        return out

    def _finished(self, values: Arrays) -> dict[str, NDArray[Any]]:
        """The columns of some requests: values with their states."""
        reading = self.reading
        run_steps(self._after, values, self.job.tables, _reads_nothing, {}, past=True)
        done = reading.program.run(values)
        add_listed(reading, values)
        found = {c.name: _number(values, done, c) for c in reading.columns}
        return filled(reading, found | {feature.name: values[feature.name] for feature in reading.lists})


def filled(reading: Reading, found: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Values as they are declared to be where they are empty, each with its state."""
    out: dict[str, NDArray[Any]] = {}
    for column, default in zip(reading.columns, reading.empties, strict=True):
        empty = np.isnan(found[column.name])
        out[column.name] = np.where(empty, default, found[column.name]).astype(column.feature.dtype)
        out[f"{column.name}{STATE}"] = np.where(empty, EMPTY, KNOWN).astype(np.uint8)
    for feature in reading.lists:
        out[feature.name] = found[feature.name]
        empty = np.array([not len(one) for one in found[feature.name]], np.bool_)
        out[f"{feature.name}{STATE}"] = np.where(empty, EMPTY, KNOWN).astype(np.uint8)
    return out


def finished(reading: Reading, found: Mapping[str, NDArray[Any]]) -> dict[str, pa.Array]:
    """Values and states as Arrow columns, in the order of the reading."""
    arrays = filled(reading, found)
    names = [*(column.name for column in reading.columns), *(feature.name for feature in reading.lists)]
    return {name: _arrow(arrays[name]) for column in names for name in (column, f"{column}{STATE}")}


def _arrow(array: NDArray[Any]) -> pa.Array:
    return pa.array(array.tolist(), pa.list_(pa.float64())) if array.dtype == object else arrow_of(array)


def _number(values: Arrays, done: Arrays, column: Column) -> NDArray[np.float64]:
    found = values[column.vector][..., column.place] if column.vector else done[column.name]
    return found.reshape(-1)


def plan_of(features: FeatureSet, columns: Iterable[str]) -> Plan:
    """What is needed for some columns: what they read, and what a request's keys are made of."""
    owners = {features.owner_of[column].name for column in columns}
    while True:
        some = features.only(sorted(owners))
        keys = {name for feature in some for name in (*feature.key, "utc_offset_ms") if name in features.owner_of}
        wanted = owners | {features.owner_of[name].name for name in keys}
        if wanted == owners:
            return Plan(some)
        owners = wanted


def as_given(reading: Reading, table: pa.Table) -> tuple[Arrays, NDArray[np.int64]]:
    """The context of requests as programs take it, and their places in the log.

    Raises:
        FeatureError: They are no numbers, or do not say what they saw (``feature-047``).
    """
    _check_requests(table, reading.context)
    values: Arrays = {}
    for name in reading.context:
        array = _context(table.column(name))
        values[name] = array[:, None] if reading.kinds[name].shape.candidate else array
    return values, _whole_numbers(table.column(AS_OF))


def events_of(table: pa.Table, sources: Iterable[Source]) -> Events:
    """The events of a stream with the columns that all its sources read."""
    return Events.from_arrow(table, _together(sources))


def _columns_of(plan: Plan, tables: Tables, reading: Reading) -> tuple[dict[str, SourceColumns], tuple[Space, ...]]:
    """What is read of each source, and all spaces in the order they are worked on."""
    read = {group.name: group for group in reading.groups}
    sources: dict[str, SourceColumns] = {}
    spaces: list[Space] = []
    for source in plan.sources:
        own: list[Group | FoldGroup] = [group for group in read.values() if group.source.name == source.name]
        if own:
            sources[source.name] = SourceColumns.of(Intake(plan, source, tables), own, len(spaces))
            spaces.extend(sources[source.name].spaces)
    return sources, tuple(spaces)


def _names_of(group: Group | FoldGroup) -> tuple[str, ...]:
    if isinstance(group, FoldGroup):
        return group.columns
    return (*(leaf.name for leaf in group.leaves), *list_columns(group))


def _together(sources: Iterable[Source]) -> Source:
    """One source with the columns of all that read a stream."""
    first, *_ = sources = tuple(sources)
    columns = {source.time: "int64" for source in sources} | {
        name: kind for source in sources for name, kind in source.columns.items()
    }
    return replace(first, columns=columns)


def _check_requests(table: pa.Table, context: Iterable[str]) -> None:
    """Refuses requests that carry no numbers, or do not say what they saw."""
    for name in (*context, AS_OF):
        kind = table.column(name).type
        if not (pa.types.is_integer(kind) or (pa.types.is_floating(kind) and name != AS_OF)):
            raise _no_request(
                f"column {name!r} of the requests holds {kind}, expected whole numbers"
                + ("" if name == AS_OF else " or numbers")
            )
    if table.column(AS_OF).null_count:
        raise _no_request("some requests do not say which log offset they had seen")


def _no_request(message: str) -> FeatureError:
    return FeatureError(
        message,
        code="feature-047",
        hint="give each request its context as numbers and the log offset its server had seen as as_of",
    )


def _context(column: pa.ChunkedArray) -> NDArray[Any]:
    """A request's numbers; a null is -1, no key, among whole numbers, and empty among others."""
    if pa.types.is_integer(column.type):
        return _whole_numbers(column)
    return np.asarray(column.cast(pa.float64()).combine_chunks().to_numpy(zero_copy_only=False))


def _whole_numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column.cast(pa.int64()).fill_null(-1).combine_chunks().to_numpy(zero_copy_only=False))


def _reads_nothing(group: Group | FoldGroup, values: Arrays) -> None:
    raise AssertionError(f"{group.name} is read although its answers are there: {sorted(values)}")
