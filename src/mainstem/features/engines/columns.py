"""A source's events as columns of whole numbers, each expression once: what buckets hold and tasks read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.features.engines.spaces import OFFSET, Space, fold_columns
from mainstem.features.events import Events
from mainstem.features.folding import FoldState
from mainstem.features.intake import Intake, Taken
from mainstem.features.kernel.arena import Arena
from mainstem.features.language.plan import Accumulator, FoldGroup, Group, Plan
from mainstem.features.language.source import Source
from mainstem.features.live import Seen, ever_leaves, told_columns
from mainstem.features.steps import NO_KEY, Arrays, Tables

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """Where the columns of a source's spaces stand in its intake's rows.

    Attributes:
        places: The place of each column in an event row.
        spaces: What is read of the source, by key.
    """

    places: Mapping[str, int]
    spaces: tuple[Space, ...]

    @classmethod
    def of(cls, intake: Intake, groups: Sequence[Group | FoldGroup], first: int) -> SourceColumns:
        """The columns of the groups that are read; spaces are numbered from ``first`` on."""
        places: dict[str, int] = {OFFSET: intake.layout.offset}
        names: dict[tuple[Any, ...], str] = {}
        drafts: dict[tuple[str, ...], list[Group | FoldGroup]] = {}
        for group in groups:
            drafts.setdefault(group.key, []).append(group)
        spaces = tuple(
            _space(intake, f"s{first + at}", key, members, places, names)
            for at, (key, members) in enumerate(drafts.items())
        )
        return cls(places, spaces)

    def columns(self, intake: Intake, taken: Taken) -> Columns:
        """The columns of a batch, each once."""
        out: Columns = {name: np.ascontiguousarray(taken.matrix[:, at]) for name, at in self.places.items()}
        for space in self.spaces:
            for fold in space.folds:
                keys, inputs = taken.folds[[one.name for one in intake.folds].index(fold.name)]
                out |= {name: np.ascontiguousarray(inputs[:, at]) for at, name in enumerate(fold_columns(fold))}
                out |= {name: np.ascontiguousarray(keys[:, at]) for at, name in enumerate(space.words)}
        return out


def _space(
    intake: Intake,
    name: str,
    key: tuple[str, ...],
    members: list[Group | FoldGroup],
    places: dict[str, int],
    names: dict[tuple[Any, ...], str],
) -> Space:
    """A space, its columns noted in ``places`` and (by what they hold) in ``names``."""
    space = Space(
        name,
        intake.source.name,
        key,
        tuple(one for one in members if isinstance(one, Group)),
        tuple(one for one in members if isinstance(one, FoldGroup)),
    )
    columns: dict[str, None] = dict.fromkeys((OFFSET, *space.words))
    inputs: dict[str, tuple[str, ...]] = {}
    fields: dict[str, tuple[str, ...]] = {}
    held: dict[str, str] = {}
    for group in space.groups:
        at = intake.layout.groups[[one.name for one in intake.groups].index(group.name)]
        for word, place in zip(space.words, at.keys, strict=True):
            places.setdefault(word, place)
        places.setdefault(f"when_{group.zone}", at.when)
        own: list[str] = []
        for one, first in zip(group.accumulators, group.first_word, strict=True):
            for word in range(one.words):
                column = names.setdefault(("in", _same(one, intake.source), word), f"in_{len(names)}")
                places.setdefault(column, at.inputs[first + word])
                own.append(column)
        inputs[group.name] = tuple(own)
        told = [names.setdefault(("field", text, scale), f"field_{len(names)}") for _, text, scale in group.fields]
        for column, place in zip(told, at.fields, strict=True):
            places.setdefault(column, place)
        fields[group.name] = tuple(told)
        if group.where:
            held[group.name] = f"held_{group.name}"
            places[held[group.name]] = at.counts
        columns |= dict.fromkeys((f"when_{group.zone}", *own, *told, *([held[group.name]] if group.where else [])))
    for fold in space.folds:
        columns |= dict.fromkeys(fold_columns(fold))
    return replace(space, inputs=inputs, fields=fields, held=held, columns=tuple(columns))


def _same(one: Accumulator, source: Source) -> Accumulator:
    """An accumulator that is fed the same numbers: a column of whole numbers is always known."""
    column = one.value.removeprefix("known(").removesuffix(")")
    whole = one.value == f"known({column})" and source.columns.get(column) == "int64" and column != source.time
    return replace(one, value="1") if whole and column not in source.derive else one


class StreamIntake:
    """Takes a stream's events batch by batch, in log order: late ones go here, before anything is split by key.

    A source that sees features of another needs that state before each event. Only this state is kept while the events go by:
    a few words a key.

    Args:
        plan: What is compiled.
        tables: Where attributes come from.
        stream: Which stream of the log.
        columns: What is wanted of each source, by its name.
    """

    def __init__(self, plan: Plan, tables: Tables, stream: str, columns: Mapping[str, SourceColumns]) -> None:
        self.sources = tuple(source for source in plan.sources if source.of_stream == stream)
        self._columns = columns
        self._intakes = {source.name: Intake(plan, source, tables) for source in self.sources}
        self._watermarks = dict.fromkeys(self._intakes, -1)
        self._seen = {source.name: Seen(plan, source, tables) for source in self.sources if source.sees}
        wanted = {name for one in self._seen.values() for name in (*one.groups, *one.folds)}
        self._watched: dict[str, tuple[Arena, int]] = {}
        self._folds: dict[str, FoldState] = {}
        for name, intake in self._intakes.items():
            at = next((at for at, group in enumerate(intake.groups) if group.name in wanted), -1)
            if at >= 0:
                self._watched[name] = (Arena([group.shape for group in intake.groups], layout=intake.layout), at)
            self._folds |= {fold.name: FoldState(fold, tables) for fold in intake.folds if fold.name in wanted}

    @property
    def apart(self) -> bool:
        """Whether batches can be taken in side by side, once their watermarks are known: no source sees another's state."""
        return not self._seen

    def marks(self, events: Events) -> dict[str, int]:
        """The largest time of each source before a batch; notes those of the batch."""
        before = dict(self._watermarks)
        for source in self.sources:
            times = events.columns[source.time]
            self._watermarks[source.name] = max(before[source.name], int(times.max()) if len(times) else -1)
        return before

    def take(self, events: Events, marks: Mapping[str, int]) -> tuple[int, list[tuple[Source, Columns]]]:
        """How many events of a batch were too late, and its columns, source by source.

        Args:
            events: In log order.
            marks: What ``marks`` said of it.
        """
        before: dict[str, Arrays] = {}
        out: list[tuple[Source, Columns]] = []
        late = 0
        for source in self.sources:
            intake = self._intakes[source.name]
            sees = self._seen[source.name].values(before) if source.name in self._seen else {}
            taken, _ = intake.take(events, sees, marks[source.name])
            late += taken.late
            self._watch(intake, taken, before, len(events))
            if source.name in self._columns:
                out.append((source, self._columns[source.name].columns(intake, taken)))
        return late, out

    def _watch(self, intake: Intake, taken: Taken, before: dict[str, Arrays], n: int) -> None:
        """Notes the state before each event where a later source sees it."""
        if intake.source.name in self._watched:
            arena, at = self._watched[intake.source.name]
            held = arena.apply(taken.matrix, before=at)
            before[intake.groups[at].name] = ever_leaves(intake.groups[at], held, taken.rows, n)
        for fold, (keys, inputs) in zip(intake.folds, taken.folds, strict=True):
            if fold.name in self._folds:
                told = self._folds[fold.name].apply(keys, inputs)
                before[fold.name] = told_columns(fold, told, taken.rows, n)


def with_keys(space: Space, columns: Columns) -> Columns:
    """A space's columns of a batch, without the events that have no key for it."""
    keyed = np.ones(len(columns[OFFSET]), np.bool_)
    for word in space.words:
        keyed &= columns[word] != NO_KEY
    own = {name: columns[name] for name in space.columns}
    return own if keyed.all() else {name: column[keyed] for name, column in own.items()}
