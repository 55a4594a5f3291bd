"""One definition of every model input, used in training and in serving alike."""

from __future__ import annotations

import numpy as np

from .catalogue import ALL, PLACE, RELATIONS, Catalogue
from .folder import DAY_MS, HOUR_MS
from .memory import Memory
from .viewer import DEPTH, LAST_SHOWN, RECENT, SERVED, Viewer

STRENGTH = 10.0  # how many showings the overall rate counts for
OWN_STRENGTH = 3.0


def _names() -> tuple[str, ...]:
    out = ["age_days", "length_s", "is_ad", "interest_share"]
    for what in ("rate", "long", "served"):
        out += [f"{what}_{relation}" for relation in RELATIONS[1:]]  # the rate of all is the same for every item
    for what in ("own_7d", "own_30d", "own_90d", "own_served", "own_since_shown_h", "own_since_touch_h"):
        out += [f"{what}_{relation}" for relation in RELATIONS]
    return tuple(out + [f"own_last_{n}" for n in RECENT])


NAMES = _names()
USER_SIGNALS = np.array([name.startswith("own_") or name == "interest_share" for name in NAMES])
"""Which inputs come from the user's memory: what fails when the feature lookup fails."""


class Signals:
    """Makes the input rows of a request. Holds scratch space, so one thread at a time."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._at = np.zeros(int(memory.catalogue.sizes.sum()), dtype=np.int64)

    def rows(
        self, viewer: Viewer | None, items: np.ndarray, place_key: int, now_ms: int, interest_share: np.ndarray
    ) -> np.ndarray:
        """[items, signals] inputs; NaN where the thing is not known.

        Args:
            viewer: The user's memory, None when there is none or it cannot be read.
            items: Catalogue rows.
            place_key: Key of the request's (surface, scenario).
            now_ms: When the request is made.
            interest_share: P(interest) of each item.
        """
        catalogue = self._memory.catalogue
        keys = catalogue.keys[items]
        keys[:, PLACE] = place_key
        crowd = self._crowd(keys, now_ms)
        own = self._own(viewer, keys, now_ms, crowd[0])
        share = np.log(interest_share)[:, None]
        return np.concatenate([_item(catalogue, items, now_ms), share, *(part[:, 1:] for part in crowd), own], axis=1)

    def _crowd(self, keys: np.ndarray, now_ms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What everybody did with the item's keys: log odds of a touch, of a long view, and how often served."""
        sums = self._memory.rates.read(keys, now_ms)
        base = sums[0, ALL] + np.array([8.0, 3.0, 3.0])
        share = (sums[:, :, 1:] + STRENGTH * base[1:] / base[0]) / (sums[:, :, :1] + STRENGTH)
        odds = np.log(share / (1.0 - share))
        return odds[:, :, 0], odds[:, :, 1], np.log1p(sums[:, :, 0])

    def _own(self, viewer: Viewer | None, keys: np.ndarray, now_ms: int, odds: np.ndarray) -> np.ndarray:
        """What this user did with the item's keys, beside what everybody does with them."""
        if viewer is None or not viewer.used:
            return np.full((len(keys), 6 * len(RELATIONS) + len(RECENT)), np.nan)
        known, table = viewer.counts(viewer.local_day(now_ms))
        self._at[known] = np.arange(1, len(known) + 1)
        mine = table[self._at[keys]]
        self._at[known] = 0
        usual = 1.0 / (1.0 + np.exp(-odds))
        served, depth = mine[:, :, SERVED], mine[:, :, DEPTH]
        lift = np.log((depth + OWN_STRENGTH * usual[:, :, None]) / ((served + OWN_STRENGTH) * usual[:, :, None]))
        lift[served == 0] = np.nan
        since = np.log1p(np.maximum(now_ms - mine[:, :, LAST_SHOWN:], 0.0) / HOUR_MS)
        since[mine[:, :, LAST_SHOWN:] == 0] = np.nan
        out = np.empty((len(keys), 6 * len(RELATIONS) + len(RECENT)))
        blocks = out[:, : -len(RECENT)].reshape(len(keys), 6, len(RELATIONS))
        blocks[:, :3] = lift.transpose(0, 2, 1)
        blocks[:, 3] = np.log1p(served[:, :, 2])
        blocks[:, 4:] = since.transpose(0, 2, 1)
        out[:, -len(RECENT) :] = viewer.recent_depth()
        return out


def _item(catalogue: Catalogue, items: np.ndarray, now_ms: int) -> np.ndarray:
    created, length = catalogue.created_ms[items], catalogue.duration_s[items]
    out = np.empty((len(items), 3))
    out[:, 0] = np.where(created > 0, np.log1p(np.maximum(now_ms - created, 0) / DAY_MS), np.nan)
    out[:, 1] = np.where(length > 0, np.log1p(length), np.nan)
    out[:, 2] = catalogue.is_ad[items]
    return out
