"""How often things of each key were served and touched by everybody, with a half-life in event time."""

from __future__ import annotations

from typing import Final

import numpy as np

from mainstem.base.request import Floats
from mainstem.features.interest_first_posts import ALL, PLACE, Keys
from mainstem.features.interest_first_touch import Touches

HALF_LIFE_MS: Final = 14 * 86_400_000
_STRENGTH: Final = 10.0
"""So many showings the overall rate counts for."""


class Crowd:
    """Decayed sums of everybody's showings, touches and long views by key.

    A sum is right as of the latest event of its key. An event that comes late weighs what it would weigh by then, so sums do not
    depend on the order in which a batch arrives.

    Args:
        keys: How many keys there are.
    """

    def __init__(self, keys: int) -> None:
        self.sums = np.zeros((keys, 3))
        self.as_of_ms = np.zeros(keys, np.int64)

    def start(self, touches: Touches, keys: Keys) -> None:
        """Takes in a log in one go: then every key, seen or not, is right as of the log's last event."""
        if not len(touches.time_ms):
            return
        self.as_of_ms[:] = touches.time_ms.max()
        weight = np.exp2((touches.time_ms - self.as_of_ms[0]) / HALF_LIFE_MS)
        flat, kinds = keys.ravel(), keys.shape[1]
        for column, what in enumerate((weight, weight * touches.depth, weight * touches.long_view)):
            self.sums[:, column] = np.bincount(flat, np.repeat(what, kinds), len(self.sums))

    def add(self, touches: Touches, keys: Keys, listed: np.ndarray) -> None:
        """Takes in what happened since. Of unlisted posts only the place is learned from: together they are nothing."""
        for part, kinds in ((listed, slice(None)), (~listed, [ALL, PLACE])):
            if part.any():
                self._add(touches.take(part), keys[part][:, kinds])

    def read(self, keys: Keys, now_ms: int) -> Floats:
        """What everybody did with each key: log odds of a touch, log odds of a long view, log of how often served.

        Shapes: keys [n, kinds], the answer [n, kinds, 3].
        """
        sums = self._faded(keys, now_ms)
        overall = self._faded(np.array([ALL]), now_ms)[0] + (8.0, 3.0, 3.0)
        served = sums[..., :1]
        chance = (sums[..., 1:] + _STRENGTH * overall[1:] / overall[0]) / (served + _STRENGTH)
        return np.concatenate([np.log(chance / (1.0 - chance)), np.log1p(served)], axis=-1)

    def _faded(self, keys: Keys, now_ms: int) -> Floats:
        age_ms = np.maximum(now_ms - self.as_of_ms[keys], 0)
        return self.sums[keys] * np.exp2(-age_ms / HALF_LIFE_MS)[..., None]

    def _add(self, touches: Touches, keys: Keys) -> None:
        flat, width = keys.ravel(), keys.shape[1]
        before_ms = self.as_of_ms[flat]
        np.maximum.at(self.as_of_ms, flat, np.repeat(touches.time_ms, width))
        moved, at = np.unique(flat, return_index=True)
        self.sums[moved] *= np.exp2((before_ms[at] - self.as_of_ms[moved]) / HALF_LIFE_MS)[:, None]
        weight = np.exp2((np.repeat(touches.time_ms, width) - self.as_of_ms[flat]) / HALF_LIFE_MS)
        ones = np.ones(len(touches.time_ms))
        for column, what in enumerate((ones, touches.depth, touches.long_view)):
            np.add.at(self.sums[:, column], flat, weight * np.repeat(what, width))
