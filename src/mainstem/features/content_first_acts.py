"""What each viewer of the content-first stack did last, and who is credited with an outcome that comes late: a fold.

A view tells its own outcomes. An outcome without a view goes to the last view of the same original within thirty minutes before,
among the viewer's last fifty; the rest counts for nothing. Tastes fade by a tenth with each item that joins them: what was
enjoyed joins the one, what was hidden or passed over joins the other.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from mainstem.base.heads import HEADS
from mainstem.features.content_first_items import CONTENT_DIM
from mainstem.features.language.fold import Fold, listed, number, vector

KEPT_ACTIONS: Final = 50
SESSION_GAP_MS: Final = 30 * 60_000
CREDIT_WINDOW_MS: Final = 30 * 60_000

BITS: Final = {name: 1 << place for place, name in enumerate(HEADS)}
CLICK, LIKE, FOLLOW, HATE, LONG_VIEW = (BITS[name] for name in ("click", "like", "follow", "hate", "long_view"))
ENJOYED: Final = sum(BITS[name] for name in ("like", "follow", "comment", "forward", "long_view"))

_FADE: Final = 0.9
_COUNT, _LAST, _SESSION = 0, 1, 2
_ITEM, _CREATOR, _DID, _LONG, _ONE, _TIME = (3 + place * KEPT_ACTIONS for place in range(6))
_LIKED, _PASSED = _TIME + KEPT_ACTIONS, _TIME + KEPT_ACTIONS + CONTENT_DIM


@njit(cache=True, nogil=True)
def _join_taste(one, did: int, vectors, row: int) -> None:
    """Lets a known item join one of the two tastes."""
    if row < 0:
        return
    taste = _LIKED if did & ENJOYED and not did & HATE else _PASSED
    for axis in range(CONTENT_DIM):
        one[taste + axis] = one[taste + axis] * _FADE + vectors[row, axis]


@njit(cache=True, nogil=True)
def _see(one, item: float, creator: float, did: int, time_ms: float) -> None:
    """Puts a view before the others; the fiftieth goes."""
    for first in (_ITEM, _CREATOR, _DID, _LONG, _ONE, _TIME):
        for place in range(first + KEPT_ACTIONS - 1, first, -1):
            one[place] = one[place - 1]
    one[_ITEM], one[_CREATOR], one[_TIME], one[_ONE] = item, creator, time_ms, 1.0
    one[_DID], one[_LONG] = np.float64(did), np.float64(did & LONG_VIEW > 0)
    one[_COUNT] += 1.0
    one[_SESSION] = 1.0 if time_ms - one[_LAST] > SESSION_GAP_MS else one[_SESSION] + 1.0
    one[_LAST] = max(one[_LAST], time_ms)


@njit(cache=True, nogil=True)
def _credited(one, item: float, time_ms: float) -> int:
    """The place of the view that a late outcome belongs to, -1: none.

    Of views at the same time it is the one whose number, counted around the fifty places, is smallest.
    """
    found, best_ms, best_slot = -1, 0.0, 0
    count = int(one[_COUNT])
    for place in range(min(count, KEPT_ACTIONS)):
        when = one[_TIME + place]
        if one[_ITEM + place] != item or when <= 0 or when > time_ms or when < time_ms - CREDIT_WINDOW_MS:
            continue
        slot = (count - 1 - place) % KEPT_ACTIONS
        if found < 0 or when > best_ms or (when == best_ms and slot < best_slot):
            found, best_ms, best_slot = place, when, slot
    return found


@njit(cache=True, nogil=True)
def act(state, rows, inputs, told, beside):
    """Takes in views and late outcomes; tells what each newly means, as a bit set over the heads."""
    vectors = beside[0]
    for at in range(rows.size):
        one = state[rows[at]]
        item, time_ms, did = inputs[at, 0], inputs[at, 1], int(inputs[at, 2])
        row = int(inputs[at, 3]) if item == item else -1
        if inputs[at, 4] > 0:
            if inputs[at, 5] > 0:
                _see(one, item, inputs[at, 6], did, time_ms)
                _join_taste(one, did, vectors, row)
            told[at, 0] = did
        elif did > 0:
            place = _credited(one, item, time_ms)
            if place < 0:
                continue
            held = int(one[_DID + place])
            new = did & ~held
            one[_DID + place] = np.float64(held | did)
            one[_LONG + place] = np.float64((held | did) & LONG_VIEW > 0)
            if new & ENJOYED:
                _join_taste(one, new, vectors, row)
            told[at, 0] = new


ACTS: Final = Fold(
    state={
        "count": number(),
        "last_ms": number(),
        "session_views": number(),
        "item": listed(KEPT_ACTIONS),
        "creator": listed(KEPT_ACTIONS),
        "did": listed(KEPT_ACTIONS),
        "long": listed(KEPT_ACTIONS),
        "one": listed(KEPT_ACTIONS),
        "time": listed(KEPT_ACTIONS),
        "liked": vector(CONTENT_DIM),
        "passed": vector(CONTENT_DIM),
    },
    takes={
        "item": "original_id",
        "time": "coalesce(time_ms, 0)",
        "did": "did",
        "row": "vector_row",
        "seen": "seen",
        "acts": "acts",
        "creator": "creator",
    },
    run=act,
    tells=("told",),
    beside=("items.vector",),
)
