"""How large a made world is, and which faults its log carries."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from mainstem.base.errors import ConfigError

HOME_OFFSET_MIN = 480
"""The log's own zone: its days are those of UTC+8, as in KuaiRand; users live in several zones."""


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """How large is the world, when does its log begin, and which seed is it?

    Args:
        users: How many users.
        items: How many items, those uploaded during the log included.
        days: Days of the log.
        impressions: About how many rows a log gets.
        history_days: Days before the log from which each user's last actions are known, without their times.
        first_day: First local day of the log, yyyymmdd.
        seed: The same seed and sizes give the same world, byte for byte.
    """

    users: int = 8_000
    items: int = 10_000
    days: int = 9
    impressions: int = 150_000
    history_days: int = 14
    first_day: int = 20220425
    seed: int = 7

    def __post_init__(self) -> None:
        for name, low, high in (
            ("users", 50, 2_000_000),
            ("items", 500, 5_000_000),
            ("days", 2, 60),
            ("impressions", 500, 200_000_000),
            ("history_days", 4, 60),
        ):
            found = getattr(self, name)
            if not low <= found <= high:
                raise ConfigError(
                    f"world setting {name} is {found}, expected {low} to {high}",
                    code="config-901",
                    hint="the default world is WorldSettings()",
                )
        _midnight_ms(self.first_day)

    @property
    def start_ms(self) -> int:
        """When the log begins: local midnight of the first day, in milliseconds since 1970 UTC."""
        return _midnight_ms(self.first_day)

    @property
    def end_ms(self) -> int:
        """When the log ends: one past the last millisecond of the last day."""
        return self.start_ms + self.days * DAY_MS


DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class WorldFaults:
    """Which faults does the emitted log carry? None by default; the world itself is never touched.

    Args:
        late_share: Share of events that arrive up to a day late, hence out of order.
        duplicate_share: Share of events that arrive twice.
        day_shift_h: Hours by which the clock behind the ``day`` column is wrong (times stay right).
        watch_in_seconds: ``watch_ms`` and ``duration_ms`` hold seconds from ``unit_change_day`` on.
        unit_change_day: First local day of the unit change, counted from 0.
        missing_item_share: Share of items whose tags, length and creator did not arrive.
        safety_failed_share: Share of items whose safety check was never answered.
    """

    late_share: float = 0.0
    duplicate_share: float = 0.0
    day_shift_h: int = 0
    watch_in_seconds: bool = False
    unit_change_day: int = 0
    missing_item_share: float = 0.0
    safety_failed_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("late_share", "duplicate_share", "missing_item_share", "safety_failed_share"):
            found = getattr(self, name)
            if not 0.0 <= found <= 1.0:
                raise ConfigError(
                    f"world fault {name} is {found}, expected a share from 0 to 1",
                    code="config-902",
                    hint="2 % is written 0.02",
                )


def _midnight_ms(day: int) -> int:
    try:
        date = dt.datetime(day // 10_000, day // 100 % 100, day % 100, tzinfo=dt.UTC)
    except ValueError as error:
        raise ConfigError(
            f"first_day is {day}, expected a date as yyyymmdd", code="config-901", hint="for example 20220425"
        ) from error
    return int(date.timestamp()) * 1000 - HOME_OFFSET_MIN * 60_000


def local_days(time_ms: int, count: int) -> list[int]:
    """Which ``count`` local days of the log follow from ``time_ms``, each as yyyymmdd."""
    first = dt.datetime.fromtimestamp(time_ms / 1000 + HOME_OFFSET_MIN * 60, tz=dt.UTC).date()
    days = [first + dt.timedelta(days=step) for step in range(count)]
    return [date.year * 10_000 + date.month * 100 + date.day for date in days]
