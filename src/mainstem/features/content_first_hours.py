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

    Shapes: ``cells[n, 24, 3]`` hour since 1970, views, long views.
    """

    def __init__(self, size: int) -> None:
        self.cells = np.zeros((size, KEPT_HOURS, 3))

    def add(self, rows: Rows, time_ms: NDArray[np.int64], views: Floats, longs: Floats) -> None:
        """Counts events, in any order: of the hours that share a cell only the newest is kept."""
        flat = self.cells.reshape(-1, 3)
        hour = time_ms // HOUR_MS
        cell = rows * KEPT_HOURS + hour % KEPT_HOURS
        before = flat[cell, 0]
        np.maximum.at(flat[:, 0], cell, hour)
        flat[cell[flat[cell, 0] > before], 1:] = 0.0
        counted = flat[cell, 0] == hour
        np.add.at(flat[:, 1], cell[counted], views[counted])
        np.add.at(flat[:, 2], cell[counted], longs[counted])

    def windows(self, rows: Rows, now_ms: int) -> tuple[list[Floats], Floats]:
        """Views in the running hour, in 6 and in 24 hours with it, and the long views in 24. Shapes: [k] each."""
        held = self.cells[rows]
        age = now_ms // HOUR_MS - held[:, :, 0]
        inside = [(age >= 0) & (age < hours) for hours in WINDOWS_H]
        return [(held[:, :, 1] * now).sum(axis=1) for now in inside], (held[:, :, 2] * inside[-1]).sum(axis=1)

    def day_views(self, now_ms: int) -> Floats:
        """Views of everything in 24 hours. Shapes: [n]."""
        age = now_ms // HOUR_MS - self.cells[:, :, 0]
        return np.einsum("nh,nh->n", self.cells[:, :, 1], (age >= 0) & (age < KEPT_HOURS))

    def grow(self, size: int) -> None:
        """Makes room for more things."""
        self.cells = np.concatenate([self.cells, np.zeros((size - len(self.cells), KEPT_HOURS, 3))])
