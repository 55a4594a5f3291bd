"""Hard rules, each by itself, none with a memory of earlier requests."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from content_first import memory as m
from content_first.catalogue import Items
from content_first.flags import SurfaceFlags
from content_first.memory import Memory

Rows = NDArray[np.intp]
VIOLATING = 1


@dataclass(slots=True)
class Removals:
    """Which rule took each candidate out; ``None`` while it is still in."""

    rules: list[str | None]
    fired: list[tuple[str, int]] = field(default_factory=list)

    def remove(self, place: int, rule: str) -> None:
        """Takes the candidate at this place out, unless another rule already did."""
        if self.rules[place] is None:
            self.rules[place] = rule
            self.fired.append((rule, place))


def before_scoring(
    memory: Memory,
    items: Items,
    flags: SurfaceFlags,
    user: int,
    rows: Rows,
    now_ms: int,
    safety_down: bool,
    out: Removals,
) -> None:
    """Takes out what must not be shown: violating items, items among the user's last actions, items too old."""
    if not safety_down:
        # Fails open: an item whose check has not been answered (-1), or a lookup that is down, counts as fine.
        _remove(out, items.integrity[rows] == VIOLATING, "safety")
    recent = memory.user_ring[user, m.RING_ITEM]
    _remove(out, np.isin(rows, recent[recent > 0]), "seen_recently")
    if flags.max_age_h > 0:
        _remove(out, (rows > 0) & (now_ms - items.created_ms[rows] > flags.max_age_h * m.HOUR_MS), "max_age")


def _remove(out: Removals, hit: NDArray[np.bool_], rule: str) -> None:
    for place in np.flatnonzero(hit).tolist():
        out.remove(place, rule)


def fill_slate(items: Items, flags: SurfaceFlags, rows: Rows, order: list[int], count: int, out: Removals) -> list[int]:
    """Walks down the order and places what no cap forbids; what a cap forbids is gone for this request.

    Args:
        items: The catalogue.
        flags: The surface's caps.
        rows: Catalogue row of every candidate.
        order: Places of the candidates still in, best first.
        count: How many to place.
        out: Told what was removed and why.

    Returns:
        The places on the slate, best first.
    """
    slate: list[int] = []
    window: deque[int] = deque(maxlen=max(flags.creator_window - 1, 1))
    shown = np.zeros((count, items.vectors.shape[1]))
    creators = items.creator[rows]
    for place in order:
        if len(slate) == count:
            break
        creator = int(creators[place])
        if creator and window.count(creator) >= flags.creator_cap:
            out.remove(place, "creator_cap")
            continue
        vector = items.vectors[rows[place]]
        if slate and np.round(shown[: len(slate)] @ vector, 9).max() >= flags.duplicate_cosine:
            out.remove(place, "content_duplicate")
            continue
        shown[len(slate)] = vector
        slate.append(place)
        window.append(creator)
    return slate
