"""The content-first stack's hard rules: each by itself, none that remembers an earlier request, nothing left to chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Floats, Ids, Pool, Request, Rows, Selection
from mainstem.features.content_first_items import ContentItems

RULES: Final = (
    "same_canonical",
    "safety",
    "seen_recently",
    "max_age",
    "creator_cap",
    "content_duplicate",
    "unconnected",
)
_HOUR_MS: Final = 3_600_000


class Viewer(Protocol):
    """What the rules know of who asks."""

    @property
    def recent(self) -> Rows:
        """Originals among their last actions."""
        ...

    def follows(self, rows: Rows) -> NDArray[np.bool_]:
        """Which candidates come from a creator they follow."""
        ...


@dataclass(frozen=True, slots=True)
class Caps:
    """The numbers of one surface.

    Args:
        creator_cap: Most items of one creator among ``creator_window`` places in a row.
        duplicate_cosine: Contents this alike are the same content.
        max_age_h: Older items are removed; 0 is no limit.
        unconnected: The factor that the value put on items of creators that are not followed; told, and taken back by ``without``.
    """

    creator_cap: int
    creator_window: int
    duplicate_cosine: float
    max_age_h: float
    unconnected: float


class HardCaps:
    """Removes what may not be shown, then walks down the values and removes what a cap forbids where the walk meets it.

    Args:
        caps: By surface.
        items: What is known of each catalog row.
        off: Rules that are switched off.
    """

    rules: tuple[str, ...] = RULES

    def __init__(self, caps: dict[str, Caps], items: ContentItems, off: frozenset[str] = frozenset()) -> None:
        self._caps = caps
        self._items = items
        self._off = off

    def select(self, request: Request, user: Viewer, pool: Pool, values: Floats) -> Selection:
        """Which candidates are shown; each of the others is charged to the first rule that removes it."""
        caps = self._caps[request.surface]
        ids = self._items.ids[pool.rows] if request.item_ids is None else np.asarray(request.item_ids, np.int64)
        followed = user.follows(pool.rows)
        removed_by = np.full(len(pool.rows), SCORED_TOO_LOW, np.int16)
        for rule, removed in self._filters(request, user, pool.rows, ids, caps):
            if rule not in self._off:
                removed_by[removed & (removed_by == SCORED_TOO_LOW)] = _code(rule)
        shrunk = "unconnected" not in self._off
        worth = values if shrunk else np.where(followed, values, values / (caps.unconnected or 1.0))
        alive = np.flatnonzero(removed_by == SCORED_TOO_LOW)
        best_first = alive[np.lexsort((ids[alive], -worth[alive]))]
        slate = self._walk(pool.rows, best_first, request.count, caps, removed_by)
        removed_by[slate] = KEPT
        fired = [
            (RULES[removed_by[at] - FIRST_RULE], at, "removed")
            for at in np.flatnonzero(removed_by >= FIRST_RULE).tolist()
        ]
        if shrunk and caps.unconnected != 1.0:
            fired += [("unconnected", at, f"x{caps.unconnected:g}") for at in slate[~followed[slate]].tolist()]
        return Selection(slate, removed_by, np.ones(len(slate)), tuple(fired))

    def without(self, rule: str) -> HardCaps:
        """The same rules but one."""
        return HardCaps(self._caps, self._items, self._off | {rule})

    def _filters(
        self, request: Request, user: Viewer, rows: Rows, ids: Ids, caps: Caps
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """What each rule that looks at one candidate at a time would remove. Unknown items pass all of them."""
        items, original = self._items, self._items.original[rows]
        yield "same_canonical", _repeats(original, ids == items.ids[original])
        if "safety" not in request.failures:  # fails open: not checked, or not answered, is fine
            yield "safety", items.violating[rows]
        yield "seen_recently", np.isin(original, user.recent)
        if caps.max_age_h > 0:
            age_ms = request.now_ms - items.created_ms[rows]
            yield "max_age", (original >= 0) & (age_ms > caps.max_age_h * _HOUR_MS)

    def _walk(self, rows: Rows, best_first: Rows, count: int, caps: Caps, removed_by: NDArray[np.int16]) -> Rows:
        """Fills the places one by one; all that stands before the next allowed candidate is removed on the way."""
        creator, vectors = self._items.creator[rows[best_first]], self._items.vectors[rows[best_first]]
        full, alike = np.zeros(len(best_first), bool), np.zeros(len(best_first), bool)
        placed: list[int] = []
        at = 0
        while len(placed) < count and at < len(best_first):
            allowed = np.flatnonzero(~(full[at:] | alike[at:]))
            next_at = at + int(allowed[0]) if len(allowed) else len(best_first)
            passed = best_first[at:next_at]
            removed_by[passed] = np.where(full[at:next_at], _code("creator_cap"), _code("content_duplicate"))
            if next_at == len(best_first):
                break
            placed.append(next_at)
            at = next_at + 1
            if "creator_cap" not in self._off:
                full = _held(creator, creator[placed[-max(caps.creator_window - 1, 1) :]], caps.creator_cap)
            if "content_duplicate" not in self._off:
                alike |= np.round(vectors @ vectors[next_at], 9) >= caps.duplicate_cosine
        return best_first[placed]


def _held(creator: NDArray[np.int64], window: NDArray[np.int64], cap: int) -> NDArray[np.bool_]:
    """Whose creator has all its places among the last ones. The unknown creator (0) is nobody's."""
    return ((creator[:, None] == window).sum(axis=1) >= cap) & (creator > 0)


def _repeats(original: Rows, is_original: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All candidates of an original but one: itself where it is a candidate, else the first."""
    order = np.lexsort((~is_original, original))
    grouped = original[order]
    repeats = np.zeros(len(original), bool)
    repeats[order[1:]] = (grouped[1:] == grouped[:-1]) & (grouped[1:] >= 0)
    return repeats


def _code(rule: str) -> int:
    return FIRST_RULE + RULES.index(rule)
