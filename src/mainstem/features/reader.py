"""The request path's reads: one viewer and their candidates, into arrays that are kept between requests."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features.language.feature import Role
from mainstem.features.language.program import Bound
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading
from mainstem.features.steps import Arrays, run_steps

Side = NDArray[Any]
_FIRST_SIZE: Final = 512


class SideReader:
    """The ranker's input of a request: the viewer's side once, the candidates' sides as one array.

    Args:
        state: Where features are read.
        user: Roles whose columns are the viewer's.
        candidate: Roles whose columns are the candidates', one after the other.
        dtype: Of the answers.
        columns: Further candidates' columns, after those of the roles.
    """

    def __init__(
        self,
        state: LiveState,
        user: tuple[Role, ...],
        candidate: tuple[Role, ...],
        dtype: type[np.float32] | type[np.float64] = np.float32,
        columns: tuple[str, ...] = (),
    ) -> None:
        self.state, self._dtype = state, dtype
        features = state.plan.features
        self.user_columns = tuple(name for role in user for name in features.columns_of(role))
        self.candidate_columns = tuple(name for role in candidate for name in features.columns_of(role)) + columns
        self._user = Reading(state.plan, state.tables, self.user_columns)
        self._candidate = Reading(state.plan, state.tables, self.candidate_columns)
        self._pieces = _pieces(self._candidate)
        self._local = threading.local()

    def user(self, given: Arrays, rows: Arrays) -> tuple[Side, Arrays]:
        """The viewer's columns, empty ones as declared, and every name they were made of. Shapes: [user columns]."""
        values = self._run(self._user, given, rows, 1)
        out = np.empty(len(self.user_columns), self._dtype)
        numbers = self._bound(self._user, 1).per_request[0]
        at = 0
        for place, column in enumerate(self._user.columns):
            if column.vector:
                out[place] = values[column.vector][0, column.place]
            else:
                out[place] = numbers[at]
                at += 1
        return np.where(np.isnan(out), self._user.empties, out).astype(self._dtype), values

    def candidates(self, given: Arrays, rows: Arrays, n: int) -> Side:
        """The candidates' columns; empty ones as declared.

        Args:
            given: The request's context and candidates; also what ``user`` answered, which is then not read again.
            rows: Rows of tables that are known already.
            n: How many candidates.

        Shapes:
            ``[n, candidate columns]``.
        """
        values = self._run(self._candidate, given, rows, n)
        numbers = self._bound(self._candidate, n).per_candidate[0, :n]
        out = np.empty((n, len(self.candidate_columns)), self._dtype)
        for vector, first, end, at in self._pieces:
            out[:, first:end] = values[vector][0] if vector else numbers[:, at : at + end - first]
        empty = np.isnan(out)
        return np.where(empty, self._candidate.empties, out).astype(self._dtype) if empty.any() else out

    def _run(self, reading: Reading, given: Arrays, rows: Arrays, n: int) -> Arrays:
        values = dict(given)
        state = self.state
        run_steps(reading.steps, values, state.tables, lambda group, held: state.read_group(reading, group, held), rows)
        bound = self._bound(reading, n)
        bound.load(values)
        bound.run(1, n)
        return values

    def _bound(self, reading: Reading, n: int) -> Bound:
        """This thread's arrays for a reading, large enough for n candidates."""
        name = "user" if reading is self._user else "candidate"
        held: Bound | None = getattr(self._local, name, None)
        if held is None or held.candidates < n:
            size = 1 if reading is self._user else max(n, _FIRST_SIZE)
            held = reading.program.bind(1, reading.places, size, widths=reading.widths, dtype=self._dtype)
            setattr(self._local, name, held)
        return held


def _pieces(reading: Reading) -> list[tuple[str, int, int, int]]:
    """Where the columns come from, piece by piece: (vector or none, first column, past the last, first of the numbers)."""
    out: list[tuple[str, int, int, int]] = []
    numbers = 0
    for place, column in enumerate(reading.columns):
        if out and out[-1][0] == column.vector:
            vector, first, _, at = out.pop()
        else:
            vector, first, at = column.vector, place, numbers
        out.append((vector, first, place + 1, at))
        numbers += not column.vector
    return out
