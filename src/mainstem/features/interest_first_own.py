"""What a user did lately with the kinds of things a candidate is made of."""

from __future__ import annotations

from typing import Final

import numpy as np

from mainstem.base.request import Floats
from mainstem.features.interest_first_past import DAY_MS, Past
from mainstem.features.interest_first_posts import Keys

WINDOWS_DAYS: Final = (7, 30, 90)
RUNS: Final = (1, 3, 10, 30)
_OWN_STRENGTH: Final = 3.0
"""So many of the user's own showings the crowd's rate counts for."""
_HOUR_MS: Final = 3_600_000


class OwnCounts:
    """Counts a user's past under keys.

    Counts are whole numbers (of showings, of tenths of a touch), so that no order of summing changes them. One array over
    all keys is kept between requests and never cleared: what stands there from another user is seen not to be this user's.

    Args:
        keys: How many keys there are.
    """

    def __init__(self, keys: int) -> None:
        self._place = np.zeros(keys, np.int32)

    def of(self, past: Past, keys: Keys, now_ms: int, crowd_odds: Floats) -> Floats:
        """Lift over the crowd in 7, 30 and 90 local days, log of showings in 90, hours since shown and since touched (logs).

        NaN where the user was not shown the thing in the window, or ever.

        Shapes: keys and crowd_odds [n, kinds], the answer [n, kinds, 6].
        """
        counts, last_ms = self._counted(past, keys, now_ms)
        served, tenths = counts[..., :3], counts[..., 3:]
        usual = (_OWN_STRENGTH / (1.0 + np.exp(-crowd_odds)))[..., None]
        lift = np.log((0.1 * tenths + usual) / (usual * (served / _OWN_STRENGTH + 1.0)))
        lift[served == 0] = np.nan
        since = np.log1p(np.maximum(now_ms - last_ms, 0.0) / _HOUR_MS)
        since[last_ms == 0] = np.nan
        return np.concatenate([lift, np.log1p(served[..., 2:]), since], axis=-1)

    def _counted(self, past: Past, keys: Keys, now_ms: int) -> tuple[Floats, Floats]:
        """Showings and tenths in each window, and when last shown and touched. Shapes: [n, kinds, 6], [n, kinds, 2]."""
        flat, kinds = past.keys.ravel(), past.keys.shape[1]
        self._place[flat] = np.arange(len(flat), dtype=np.int32)
        group = self._place[flat]
        days_ago = (now_ms + past.offset_ms) // DAY_MS - past.local_days()
        tenths = np.rint(10.0 * past.depth)
        table = np.zeros((len(flat) + 1, 8))
        for at, days in enumerate(WINDOWS_DAYS):
            inside = days_ago < days
            table[:-1, at] = np.bincount(group, np.repeat(inside, kinds), len(flat))
            table[:-1, at + 3] = np.bincount(group, np.repeat(inside * tenths, kinds), len(flat))
        np.maximum.at(table[:, 6], group, np.repeat(past.time_ms, kinds))
        np.maximum.at(table[:, 7], group, np.repeat(past.time_ms * (tenths > 0), kinds))
        place = np.minimum(self._place[keys], len(flat) - 1)
        found = table[np.where(flat[place] == keys, place, len(flat))]
        return found[..., :6], found[..., 6:]


def recent_depth(past: Past) -> Floats:
    """Mean depth of touch over the last 1, 3, 10 and 30 shown items; over all there are when there are fewer."""
    newest = np.cumsum(past.depth[: -RUNS[-1] - 1 : -1])
    counted = np.minimum(RUNS, len(newest))
    return newest[counted - 1] / counted
