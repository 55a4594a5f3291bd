"""Interest-first's control layer: what may not be shown, soft quotas and runs, and logged exploration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Floats, Ids, Pool, Request, Rows, Selection
from mainstem.control.filters import Filter, Integrity
from mainstem.control.interest_first_places import Contest, Places
from mainstem.features.interest_first_posts import INTEREST, Posts
from mainstem.features.interest_first_reader import Viewer

_OFF: Final[dict[str, dict[str, Any]]] = {
    "portfolio": {"bonus": 0.0, "debt_weight": 0.0},
    "max_run": {"longest_run": 1 << 30},
    "interest_quota": {"floor_share": 0.0},
    "exploration": {"explore_share": 0.0},
}
"""What switches each slate rule off."""


class Safety(Integrity):
    """The safety check: what was not passed, fails, be it violating, unanswered or unknown."""

    def __init__(self, states: NDArray[np.int8], *, closed: bool) -> None:
        super().__init__(states, closed=closed)
        self.name = "safety"


class Cooldown:
    """Whether we showed the viewer this item so lately that it must wait."""

    name = "cooldown"

    def removes(self, request: Request, user: Viewer, pool: Pool) -> NDArray[np.bool_]:
        """True where it must wait. Shapes: [n]."""
        return user.account.waiting(pool.rows, request.now_ms, user.plan)


class InterestFirstControl:
    """Fills one place after the other; the rules are soft, so a rule that nobody can keep is waived.

    Args:
        posts: Interests and safety checks.
        explore_bit: The exploration source's bit: what it alone brought may stand only in a place that explores.
        seed: With request and item ids it fixes every draw.
    """

    rules: tuple[str, ...] = ("safety", "cooldown", "portfolio", "max_run", "interest_quota", "exploration")

    def __init__(self, posts: Posts, explore_bit: int, seed: int, off: frozenset[str] = frozenset()) -> None:
        self._posts, self._explore_bit, self._seed, self._off = posts, explore_bit, seed, off
        chain: tuple[Filter, ...] = (Safety(posts.catalog.items.integrity, closed=True), Cooldown())
        self._filters = tuple(one for one in chain if one.name not in off)

    def select(self, request: Request, user: Viewer, pool: Pool, values: Floats) -> Selection:
        """Which candidates are shown, in what order, and why the others are not."""
        dials = user.plan.slate
        for rule in self._off & _OFF.keys():
            dials = replace(dials, **_OFF[rule])
        removed_by = self._filtered(request, user, pool)
        alive, ids = self._in_order(request, pool, np.flatnonzero(removed_by == SCORED_TOO_LOW))
        contest = self._contest(request, user, pool, values, alive)
        places = Places(contest, dials, dials.floors(user.shares, request.count))
        filled = places.fill(request.count, self._seed, request.request_id, ids)
        slate = alive[filled]
        gone = np.flatnonzero(removed_by >= FIRST_RULE).tolist()
        fired = [(self.rules[removed_by[at] - FIRST_RULE], at, "removed") for at in gone]
        fired += [(rule, int(alive[at]), effect) for rule, at, effect in places.fired]
        removed_by[slate] = KEPT
        return Selection(slate, removed_by, np.array(places.propensities), tuple(fired))

    def without(self, rule: str) -> InterestFirstControl:
        """The same layer with one rule switched off. What an interest is owed is booked as before."""
        return InterestFirstControl(self._posts, self._explore_bit, self._seed, self._off | {rule})

    def _filtered(self, request: Request, user: Viewer, pool: Pool) -> NDArray[np.int16]:
        """The code of the first rule that removes each candidate; safety comes first."""
        removed_by = np.full(len(pool.rows), SCORED_TOO_LOW, np.int16)
        for one in self._filters:
            removed = one.removes(request, user, pool) & (removed_by == SCORED_TOO_LOW)
            removed_by[removed] = FIRST_RULE + self.rules.index(one.name)
        return removed_by

    def _in_order(self, request: Request, pool: Pool, alive: Rows) -> tuple[Rows, Ids]:
        """The candidates by ascending item id, which settles every tie; an item that was asked for twice stands once."""
        asked = request.item_ids
        ids = self._posts.catalog.items.ids[pool.rows[alive]] if asked is None else np.asarray(asked, np.int64)[alive]
        ids, first = np.unique(ids, return_index=True)
        return alive[first], ids

    def _contest(self, request: Request, user: Viewer, pool: Pool, values: Floats, alive: Rows) -> Contest:
        interest = self._posts.slots[pool.rows[alive], INTEREST]
        explored = pool.source_mask[alive] & np.uint32(1 << self._explore_bit)
        strange = explored > 0
        if request.item_ids is not None:  # no source brought anything: what the viewer was never shown may be explored
            shown = user.past.slots(INTEREST) if user.past is not None else interest
            strange = ~np.isin(interest, shown)
        return Contest(
            interest=interest,
            value=values[alive],
            debt=user.account.debt[interest],
            strange=strange,
            explore_only=strange & (pool.source_mask[alive] == explored) & (request.item_ids is None),
        )
