"""What time it is, asked through one door so that a replay can set it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Milliseconds since 1970 UTC."""

    def now_ms(self) -> int:
        """The present time of this clock, in milliseconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's own time."""

    def now_ms(self) -> int:
        """The machine's time in milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


class SetClock:
    """A time that stands still until it is set: for replays and tests."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The time that was set last."""
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Moves the clock to a time."""
        self._now_ms = now_ms


class FollowingClock:
    """Shows the latest time it was told of: a past log, or days that are played through, is lived as fast as its records come.

    Args:
        starts_ms: What it shows before it is told of anything.
    """

    def __init__(self, starts_ms: int) -> None:
        self._now_ms = starts_ms

    def now_ms(self) -> int:
        """The latest time so far."""
        return self._now_ms

    def hear(self, time_ms: int) -> None:
        """Moves on to a time; one that is past moves nothing."""
        self._now_ms = max(self._now_ms, time_ms)
