"""The features as of now: state that every batch of events moves forward, read once a request."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, StoreError
from mainstem.features.events import Events
from mainstem.features.folding import FoldState, add_fold
from mainstem.features.intake import Intake
from mainstem.features.kernel.arena import Arena
from mainstem.features.kernel.shape import EVER
from mainstem.features.kernel.slots import KeyRows
from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.feature import Context
from mainstem.features.language.plan import FoldGroup, Group, Plan
from mainstem.features.language.program import Program
from mainstem.features.language.resolve import Resolver
from mainstem.features.language.source import Source
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
from mainstem.features.steps import NO_KEY, Arrays, Tables, is_vector, run_steps

FUTURE_MS: Final = 5 * 60_000
"""How far ahead of now an event may lie before it is refused."""
FIRST_MS: Final = 631_152_000_000
"""Events before 1990 are refused where there is a clock: seconds taken for milliseconds, or no time at all."""
FORMAT: Final = 1
_FURTHEST_ZONE_MS: Final = 14 * 3_600_000
_MANY: Final = 64
"""Candidates from which it is worth looking which keys are the same."""
_BESIDE: Final = "beside:"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the events of one batch.

    Attributes:
        applied: Taken in.
        again: Known already, by their offset, and left out.
        late: Taken in although an event with a later time had been, or dropped by a source that admits none so late (the
            latter also count in ``dropped``).
        future: Refused: more than five minutes ahead of now.
        ancient: Refused: before 1990.
        without_key: Keys that were missing; such an event counts for its other keys.
        not_finite: Numbers that were infinite and were taken as unknown.
    """

    applied: int = 0
    again: int = 0
    late: int = 0
    dropped: int = 0
    future: int = 0
    ancient: int = 0
    without_key: int = 0
    not_finite: int = 0

    def __add__(self, other: Applied) -> Applied:
        return Applied(*(getattr(self, name) + getattr(other, name) for name in Applied.__slots__))


class LiveState:
    """All feature state of one plan in this process. One writer at a time.

    Args:
        plan: What is kept.
        tables: Where attributes come from.
        limit_bytes: Memory it never grows beyond, over all sources; none when 0.
        track: Whether touched keys are noted, for a store behind it.
    """

    def __init__(self, plan: Plan, tables: Tables, limit_bytes: int = 0, track: bool = False) -> None:
        self.plan, self.tables = plan, tables
        self.applied = -1
        self.counted = Applied()
        self.intakes = {source.name: Intake(plan, source, tables) for source in plan.sources}
        limit = limit_bytes // 8 // max(1, len(self.intakes)) or None
        self.arenas = {
            name: Arena(
                [group.shape for group in intake.groups],
                layout=intake.layout,
                ttls_ms=[group.ttl_ms for group in intake.groups],
                limit_words=limit,
                track=track,
            )
            for name, intake in self.intakes.items()
        }
        self._touched: dict[str, list[NDArray[np.int64]]] | None = {} if track else None
        self._torn = False
        self.folds = {fold.name: FoldState(fold, tables) for fold in plan.folds}
        self.watermarks = dict.fromkeys(self.intakes, -1)
        self._seen = {source.name: Seen(plan, source, tables) for source in plan.sources if source.sees}
        self._place = {
            g.name: (name, at) for name, intake in self.intakes.items() for at, g in enumerate(intake.groups)
        }

    def apply(self, stream: str, events: Events, now_ms: int | None = None) -> Applied:
        """Takes in a batch of a stream. Events that were taken in before, by their offset, change nothing.

        Args:
            stream: Which stream of the log it is.
            events: In log order.
            now_ms: When given, events far ahead of it or before 1990 are refused and counted.

        Raises:
            FeatureError: The memory's limit is reached (``feature-022``); the batch is then in some tables and not in others, so
                the state takes and gives nothing more until it is restored (``feature-013``).
        """
        self._whole()
        fresh = events.offset > self.applied
        done = Applied(again=int((~fresh).sum()))
        kept = events if fresh.all() else events.take(fresh)
        time_ms = np.asarray(kept.columns["time_ms"], np.int64)
        if now_ms is not None:
            future, ancient = time_ms > now_ms + FUTURE_MS, (time_ms >= 0) & (time_ms < FIRST_MS)
            done += Applied(future=int(future.sum()), ancient=int(ancient.sum()))
            kept = kept.take(~(future | ancient)) if (future | ancient).any() else kept
        if len(kept):
            self._torn = True
            done += self._take_in(stream, kept)
            self._torn = False
        if len(events):
            self.applied = max(self.applied, int(events.offset[-1]))
        self.counted = self.counted + done
        return done

    def read(self, reading: Reading, given: Arrays, rows: Arrays | None = None) -> Arrays:
        """Everything a request's program says now.

        Args:
            reading: What is wanted.
            given: The request's context ``[B]`` and candidates ``[B, n]``.
            rows: Rows of tables that are known already, as ``table/key``.

        Returns:
            The published columns by name (empty values are NaN), and every name they were made of.
        """
        self._whole()
        values = dict(given)
        run_steps(
            reading.steps, values, self.tables, lambda group, held: self.read_group(reading, group, held), rows or {}
        )
        add_listed(reading, values)
        return values | reading.program.run(values)

    def read_group(self, reading: Reading, group: Group | FoldGroup, values: Arrays) -> None:
        """Reads one state table for the keys in ``values`` and adds its numbers."""
        keys, shape = keys_of(group, values, _shape_of(reading, group))
        if isinstance(group, FoldGroup):
            add_fold(group, self.folds[group.name].read(keys), shape, values)
            return
        source, at = self._place[group.name]
        arena = self.arenas[source]
        if group.latest:
            count, when, fields = arena.read_list(at, keys)
            add_list(group, when, fields, count, values)
            return
        now = now_of(group, values, shape)
        if has_numbers(group):
            add_numbers(group, _read_each_once(arena, at, keys, now, group, shape), shape, values)
        if has_distinct(group):
            add_distinct(group, arena.read_registers(at, keys, now, group.windows), shape, values)

    def read_one(self, column: str, keys: NDArray[np.int64], now_ms: int) -> NDArray[np.float64]:
        """One number that is kept, for many keys: cheaper than a program where a source ranks a whole catalog by it.

        Args:
            column: A column of a count, a sum of whole numbers or an extreme over UTC time.
            keys: Key words. Shapes: [n, words].
            now_ms: When it is asked.
        """
        name = self.plan.meaning(column)
        group, leaf = next((g, leaf) for g in self.plan.groups for leaf in g.leaves if leaf.name == name)
        source, at = self._place[group.name]
        window = (group.windows[leaf.window],)
        return self.arenas[source].read(at, keys, now_ms, window)[:, 0, group.first_word[leaf.accumulator]]

    def _take_in(self, stream: str, events: Events) -> Applied:
        done = Applied(applied=len(events), not_finite=_infinite(events))
        before: dict[str, Arrays] = {}
        for source in self.plan.sources:
            if source.of_stream != stream:
                continue
            intake, seen = self.intakes[source.name], self._seen.get(source.name)
            time_ms = np.asarray(events.columns[source.time], np.int64)
            behind = int(
                (
                    (time_ms >= 0)
                    & (time_ms < np.maximum.accumulate(np.append(self.watermarks[source.name], time_ms))[:-1])
                ).sum()
            )
            taken, watermark = intake.take(events, seen.values(before) if seen else {}, self.watermarks[source.name])
            self._watched(source, before, taken.matrix, taken.rows, len(events))
            for fold, (keys, inputs) in zip(intake.folds, taken.folds, strict=True):
                self._note(fold.name, keys)
                before[fold.name] = told_columns(
                    fold, self.folds[fold.name].apply(keys, inputs), taken.rows, len(events)
                )
            self.watermarks[source.name] = watermark
            done += Applied(dropped=taken.late, without_key=taken.without_key, late=behind)
        return done

    def _watched(self, source: Source, before: dict[str, Arrays], matrix: NDArray[np.int64], rows: Any, n: int) -> None:
        """Applies rows; keeps what the state was before each event where a later source sees it."""
        arena, intake = self.arenas[source.name], self.intakes[source.name]
        wanted = [at for at, group in enumerate(intake.groups) if self._is_seen(group)]
        held = arena.apply(matrix, before=wanted[0] if wanted else -1)
        for at in wanted:
            before[intake.groups[at].name] = ever_leaves(intake.groups[at], held, rows, n)

    def touched_by(self, fold: str) -> NDArray[np.int64]:
        """The keys a fold has moved since the last call, each once; only of a state that tracks. Shapes: [n, key words]."""
        held = (self._touched or {}).pop(fold, [])
        return np.unique(np.concatenate(held), axis=0) if held else np.empty((0, 1), np.int64)

    def expire(self, now_ms: int) -> int:
        """Forgets keys of which nothing can be read any more; answers how many. No value changes by it."""
        gone = 0
        for name, intake in self.intakes.items():
            clocks = [now_ms - (_FURTHEST_ZONE_MS if group.zone == "local" else 0) for group in intake.groups]
            gone += self.arenas[name].expire(clocks)
        return gone

    @property
    def bytes_used(self) -> int:
        """Memory of live state, folds and indexes not counted."""
        return 8 * sum(arena.words_used for arena in self.arenas.values())

    def _note(self, fold: str, keys: NDArray[np.int64]) -> None:
        if self._touched is not None:
            self._touched.setdefault(fold, []).append(keys[(keys >= 0).all(axis=1)])

    def _whole(self) -> None:
        if self._torn:
            raise FeatureError(
                "the feature state stopped in the middle of a batch and cannot be trusted",
                code="feature-013",
                status=503,
                hint="restart the server: it restores the last snapshot and follows the log from there",
            )

    def _is_seen(self, group: Group) -> bool:
        return any(group.name in seen.groups for seen in self._seen.values())

    # -- a restart
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything to save, by name."""
        out: dict[str, NDArray[Any]] = {
            f"{name}/{part}": array for name, arena in self.arenas.items() for part, array in arena.snapshot().items()
        }
        for name, fold in self.folds.items():
            out |= {f"fold:{name}/{part}": array for part, array in fold.arrays().items()}
        head = {
            "format": FORMAT,
            "features": state_fingerprint(self.plan),
            "applied": self.applied,
            "watermarks": self.watermarks,
            "counted": [getattr(self.counted, name) for name in Applied.__slots__],
        }
        return out | {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)}

    def save(self, path: Path, beside: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Writes the whole state, and arrays of the caller's own, to one file; it is complete or not there."""
        own = {f"{_BESIDE}{name}": array for name, array in (beside or {}).items()}
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        with scratch.open("wb") as file:
            np.savez(file, allow_pickle=False, **self.arrays(), **own)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)

    def load(self, path: Path) -> dict[str, NDArray[Any]]:
        """Takes the state that ``save`` wrote; answers the caller's own arrays.

        Raises:
            StoreError: It is of other features or another format, or cannot be read (``store-040``).
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                arrays = {name: held[name] for name in held.files}
            head = json.loads(arrays.pop("head").tobytes())
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise _other_state(path, f"cannot be read ({type(error).__name__})") from error
        if head.get("format") != FORMAT or head.get("features") != state_fingerprint(self.plan):
            raise _other_state(path, f"is of format {head.get('format')}, features {head.get('features')}")
        self.restore(arrays, head)
        return {name.removeprefix(_BESIDE): array for name, array in arrays.items() if name.startswith(_BESIDE)}

    def restore(self, arrays: Mapping[str, NDArray[Any]], head: Mapping[str, Any]) -> None:
        """Takes saved arrays."""
        for name, arena in self.arenas.items():
            arena.restore(
                {part.split("/", 1)[1]: array for part, array in arrays.items() if part.startswith(f"{name}/")}
            )
        for name, fold in self.folds.items():
            fold.restore({part: arrays[f"fold:{name}/{part}"] for part in ("keys", "state")})
        self.applied = int(head["applied"])
        self.watermarks = {name: int(mark) for name, mark in head["watermarks"].items()}
        self.counted = Applied(*head["counted"])
        self._torn = False


class Seen:
    """What a chained source reads of the state before each of its events."""

    def __init__(self, plan: Plan, source: Source, tables: Tables) -> None:
        leaves = {leaf.name: group for group in plan.groups for leaf in group.leaves}
        told = {name: fold.name for fold in plan.folds for name in fold.tells}
        self._told = {name: told[name] for name in source.sees if name in told}
        texts = {name: plan.text_of(name) for name in source.sees if name not in told}
        given = {name: Kind(Shape.R) for name in leaves}
        given |= {f.name: Kind(Shape.R) for f in plan.features if isinstance(f.of, Context)}
        resolver = Resolver(plan, given, {}, is_vector(tables), may_read=False)
        self._program: Program = resolver.program(texts, f"what source {source.name!r} sees")
        self.groups = {leaves[name].name for name in self._program.names if name in leaves}
        self.folds = set(self._told.values())
        homes = [group.source.name for group in plan.groups if group.name in self.groups]
        if len(homes) != len(set(homes)):
            raise FeatureError(
                f"source {source.name!r} sees features of several keys of one source",
                code="feature-006",
                hint="let it see features over one key, or derive a source for each",
            )

    def values(self, before: Mapping[str, Arrays]) -> Arrays:
        """The seen features, from what was kept before each event."""
        held: Arrays = {}
        for group in self.groups:
            held |= before[group]
        out = dict(self._program.run(held)) if self.groups else {}
        return out | {name: before[fold][name] for name, fold in self._told.items()}


def ever_leaves(group: Group, held: NDArray[np.int64], rows: Any, n: int) -> Arrays:
    """What was kept of all time before each of n events, by the names it is read under; nothing for events not taken in."""
    out: Arrays = {}
    for leaf in group.leaves:
        if group.windows[leaf.window].level == EVER:
            column = np.zeros(n)
            column[rows] = held[:, group.first_word[leaf.accumulator]]
            out[leaf.name] = column
    return out


def told_columns(fold: FoldGroup, told: NDArray[np.float64], rows: Any, n: int) -> Arrays:
    """What a fold said of each of n events, by name; empty for events not taken in."""
    out: Arrays = {}
    for at, name in enumerate(fold.tells):
        out[name] = np.full(n, np.nan)
        out[name][rows] = told[:, at]
    return out


def state_fingerprint(plan: Plan) -> str:
    """What the saved state of a plan belongs to: the shapes and expressions of its state tables, whatever reads them."""
    parts = [
        (
            g.name,
            g.source.described(),
            g.key,
            g.zone,
            g.shape.fingerprint,
            [(a.value, a.monoid, a.scale) for a in g.accumulators],
            g.fields,
        )
        for g in plan.groups
    ]
    folds = [(f.name, f.source.described(), f.key, f.fold.described()) for f in plan.folds]
    return hashlib.sha256(json.dumps([parts, folds] if folds else parts, default=str).encode()).hexdigest()[:12]


def _shape_of(reading: Reading, group: Group | FoldGroup) -> Shape:
    return reading.group_shapes[group.name]


def _read_each_once(
    arena: Arena, at: int, keys: NDArray[np.int64], now: NDArray[np.int64], group: Group, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """The windows of keys; of one request's many candidates each different key is read once."""
    if shape[0] > 1 or len(keys) < _MANY:
        return arena.read(at, keys, now, group.windows)
    different = KeyRows(keys.shape[1])
    place = different.made(keys)
    if 2 * different.count >= len(keys):
        return arena.read(at, keys, now, group.windows)
    few = np.concatenate([different.keys, np.full((1, keys.shape[1]), NO_KEY)])
    return arena.read(at, few, now[: len(few)], group.windows)[place]


def _infinite(events: Events) -> int:
    return sum(int(np.isinf(column).sum()) for column in events.columns.values() if column.dtype.kind == "f")


def _other_state(path: Path, what: str) -> StoreError:
    return StoreError(
        f"the saved feature state {path.name} {what}, and is not one of these definitions",
        code="store-040",
        hint="delete the file; the next start replays the log into a fresh state",
    )
