"""What every arm reaches on one part of the log: a surface, a head, a slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainstem.evaluate.arms import take
from mainstem.evaluate.checks import finite_scores
from mainstem.evaluate.metrics import Ratio, auc_by_user, gauc_by_user, ideal_dcg, ndcg_by_user
from mainstem.evaluate.rows import ArmScores, LoggedRows
from mainstem.evaluate.within_user import Floats, within_user

ALL = "all"
"""Names every surface together, and every row of a slice."""
Metric = Literal["primary", "gauc", "ndcg", "auc"]
Form = Literal["head", "order"]


class Place(NamedTuple):
    """Which rows: those of one surface (or all) and one slice (or all) whose outcome for the head is known."""

    head: str
    surface: str = ALL
    slice: str = ALL


@dataclass(frozen=True, slots=True)
class Part:
    """The rows one number is measured on, with what all arms share there.

    Shapes: ``rows[m]`` are positions in the judged rows, ``user[m]`` positions among ``users`` users, ``ideal[users]``.
    """

    rows: NDArray[np.int64]
    user: NDArray[np.int64]
    labels: NDArray[np.float64]
    users: int
    k: int
    ideal: NDArray[np.float64]

    @property
    def positives(self) -> int:
        """How many rows have the outcome."""
        return int(self.labels.sum())

    def measure(self, scores: Floats, where: str = "scores") -> Measured:
        """What an order of these rows reaches. ``scores`` holds one for every judged row."""
        own = finite_scores(scores[self.rows], where)
        order = within_user(self.user, own)
        return Measured(
            auc=auc_by_user(own, self.labels, self.user, self.users),
            gauc=gauc_by_user(order, self.labels, self.users),
            ndcg=ndcg_by_user(order, self.labels, self.users, self.k, self.ideal),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """Every metric of one order of one part, as sums per user."""

    auc: Ratio | None
    gauc: Ratio
    ndcg: Ratio

    def terms(self, metric: Metric) -> tuple[tuple[Ratio, float], ...]:
        """The ratios a metric is a weighted sum of; empty when it cannot be measured."""
        if metric == "auc":
            return () if self.auc is None else ((self.auc, 1.0),)
        if metric == "primary":
            return ((self.gauc, 0.5), (self.ndcg, 0.5))
        return ((self.gauc if metric == "gauc" else self.ndcg, 1.0),)

    def value(self, metric: Metric) -> float | None:
        """The metric itself, or None when it cannot be measured."""
        values = [(ratio.value(), weight) for ratio, weight in self.terms(metric)]
        if not values or any(value is None for value, _ in values):
            return None
        return sum(value * weight for value, weight in values if value is not None)


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of validation or of test, with the scores of every arm for them; what was measured once is kept.

    Shapes: ``rows[m]`` are positions in the log; ``user[m]`` positions in ``user_ids[users]``; ``slices`` are masks ``[m]``.
    """

    log: LoggedRows
    rows: NDArray[np.int64]
    user: NDArray[np.int64]
    user_ids: NDArray[np.int64]
    arms: Mapping[str, ArmScores]
    slices: Mapping[str, NDArray[np.bool_]]
    k: int
    _parts: dict[Place, Part | None] = field(default_factory=dict)
    _measured: dict[tuple[Place, str, Form], Measured] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        log: LoggedRows,
        mask: NDArray[np.bool_],
        arms: Mapping[str, ArmScores],
        slices: Mapping[str, NDArray[np.bool_]],
        k: int,
    ) -> Judged:
        """The rows under a mask over the log; ``slices`` are masks over the log too."""
        rows = np.flatnonzero(mask)
        user_ids, user = np.unique(log.users[rows].astype(np.int64), return_inverse=True)
        taken = {name: take(arm, rows) for name, arm in arms.items()}
        kept = {name: keep[rows] for name, keep in slices.items()}
        return cls(log, rows, user, user_ids, taken, kept, k)

    def surfaces(self) -> tuple[str, ...]:
        """Which surfaces the rows are on, by name."""
        return tuple(str(name) for name in np.unique(self.log.surfaces[self.rows]))

    def part(self, place: Place) -> Part | None:
        """The rows of a place, or None when there are none."""
        if place not in self._parts:
            self._parts[place] = self._cut(place)
        return self._parts[place]

    def measured(self, place: Place, arm: str, form: Form) -> Measured | None:
        """What one of an arm's scores reaches in a place, or None where there are no rows."""
        part = self.part(place)
        if part is None:
            return None
        key = (place, arm, form)
        if key not in self._measured:
            score = self.score(arm, place.head, form)
            self._measured[key] = part.measure(score, f"arm {arm!r}, {form} for {place.head!r}")
        return self._measured[key]

    def forms(self, arm: str, head: str) -> tuple[Form, ...]:
        """Which of the arm's scores can order rows for a head: the head where it has it, and its final order."""
        return ("order",) if self.arms[arm].heads.get(head) is None else ("head", "order")

    def score(self, arm: str, head: str, form: Form) -> Floats:
        """One of the arm's scores."""
        return self.arms[arm].score(head) if form == "head" else self.arms[arm].order

    def _cut(self, place: Place) -> Part | None:
        labels = np.asarray(self.log.labels[place.head][self.rows], np.float64)
        told = labels >= 0
        if place.surface != ALL:
            told &= self.log.surfaces[self.rows] == place.surface
        if place.slice != ALL:
            told &= self.slices[place.slice]
        own, users = np.flatnonzero(told), len(self.user_ids)
        if not len(own):
            return None
        user, label = self.user[own], labels[own]
        ideal = ideal_dcg(within_user(user, label), label, users, self.k)
        return Part(own, user, label, users, self.k, ideal)
