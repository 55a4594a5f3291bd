"""A reading whose arrays are kept between requests: one request at a time and thread, float64."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features.language.expression import Shape
from mainstem.features.language.program import Bound, Program
from mainstem.features.language.resolve import Compute
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading
from mainstem.features.steps import Arrays, run_steps

_FIRST_SIZE: Final = 640
"""Candidates that fit before the arrays have to grow."""


class HeldReading:
    """Columns of any shape for one request after the other.

    Args:
        state: Where features are read.
        columns: The published columns, in order.
    """

    def __init__(self, state: LiveState, columns: Sequence[str]) -> None:
        self.state = state
        self.reading = Reading(state.plan, state.tables, columns)
        self._shapes = {column.name: self.reading.shape_of(column) for column in self.reading.columns}
        names = list(self._shapes)
        self._of_request = [at for at, name in enumerate(names) if self._shapes[name] is Shape.R]
        self._of_candidate = [at for at, name in enumerate(names) if self._shapes[name] is Shape.C]
        self._local = threading.local()

    def values(self, given: Arrays, rows: Arrays, n: int) -> Arrays:
        """Every column by its name, and all they were made of save what belongs to the candidates.

        The answer can be ``given`` to another reading, which then does not look again.

        Shapes:
            Columns are ``[1]``, ``[1, places]`` or ``[1, n]``.
        """
        values = self._run(given, rows, n)
        bound = self._bound(self.reading.program, n)
        kinds = self.reading.kinds
        kept = {name: held for name, held in values.items() if not kinds[name].shape.candidate}
        for name, shape in self._shapes.items():
            found = bound.result(name)[:1]
            kept[name] = (found[:, :n] if shape is Shape.C else found).copy()
        return kept

    def matrix(self, given: Arrays, rows: Arrays, n: int) -> NDArray[np.float64]:
        """The columns side by side for each candidate, the request's own repeated; NaN is empty. Shapes: [n, columns]."""
        self._run(given, rows, n)
        bound = self._bound(self.reading.program, n)
        out = np.empty((n, len(self._shapes)))
        out[:, self._of_candidate] = bound.per_candidate[0, :n]
        out[:, self._of_request] = bound.per_request[0]
        return out

    def _run(self, given: Arrays, rows: Arrays, n: int) -> Arrays:
        values, state, reading = dict(given), self.state, self.reading
        for step in reading.steps:
            if isinstance(step, Compute):
                if step.name not in values:
                    self._compute(step, values, n)
            else:
                run_steps(
                    (step,), values, state.tables, lambda group, held: state.read_group(reading, group, held), rows
                )
        bound = self._bound(reading.program, n)
        bound.load(values)
        bound.run(1, n)
        return values

    def _compute(self, step: Compute, values: Arrays, n: int) -> None:
        bound = self._bound(step.program, n)
        bound.load(values)
        bound.run(1, n)
        for output in step.program.outputs:
            found = bound.result(output.name)[:1]
            values[output.name] = (found[:, :n] if output.kind.shape is Shape.C else found).copy()

    def _bound(self, program: Program, n: int) -> Bound:
        """This thread's arrays for a program, large enough for n candidates."""
        held: dict[int, Bound] = self._local.__dict__.setdefault("bounds", {})
        bound = held.get(id(program))
        if bound is None or bound.candidates < n:
            size = max(n, _FIRST_SIZE if any(e.kind.shape.candidate for e in program.inputs) else 1)
            bound = program.bind(1, self.reading.places, size, widths=self.reading.widths, dtype=np.float64)
            held[id(program)] = bound
        return bound
