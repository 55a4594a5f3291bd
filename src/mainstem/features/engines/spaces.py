"""What one task works on: everything kept under one key of one source, for one bucket of its keys; Arrow in, Arrow out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.features.engines.arrow import array_of, stacked, table_of
from mainstem.features.engines.ordered import lists_as_of, windows_as_of
from mainstem.features.folding import FoldEvents, add_fold, replayed
from mainstem.features.kernel.asof import (
    EventColumns,
    RequestColumns,
    as_of_registers,
    group_requests,
)
from mainstem.features.kernel.shape import GroupShape
from mainstem.features.language.plan import FoldGroup, Group
from mainstem.features.reading import Ints, add_distinct, add_list, add_numbers, has_distinct, has_numbers
from mainstem.features.steps import Arrays, Tables

ROW, OFFSET, AS_OF = "row", "offset", "as_of"


@dataclass(frozen=True, slots=True)
class Space:
    """Everything that is read under one key of one source.

    Attributes:
        inputs: Of each group its accumulators' columns in the events, by the group's name.
        fields: Of each group that keeps a list its fields' columns.
        held: Of a group that keeps some events only, the column that says which.
        columns: The columns its events have, in order.
    """

    name: str
    source: str
    key: tuple[str, ...]
    groups: tuple[Group, ...]
    folds: tuple[FoldGroup, ...]
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The columns of its key, in events and in requests."""
        return tuple(f"key_{name}" for name in self.key)

    @property
    def zones(self) -> tuple[str, ...]:
        """The clocks its requests tell the time on."""
        return tuple(sorted({group.zone for group in self.groups}))


def space_answers(space: Space, tables: Tables, events: pa.Table, requests: pa.Table, threads: int = 1) -> Arrays:
    """What was kept for each request's key as of its place in the log.

    Args:
        space: What is read. It and the tables travel to the task once.
        tables: The tables that folds are given.
        events: A bucket of the source's events: ``offset`` and whole numbers, as ``SourceColumns`` makes them.
        requests: The same bucket's requests: ``row``, the key, ``as_of`` and ``now_`` with each clock.
        threads: Ranges of keys worked on side by side.

    Returns:
        ``row`` and every name that a program reads, numbers and lists, as columns.
    """
    values: Arrays = {}
    asked = stacked(requests, space.words, np.int64)
    as_of_rows = _whole(requests, AS_OF)
    now = {zone: _whole(requests, f"now_{zone}") for zone in space.zones}
    keys = stacked(events, space.words, np.int64)
    offset = _whole(events, OFFSET)
    whole = group_requests(
        EventColumns(keys, offset, offset[:, None], offset), RequestColumns(asked, as_of_rows, as_of_rows)
    )
    for group in space.groups:
        columns, shape, places = _events_of(space, group, keys, offset, events)
        request = RequestColumns(asked, now[group.zone], as_of_rows)
        grouped = group_requests(columns, request) if group.name in space.held else whole
        if group.latest:
            count, when, fields = lists_as_of(shape, columns, request, grouped, threads)
            add_list(group, when, fields, count, values)
        if has_numbers(group):
            found = windows_as_of(shape, columns, request, group.windows, grouped, threads)
            add_numbers(group, found if places is None else found[:, :, places], (len(asked),), values)
        if has_distinct(group):
            bits = as_of_registers(shape, columns, request, group.windows, grouped=grouped, threads=threads)
            add_distinct(group, bits if places is None else bits[:, :, places], (len(asked),), values)
    for fold in space.folds:
        _read_fold(fold, tables, keys, offset, events, asked, as_of_rows, values)
    return values | {ROW: _whole(requests, ROW)}


def space_task(space: Space, tables: Tables, events: pa.Table, requests: pa.Table) -> pa.Table:
    """``space_answers`` as a table: the one thing an engine runs."""
    return table_of(space_answers(space, tables, events, requests))


def _whole(table: pa.Table, name: str) -> Ints:
    return np.ascontiguousarray(array_of(table.column(name)), np.int64)


def _events_of(
    space: Space, group: Group, keys: Ints, offset: Ints, events: pa.Table
) -> tuple[EventColumns, GroupShape, list[int] | None]:
    """A group's events with each different input once; the shape of that, and where each accumulator then is."""
    names = dict.fromkeys(zip(space.inputs[group.name], group.shape.ops, strict=True))
    order = list(names)
    places = [order.index(pair) for pair in zip(space.inputs[group.name], group.shape.ops, strict=True)]
    shape = replace(group.shape, ops=tuple(op for _, op in order))
    when = _whole(events, f"when_{group.zone}")
    inputs = stacked(events, [name for name, _ in order], np.int64)
    fields = stacked(events, space.fields[group.name], np.int64) if group.latest else None
    told = None if len(order) == len(places) else places
    if group.name not in space.held:
        return EventColumns(keys, when, inputs, offset, fields), shape, told
    rows = np.flatnonzero(array_of(events.column(space.held[group.name])))
    some = fields[rows] if fields is not None else None
    return EventColumns(keys[rows], when[rows], inputs[rows], offset[rows], some), shape, told


def _read_fold(
    fold: FoldGroup, tables: Tables, keys: Ints, offset: Ints, events: pa.Table, asked: Ints, seen: Ints, values: Arrays
) -> None:
    inputs = stacked(events, fold_columns(fold), np.float64)
    wanted = np.flatnonzero(np.isin(keys[:, 0], np.unique(asked[:, 0])))
    held = FoldEvents(keys[wanted], offset[wanted], inputs[wanted])
    add_fold(fold, replayed(fold, tables, held, asked, seen), (len(asked),), values)


def fold_columns(fold: FoldGroup) -> tuple[str, ...]:
    """The columns of what a fold's step is told of an event."""
    return tuple(f"{fold.name}_take_{name}" for name in fold.fold.takes)


def bucket_of(keys: Sequence[Ints], buckets: int) -> NDArray[np.uint16]:
    """Which bucket each key belongs to: the same for the same words, whatever came before. Shapes: words of [n] to [n]."""
    mixed = np.zeros(len(keys[0]), np.uint64)
    for words in keys:
        mixed = (mixed ^ words.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return ((mixed >> np.uint64(32)) % np.uint64(buckets)).astype(np.uint16)
