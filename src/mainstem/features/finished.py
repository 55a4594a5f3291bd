"""Candidates' columns that one state table decides, kept finished by key: a request picks them instead of working them out.

They are the very numbers the program gives, computed when first asked for after an event touched their key or a window moved
on; so keeping them changes no bit, only when the work is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.features.language.feature import Context
from mainstem.features.language.plan import Group
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading

Ints = NDArray[np.int64]
Side = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decided:
    """Columns that the state tables of one key decide alone, whoever asks.

    Attributes:
        key: The names of the key.
        hops_ms: The steps of the windows they read: their values move with these clocks.
    """

    key: tuple[str, ...]
    columns: tuple[str, ...]
    hops_ms: tuple[int, ...]


def decided(state: LiveState, columns: Sequence[str], keys: Sequence[tuple[str, ...]]) -> list[Decided]:
    """Which of the columns can be kept finished under one of these keys; the others depend on more.

    Args:
        state: Whose features they are.
        columns: Candidates' columns.
        keys: Keys whose numbers follow from the candidate and a surface.
    """
    found: dict[tuple[str, ...], tuple[list[str], set[int]]] = {}
    contexts = {feature.name for feature in state.plan.features if isinstance(feature.of, Context)}
    for column in columns:
        reading = Reading(state.plan, state.tables, [column])
        groups = reading.groups
        own = all(isinstance(group, Group) and not group.latest for group in groups)
        if not groups or not own or len({group.key for group in groups}) != 1 or reading.columns[0].vector:
            continue
        leaves = {leaf.name for group in groups if isinstance(group, Group) for leaf in group.leaves}
        key = groups[0].key
        utc = all(isinstance(group, Group) and group.zone == "utc" for group in groups)
        if key in keys and utc and set(reading.program.names) <= leaves and not contexts & set(reading.program.names):
            names, hops = found.setdefault(key, ([], set()))
            names.append(column)
            hops.update(hop for group in groups if isinstance(group, Group) for hop in group.shape.hops_ms)
    return [Decided(key, tuple(names), tuple(sorted(hops))) for key, (names, hops) in found.items()]


class FinishedTable:
    """The finished columns of every key of a small, known set.

    Args:
        state: Where they are read.
        what: Which columns, under which key.
        keys: The numbers of each row's key. Shapes: [rows, key words].
    """

    def __init__(self, state: LiveState, what: Decided, keys: Ints) -> None:
        self._state, self._what, self._keys = state, what, keys
        self._reading = Reading(state.plan, state.tables, what.columns)
        self._empties = self._reading.empties.astype(np.float32)
        self._values = np.empty((len(keys), len(what.columns)), np.float32)
        self._touched = np.zeros(len(keys), np.bool_)
        self._stale = np.ones(len(keys), np.bool_)
        self._clock: tuple[int, ...] = ()
        self._untouched = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns, in order."""
        return self._what.columns

    def touch(self, rows: Ints) -> None:
        """Says that events moved these keys."""
        self._stale[rows] = True
        self._touched[rows] = True

    def touch_all(self) -> None:
        """Says that every key may have moved."""
        self._stale[:] = True
        self._touched[:] = True

    def finish(self, now_ms: int) -> None:
        """Works out everything that is stale, so that the next requests need not."""
        self.read(np.arange(len(self._keys)), now_ms)

    def read(self, rows: Ints, now_ms: int) -> Side:
        """The columns of some rows as of now; empty ones as declared. Shapes: [n] to [n, columns]."""
        clock = tuple(now_ms // hop for hop in self._what.hops_ms) if now_ms >= 0 else (-1,)
        if clock != self._clock:
            self._clock = clock
            self._stale |= self._touched
        if not self._untouched:
            self._of_no_events(now_ms)
        stale = rows[self._stale[rows]]
        if len(stale):
            self._finish(np.unique(stale), now_ms)
        return self._values[rows]

    def _of_no_events(self, now_ms: int) -> None:
        """Keys that no event has touched all have the same columns, whatever the clock: worked out once for all of them."""
        rest = np.flatnonzero(~self._touched)
        if len(rest):
            self._finish(rest[:1], now_ms)
            self._values[rest] = self._values[rest[0]]
            self._stale[rest] = False
        self._untouched = True

    def _finish(self, rows: Ints, now_ms: int) -> None:
        given: dict[str, NDArray[Any]] = {"now_ms": np.array([now_ms], np.int64)}
        given |= {name: self._keys[rows, at][None] for at, name in enumerate(self._what.key)}
        found = self._state.read(self._reading, given)
        for at, name in enumerate(self._what.columns):
            values = np.broadcast_to(found[name], (1, len(rows)))[0].astype(np.float32)
            self._values[rows, at] = np.where(np.isnan(values), self._empties[at], values)
        self._stale[rows] = False
