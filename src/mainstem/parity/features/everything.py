"""Every declared value of a request at once: what the ranker reads, and every inner number, list and vector behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.feature import Attribute, Context, Feature, Listed, PythonFunction
from mainstem.features.language.fold import Fold
from mainstem.features.language.plan import Plan
from mainstem.features.language.program import Program
from mainstem.features.language.resolve import LookUp, ReadGroup, Resolver, Step
from mainstem.features.reading import Column, Reading
from mainstem.features.steps import Arrays, Tables, is_vector

LOGGED_ONLY: Final = (Context, Listed, PythonFunction)
"""What is not recomputed: the request's own numbers, what is cut from a list that is compared itself, functions of our own."""


class Everything(Reading):
    """A reading of all declared features of a plan; vectors and lists are columns of their own.

    Args:
        plan: What is compiled.
        tables: Where attributes come from.
        wanted: Which of the columns, by name and kind; all when None.
        swapped: A key, and the name whose number stands in for it where state is read: a planted or suspected fault.
    """

    def __init__(
        self,
        plan: Plan,
        tables: Tables,
        wanted: Callable[[str, Kind], bool] | None = None,
        swapped: tuple[str, str] | None = None,
    ) -> None:
        self.plan, self.tables = plan, tables
        given = {
            feature.name: Kind(Shape.C if feature.of.per == "candidate" else Shape.R)
            for feature in plan.features
            if isinstance(feature.of, Context)
        }
        self.context = tuple(given)
        declared = [feature for feature in plan.features if not isinstance(feature.of, LOGGED_ONLY)]
        vectors = {name for feature in declared for name in _vectors(feature, tables)}
        names = [(name, feature) for feature in declared for name in _names(feature)]
        if wanted is not None:
            kinds = kinds_of(plan, tables)
            names = [(name, feature) for name, feature in names if wanted(name, kinds[name])]
        self.columns = tuple(_column(name, feature, name in vectors) for name, feature in names)
        resolver = Resolver(plan, given, {}, is_vector(tables))
        for name, _ in names:
            if name in vectors:
                resolver.need(name, f"feature {name!r}")
        if swapped is not None:
            resolver.need(swapped[1], "a swapped key")
        self.program = resolver.program({name: name for name, _ in names if name not in vectors}, "feature")
        self.kinds = resolver.kinds
        steps = tuple(resolver.steps)
        self.steps: tuple[Step, ...] = steps if swapped is None else swapped_steps(plan, steps, *swapped)
        self.lists = ()  # cut from lists that are columns themselves
        self.group_shapes = {group.name: resolver.shape_of(group.key) for group in self.groups}

    def kind_of(self, name: str) -> Kind:
        """The shape of a column, and whether it is a vector."""
        return self.kinds[name] if name in self.kinds else self.program.kind_of(name)

    def widths_of(self, program: Program, values: Arrays) -> dict[str, int]:
        """How long each vector is that a program reads."""
        return {entry.name: values[entry.name].shape[-1] for entry in program.inputs if entry.kind.vector}


def swapped_steps(plan: Plan, steps: tuple[Step, ...], key: str, other: str) -> tuple[Step, ...]:
    """The steps of a reading that joins state by another key than the events were counted under."""
    of = plan.features.by_name[other].of if other in plan.features.by_name else None
    first = (LookUp(other, of.table, of.column, of.key),) if isinstance(of, Attribute) else ()
    out = []
    for step in steps:
        if isinstance(step, ReadGroup) and step.group.key == (key,):
            out.append(replace(step, group=replace(step.group, key=(other,))))
        elif step not in first:
            out.append(step)
    return (*first, *out)


def kinds_of(plan: Plan, tables: Tables) -> dict[str, Kind]:
    """The kind of every declared column."""
    whole = Everything(plan, tables)
    return {column.name: whole.kind_of(column.name) for column in whole.columns}


def _column(name: str, feature: Feature, vector: bool) -> Column:
    # A vector is asked for whole: every place, not one.
    every: Any = Ellipsis
    return Column(name, feature, name, every) if vector else Column(name, feature)


def _names(feature: Feature) -> tuple[str, ...]:
    """A vector of several published columns is one column here."""
    return (feature.name,) if feature.width > 1 else feature.columns


def _vectors(feature: Feature, tables: Tables) -> list[str]:
    if isinstance(feature.of, Attribute) and is_vector(tables)(feature.of.table, feature.of.column):
        return [feature.name]
    if isinstance(feature.of, Fold):
        return [f"{feature.name}.{name}" for name, part in feature.of.state.items() if part.kind == "vector"]
    return []
