"""How a slate is made: greedily, with a bonus for new interests, soft quotas, runs that end, and logged exploration."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .chance import draw, draws
from .plans import Plan

Rule = tuple[str, int, str]
"""(rule, candidate, effect)"""


@dataclass(frozen=True, slots=True)
class Contest:
    """The candidates that may be shown, by ascending item id."""

    item_ids: np.ndarray
    interest: np.ndarray
    value: np.ndarray
    """P(interest)^a * P(item | interest)^b * exp(-fatigue), rounded; what a `score` line tells."""
    explore_only: np.ndarray
    """Fetched by the exploration source alone: only an exploring slot may take it."""
    strange: np.ndarray
    """May be taken by an exploring slot."""
    debt: np.ndarray
    """Places owed to the candidate's interest."""


@dataclass(slots=True)
class Slate:
    """What is shown, best first."""

    picks: list[int] = field(default_factory=list)
    propensities: dict[int, float] = field(default_factory=dict)
    """Of the explored picks alone."""
    rules: list[Rule] = field(default_factory=list)
    missed: dict[int, int] = field(default_factory=dict)
    """Places that each quota interest lacks in the end."""


def make_slate(contest: Contest, floors: dict[int, int], plan: Plan, count: int, seed: int, request_id: int) -> Slate:
    """Fills up to `count` places.

    Args:
        contest: The candidates.
        floors: Places each quota interest should get.
        plan: Bonus, runs and exploration.
        count: Places.
        seed: With request and item ids it fixes every draw.
        request_id: See seed.
    """
    slate, left = Slate(), np.ones(len(contest.value), dtype=bool)
    while len(slate.picks) < count and left.any():
        greedy, rules = _best(contest, slate.picks, left, floors, plan, count)
        pool = np.flatnonzero(left & contest.strange)
        slot_draw = draw(seed, request_id, -1 - len(slate.picks))
        pick = greedy
        if len(pool) and slot_draw < plan.explore_share:
            pick = int(pool[np.argmin(draws(seed, request_id, contest.item_ids[pool]))])
            propensity = plan.explore_share / len(pool) + (1.0 - plan.explore_share) * (pick == greedy)
            slate.propensities[pick] = round(propensity, 9)
            rules = [("exploration", pick, "explored")]
        if pick < 0:
            break
        slate.picks.append(pick)
        slate.rules += rules
        left[pick] = False
    shown = contest.interest[slate.picks].tolist()
    slate.missed = {one: floor - shown.count(one) for one, floor in floors.items() if shown.count(one) < floor}
    return slate


def _best(
    contest: Contest, picks: list[int], left: np.ndarray, floors: dict[int, int], plan: Plan, count: int
) -> tuple[int, list[Rule]]:
    """The candidate that a slot takes when it does not explore (-1 when there is none), and the rules that fired."""
    may = left & ~contest.explore_only
    if not may.any():
        return -1, []
    shown = contest.interest[picks]
    fresh = ~np.isin(contest.interest, shown)
    worth = contest.value * (1.0 + plan.debt_weight * contest.debt + plan.portfolio_bonus * fresh)
    worth = np.where(may, np.round(worth, 9), -np.inf)
    best = int(np.argmax(worth))
    rules: list[Rule] = []
    if contest.value[best] < contest.value[may].max():
        rules.append(("portfolio", best, "raised"))
    tail = shown[-plan.max_run :]
    if len(tail) == plan.max_run and (tail == contest.interest[best]).all():
        best, rules = _instead(worth, contest.interest != tail[0], best, "max_run")
    owed = {one: floor - int((shown == one).sum()) for one, floor in floors.items()}
    owed = {one: places for one, places in owed.items() if places > 0 and (may & (contest.interest == one)).any()}
    if owed and sum(owed.values()) >= count - len(picks) and int(contest.interest[best]) not in owed:
        best, rules = _instead(worth, np.isin(contest.interest, list(owed)), best, "interest_quota")
    return best, rules


def _instead(worth: np.ndarray, allowed: np.ndarray, best: int, rule: str) -> tuple[int, list[Rule]]:
    """The best of the allowed in place of `best`. The rules are soft: with nobody allowed, `best` stays."""
    other = int(np.argmax(np.where(allowed, worth, -np.inf)))
    if not allowed[other] or worth[other] == -np.inf:
        return best, [(rule, best, "waived")]
    return other, [(rule, best, "delayed"), (rule, other, "raised")]
