"""How a creator wears out over a day: each impression today takes some of what their next item is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import StoreError
from mainstem.base.request import Floats, Pool, Request, Rows
from mainstem.control.day import DAY, Days


class Fatigue:
    """Lowers what candidates are ordered by, by how often the viewer was served their creator today.

    It only ever lowers: a positive value keeps ``kept`` to the power of the impressions, a negative one sinks by as much. When the
    day cannot be read nobody is tired: a wish, not a promise, so it fails open.

    Args:
        kept: Share that each impression leaves.
        creators: Creator code by catalog row, 0 and below unknown. Shapes: [n + 1].
        originals: The row that each row is a repost of. Shapes: [n + 1].
        days: What was served.
    """

    name = "fatigue"

    def __init__(self, kept: float, creators: NDArray[np.integer[Any]], originals: Rows, days: Days) -> None:
        self._kept, self._days = kept, days
        self._creators = creators[originals]
        self._size = int(creators.max(initial=0)) + 1

    def boost(self, request: Request, user: Any, pool: Pool, values: Floats) -> Floats:
        """What each candidate loses, 0 or below. Shapes: [n]."""
        if DAY in request.failures:
            return np.zeros(len(values))
        try:
            before = self._days.of(request).before
        except StoreError:
            return np.zeros(len(values))
        if not len(before):
            return np.zeros(len(values))
        times = np.bincount(np.maximum(self._creators[before], 0), minlength=self._size)
        times[0] = 0
        codes = np.maximum(self._creators[pool.rows], 0)
        return np.abs(values) * (self._kept ** times[codes].astype(np.float64) - 1.0)
