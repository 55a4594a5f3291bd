"""From valued candidates to a slate: filters, then one greedy pass that keeps caps, quotas, variety and exploration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.order import best_first
from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Floats, Pool, Request, Rows, Selection
from mainstem.base.seeds import uniforms
from mainstem.control.filters import Filter

_OFF: dict[str, dict[str, Any]] = {
    "creator_cap": {"creator_cap": 0},
    "variety": {"variety": 1.0},
    "quota": {"quotas": ()},
    "exploration": {"exploration_share": 0.0},
}
"""What switches each slate rule off."""

_POOL_FACTOR = 6
"""The greedy pass looks at this many candidates a slot before it looks at all of them."""

_FEW = 24
"""Up to here, comparing with each of some codes beats ``np.isin``."""


@dataclass(frozen=True, slots=True)
class SlateRules:
    """What holds for the slate as a whole on one surface. A rule is off at the value its line names.

    Args:
        creator_cap: Most items of one creator; off at 0.
        quotas: Source bit = at least this many of the slate when that source has candidates; off when empty.
        variety: Each further item of a category keeps this share of its value; off at 1.
        exploration_share: Share of slots given to a random candidate; off at 0.
    """

    creator_cap: int = 0
    quotas: tuple[tuple[int, int], ...] = ()
    variety: float = 1.0
    exploration_share: float = 0.0


class SurfaceControl:
    """The control layer of the unified stack, one set of rules a surface.

    The order is explicit: filters remove; variety discounts; exploration reserves slots; the creator cap holds for every slot,
    explored ones too; quotas fill from their source when the slate would end without them.

    Args:
        filters: By surface, in the order in which they are applied.
        slate_rules: By surface.
        creators: Creator code of each catalog row, with a last row for items the catalog does not hold; 0 and below is
            unknown, and no cap holds for it.
        categories: The same for categories; variety leaves unknown ones alone.
        seed: With the request id, fixes all exploration.
    """

    def __init__(
        self,
        filters: dict[str, tuple[Filter, ...]],
        slate_rules: dict[str, SlateRules],
        creators: Rows,
        categories: Rows,
        seed: int,
    ) -> None:
        self._filters = filters
        self._slate_rules = slate_rules
        self._creators = creators
        self._categories = categories
        self._seed = seed
        named = dict.fromkeys(one.name for chain in filters.values() for one in chain)
        self.rules = (*named, "creator_cap", "variety", "quota", "exploration")
        self._code = {name: FIRST_RULE + position for position, name in enumerate(self.rules)}

    def select(self, request: Request, user: Any, pool: Pool, values: Floats) -> Selection:
        """Which candidates are shown, in what order, and why the others are not."""
        rules = self._slate_rules[request.surface]
        removed_by = np.full(len(pool.rows), SCORED_TOO_LOW, np.int16)
        order = best_first(values, pool.rows)
        alive = self._filtered(request, user, pool, order, removed_by)
        fired: list[tuple[str, int, str]] = []
        if rules.variety < 1 and len(alive) > 1:
            alive = self._varied(pool, values, alive, rules.variety, request.count, fired)
        slate, propensities = self._fill(request, pool, values, alive, rules, removed_by, fired)
        removed_by[slate] = KEPT
        for position in np.flatnonzero(removed_by >= FIRST_RULE).tolist():
            fired.append((self.rules[removed_by[position] - FIRST_RULE], position, "removed"))
        return Selection(slate, removed_by, propensities, tuple(fired))

    def without(self, rule: str) -> SurfaceControl:
        """The same layer with one rule switched off on every surface."""
        changed = _OFF.get(rule, {})
        filters = {name: tuple(one for one in chain if one.name != rule) for name, chain in self._filters.items()}
        slate_rules = {name: replace(rules, **changed) for name, rules in self._slate_rules.items()}
        layer = SurfaceControl(filters, slate_rules, self._creators, self._categories, self._seed)
        layer.rules, layer._code = self.rules, self._code
        return layer

    def _filtered(
        self, request: Request, user: Any, pool: Pool, order: NDArray[np.int64], removed_by: NDArray[np.int16]
    ) -> NDArray[np.int64]:
        """Positions that pass every filter, best first. A candidate is charged to the first filter that removes it."""
        best_first = Pool(pool.rows[order], pool.source_mask[order], pool.fused[order])
        alive = np.ones(len(order), bool)
        for one in self._filters[request.surface]:
            removed = one.removes(request, user, best_first) & alive
            removed_by[order[removed]] = self._code[one.name]
            alive &= ~removed
        return order[alive]

    def _varied(
        self,
        pool: Pool,
        values: Floats,
        alive: NDArray[np.int64],
        keep: float,
        count: int,
        fired: list[tuple[str, int, str]],
    ) -> NDArray[np.int64]:
        """The same candidates reordered: the k-th of a category keeps ``keep ** k`` of its value above the pool's worst.

        Values may be negative, so the discount is on the height above the lowest value that could reach the slate.
        """
        head = alive[: count * _POOL_FACTOR]
        category = np.asarray(self._categories[pool.rows[head]], np.int64)
        height = values[head] - values[head[-1]]
        discounted = np.where(category <= 0, height, height * keep ** _occurrence(category))
        moved = best_first(discounted, pool.rows[head])
        before = np.arange(len(head))
        for position in head[moved[moved > before]][:count].tolist():
            fired.append(("variety", position, "promoted"))
        return np.concatenate([head[moved], alive[len(head) :]])

    def _fill(
        self,
        request: Request,
        pool: Pool,
        values: Floats,
        alive: NDArray[np.int64],
        rules: SlateRules,
        removed_by: NDArray[np.int16],
        fired: list[tuple[str, int, str]],
    ) -> tuple[NDArray[np.int64], Floats]:
        """Walks down the candidates and takes each that no cap forbids; then explores, then meets quotas."""
        known = np.asarray(self._creators[pool.rows], np.int64)
        creators = np.where(known > 0, known, -1 - np.arange(len(known)))
        explored = self._explored_slots(request, len(alive), rules.exploration_share)
        slate = _Draft(creators, rules.creator_cap)
        for position in alive.tolist():
            if len(slate.taken) >= request.count:
                break
            if not slate.take(position):
                removed_by[position] = self._code["creator_cap"]
        self._meet_quotas(pool, alive, rules, slate, fired)
        propensities = np.ones(len(slate.taken))
        if explored is not None:
            propensities[1:] = 1 - rules.exploration_share
            for slot in explored:
                self._explore(request, pool, alive, slate, slot, rules, propensities, fired)
        return np.asarray(slate.taken, np.int64), propensities

    def _explored_slots(self, request: Request, available: int, share: float) -> list[int] | None:
        """Slots of this request given to chance; None when none could be. Slot 0 never is."""
        if share <= 0 or available <= request.count:
            return None
        draws = uniforms(self._seed, request.request_id, np.arange(1, request.count))
        return (np.flatnonzero(draws < share) + 1).tolist()

    def _meet_quotas(
        self,
        pool: Pool,
        alive: NDArray[np.int64],
        rules: SlateRules,
        slate: _Draft,
        fired: list[tuple[str, int, str]],
    ) -> None:
        """Swaps the lowest items nobody's quota needs for the best of a source that has too few."""
        for bit, least in rules.quotas:
            offers = (pool.source_mask >> np.uint32(bit) & np.uint32(1)).astype(bool)
            missing = least - int(offers[slate.taken].sum())
            for position in alive[offers[alive]].tolist():
                if missing <= 0:
                    break
                missing -= self._swap_in(position, pool, rules, slate, fired)

    def _swap_in(
        self, position: int, pool: Pool, rules: SlateRules, slate: _Draft, fired: list[tuple[str, int, str]]
    ) -> int:
        """1 when the candidate took the place of the lowest item that no quota needs, else 0."""
        if position in slate.taken:
            return 0
        for slot in range(len(slate.taken) - 1, 0, -1):
            if self._needed(slate.taken[slot], pool, rules, slate):
                continue
            if slate.replace(slot, position):
                fired.append(("quota", position, "promoted"))
                return 1
        return 0

    def _needed(self, position: int, pool: Pool, rules: SlateRules, slate: _Draft) -> bool:
        """Whether taking this item off the slate would break a quota that now holds."""
        for bit, least in rules.quotas:
            if int(pool.source_mask[position]) >> bit & 1:
                held = sum(int(pool.source_mask[one]) >> bit & 1 for one in slate.taken)
                if held <= least:
                    return True
        return False

    def _explore(
        self,
        request: Request,
        pool: Pool,
        alive: NDArray[np.int64],
        slate: _Draft,
        slot: int,
        rules: SlateRules,
        propensities: Floats,
        fired: list[tuple[str, int, str]],
    ) -> None:
        """Gives one slot to a candidate drawn evenly from those not on the slate, and notes its probability."""
        if slot >= len(slate.taken) or self._needed(slate.taken[slot], pool, rules, slate):
            return
        rest = alive[slate.may_enter(slot, alive)]
        if not len(rest):
            return
        draw = float(uniforms(self._seed + 1, request.request_id, slot))
        position = int(rest[min(int(draw * len(rest)), len(rest) - 1)])
        slate.replace(slot, position)
        propensities[slot] = rules.exploration_share / len(rest)
        fired.append(("exploration", position, "promoted"))


class _Draft:
    """A slate in the making that never breaks the creator cap."""

    __slots__ = ("_cap", "_creators", "_held", "taken")

    def __init__(self, creators: NDArray[np.int64], cap: int) -> None:
        self._creators = creators
        self._cap = cap
        self._held: dict[int, int] = {}
        self.taken: list[int] = []

    def take(self, position: int) -> bool:
        """Puts the candidate at the end when the cap allows it."""
        creator = int(self._creators[position])
        held = self._held.get(creator, 0)
        if self._cap and held >= self._cap:
            return False
        self._held[creator] = held + 1
        self.taken.append(position)
        return True

    def fits(self, slot: int, position: int) -> bool:
        """Whether the candidate may stand in this slot instead of what stands there."""
        creator, leaving = int(self._creators[position]), int(self._creators[self.taken[slot]])
        return not self._cap or creator == leaving or self._held.get(creator, 0) < self._cap

    def may_enter(self, slot: int, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these candidates are not on the slate and may stand in this slot."""
        free = np.ones(len(self._creators), np.bool_)
        free[self.taken] = False
        allowed = free[positions]
        if self._cap:
            leaving = int(self._creators[self.taken[slot]])
            full = [creator for creator, held in self._held.items() if held >= self._cap and creator != leaving]
            allowed &= ~_any_of(self._creators[positions], full)
        return allowed

    def replace(self, slot: int, position: int) -> bool:
        """Puts the candidate in this slot when the cap allows it."""
        if not self.fits(slot, position):
            return False
        self._held[int(self._creators[self.taken[slot]])] -= 1
        creator = int(self._creators[position])
        self._held[creator] = self._held.get(creator, 0) + 1
        self.taken[slot] = position
        return True


def _any_of(codes: NDArray[np.int64], wanted: list[int]) -> NDArray[np.bool_]:
    """Which codes are among these; for a few, comparing with each is cheaper than sorting them all."""
    if len(wanted) > _FEW:
        return np.isin(codes, wanted)
    among = np.zeros(len(codes), np.bool_)
    for one in wanted:
        among |= codes == one
    return among


def _occurrence(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal codes stand before each position."""
    order = np.argsort(codes, kind="stable")
    grouped = codes[order]
    place = np.arange(len(codes))
    starts = np.where(np.append(True, grouped[1:] != grouped[:-1]), place, 0)
    counts = place - np.maximum.accumulate(starts)
    out = np.empty(len(codes), np.int64)
    out[order] = counts
    return out
