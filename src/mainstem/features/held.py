"""A reading whose arrays are kept between requests: one request at a time and thread, in float64."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.plan import FoldGroup, Group
from mainstem.features.language.program import Bound, Program
from mainstem.features.language.resolve import Compute, LookUp, Step, reads
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading
from mainstem.features.steps import Arrays, run_steps

_FIRST_SIZE: Final = 640
"""Candidates that fit before the arrays have to grow."""


_MOST_KNOWN: Final = 4_096
"""So many different values of what stands still are remembered."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A program's arrays, and its inputs as views: name, view, whether the last axis is the candidates', the one before it."""

    bound: Bound
    inputs: tuple[tuple[str, NDArray[Any], bool, bool], ...]

    def run(self, values: Arrays, n: int) -> Bound:
        """Runs the program over one request's values and n candidates."""
        for name, view, last, before in self.inputs:
            if last:
                view[..., :n] = values[name]
            elif before:
                view[..., :n, :] = values[name]
            else:
                view[...] = values[name]
        self.bound.run(1, n)
        return self.bound


class HeldReading:
    """Columns of any shape for one request after the other.

    Args:
        state: Where features are read.
        columns: The published columns, in order.
        still: Names of the request of whose values there are few different ones, such as its surface: what follows from
            them and the attribute tables alone is looked up once for each.
    """

    def __init__(self, state: LiveState, columns: Sequence[str], still: Sequence[str] = ()) -> None:
        self.state = state
        self.reading = Reading(state.plan, state.tables, columns)
        self._shapes = {column.name: self.reading.shape_of(column) for column in self.reading.columns}
        shapes = list(self._shapes.values())
        self._of_request = [at for at, shape in enumerate(shapes) if shape is Shape.R]
        self._of_candidate = [at for at, shape in enumerate(shapes) if shape is Shape.C]
        self._local = threading.local()
        self.needs = frozenset(self.reading.program.names).union(*(reads(step) for step in self.reading.steps))
        self._still, self._follows = tuple(still), _following(self.reading.steps, still)
        self._known: dict[tuple[bytes, ...], Arrays] = {}

    def values(self, given: Arrays, n: int = 1, rows: Arrays | None = None) -> Arrays:
        """Every column by its name, and all they were made of save what belongs to the candidates.

        The answer can be ``given`` to another reading, which then does not look again.

        Shapes:
            Columns are ``[1]``, ``[1, places]`` or ``[1, n]``.
        """
        values, bound = self._run(given, {} if rows is None else rows, n)
        nothing, kinds = Kind(Shape.R), self.reading.kinds
        kept = {name: held for name, held in values.items() if not kinds.get(name, nothing).shape.candidate}
        return kept | {name: _result(bound, name, shape, n) for name, shape in self._shapes.items()}

    def matrix(self, given: Arrays, n: int, rows: Arrays | None = None) -> NDArray[np.float64]:
        """The columns side by side for each candidate, the request's own repeated; NaN is empty. Shapes: [n, columns]."""
        _, bound = self._run(given, {} if rows is None else rows, n)
        out = np.empty((n, len(self._shapes)))
        out[:, self._of_candidate] = bound.per_candidate[0, :n]
        if self._of_request:
            out[:, self._of_request] = bound.per_request[0]
        return out

    def _run(self, given: Arrays, rows: Arrays, n: int) -> tuple[Arrays, Bound]:
        values = dict(given)
        known = tuple(values[name].tobytes() for name in self._still)
        values.update(self._known.get(known, {}))
        for step in self.reading.steps:
            if step.name in values:
                continue
            if isinstance(step, Compute):
                bound = self._held(step.program, n).run(values, n)
                for output in step.program.outputs:
                    values[output.name] = _result(bound, output.name, output.kind.shape, n)
            else:
                run_steps((step,), values, self.state.tables, self._read, rows)
        if self._follows and known not in self._known and len(self._known) < _MOST_KNOWN:
            self._known[known] = {name: values[name] for name in self._follows}
        return values, self._held(self.reading.program, n).run(values, n)

    def _read(self, group: Group | FoldGroup, values: Arrays) -> None:
        self.state.read_group(self.reading, group, values)

    def _held(self, program: Program, n: int) -> _Held:
        """This thread's arrays for a program, large enough for n candidates."""
        programs: dict[int, _Held] = self._local.__dict__.setdefault("programs", {})
        one = programs.get(id(program))
        if one is None or one.bound.candidates < n:
            one = programs[id(program)] = self._fresh(program, n)
        return one

    def _fresh(self, program: Program, n: int) -> _Held:
        large = any(entry.kind.shape.candidate for entry in program.inputs)
        size = max(n, _FIRST_SIZE if large else 1)
        bound = program.bind(1, self.reading.places, size, widths=self.reading.widths, dtype=np.float64)
        inputs = []
        for entry in program.inputs:
            candidate, vector = entry.kind.shape.candidate, entry.kind.vector
            inputs.append((entry.name, bound.input(entry.name), candidate and not vector, candidate and vector))
        return _Held(bound, tuple(inputs))


def _result(bound: Bound, name: str, shape: Shape, n: int) -> NDArray[np.float64]:
    found = bound.result(name)
    return found[..., :n].copy() if shape.candidate else found.copy()


def _following(steps: Sequence[Step], still: Sequence[str]) -> tuple[str, ...]:
    """What look-ups and programs make of some names alone."""
    found = set(still)
    out = []
    for step in steps:
        if still and isinstance(step, LookUp | Compute) and found.issuperset(reads(step)):
            found.add(step.name)
            out.append(step.name)
    return tuple(out)
