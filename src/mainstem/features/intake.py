"""What does an event add, and to which keys: a source's events as rows of whole numbers for its state tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.events import Events
from mainstem.features.kernel.registers import register_words
from mainstem.features.kernel.shape import IDENTITIES, UNTIMED, EventLayout, GroupColumns
from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.plan import Accumulator, FoldGroup, Group, Plan
from mainstem.features.language.resolve import Resolver
from mainstem.features.language.source import Source
from mainstem.features.running import run_program
from mainstem.features.steps import NO_KEY, Arrays, Tables, as_key, is_vector, run_steps

Ints = NDArray[np.int64]
Cell = tuple[Any, ...]
"""What a column of an event row holds: its kind, and of what."""
_PRECISION: Final = {8: 6, 32: 8}
_LARGEST: Final = float(2**62)
_ROWS: Final = 1 << 16
_EMPTY_FIELD: Final = UNTIMED
"""What stands for an empty field of a kept event."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch as rows for the kernels.

    Attributes:
        matrix: One row an admitted event, in the layout of the intake.
        folds: Of each fold, the admitted events' keys and what its step is told of them.
        rows: Which events of the batch they are.
        late: Events that came later than the source admits, and were dropped.
        outside: Events the source's ``where`` leaves out.
        without_key: Keys that were missing, over all tables.
    """

    matrix: Ints
    folds: tuple[tuple[Ints, NDArray[np.float64]], ...]
    rows: Ints
    late: int
    outside: int
    without_key: int


class Intake:
    """Compiled once per source: its expressions, keys and layout.

    Args:
        plan: What is compiled.
        source: Whose events.
        tables: Where attributes come from.
    """

    def __init__(self, plan: Plan, source: Source, tables: Tables) -> None:
        self.source = source
        self.groups, self.folds = plan.groups_of(source), plan.folds_of(source)
        self._tables = tables
        self.layout, self._places = _layout(self.groups)
        self._zones = {group.zone: group for group in self.groups}
        given = dict.fromkeys((*source.columns, "time_ms", *source.sees), Kind(Shape.R))
        resolver = Resolver(plan, given, source.derive, is_vector(tables), may_read=False)
        where = f"source {source.name!r}"
        outputs = {"where": source.where} if source.where else {}
        for group in self.groups:
            for name in (*group.key, *(["utc_offset_ms"] if group.zone == "local" else [])):
                resolver.need(name, f"the key of {where}")
        for fold in self.folds:
            for name in fold.key:
                resolver.need(name, f"the key of {where}")
            outputs |= {f"{fold.name}_take_{name}": text for name, text in fold.fold.takes.items()}
        for kind, *what in self._places:
            if (kind == "in" and what[1] == 0) or (kind == "field" and not self._is_whole(what[0])):
                outputs[self._output(kind, *what)] = what[0].value if kind == "in" else what[0]
            elif kind == "counts" and what[1]:
                outputs[self._output(kind, *what)] = what[1]
        self._program = resolver.program(outputs, where)
        self._steps = resolver.steps
        self._numbers = self._numbers_of_all()

    def take(self, events: Events, sees: Mapping[str, NDArray[Any]], watermark_ms: int) -> tuple[Taken, int]:
        """The rows of a batch, and the watermark after it.

        Args:
            events: In log order.
            sees: Values before each event of the features that the source sees.
            watermark_ms: The largest time admitted so far; -1: none.
        """
        time_ms = np.asarray(events.columns[self.source.time], np.int64)
        on_time, after = _admitted(time_ms, watermark_ms, self.source.lateness_ms)
        values: Arrays = {**events.columns, **sees, "time_ms": time_ms}
        values = {name: values[name] for name in (*self.source.columns, "time_ms", *self.source.sees)}
        run_steps(self._steps, values, self._tables, _no_read, {})
        out = run_program(self._program, _with_times(values, time_ms))
        if not self._program.inputs:  # nothing but constants, such as a bare count: one number for all events
            out = {name: np.broadcast_to(array, len(events)) for name, array in out.items()}
        inside = out["where"] > 0 if "where" in out else np.ones(len(events), np.bool_)
        kept = np.flatnonzero(on_time & inside)
        matrix = np.zeros((len(kept), self.layout.width), np.int64)
        matrix[:, self.layout.offset] = events.offset[kept]
        self._numbers.fill(matrix, out, kept)
        self._fill(matrix, values, out, kept, time_ms)
        missing = sum(len(kept) - int(self._keyed(matrix, group.key).sum()) for group in self.groups)
        folds = tuple(_of_fold(fold, values, out, kept) for fold in self.folds)
        late = int((~on_time).sum())
        return Taken(matrix, folds, kept, late, int((on_time & ~inside).sum()), missing), after

    def _is_whole(self, text: str) -> bool:
        """Whether an expression is just a column of whole numbers."""
        return self.source.columns.get(text) == "int64" and text != self.source.time

    def _output(self, kind: str, *what: Any) -> str:
        """The name under which the program gives what a cell is made of."""
        return f"cell_{self._places[(kind, *what)]}"

    def _numbers_of_all(self) -> _Numbers:
        """Which outputs become which words, but for registers and fields that are whole already."""
        found: list[tuple[str, int, float, int, str]] = []
        for (kind, *what), place in self._places.items():
            if kind == "in" and what[0].monoid != "registers":
                empty = IDENTITIES[{"add": 0, "min": 1, "max": 2}[what[0].monoid]]
                found.append(
                    (self._output(kind, *what), place, what[0].scale, empty, f"{what[0].value} of {self.source.name}")
                )
            elif kind == "field" and not self._is_whole(what[0]):
                found.append((self._output(kind, *what), place, what[1], _EMPTY_FIELD, what[0]))
        return _Numbers.of(found)

    def _fill(self, matrix: Ints, values: Arrays, out: Arrays, kept: Ints, time_ms: Ints) -> None:
        """Writes keys, clocks, registers and whole fields, and which events count; each once."""
        for (kind, *what), place in self._places.items():
            if kind == "key":
                matrix[:, place] = as_key(values[what[0]])[kept]
            elif kind == "when":
                matrix[:, place] = clock_of(self._zones[what[0]], time_ms[kept], values, kept)
            elif kind == "in" and what[0].monoid == "registers" and what[1] == 0:
                words = registers_of(out[self._output(kind, *what)][kept], what[0])
                matrix[:, [self._places["in", what[0], word] for word in range(what[0].words)]] = words
            elif kind == "field" and self._is_whole(what[0]):
                # as it is: an id of a hashed text needs all of its 63 bits
                matrix[:, place] = np.asarray(values[what[0]], np.int64)[kept]
        for (kind, *what), place in self._places.items():
            if kind == "counts":
                counts = self._keyed(matrix, what[0])
                matrix[:, place] = counts & (out[self._output(kind, *what)][kept] > 0) if what[1] else counts

    def _keyed(self, matrix: Ints, key: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which rows have every word of a key."""
        keyed = matrix[:, self._places["key", key[0]]] != NO_KEY
        for name in key[1:]:
            keyed &= matrix[:, self._places["key", name]] != NO_KEY
        return keyed


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Outputs of a program that become words of event rows, all at once.

    Shapes: one entry an output.
    """

    names: tuple[str, ...]
    places: Ints
    scales: NDArray[np.float64]
    empties: Ints
    whats: tuple[str, ...]

    @classmethod
    def of(cls, found: list[tuple[str, int, float, int, str]]) -> _Numbers:
        """From (output, place in the row, steps per unit, word of an empty value, how errors call it)."""
        names, places, scales, empties, whats = zip(*found, strict=True) if found else ((), (), (), (), ())
        arrays = (np.array(places, np.int64), np.array(scales, np.float64), np.array(empties, np.int64))
        return cls(tuple(names), *arrays, tuple(whats))

    def fill(self, matrix: Ints, out: Arrays, kept: Ints) -> None:
        """Writes the words of the kept events."""
        for start in range(0, len(kept) if self.names else 0, _ROWS):
            some = kept[start : start + _ROWS]
            values = np.stack([out[name][some] for name in self.names], axis=1)
            scaled = np.rint(values * self.scales)
            known = ~np.isnan(scaled)
            whole = np.where(known, scaled, 0.0)
            if (np.abs(whole) >= _LARGEST).any():
                for at, what in enumerate(self.whats):
                    fixed(values[:, at], float(self.scales[at]), 0, what)
            words = np.where(known, whole.astype(np.int64), self.empties)
            matrix[start : start + _ROWS, self.places] = words


def _of_fold(fold: FoldGroup, values: Arrays, out: Arrays, kept: Ints) -> tuple[Ints, NDArray[np.float64]]:
    keys = np.stack([as_key(values[name])[kept] for name in fold.key], axis=1)
    inputs = np.empty((len(kept), len(fold.fold.takes)))
    for at, name in enumerate(fold.fold.takes):
        inputs[:, at] = out[f"{fold.name}_take_{name}"][kept]
    return keys, inputs


def clock_of(group: Group, time_ms: Ints, values: Arrays, rows: Ints | slice = slice(None)) -> Ints:
    """Times on the clock that a group's tiles follow; unknown ones are ``UNTIMED``."""
    shift = 0
    if group.zone == "local":
        shift = np.nan_to_num(np.asarray(values["utc_offset_ms"], np.float64)[rows]).astype(np.int64)
    return np.where(time_ms < 0, UNTIMED, time_ms + shift)


def registers_of(values: NDArray[np.float64], of: Accumulator) -> Ints:
    """What different values set in an accumulator's registers; empty ones nothing. Shapes: [n, words]."""
    known = ~np.isnan(values)
    bits = np.where(known, values + 0.0, 0.0).view(np.int64)
    return np.where(known[:, None], register_words(bits, _PRECISION[of.words]), 0)


def fixed(values: NDArray[np.float64], scale: float, empty: int, what: str) -> Ints:
    """Values in fixed point; empty ones as the given number.

    Raises:
        FeatureError: A value is too large (``feature-011``).
    """
    scaled = np.rint(values * scale)
    known = ~np.isnan(scaled)
    if (np.abs(scaled[known]) >= _LARGEST).any():
        worst = float(np.nanmax(np.abs(values)))
        raise FeatureError(
            f"{what} is {worst:.6g}, too large to be kept exactly in steps of 1/{scale:g}",
            code="feature-011",
            hint="clip the value in its expression, or declare a smaller scale",
        )
    return np.where(known, np.where(known, scaled, 0.0).astype(np.int64), empty)


def unfixed(words: Ints, scale: float) -> NDArray[np.float64]:
    """Fields of kept events as numbers; empty ones as NaN."""
    return np.where(words == _EMPTY_FIELD, np.nan, words / scale)


def _admitted(time_ms: Ints, watermark_ms: int, lateness_ms: int) -> tuple[NDArray[np.bool_], int]:
    """Which events are on time: not later than allowed behind the largest admitted time before them."""
    if not len(time_ms):
        return np.ones(0, np.bool_), watermark_ms
    largest = np.maximum.accumulate(np.append(watermark_ms, time_ms))
    if lateness_ms < 0:
        return np.ones(len(time_ms), np.bool_), int(largest[-1])
    on_time = (time_ms < 0) | (time_ms >= largest[:-1] - lateness_ms)
    return on_time, int(largest[-1])


def _with_times(values: Arrays, time_ms: Ints) -> Arrays:
    """The values with unknown times as empty."""
    return values | {"time_ms": np.where(time_ms < 0, np.nan, time_ms)}


def _no_read(group: Group | FoldGroup, values: Arrays) -> None:
    raise AssertionError(f"{group.name} is read while events are taken in: {sorted(values)}")


def _layout(groups: tuple[Group, ...]) -> tuple[EventLayout, dict[Cell, int]]:
    """Where a row holds what: each key, clock, input and field once, however many groups read it."""
    places: dict[Cell, int] = {("offset",): 0}

    def place(*cell: Any) -> int:
        return places.setdefault(cell, len(places))

    columns = tuple(
        GroupColumns(
            keys=tuple(place("key", name) for name in group.key),
            when=place("when", group.zone),
            inputs=tuple(place("in", one, word) for one in group.accumulators for word in range(one.words)),
            fields=tuple(place("field", text, scale) for _, text, scale in group.fields),
            counts=place("counts", group.key, group.where),
        )
        for group in groups
    )
    return EventLayout(len(places), 0, columns), places
