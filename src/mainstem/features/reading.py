"""Which values does a request get: the finish of every column, for the live state and for the past alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.features.intake import clock_of, unfixed
from mainstem.features.kernel.registers import distinct
from mainstem.features.kernel.shape import UNTIMED
from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.feature import Context, Feature, Listed
from mainstem.features.language.plan import LIST_TIME, FoldGroup, Group, Plan
from mainstem.features.language.resolve import LookUp, ReadGroup, Resolver, Step, fills, reads
from mainstem.features.steps import Arrays, Tables, as_key, is_vector

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Column:
    """One published column and what it is when there is nothing.

    Attributes:
        vector: The name of the vector it is part of; empty for a number.
        place: Which part of it.
    """

    name: str
    feature: Feature
    vector: str = ""
    place: int = 0


class Reading:
    """Compiled once per set of wanted columns: steps, program, defaults.

    Args:
        plan: What is compiled.
        tables: Where attributes come from.
        columns: The published columns, in order; list features (``Listed``) among them are answered as lists.
    """

    def __init__(self, plan: Plan, tables: Tables, columns: Sequence[str]) -> None:
        self.plan, self.tables = plan, tables
        chosen = [_column(plan, name) for name in columns]
        self.columns = tuple(column for column in chosen if not isinstance(column.feature.of, Listed))
        self.lists = tuple(column.feature for column in chosen if isinstance(column.feature.of, Listed))
        given = {
            feature.name: Kind(Shape.C if feature.of.per == "candidate" else Shape.R)
            for feature in plan.features
            if isinstance(feature.of, Context)
        }
        self.context = tuple(given)
        resolver = Resolver(plan, given, {}, is_vector(tables))
        for vector in {column.vector: None for column in self.columns if column.vector}:
            resolver.need(vector, f"feature {vector!r}")
        for feature in self.lists:
            assert isinstance(feature.of, Listed)
            resolver.need(feature.of.column, f"feature {feature.name!r}")
        outputs = {column.name: column.name for column in self.columns if not column.vector}
        self.program = resolver.program(outputs, "feature")
        self.kinds = resolver.kinds
        self.steps: tuple[Step, ...] = resolver.ordered()
        self.group_shapes = {group.name: resolver.shape_of(group.key) for group in self.groups}
        self.empties = np.array([column.feature.when_empty for column in self.columns])
        self.defaults = np.array([column.feature.default for column in self.columns])

    @property
    def places(self) -> dict[str, int]:
        """How long each kept list is."""
        lists = {group.latest: group.shape.list_k for group in self.plan.groups if group.latest}
        return lists | {fold.name: fold.fold.places for fold in self.plan.folds if fold.fold.places}

    @property
    def widths(self) -> dict[str, int]:
        """How long each vector is that the program reads."""
        vectors = {entry.name for entry in self.program.inputs if entry.kind.vector}
        held = {f"{fold.name}.{name}": part.size for fold in self.plan.folds for name, part in fold.fold.state.items()}
        looked_up = {
            step.name: self.tables[step.table].columns[step.column].shape[1]
            for step in self.steps
            if isinstance(step, LookUp) and step.name in vectors
        }
        return {name: width for name, width in (held | looked_up).items() if name in vectors}

    def shape_of(self, column: Column) -> Shape:
        """Whether a column is the request's or its candidates'."""
        if column.vector:
            return self.kinds[column.vector].shape
        return self.program.shape_of(column.name)

    @property
    def groups(self) -> tuple[Group | FoldGroup, ...]:
        """The state tables it reads."""
        return tuple(step.group for step in self.steps if isinstance(step, ReadGroup))

    def early_and_late(self) -> tuple[list[Step], list[Step]]:
        """The steps, and those that fill lists or vectors, which are large, or need one: done for few requests at a time."""
        parts: tuple[list[Step], list[Step]] = ([], [])
        late: set[str] = set()
        for step in self.steps:
            needed, filled = reads(step), fills(step)
            is_late = not late.isdisjoint(needed) or any(self._is_large(name) for name in (*needed, *filled))
            late.update(filled if is_late else ())
            parts[is_late].append(step)
        return parts

    def _is_large(self, name: str) -> bool:
        return self.kinds[name].vector or self.kinds[name].shape.listed


def keys_of(group: Group | FoldGroup, values: Arrays, shape: Shape) -> tuple[Ints, tuple[int, ...]]:
    """The keys that a request asks a state table for, one row a read, and the shape of the answers.

    Shapes: ``[reads, key words]``; ``[B]`` or ``[B, n]``.
    """
    parts = [as_key(np.asarray(values[name])) for name in group.key]
    if shape.candidate:
        parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    if len(parts) == 1:
        return np.ascontiguousarray(parts[0]).reshape(-1, 1), parts[0].shape
    answers = np.broadcast_shapes(*(part.shape for part in parts))
    out = np.empty((*answers, len(parts)), np.int64)
    for at, part in enumerate(parts):
        out[..., at] = part
    return out.reshape(-1, len(parts)), answers


def now_of(group: Group, values: Arrays, shape: tuple[int, ...]) -> Ints:
    """When each read is made, on the clock of the group's tiles."""
    now = np.asarray(values["now_ms"]).astype(np.int64)
    clock = clock_of(group, now, values)
    return np.ascontiguousarray(
        np.broadcast_to(clock.reshape(clock.shape + (1,) * (len(shape) - 1)), shape).reshape(-1)
    )


def add_numbers(group: Group, numbers: NDArray[np.float64], shape: tuple[int, ...], values: Arrays) -> None:
    """Names what was read from a state table. Shapes: ``numbers`` is [reads, windows, words]."""
    for leaf in group.leaves:
        if group.accumulators[leaf.accumulator].monoid != "registers":
            word = group.first_word[leaf.accumulator]
            values[leaf.name] = numbers[:, leaf.window, word].reshape(shape)


def add_distinct(group: Group, registers: Ints, shape: tuple[int, ...], values: Arrays) -> None:
    """Names the estimated counts of different values. Shapes: ``registers`` is [reads, windows, words]."""
    for leaf in group.leaves:
        accumulator = group.accumulators[leaf.accumulator]
        if accumulator.monoid == "registers":
            first = group.first_word[leaf.accumulator]
            held = np.ascontiguousarray(registers[:, leaf.window, first : first + accumulator.words])
            values[leaf.name] = np.asarray(distinct(held), np.float64).reshape(shape)


def has_distinct(group: Group) -> bool:
    """Whether some accumulator of the group counts different values."""
    return any(accumulator.monoid == "registers" for accumulator in group.accumulators)


def has_numbers(group: Group) -> bool:
    """Whether some accumulator of the group is a number."""
    return any(accumulator.monoid != "registers" for accumulator in group.accumulators)


def add_list(group: Group, when: Ints, fields: Ints, count: Ints, values: Arrays) -> None:
    """Names the latest events of each key, newest first; places that no event fills are empty.

    Shapes: ``when`` is [B, k], ``fields`` is [B, k, fields].
    """
    filled = np.arange(when.shape[1]) < count[:, None]
    for at, (name, _, scale) in enumerate(group.fields):
        numbers = unfixed(fields[:, :, at], scale)
        values[f"{group.latest}.{name}"] = np.where(filled, numbers, np.nan)
    values[f"{group.latest}.{LIST_TIME}"] = np.where(filled & (when != UNTIMED), when, np.nan)


def add_listed(reading: Reading, values: Arrays) -> None:
    """Names the list features: one list a request. Shapes: [B] of lists."""
    for feature in reading.lists:
        assert isinstance(feature.of, Listed)
        rows = np.empty(len(values[feature.of.column]), object)
        rows[:] = listed(feature.of, values[feature.of.column])
        values[feature.name] = rows


def listed(of: Listed, values: NDArray[np.float64]) -> list[list[float]]:
    """A list feature of each request: the newest values, or the most frequent ones (the one seen last first among equals)."""
    out = []
    for row in values:
        known = row[~np.isnan(row)]
        if of.frequent:
            different, first, times = np.unique(known, return_index=True, return_counts=True)
            known = different[np.lexsort((first, -times))]
        out.append(known[: of.most].tolist())
    return out


def _column(plan: Plan, name: str) -> Column:
    feature = plan.features.owner_of[name]
    if feature.width > 1:
        return Column(name, feature, feature.name, feature.columns.index(name))
    return Column(name, feature)


Reader = Callable[[Group, Arrays], None]
Given = Mapping[str, NDArray[Any]]
