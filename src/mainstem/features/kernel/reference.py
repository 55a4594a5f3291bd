"""The plain Python twin of both executors: dumb, slow and obviously right. Nothing in a server imports it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from mainstem.features.kernel.shape import ADD, BYTEMAX, CLOCK, DECAY, EVER, MAX, MIN, UNTIMED, GroupShape, Window


@dataclass(frozen=True, slots=True)
class PlainEvent:
    """One event of one group, as the executors see it."""

    offset: int
    key: tuple[int, ...]
    when: int
    inputs: tuple[int, ...]
    fields: tuple[int, ...] = ()


@dataclass(slots=True)
class PlainKey:
    """The state of one key."""

    ever: list[int]
    tiles: list[dict[int, list[int]]]
    listed: list[PlainEvent] = field(default_factory=list)


def wrap(value: int) -> int:
    """An integer as 64 bits hold it."""
    return (value + 2**63) % 2**64 - 2**63


def combined(op: int, left: int, right: int) -> int:
    """Two accumulators as one."""
    if op == BYTEMAX:
        pairs = zip((left % 2**64).to_bytes(8, "little"), (right % 2**64).to_bytes(8, "little"), strict=True)
        return int.from_bytes(bytes(max(pair) for pair in pairs), "little", signed=True)
    return {ADD: wrap(left + right), MIN: min(left, right), MAX: max(left, right)}[op]


def replay(shape: GroupShape, events: Sequence[PlainEvent], as_of: int) -> dict[tuple[int, ...], PlainKey]:
    """The state of every key after all events before offset `as_of`."""
    state: dict[tuple[int, ...], PlainKey] = {}
    for event in events:
        if event.offset < as_of:
            empty = PlainKey(list(shape.identity), [{} for _ in shape.hops_ms])
            add(shape, state.setdefault(event.key, empty), event)
    return state


def add(shape: GroupShape, key: PlainKey, event: PlainEvent) -> None:
    """Takes one event into the state of its key."""
    _into(shape, key.ever, event)
    for hop, keep, tiles in zip(shape.hops_ms, shape.keeps, key.tiles, strict=True):
        if event.when == UNTIMED:
            continue
        tile = event.when // hop
        newest = max([tile, *tiles])
        _into(shape, tiles.setdefault(tile, list(shape.identity)), event)
        for old in [index for index in tiles if index <= newest - keep]:
            del tiles[old]
    key.listed.append(event)
    key.listed.sort(key=lambda e: (e.when, e.offset) if shape.by_time else (0, e.offset))
    del key.listed[: max(0, len(key.listed) - shape.list_k)]


def _into(shape: GroupShape, accumulators: list[int], event: PlainEvent) -> None:
    for j, op in enumerate(shape.ops):
        accumulators[j] = combined(op, accumulators[j], event.inputs[j])


def read_exact(shape: GroupShape, key: PlainKey | None, now: int, window: Window) -> list[int]:
    """The int64 accumulators of a window."""
    out = list(shape.identity)
    if key is None or (window.level != EVER and now == UNTIMED):
        return out
    if window.level == EVER:
        return list(key.ever)
    for tile, accumulators in _in_window(shape, key, now, window):
        del tile
        out = [combined(op, left, right) for op, left, right in zip(shape.ops, out, accumulators, strict=True)]
    return out


def read_values(shape: GroupShape, key: PlainKey | None, now: int, window: Window) -> list[float]:
    """A window as feature values."""
    if window.kind == DECAY and window.level != EVER:
        return [_decayed(shape, key, now, window, j) for j in range(shape.inputs)]
    exact = read_exact(shape, key, now, window)
    return [_value(op, word) for op, word in zip(shape.ops, exact, strict=True)]


def read_list(shape: GroupShape, key: PlainKey | None, k: int) -> list[tuple[int, tuple[int, ...]]]:
    """Times and fields of the newest `k` listed events, newest first; empty places filled."""
    listed = [(event.when, event.fields) for event in reversed(key.listed)] if key is not None else []
    return (listed + [(UNTIMED, (0,) * shape.list_fields)] * k)[:k]


def _value(op: int, word: int) -> float:
    if op == BYTEMAX or (op == MIN and word == 2**63 - 1) or (op == MAX and word == UNTIMED):
        return math.nan
    return float(word)


def _in_window(shape: GroupShape, key: PlainKey, now: int, window: Window) -> list[tuple[int, list[int]]]:
    current = now // shape.hops_ms[window.level]
    oldest = current - window.reach + (1 if window.kind == CLOCK else 0)
    return [
        (tile, key.tiles[window.level][tile]) for tile in sorted(key.tiles[window.level]) if oldest <= tile <= current
    ]


def _decayed(shape: GroupShape, key: PlainKey | None, now: int, window: Window, j: int) -> float:
    if shape.ops[j] != ADD:
        return math.nan
    total = 0.0
    if key is not None and now != UNTIMED:
        current = now // shape.hops_ms[window.level]
        for tile, accumulators in reversed(_in_window(shape, key, now, window)):
            total += float(accumulators[j]) * window.weights[current - tile]
    return total
