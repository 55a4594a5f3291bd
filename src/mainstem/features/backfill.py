"""The features of past requests, each as of the place in the log that its server had seen: nothing of itself, nothing later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mainstem.features.events import Events
from mainstem.features.folding import FoldEvents, FoldState, add_fold, replayed
from mainstem.features.intake import Intake
from mainstem.features.kernel.asof import (
    EventColumns,
    RequestColumns,
    as_of,
    as_of_before,
    as_of_list,
    as_of_registers,
)
from mainstem.features.kernel.shape import GroupColumns
from mainstem.features.language.plan import FoldGroup, Group, Plan
from mainstem.features.language.resolve import ReadGroup
from mainstem.features.live import Seen, ever_leaves, told_columns
from mainstem.features.reading import (
    Reading,
    add_distinct,
    add_list,
    add_listed,
    add_numbers,
    has_distinct,
    has_numbers,
    keys_of,
    now_of,
)
from mainstem.features.steps import Arrays, Tables, run_steps

Ints = NDArray[np.int64]
Progress = Callable[[float], None]
T = TypeVar("T")
_PART: Final = 131_072
"""Events whose rows for all tables are held at once."""
_CHUNK: Final = 8_192
"""Requests whose lists and vectors are held at once: 8,192 with 50 events of 9 numbers are 30 MB."""


@dataclass(frozen=True, slots=True)
class Requests:
    """n requests of the past.

    Attributes:
        given: Their context ``[n]``, and of each one candidate ``[n, 1]``.
        as_of: The log offset before which each saw the events.
    """

    given: Mapping[str, NDArray[Any]]
    as_of: Ints

    def __len__(self) -> int:
        return len(self.as_of)


@dataclass(frozen=True, slots=True)
class _Held:
    """One group's events as columns, and their order by key for reads of some keys only."""

    columns: EventColumns
    by_key: Ints
    sorted_keys: Ints


class Backfill:
    """A log's events made ready once; asked for any requests.

    Args:
        plan: What is compiled.
        tables: Where attributes come from.
        streams: The log's events by stream.
        threads: Ranges of keys worked on side by side; the values do not depend on it.
    """

    def __init__(self, plan: Plan, tables: Tables, streams: Mapping[str, Events], threads: int = 1) -> None:
        self.plan, self.tables, self.threads = plan, tables, threads
        self.dropped = 0
        self._held: dict[str, _Held] = {}
        self._folds: dict[str, FoldEvents] = {}
        before: dict[str, Arrays] = {}
        seen = {source.name: Seen(plan, source, tables) for source in plan.sources if source.sees}
        wanted = {name for one in seen.values() for name in (*one.groups, *one.folds)}
        for source in plan.sources:
            events = streams[source.of_stream]
            sees = seen[source.name].values(before) if source.name in seen else {}
            self._take_in(Intake(plan, source, tables), events, sees, wanted, before)

    def _take_in(
        self, intake: Intake, events: Events, sees: Arrays, wanted: set[str], before: dict[str, Arrays]
    ) -> None:
        """Makes one source's columns, part by part: its event rows hold every table's words and are never held whole."""
        parts: dict[str, list[tuple[EventColumns, Ints]]] = {group.name: [] for group in intake.groups}
        folds: dict[str, list[tuple[FoldEvents, Ints]]] = {fold.name: [] for fold in intake.folds}
        watermark_ms = -1
        for start in range(0, max(1, len(events)), _PART):
            part = slice(start, start + _PART)
            some = {name: column[part] for name, column in sees.items()}
            taken, watermark_ms = intake.take(events.take(part), some, watermark_ms)
            self.dropped += taken.late
            rows = taken.rows + start
            offset = taken.matrix[:, intake.layout.offset].copy()
            for fold, (keys, inputs) in zip(intake.folds, taken.folds, strict=True):
                folds[fold.name].append((FoldEvents(keys, offset, inputs), rows))
            for group, at in zip(intake.groups, intake.layout.groups, strict=True):
                parts[group.name].append(_of_group(group, at, intake.layout.offset, taken.matrix, rows))
        for group in intake.groups:
            held, rows = _joined(EventColumns, parts.pop(group.name))
            if group.name in wanted:
                before[group.name] = ever_leaves(group, as_of_before(group.shape, held), rows, len(events))
            self._held[group.name] = _held(held, bool(group.latest))
        for fold in intake.folds:
            told_of, rows = _joined(FoldEvents, folds.pop(fold.name))
            self._folds[fold.name] = told_of
            if fold.name in wanted:
                told = FoldState(fold, self.tables).apply(told_of.keys, told_of.inputs)
                before[fold.name] = told_columns(fold, told, rows, len(events))

    def values(
        self,
        reading: Reading,
        requests: Requests,
        progress: Progress | None = None,
        dtype: type[np.float32] | type[np.float64] = np.float64,
    ) -> Arrays:
        """The published columns of each request, ``[n]``; empty values are NaN.

        Args:
            reading: Which columns.
            requests: What is asked, and as of where.
            progress: Told the share that is done.
            dtype: Of the answers; they are computed in float64 and rounded once.
        """
        n = len(requests)
        early, late = reading.early_and_late()
        values: Arrays = dict(requests.given)
        rows: Arrays = {}
        run_steps(early, values, self.tables, partial(self._read, reading, requests.as_of), rows, past=True)
        out: Arrays = {}
        order = self._in_key_order(late, values, n)
        for start in range(0, n, _CHUNK):
            at = order[start : start + _CHUNK]
            part = {name: array[at] for name, array in values.items()}
            some_rows = {place: found[at] for place, found in rows.items()}
            run_steps(late, part, self.tables, partial(self._read, reading, requests.as_of[at]), some_rows, past=True)
            done = reading.program.run(part)
            add_listed(reading, part)
            for feature in reading.lists:
                out.setdefault(feature.name, np.empty(n, object))[at] = part[feature.name]
            for column in reading.columns:
                name = column.vector or column.name
                found = part[name] if column.vector else done[name]
                held = out.setdefault(name, np.empty((n, *_flat(found).shape[1:]), dtype))
                held[at] = _flat(found)
            if progress is not None:
                progress(min(1.0, (start + _CHUNK) / n))
        numbers = {c.name: out[c.vector][:, c.place] if c.vector else out[c.name] for c in reading.columns}
        return numbers | {feature.name: out[feature.name] for feature in reading.lists}

    def _read(self, reading: Reading, seen: Ints, group: Group | FoldGroup, values: Arrays) -> None:
        if isinstance(group, FoldGroup):
            self._fold(reading, seen, group, values)
        elif group.latest:
            self._lists(seen, group, values)
        else:
            self._numbers(reading, seen, group, values)

    def _fold(self, reading: Reading, seen: Ints, group: FoldGroup, values: Arrays) -> None:
        """Replays the events of some requests' keys up to each request's place in the log."""
        keys, shape = keys_of(group, values, reading.group_shapes[group.name])
        events = self._folds[group.name]
        asked = np.unique(keys[:, 0])
        place = np.minimum(np.searchsorted(asked, events.keys[:, 0]), len(asked) - 1)
        some = events.take(np.flatnonzero(asked[place] == events.keys[:, 0]))
        state = replayed(group, self.tables, some, keys, np.repeat(seen, len(keys) // max(len(seen), 1)))
        add_fold(group, state, shape, values)

    def _numbers(self, reading: Reading, seen: Ints, group: Group, values: Arrays) -> None:
        """Reads one state table for every request at once."""
        keys, shape = keys_of(group, values, reading.group_shapes[group.name])
        asked = RequestColumns(keys, now_of(group, values, shape), seen)
        events = self._held[group.name].columns
        if has_numbers(group):
            add_numbers(group, as_of(group.shape, events, asked, group.windows, threads=self.threads), shape, values)
        if has_distinct(group):
            found = as_of_registers(group.shape, events, asked, group.windows, threads=self.threads)
            add_distinct(group, found, shape, values)

    def _lists(self, seen: Ints, group: Group, values: Arrays) -> None:
        """Reads the latest events of some requests' keys."""
        keys = np.stack([np.asarray(values[name], np.int64) for name in group.key], axis=1)
        asked = RequestColumns(keys, np.zeros(len(keys), np.int64), seen)
        held = self._held[group.name]
        count, when, fields = as_of_list(group.shape, _between(held, keys[:, 0]), asked)
        add_list(group, when, fields, count, values)

    def _in_key_order(self, late: list[Any], values: Arrays, n: int) -> Ints:
        """Requests so that those of one list's key stand together: each part then needs few of the events."""
        keys = (step.group.key[0] for step in late if isinstance(step, ReadGroup))
        key = next((np.asarray(values[name]) for name in keys if name in values and np.ndim(values[name]) == 1), None)
        return np.arange(n) if key is None else np.argsort(key, kind="stable")


def _of_group(group: Group, at: GroupColumns, offset: int, matrix: Ints, rows: Ints) -> tuple[EventColumns, Ints]:
    """One group's words of some event rows, and which events they are."""
    counted = np.flatnonzero(matrix[:, at.counts])
    some = matrix[counted]
    return (
        EventColumns(
            keys=some[:, list(at.keys)],
            when=some[:, at.when].copy(),
            inputs=some[:, list(at.inputs)],
            offset=some[:, offset].copy(),
            fields=some[:, list(at.fields)] if group.latest else None,
        ),
        rows[counted],
    )


def _joined(kind: type[T], parts: list[tuple[T, Ints]]) -> tuple[T, Ints]:
    """Parts of a record of arrays as one, each column's parts given back as soon as they are joined."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    columns = {name: [getattr(record, name) for record, _ in parts] for name in names}
    rows = np.concatenate([at for _, at in parts])
    parts.clear()
    return kind(**{name: _column(columns.pop(name)) for name in names}), rows


def _column(parts: list[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)


def _held(columns: EventColumns, listed: bool) -> _Held:
    if not listed:
        return _Held(columns, np.empty(0, np.int64), np.empty(0, np.int64))
    by_key = np.argsort(columns.keys[:, 0], kind="stable")
    return _Held(columns, by_key, columns.keys[by_key, 0])


def _between(held: _Held, keys: Ints) -> EventColumns:
    """The events whose first key word lies among these, in log order."""
    start = np.searchsorted(held.sorted_keys, keys.min(), side="left")
    end = np.searchsorted(held.sorted_keys, keys.max(), side="right")
    rows = np.sort(held.by_key[start:end])
    c = held.columns
    assert c.fields is not None
    return EventColumns(c.keys[rows], c.when[rows], c.inputs[rows], c.offset[rows], c.fields[rows])


def _flat(found: NDArray[Any]) -> NDArray[Any]:
    """One value (or vector) a request, of its only candidate. Shapes: [n], [n, 1] or [n, 1, d] to [n] or [n, d]."""
    return found[:, 0] if found.ndim > 1 and found.shape[1] == 1 else found
