"""Runs folds: the state of every key as it is now, and as it was at some places in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.kernel.slots import KeyRows
from mainstem.features.language.plan import FoldGroup
from mainstem.features.steps import Arrays, Tables

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FoldEvents:
    """Events as a fold takes them, in log order.

    Shapes: keys [n, words], offset [n], inputs [n, takes].
    """

    keys: Ints
    offset: Ints
    inputs: Floats

    def take(self, rows: Ints) -> FoldEvents:
        """Some of them, in this order."""
        return FoldEvents(self.keys[rows], self.offset[rows], self.inputs[rows])


class FoldState:
    """What a fold keeps of every key.

    Args:
        group: Which fold.
        tables: Where the columns beside it come from.
    """

    def __init__(self, group: FoldGroup, tables: Tables) -> None:
        self._fold, self._key_words = group.fold, len(group.key)
        self._beside = tuple(_column(tables, name) for name in group.fold.beside)
        self._start = np.array(group.fold.starts(), np.float64)
        self._rows = KeyRows(self._key_words)
        self._state = np.tile(self._start, (1, 1))

    def apply(self, keys: Ints, inputs: Floats) -> Floats:
        """Takes in events; answers what the step says of each. Shapes: [n, tells]."""
        rows = self._rows.made(keys)
        self._make_room()
        told = np.full((len(keys), len(self._fold.tells)), np.nan)
        keyed = np.flatnonzero(rows >= 0)
        if len(keyed) == len(rows):
            self._fold.run(self._state, rows, np.ascontiguousarray(inputs), told, self._beside)
        elif len(keyed):
            said = told[keyed]
            self._fold.run(self._state, rows[keyed], inputs[keyed], said, self._beside)
            told[keyed] = said
        return told

    def read(self, keys: Ints) -> Floats:
        """The state of some keys; that of a key without events is the start. Shapes: [n, words]."""
        return self._state[self._rows.find(keys)]

    def arrays(self) -> dict[str, NDArray[np.int64] | Floats]:
        """Everything to save."""
        return {"keys": self._rows.keys.copy(), "state": self._state[: self._rows.count].copy()}

    def restore(self, arrays: Mapping[str, NDArray[np.int64] | Floats]) -> None:
        """Takes saved arrays."""
        self._rows = KeyRows(self._key_words)
        self._rows.made(np.asarray(arrays["keys"], np.int64).reshape(-1, self._key_words))
        self._state = np.tile(self._start, (1, 1))
        self._make_room()
        self._state[: self._rows.count] = arrays["state"]

    def _make_room(self) -> None:
        """Rows for every key, and one more at the end, which never changes: that of a key without events."""
        wanted = self._rows.count + 1
        if wanted > len(self._state):
            room = max(wanted, len(self._state) + len(self._state) // 2) - len(self._state)
            self._state = np.concatenate([self._state, np.tile(self._start, (room, 1))])


def replayed(group: FoldGroup, tables: Tables, events: FoldEvents, keys: Ints, as_of: Ints) -> Floats:
    """The state of each request's key from the events before its place in the log, by the same step as online.

    Shapes: keys [n, words], as_of [n]; the answer [n, state words].
    """
    state = FoldState(group, tables)
    out = np.empty((len(keys), group.fold.words))
    cuts = np.searchsorted(events.offset, as_of, side="left")
    done = 0
    for cut, at in _by_cut(cuts):
        if cut > done:
            state.apply(events.keys[done:cut], events.inputs[done:cut])
            done = cut
        out[at] = state.read(keys[at])
    return out


def add_fold(group: FoldGroup, state: Floats, shape: tuple[int, ...], values: Arrays) -> None:
    """Names the parts of what was read. Shapes: ``state`` is [reads, words], reads in the order of ``shape``."""
    for name, part in group.fold.state.items():
        words = state[:, group.fold.place(name)]
        values[f"{group.name}.{name}"] = words.reshape(shape if part.kind == "number" else (*shape, part.size))


def _by_cut(cuts: Ints) -> list[tuple[int, Ints]]:
    order = np.argsort(cuts, kind="stable")
    different, first = np.unique(cuts[order], return_index=True)
    return list(zip(different.tolist(), np.split(order, first[1:]), strict=True))


def _column(tables: Tables, name: str) -> Floats:
    table, _, column = name.partition(".")
    if table not in tables or column not in tables[table].columns:
        raise FeatureError(
            f"a fold is given {name}, but there is no such column",
            code="feature-032",
            hint=did_you_mean(table, tables) if table not in tables else did_you_mean(column, tables[table].columns),
        )
    return np.ascontiguousarray(tables[table].columns[column], np.float64)
