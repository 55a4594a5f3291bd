"""The pass that fills a slate, in plain words: the reference the compiled pass must equal to the last bit.

Everything is counted anew whenever it is asked for; speed is ``slate_kernel``'s.
"""

from __future__ import annotations

import math

import numpy as np

from mainstem.control.slate_task import (
    BY_CHANCE,
    BY_QUOTA,
    BY_SOFT_QUOTA,
    DETERMINANTAL,
    DISCOUNT,
    NO_VARIETY,
    SAME,
    SPECTRUM_WINDOW,
    Filled,
    SlateTask,
)


def fill_plainly(task: SlateTask) -> Filled:
    """The slate of a task: greedily with variety, caps and spacing; then quotas; then chance."""
    draft = _Draft(task)
    draft.fill()
    draft.meet_quotas()
    propensities = draft.explore()
    a = len(task.caps)
    return Filled(
        np.array(draft.slate, np.int64),
        np.array(propensities, np.float64),
        np.array(draft.lifted, np.bool_),
        np.array(draft.charged, np.int16),
        np.array(draft.moves, np.int64).reshape(-1, 3),
        np.array([draft.crowded_places(attribute) for attribute in range(a)], np.int64),
    )


class _Draft:
    """A slate in the making."""

    def __init__(self, task: SlateTask) -> None:
        self.task = task
        self.n = len(task.score)
        self.window = 0 if task.mode == NO_VARIETY else len(task.gain)
        self.slate: list[int] = []
        self.lifted = [False] * self.n
        self.charged = [0] * self.n
        self.moves: list[tuple[int, int, int]] = []
        self.gain = [float(one) for one in task.gain[: self.window]]
        self.free = [1.0] * self.window
        self.shares: list[list[float]] = []
        self.norms: list[float] = []
        self._regain()

    def fill(self) -> None:
        """Place by place, the candidate with the highest gain that no cap forbids; spacing gives way before a place stays empty."""
        while len(self.slate) < self.task.count:
            pick = self._best(spaced=True)
            if pick is None:
                pick = self._best(spaced=False)
            self._charge_those_before(pick)
            if pick is None:
                return
            open_before = [
                i for i in range(pick) if i not in self.slate and self._cap(i) is None and self._gap(i) is None
            ]
            self.lifted[pick] = bool(open_before) and pick < self.window
            self.slate.append(pick)
            if pick < self.window:
                self._shown(pick)

    def _best(self, *, spaced: bool) -> int | None:
        allowed = [
            i
            for i in range(self.n)
            if i not in self.slate and self._cap(i) is None and not (spaced and self._gap(i) is not None)
        ]
        inside = [i for i in allowed if i < self.window]
        if inside:
            return max(inside, key=lambda i: (self.gain[i], -i))
        return allowed[0] if allowed else None

    def _charge_those_before(self, pick: int | None) -> None:
        """Who stood before the pick and was not allowed is charged to what forbade it, the first time."""
        for i in range(self.n):
            if i not in self.slate and i != pick and not self.charged[i] and self._before(i, pick):
                cap, gap = self._cap(i), self._gap(i)
                if cap is not None:
                    self.charged[i] = 1 + cap
                elif gap is not None:
                    self.charged[i] = 1 + len(self.task.caps) + gap

    def _before(self, i: int, pick: int | None) -> bool:
        if pick is None:
            return True
        if i < self.window and pick < self.window:
            return (self.gain[i], -i) > (self.gain[pick], -pick)
        return i < pick

    def _cap(self, i: int, leaving: int | None = None) -> int | None:
        """The first attribute whose cap is full for the candidate, were another to leave."""
        for attribute, cap in enumerate(self.task.caps):
            codes = self.task.codes[attribute]
            held = sum(1 for one in self.slate if one != leaving and codes[one] == codes[i])
            if cap > 0 and codes[i] > 0 and held >= cap:
                return attribute
        return None

    def _gap(self, i: int, place: int | None = None) -> int | None:
        """The first attribute whose spacing the candidate would break in this place; at the end when none is given."""
        at = len(self.slate) if place is None else place
        for attribute, gap in enumerate(self.task.gaps):
            codes = self.task.codes[attribute]
            for other in range(max(0, at - gap), min(len(self.slate), at + gap + 1)):
                if other != at and codes[i] > 0 and codes[self.slate[other]] == codes[i]:
                    return attribute
        return None

    def crowded_places(self, attribute: int) -> int:
        """Places whose item stands too near to an equal one above it."""
        codes, gap = self.task.codes[attribute], int(self.task.gaps[attribute])
        return sum(
            any(codes[i] > 0 and codes[i] == codes[j] for j in self.slate[max(0, at - gap) : at])
            for at, i in enumerate(self.slate)
        )

    def _shown(self, pick: int) -> None:
        """What variety takes from the others once this one is shown."""
        if self.task.mode == DISCOUNT:
            self._regain()
            return
        norm = math.sqrt(self.free[pick]) if self.free[pick] > SAME else 0.0
        first = self._first_compared(len(self.shares))
        share = [self._share(i, pick, norm, first) for i in range(self.window)]
        for i in range(self.window):
            self.free[i] = max(self.free[i] - share[i] * share[i], 0.0)
        self.shares.append(share)
        self.norms.append(norm)
        oldest = self._first_compared(len(self.shares)) - 1
        if oldest >= first:
            for i in range(self.window):
                self.free[i] = min(self.free[i] + self.shares[oldest][i] * self.shares[oldest][i], 1.0)
        self._regain()

    def _first_compared(self, shown: int) -> int:
        """The oldest shown item that variety still looks at."""
        return 0 if self.task.mode == DETERMINANTAL else max(0, shown - SPECTRUM_WINDOW + 1)

    def _share(self, i: int, pick: int, norm: float, first: int) -> float:
        """How much of the candidate points the way that the pick added."""
        if norm == 0.0:
            return 0.0
        known = 0.0
        for older in range(first, len(self.shares)):
            known += self.shares[older][pick] * self.shares[older][i]
        return (float(self.task.gram[pick, i]) - known) / norm

    def _regain(self) -> None:
        task = self.task
        if task.mode == DISCOUNT:
            for i in range(self.window):
                alike = sum(1 for one in self.slate if one < self.window and task.category[one] == task.category[i])
                self.gain[i] = task.gain[i] * task.kept[alike if task.category[i] > 0 else 0]
        elif task.mode == DETERMINANTAL:
            self.gain = [task.gain[i] * self.free[i] for i in range(self.window)]
        else:
            volume = 1.0
            for older in range(self._first_compared(len(self.norms)), len(self.norms)):
                volume *= self.norms[older]
            for i in range(self.window):
                spread = (1.0 - task.trade_off) * volume * math.sqrt(self.free[i])
                self.gain[i] = task.trade_off * task.gain[i] + spread

    def meet_quotas(self) -> None:
        """Gives places to members of a quota that has too few: hard quotas in their order, then soft ones."""
        for quota in range(len(self.task.least)):
            soft = quota >= self.task.hard
            for i in range(self.n):
                if self._held(quota) >= self.task.least[quota]:
                    break
                if i in self.slate or not self.task.members[quota, i]:
                    continue
                place = self._place_for(i, quota, soft)
                if place is None:
                    continue
                if soft and self.task.score[self.slate[place]] - self.task.score[i] > self.task.soft_price:
                    break
                self._swap(place, i, BY_SOFT_QUOTA if soft else BY_QUOTA)

    def _held(self, quota: int) -> int:
        return sum(1 for one in self.slate if self.task.members[quota, one])

    def _place_for(self, i: int, quota: int, soft: bool) -> int | None:
        """The lowest place that no quota needs and no cap forbids; a hard quota may take the first place, or crowd, at last."""
        for spaced in (True,) if soft else (True, False):
            for place in range(len(self.slate) - 1, 0 if soft else -1, -1):
                leaving = self.slate[place]
                if self.task.members[quota, leaving] or self._cap(i, leaving) is not None:
                    continue
                if not self._keeps_quotas(place, i, len(self.task.least) if soft else self.task.hard):
                    continue
                if not (spaced and self._gap(i, place) is not None):
                    return place
        return None

    def _keeps_quotas(self, place: int, i: int, quotas: int) -> bool:
        """Whether no quota that has not more than it should loses a place."""
        for quota in range(quotas):
            loses = self.task.members[quota, self.slate[place]] and not self.task.members[quota, i]
            if loses and self._held(quota) <= self.task.least[quota]:
                return False
        return True

    def _swap(self, place: int, i: int, why: int) -> None:
        self.moves.append((why, i, self.slate[place]))
        self.slate[place] = i

    def explore(self) -> list[float]:
        """The chance of each place; on the way, places whose draw says so go to one of those who may stand there."""
        chances = [1.0] * len(self.slate)
        if self.task.share <= 0:
            return chances
        for place in range(1, len(self.slate)):
            rest = [i for i in range(self.n) if i not in self.slate and self._may_stand(place, i)]
            if not rest:
                continue
            chances[place] = 1.0 - self.task.share
            if self.task.draws[0, place] < self.task.share:
                chances[place] = self.task.share / len(rest)
                drawn = rest[min(int(self.task.draws[1, place] * len(rest)), len(rest) - 1)]
                self._swap(place, drawn, BY_CHANCE)
        return chances

    def _may_stand(self, place: int, i: int) -> bool:
        leaving = self.slate[place]
        if self._cap(i, leaving) is not None or self._gap(i, place) is not None:
            return False
        return self._keeps_quotas(place, i, len(self.task.least))
