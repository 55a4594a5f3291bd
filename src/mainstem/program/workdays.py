"""Which day is the nth working day: the calendar between a plan's day counts and dates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date

import numpy as np
from numpy.typing import NDArray


class WorkCalendar:
    """Working days counted from a start: Monday to Friday without the holidays.

    Args:
        start: Day 0, or the first working day after it.
        holidays: Days on which nobody works.
    """

    def __init__(self, start: date, holidays: Iterable[date] = ()) -> None:
        self._calendar = np.busdaycalendar(holidays=[np.datetime64(one) for one in holidays])
        self._start = np.busday_offset(np.datetime64(start), 0, roll="forward", busdaycal=self._calendar)

    def day(self, number: int) -> date:
        """The date of a working day by its number; 0 is the first."""
        found = np.busday_offset(self._start, number, roll="forward", busdaycal=self._calendar)
        return date.fromisoformat(str(found))

    def starts_on(self, offset: float) -> date:
        """The day on which something starts after so many working days."""
        return self.day(math.floor(offset + 1e-9))

    def ends_on(self, offset: float) -> date:
        """The day on which something has ended after so many working days."""
        return self.day(max(math.ceil(offset - 1e-9) - 1, 0))

    def ends(self, offsets: NDArray[np.float64]) -> NDArray[np.datetime64]:
        """``ends_on`` for many at once."""
        numbers = np.maximum(np.ceil(offsets - 1e-9).astype(np.int64) - 1, 0)
        return np.busday_offset(self._start, numbers, roll="forward", busdaycal=self._calendar)

    def before(self, day: date) -> int:
        """How many working days lie between the start and a day, without that day."""
        return int(np.busday_count(self._start, np.datetime64(day), busdaycal=self._calendar))

    def through(self, day: date) -> int:
        """How many working days lie between the start and a day, with that day."""
        return int(np.busday_count(self._start, np.datetime64(day) + 1, busdaycal=self._calendar))
