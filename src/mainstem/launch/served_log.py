"""What did the units of each arm see and do? Follows a platform's event log as exposures and events.

Every served slate of a launched surface carries its arm, so a unit is exposed where the stacks part and nowhere else. Nothing is
kept but what the log holds: a pilot that was killed reads it again and sees what it saw.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np
import polars as pl

from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.launch.assignment import origins_of
from mainstem.launch.plan_file import Plan
from mainstem.store.event_log import FEEDBACK, IMPRESSION
from mainstem.store.event_table import Stored
from mainstem.store.seal import read_from

COUNTED: Final = ("requests", "items", "degraded", "latency_ms")
"""Columns of a served slate: one request, how many items, whether a fallback stood in, and how long it took."""
ACTS: Final = ("viewed", "click", "like", "follow", "comment", "forward", "hate", "long_view", "watch_ms")
"""Columns of an outcome; one that was not reported counts as 0."""
COLUMNS: Final = (*COUNTED, *ACTS)
BEFORE: Final = "before_"
"""A covariate is a column from before the start: ``before_click``."""
OFFSET: Final = "offset"
"""The log's offset of a row: a look that is read again takes the rows that it saw."""
ITEM: Final = "item"
"""The item of an outcome; -1 where it is no number, and for a served slate."""
TOTAL: Final = "total"
"""The entry of an impression's timings that holds the whole request, where there is one."""
_STEP: Final = 20_000


class _Shown(msgspec.Struct):
    """What is read of an impression."""

    user_id: int
    surface: str
    time_ms: int
    item_ids: bytes
    arm: str | None = None
    timings_ms: dict[str, float] = {}
    degraded: tuple[str, ...] = ()


class _Answered(msgspec.Struct):
    """What is read of an outcome."""

    user_id: int | str
    surface: str
    time_ms: int
    item_id: int | str = -1
    viewed: int = 1
    click: int | None = None
    like: int | None = None
    follow: int | None = None
    comment: int | None = None
    forward: int | None = None
    hate: int | None = None
    long_view: int | None = None
    watch_ms: int | None = None


class Reads(Protocol):
    """A log that gives what follows an offset."""

    def __call__(self, after_offset: int, limit: int) -> list[Stored]:
        """The records after an offset, in order."""
        ...


def reader_of(log: Path, sealed: Path | None = None) -> Reads:
    """Reads a log's file, and what was sealed of it, from any process."""
    folder = sealed or log.parent / "sealed"
    return lambda after_offset, limit: read_from(log, folder, after_offset, limit) if log.is_file() else []


@dataclass(slots=True)
class _Rows:
    """Rows of one kind, gathered as columns and joined now and then."""

    names: tuple[str, ...]
    parts: list[pl.DataFrame] = field(default_factory=list)

    def add(self, rows: list[tuple[object, ...]]) -> None:
        if rows:
            self.parts.append(pl.DataFrame(rows, schema=_schema(self.names), orient="row"))

    def frame(self) -> pl.DataFrame:
        if len(self.parts) > 1:
            self.parts = [pl.concat(self.parts)]
        return self.parts[0] if self.parts else pl.DataFrame(schema=_schema(self.names))


def _schema(names: tuple[str, ...]) -> dict[str, pl.DataType]:
    texts, floats = ("surface", "arm"), ("latency_ms",)
    return {name: pl.String() if name in texts else pl.Float64() if name in floats else pl.Int64() for name in names}


class ServedLog:
    """Exposures and events of one launch, as far as the log has been followed.

    Args:
        read: Gives the log's records.
        plan: Whose arms.
        user_of: The number of a unit whose id is a text; None refuses texts.
        since_ms: What happened before is no part of the launch, and is not kept.
    """

    def __init__(self, read: Reads, plan: Plan, user_of: UserOf | None = None, since_ms: int = 0) -> None:
        self._since_ms = since_ms
        self.offset = 0
        self.newest_ms = 0
        """The latest time of any record."""
        self._read, self._plan, self._user_of = read, plan, user_of
        self._exposed = _Rows(("unit", "surface", "arm", "time_ms", OFFSET))
        self._events = _Rows(("unit", "surface", "time_ms", OFFSET, ITEM, *COLUMNS))

    def follow(self) -> int:
        """Takes in what is new; answers the latest time of any record so far."""
        while records := self._read(self.offset, _STEP):
            self._take(records)
            self.offset = records[-1].offset
        return self.newest_ms

    def offset_at(self, time_ms: int) -> int:
        """How far the log went at a time: the offset of the last event until then."""
        events = self._events.frame()
        return int(events.filter(pl.col("time_ms") <= time_ms)[OFFSET].max() or 0)  # type: ignore[arg-type]

    def exposures(self, surface: str, legacy: str) -> pl.DataFrame:
        """Exposures of the units that a legacy stack carries on a surface: ``unit``, ``arm``, ``time_ms``, ``offset``."""
        return self._mine(self._exposed.frame(), surface, legacy)

    def events(self, surface: str, legacy: str) -> pl.DataFrame:
        """What those units saw and did there: ``unit``, ``time_ms``, ``offset``, ``item`` and each of ``COLUMNS``."""
        return self._mine(self._events.frame(), surface, legacy)

    def _mine(self, table: pl.DataFrame, surface: str, legacy: str) -> pl.DataFrame:
        there = table.filter(pl.col("surface") == surface)
        carried = list(self._plan.carried(surface))
        codes = origins_of(self._plan, surface, there["unit"].to_numpy().astype(np.int64))
        return there.filter(pl.Series(codes == carried.index(legacy))).drop("surface")

    def _take(self, records: list[Stored]) -> None:
        exposed: list[tuple[object, ...]] = []
        events: list[tuple[object, ...]] = []
        for one in records:
            if one.kind == IMPRESSION:
                shown = _SHOWN(one.payload)
                self.newest_ms = max(self.newest_ms, shown.time_ms)
                if shown.surface not in self._plan.surfaces or shown.time_ms < self._since_ms:
                    continue
                launch, _, arm = (shown.arm or "").rpartition(".")
                if launch == self._plan.name:
                    exposed.append((shown.user_id, shown.surface, arm, shown.time_ms, one.offset))
                    told = (-1, *_counted(shown), *_NO_ACTS)
                    events.append((shown.user_id, shown.surface, shown.time_ms, one.offset, *told))
            elif one.kind == FEEDBACK:
                answered = _ANSWERED(one.payload)
                self.newest_ms = max(self.newest_ms, answered.time_ms)
                if answered.surface in self._plan.surfaces and answered.time_ms >= self._since_ms:
                    unit = self._number(answered.user_id)
                    done = (getattr(answered, name) or 0 for name in ACTS)
                    item = answered.item_id if isinstance(answered.item_id, int) else -1
                    events.append((unit, answered.surface, answered.time_ms, one.offset, item, 0, 0, 0, 0.0, *done))
        self._exposed.add(exposed)
        self._events.add(events)

    def _number(self, user: int | str) -> int:
        if isinstance(user, int):
            return user
        if self._user_of is None:
            raise LaunchError(
                f"found the text {user[:40]!r} as a unit of a log whose ids are numbers",
                code="launch-080",
                hint="send the same ids that requests are sent with",
            )
        return self._user_of(user)


class UserOf(Protocol):
    """Numbers for text ids."""

    def __call__(self, text: str) -> int:
        """The number of a user's text id."""
        ...


def check_columns(plan: Plan) -> None:
    """Can every metric of the plan be read from a served log?

    Raises:
        LaunchError: A column is none of ``COLUMNS``, or a covariate none of them from before the start, or what is independent is
            not a user (``launch-081``).
    """
    for name, metric in plan.metrics.items():
        if metric.unit != "user":
            raise _unknown(name, metric.unit, ("user",))
        for column in (metric.column, metric.per):
            if column and column not in COLUMNS:
                raise _unknown(name, column, COLUMNS)
        for column in covariate_columns(metric.covariates):
            if column.removeprefix(BEFORE) not in COLUMNS or not column.startswith(BEFORE):
                raise _unknown(name, column, [f"{BEFORE}{one}" for one in COLUMNS])


def covariate_columns(covariates: list[str]) -> list[str]:
    """The columns that covariates read: a ratio, ``a / b``, reads two."""
    return list(dict.fromkeys(part.strip() for one in covariates for part in one.split("/")))


def _unknown(metric: str, column: str, known: tuple[str, ...] | list[str]) -> LaunchError:
    return LaunchError(
        f"metric {metric!r} reads the column {column!r}, which a served log does not have",
        code="launch-081",
        hint=did_you_mean(column, known),
    )


def _counted(shown: _Shown) -> tuple[int, int, int, float]:
    spent = shown.timings_ms.get(TOTAL) or sum(ms for name, ms in shown.timings_ms.items() if ":" not in name)
    return 1, len(shown.item_ids) // 8, int(bool(shown.degraded)), float(spent)


_SHOWN = msgspec.msgpack.Decoder(_Shown).decode
_ANSWERED = msgspec.json.Decoder(_Answered).decode
_NO_ACTS: Final = (0,) * len(ACTS)
