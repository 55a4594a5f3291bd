"""Which events entered the features of one past request: exactly those that the back-fill's state tables read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.features.backfill import Backfill, Requests
from mainstem.features.kernel.shape import CLOCK, UNTIMED, Window
from mainstem.features.language.feature import Feature
from mainstem.features.language.plan import FoldGroup, Group, Plan
from mainstem.features.language.resolve import list_columns, reads
from mainstem.features.reading import Reading, keys_of, now_of
from mainstem.features.steps import Arrays, Tables

Ints = NDArray[np.int64]
State = tuple[str, int]
"""A state table by its name in the plan, and one of its windows; -1: its list or fold."""

WHOLE = -1


@dataclass(frozen=True, slots=True)
class StateRead:
    """One look at one state table.

    Attributes:
        state: Which table, and which window of it.
        source: Whose events fill it.
        key: Whose state was read, by the names it is kept by.
        window: How far back it looks, in words.
        offsets: int64[m], the events that were in it, ascending. Each entered with its own amount, which may be 0: a count of
            likes reads every event of its key.
    """

    state: State
    source: str
    key: Mapping[str, int]
    window: str
    offsets: Ints


class Tracing(Backfill):
    """A back-fill that also says which events it read. For one request at a time: it looks at every event of every table."""

    def trace(self, reading: Reading, request: Requests) -> tuple[Arrays, list[StateRead]]:
        """The columns of one request with one candidate, and every look at a state table behind them."""
        self._looks: list[StateRead] = []
        values = self.values(reading, request)
        return values, self._looks

    def _read(self, reading: Reading, seen: Ints, group: Group | FoldGroup, values: Arrays) -> None:
        super()._read(reading, seen, group, values)
        if not len(seen):
            return
        if isinstance(group, Group) and group.latest:
            keys = np.stack([np.asarray(values[name], np.int64) for name in group.key], axis=1)
            shape: tuple[int, ...] = (len(keys),)
        else:
            keys, shape = keys_of(group, values, reading.group_shapes[group.name])
        for at in np.unique(keys, axis=0, return_index=True)[1].tolist():
            if (keys[at] >= 0).all():
                now = int(now_of(group, values, shape)[at]) if isinstance(group, Group) else UNTIMED
                self._looks += self._look(group, keys[at], now, int(seen[0]))

    def _look(self, group: Group | FoldGroup, key: Ints, now: int, as_of: int) -> list[StateRead]:
        named = dict(zip(group.key, key.tolist(), strict=True))
        if isinstance(group, FoldGroup):
            events = self._folds[group.name]
            mine = (events.keys == key).all(axis=1) & (events.offset < as_of)
            offsets = events.offset[mine]
            return [StateRead((group.name, WHOLE), group.source.name, named, "every event", offsets)]
        held = self._held[group.name].columns
        mine = np.flatnonzero((held.keys == key).all(axis=1) & (held.offset < as_of))
        offsets, when = held.offset[mine], held.when[mine]

        def told(window: int, words: str, rows: Any) -> StateRead:
            return StateRead((group.name, window), group.source.name, named, words, offsets[rows])

        if group.latest:
            by = (offsets, when) if group.shape.by_time else (offsets,)
            newest = np.sort(np.lexsort(by)[-group.shape.list_k :])
            return [told(WHOLE, f"last {group.shape.list_k}", newest)]
        hops = group.shape.hops_ms
        return [
            told(number, _words(window, hops), _inside(window, hops, when, now))
            for number, window in enumerate(group.windows)
        ]


def _inside(window: Window, hops_ms: tuple[int, ...], when: Ints, now: int) -> NDArray[np.bool_]:
    """Which events lie in the tiles that a window reads."""
    if window.level < 0:
        return np.ones(len(when), np.bool_)
    if now == UNTIMED:
        return np.zeros(len(when), np.bool_)
    hop = hops_ms[window.level]
    age = now // hop - when // hop
    return (when != UNTIMED) & (age >= 0) & (age <= window.reach - (window.kind == CLOCK))


def _words(window: Window, hops_ms: tuple[int, ...]) -> str:
    if window.level < 0:
        return "ever"
    hop = hops_ms[window.level]
    return f"{window.reach * hop / 3_600_000:g} h in steps of {hop / 3_600_000:g} h"


def states_of(plan: Plan, tables: Tables, feature: Feature) -> frozenset[State]:
    """Which windows of which state tables a feature reads when a request comes."""
    reading = Reading(plan, tables, feature.columns)
    names = {name for step in reading.steps for name in reads(step)}
    names |= {one.name for one in reading.program.inputs} | {one.of.column for one in reading.lists}  # type: ignore[union-attr]
    found: set[State] = set()
    for group in reading.groups:
        if isinstance(group, FoldGroup):
            found.add((group.name, WHOLE))
        elif group.latest:
            found |= {(group.name, WHOLE)} if names & set(list_columns(group)) else set()
        else:
            found |= {(group.name, leaf.window) for leaf in group.leaves if leaf.name in names}
    return frozenset(found)
