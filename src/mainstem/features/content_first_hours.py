"""How often things were seen in the last 24 UTC clock hours."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Rows

HOUR_MS: Final = 3_600_000
KEPT_HOURS: Final = 24
WINDOWS_H: Final = (1, 6, 24)


class ClockHours:
    """Views and long views of many things, by the UTC hour in which they happened; an hour gives way to the one 24 h later.

    Shapes: ``cells[3, n, 24]`` hour since 1970, views, long views.
    """

    def __init__(self, size: int) -> None:
        self.cells = np.zeros((3, size, KEPT_HOURS))

    def add(self, rows: Rows, time_ms: NDArray[np.int64], views: Floats, longs: Floats) -> None:
        """Counts events, in any order: of the hours that share a cell only the newest is kept."""
        hours, counts = self.cells[0].reshape(-1), self.cells.reshape(3, -1)[1:]
        hour = time_ms // HOUR_MS
        cell = rows * KEPT_HOURS + hour % KEPT_HOURS
        before = hours[cell]
        np.maximum.at(hours, cell, hour)
        counts[:, cell[hours[cell] > before]] = 0.0
        counted = hours[cell] == hour
        np.add.at(counts[0], cell[counted], views[counted])
        np.add.at(counts[1], cell[counted], longs[counted])

    def windows(self, rows: Rows, now_ms: int) -> tuple[list[Floats], Floats]:
        """Views in the running hour, in 6 and in 24 hours with it, and the long views in 24. Shapes: [k] each."""
        hour, views, longs = self.cells[:, rows]
        age = now_ms // HOUR_MS - hour
        inside = [(age >= 0) & (age < hours) for hours in WINDOWS_H]
        return [(views * now).sum(axis=1) for now in inside], (longs * inside[-1]).sum(axis=1)

    def day_views(self, now_ms: int) -> Floats:
        """Views of everything in 24 hours. Shapes: [n]."""
        hour, now = self.cells[0], now_ms // HOUR_MS
        return (self.cells[1] * ((hour <= now) & (hour > now - KEPT_HOURS))).sum(axis=1)

    def grow(self, size: int) -> None:
        """Makes room for more things."""
        room = np.zeros((3, size - self.cells.shape[1], KEPT_HOURS))
        self.cells = np.concatenate([self.cells, room], axis=1)
