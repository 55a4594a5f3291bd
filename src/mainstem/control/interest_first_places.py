"""How interest-first fills a slate: the best, with a bonus for new interests, unless a soft rule or chance objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Ids, Rows
from mainstem.base.seeds import uniforms
from mainstem.features.interest_first_plan import SlateDials

Fired = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Contest:
    """The candidates that may be shown, by ascending item id. Shapes: [n].

    Attributes:
        debt: Places owed to the candidate's interest.
        strange: May be taken by a place that explores.
        explore_only: May be taken by no other place.
    """

    interest: Rows
    value: Floats
    debt: Floats
    strange: NDArray[np.bool_]
    explore_only: NDArray[np.bool_]


class Places:
    """One slate being filled.

    What a candidate is worth changes only when its interest is shown for the first time, so worths are kept, not made anew.

    Args:
        contest: The candidates.
        dials: Bonus, runs, debts and exploration.
        floors: Places each of the viewer's first interests should get.
    """

    def __init__(self, contest: Contest, dials: SlateDials, floors: Mapping[int, int]) -> None:
        self.propensities: list[float] = []
        self.fired: list[Fired] = []
        self._contest, self._dials, self._floors = contest, dials, floors
        raised = 1.0 + dials.debt_weight * contest.debt
        self._worth = np.where(contest.explore_only, -np.inf, np.round(contest.value * (raised + dials.bonus), 9))
        self._worth_shown = np.round(contest.value * raised, 9)
        self._open_value = np.where(contest.explore_only, -np.inf, contest.value)
        self._strange = contest.strange.copy()
        self._shown: list[int] = []

    def fill(self, count: int, seed: int, request_id: int, ids: Ids) -> Rows:
        """Positions of what is shown, best first; short when candidates run out.

        A place explores by its own draw; then the strange candidate with the lowest draw takes it.
        """
        slate: list[int] = []
        explores = uniforms(seed, request_id, -1 - np.arange(count)) < self._dials.explore_share
        for place in range(count):
            greedy, fired = self._greedy(count - place)
            pool = np.flatnonzero(self._strange)
            pick = greedy
            if len(pool) and explores[place]:
                pick = int(pool[uniforms(seed, request_id, ids[pool]).argmin()])
                fired = [("exploration", pick, "explored")]
            if pick < 0:
                break
            self.propensities.append(self._propensity(pick, greedy, len(pool)))
            self.fired += fired
            slate.append(pick)
            self._take(pick)
        return np.array(slate, np.int64)

    def _propensity(self, pick: int, greedy: int, strange: int) -> float:
        """The chance that this place, given those above it, shows this candidate."""
        if not strange:
            return 1.0
        by_chance = self._dials.explore_share / strange if self._strange[pick] else 0.0
        return round(by_chance + (1.0 - self._dials.explore_share) * (pick == greedy), 9)

    def _take(self, pick: int) -> None:
        interest = int(self._contest.interest[pick])
        if interest not in self._shown:
            alike = (self._contest.interest == interest) & (self._worth > -np.inf)
            self._worth[alike] = self._worth_shown[alike]
        self._shown.append(interest)
        self._worth[pick] = self._open_value[pick] = -np.inf
        self._strange[pick] = False

    def _greedy(self, places_left: int) -> tuple[int, list[Fired]]:
        """Who takes a place that does not explore, and the rules that fired for it; -1 when there is nobody."""
        if not len(self._worth) or self._worth.max() == -np.inf:
            return -1, []
        best = int(self._worth.argmax())
        interest, longest = self._contest.interest, self._dials.longest_run
        fired = [("portfolio", best, "raised")] if self._contest.value[best] < self._open_value.max() else []
        if len(self._shown) >= longest and set(self._shown[-longest:]) == {int(interest[best])}:
            best, fired = self._rather(interest != interest[best], best, "max_run")
        owed = self._owed(places_left)
        if owed and int(interest[best]) not in owed:
            best, fired = self._rather(np.isin(interest, owed), best, "interest_quota")
        return best, fired

    def _owed(self, places_left: int) -> list[int]:
        """Interests that lack places of their floor and have candidates left, once they need every place that is left."""
        missing = {one: max(floor - self._shown.count(one), 0) for one, floor in self._floors.items()}
        if sum(missing.values()) < places_left:
            return []
        still_there = set(self._contest.interest[self._worth > -np.inf].tolist())
        owed = [one for one, places in missing.items() if places and one in still_there]
        return owed if sum(missing[one] for one in owed) >= places_left else []

    def _rather(self, allowed: NDArray[np.bool_], best: int, rule: str) -> tuple[int, list[Fired]]:
        """The best of the allowed instead; with none of them left the rule is waived."""
        worth = np.where(allowed, self._worth, -np.inf)
        other = int(worth.argmax())
        if worth[other] == -np.inf:
            return best, [(rule, best, "waived")]
        return other, [(rule, best, "delayed"), (rule, other, "raised")]
