"""When a shown item counts as a success: any touch in its interest within 24 hours after it."""

from __future__ import annotations

import numpy as np

WINDOW_MS = 24 * 3_600_000


def touched_within_day(user: np.ndarray, interest: np.ndarray, time_ms: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """How deep the deepest touch of the item's interest by the same user was, from the item's showing to 24 h after.

    The touched item need not be the shown one: it is enough that it belongs to the same interest. Positive is
    anything above 0.
    """
    label = np.zeros(len(user))
    order = np.lexsort((time_ms, interest, user))
    change = (np.diff(user[order]) != 0) | (np.diff(interest[order]) != 0)
    same = np.append(0, np.cumsum(change))[: len(user)]
    for level in np.unique(depth[depth > 0]):
        reached = _next_touch_ms(same, time_ms[order], depth[order] >= level)
        near = reached - time_ms[order] < WINDOW_MS
        label[order[near]] = level
    return label


def _next_touch_ms(same: np.ndarray, time_ms: np.ndarray, touch: np.ndarray) -> np.ndarray:
    """For rows sorted by group and time: the time of the first touch at or after each row, in its group."""
    at = np.flatnonzero(touch)
    following = np.searchsorted(at, np.arange(len(same)))
    found = following < len(at)
    target = at[np.minimum(following, max(len(at) - 1, 0))] if len(at) else np.zeros(len(same), dtype=np.int64)
    found &= same[target] == same
    return np.where(found, time_ms[target], np.iinfo(np.int64).max // 2)
