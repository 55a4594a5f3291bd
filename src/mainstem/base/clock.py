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
