"""One definition of every model input, used in training and in serving alike."""

from __future__ import annotations

import numpy as np

from .catalogue import ALL, PLACE, RELATIONS
from .folder import DAY_MS, HOUR_MS
from .memory import Memory
from .viewer import DEPTH, LAST_SHOWN, RECENT, SERVED, Viewer

STRENGTH = 10.0  # how many showings the overall rate counts for
OWN_STRENGTH = 3.0


def _names() -> tuple[str, ...]:
    out = ["age_days", "length_s", "is_ad", "interest_share"]
    for what in ("rate", "long", "served"):
        out += [f"{what}_{relation}" for relation in RELATIONS[1:]]  # the rate of all is the same for every item
    own = ("own_7d", "own_30d", "own_90d", "own_served", "own_since_shown_h", "own_since_touch_h")
    out += [f"{what}_{relation}" for relation in RELATIONS for what in own]
    return tuple(out + [f"own_last_{n}" for n in RECENT])


NAMES = _names()
_CROWD = slice(4, 4 + 3 * (len(RELATIONS) - 1))
_OWN = slice(_CROWD.stop, _CROWD.stop + 6 * len(RELATIONS))


class Signals:
    """Makes the input rows of a request."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

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
        out = np.empty((len(items), len(NAMES)))
        keys = catalogue.keys[items]
        keys[:, PLACE] = place_key
        created, length = catalogue.created_ms[items], catalogue.duration_s[items]
        out[:, 0] = np.where(created > 0, np.log1p(np.maximum(now_ms - created, 0) / DAY_MS), np.nan)
        out[:, 1] = np.where(length > 0, np.log1p(length), np.nan)
        out[:, 2] = catalogue.is_ad[items]
        out[:, 3] = np.log(interest_share)
        crowd = self._crowd(keys, now_ms)
        out[:, _CROWD].reshape(len(items), 3, -1, copy=False)[:] = crowd[:, 1:].transpose(0, 2, 1)
        if viewer is None or not viewer.used:
            out[:, _OWN.start :] = np.nan
        else:
            own = _own(viewer, keys, now_ms, crowd[:, :, :1])
            out[:, _OWN].reshape(own.shape, copy=False)[:] = own
            out[:, _OWN.stop :] = viewer.recent_depth()
        return out

    def _crowd(self, keys: np.ndarray, now_ms: int) -> np.ndarray:
        """[items, relations, 3] what everybody did: log odds of a touch, of a long view, and how often served."""
        sums = self._memory.rates.read(keys, now_ms)
        served = sums[:, :, :1]
        base = sums[0, ALL] + np.array([8.0, 3.0, 3.0])
        share = (sums[:, :, 1:] + STRENGTH * base[1:] / base[0]) / (served + STRENGTH)
        return np.concatenate([np.log(share / (1.0 - share)), np.log1p(served)], axis=2)


def _own(viewer: Viewer, keys: np.ndarray, now_ms: int, odds: np.ndarray) -> np.ndarray:
    """[items, relations, 6] what this user did with the item's keys, beside what everybody does with them."""
    mine = viewer.counts(keys, viewer.local_day(now_ms))
    usual = OWN_STRENGTH / (1.0 + np.exp(-odds))
    served, last_ms = mine[:, :, SERVED], mine[:, :, LAST_SHOWN:]
    out = np.empty((*keys.shape, 6))
    lift = np.log((0.1 * mine[:, :, DEPTH] + usual) / (usual * (served / OWN_STRENGTH + 1.0)))
    out[:, :, :3] = np.where(served == 0, np.nan, lift)
    out[:, :, 3] = np.log1p(served[:, :, 2])
    since = np.log1p(np.maximum(now_ms - last_ms, 0.0) / HOUR_MS)
    out[:, :, 4:] = np.where(last_ms == 0, np.nan, since)
    return out
