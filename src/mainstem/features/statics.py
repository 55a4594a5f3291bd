"""What is learned once, before training, and then stands still: base rates, item vectors, expected long views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features.catalog import Catalog
from mainstem.features.content import CONTENT_DIM
from mainstem.features.factors import co_engagement
from mainstem.features.feedback import FeedbackBatch

SCENARIO_SLOTS = 25
"""Scenarios 0 to 23 by their number (larger ones wrap); the last slot is an unknown scenario."""

VECTOR_DIM = 32
STRENGTH = np.array([5.0, 2.0, 1.0, 1.0, 1.0, 1.0, 5.0])
"""How many expected positives the base rate counts for when a rate is smoothed, per head."""

LONG_VIEW = HEADS.index("long_view")


def scenario_slot(scenario: NDArray[np.int16]) -> NDArray[np.int64]:
    """The slot of each scenario number; -1 is unknown."""
    return np.where(scenario < 0, SCENARIO_SLOTS - 1, scenario % (SCENARIO_SLOTS - 1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each outcome happens, overall and in each scenario.

    Shapes:
        ``overall`` is ``[7]``, ``by_scenario`` is ``[25, 7]``.
    """

    overall: NDArray[np.float64]
    by_scenario: NDArray[np.float64]

    @classmethod
    def fit(cls, feedback: FeedbackBatch) -> Rates:
        """Rates of known outcomes, each scenario shrunk to the overall rate by 50 rows."""
        known = (feedback.outcomes >= 0).astype(np.float64)
        good = (feedback.outcomes == 1).astype(np.float64)
        overall = (good.sum(axis=0) + 0.5) / (known.sum(axis=0) + 20.0)
        slots = scenario_slot(feedback.scenario)
        sums = np.zeros((2, SCENARIO_SLOTS, len(HEADS)))
        np.add.at(sums[0], slots, good)
        np.add.at(sums[1], slots, known)
        return cls(overall, (sums[0] + 50.0 * overall) / (sums[1] + 50.0))


@dataclass(frozen=True, slots=True)
class Statics:
    """Learned constants of the features. They belong to a model and are saved with it.

    Shapes:
        ``vectors`` is ``[n + 1, 32]`` unit rows for ``item_ids`` (the last row is an unknown item), ``lift`` is
        ``[n + 1]``: how much more often than its scenarios' base rate an item is viewed long.
    """

    rates: Rates
    item_ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    lift: NDArray[np.float32]
    from_content: NDArray[np.float32]

    @classmethod
    def fit(cls, catalog: Catalog, earlier: FeedbackBatch, rates: Rates, seed: int = 0) -> Statics:
        """Learns item vectors and expected long views from events that come before every row a model is trained on."""
        rows, users = catalog.item_rows(earlier.item_id), catalog.user_rows(earlier.user_id)
        outcome = earlier.outcomes[:, LONG_VIEW]
        base = rates.by_scenario[scenario_slot(earlier.scenario), LONG_VIEW]
        known = (rows >= 0) & (outcome >= 0)
        n = len(catalog.items)
        good = np.bincount(rows[known], (outcome == 1)[known], minlength=n + 1)
        expected = np.bincount(rows[known], base[known], minlength=n + 1)
        lift = (good + STRENGTH[LONG_VIEW]) / (expected + STRENGTH[LONG_VIEW])
        liked = known & (outcome == 1) & (users >= 0)
        learned = co_engagement(users[liked], rows[liked], len(catalog.users), n, VECTOR_DIM, seed)
        weight = np.bincount(rows[liked], minlength=n).astype(np.float64)
        content = catalog.items.content
        ridge = _ridge(content[:-1], learned, weight)
        vectors = _unit(_blend(learned, content[:-1] @ ridge, weight))
        return cls(
            rates=rates,
            item_ids=catalog.items.ids,
            vectors=np.concatenate([vectors, np.zeros((1, VECTOR_DIM), np.float32)]),
            lift=lift.astype(np.float32),
            from_content=ridge,
        )

    def on(self, catalog: Catalog) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The (vectors, lift) of a catalog's rows; an item that was not there at training is read from its content."""
        vectors = np.concatenate([_unit(catalog.items.content[:-1] @ self.from_content), self.vectors[-1:]])
        lift = np.ones(len(catalog.items) + 1, np.float32)
        rows = catalog.item_rows(self.item_ids)
        known = rows >= 0
        vectors[rows[known]] = self.vectors[:-1][known]
        lift[rows[known]] = self.lift[:-1][known]
        return vectors.astype(np.float32), lift

    def as_arrays(self) -> dict[str, NDArray]:
        """Everything to save, by name."""
        return {
            "overall": self.rates.overall,
            "by_scenario": self.rates.by_scenario,
            "item_ids": self.item_ids,
            "vectors": self.vectors,
            "lift": self.lift,
            "from_content": self.from_content,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray]) -> Statics:
        """What ``as_arrays`` gave."""
        rates = Rates(arrays["overall"], arrays["by_scenario"])
        return cls(rates, arrays["item_ids"], arrays["vectors"], arrays["lift"], arrays["from_content"])


def _unit(vectors: NDArray) -> NDArray[np.float32]:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)).astype(np.float32)


def _ridge(content: NDArray[np.float32], learned: NDArray[np.float32], weight: NDArray) -> NDArray[np.float32]:
    """The linear map from content to learned vectors, well-watched items counting more."""
    share = np.sqrt(weight)[:, None]
    x, y = content * share, learned * share
    gram = x.T @ x + 10.0 * np.eye(CONTENT_DIM)
    return np.linalg.solve(gram, x.T @ y).astype(np.float32)


def _blend(learned: NDArray[np.float32], guessed: NDArray[np.float32], weight: NDArray) -> NDArray[np.float32]:
    """Learned vectors, pulled toward what content says where few viewers speak."""
    trust = (weight / (weight + 10.0))[:, None]
    return (trust * learned + (1.0 - trust) * guessed).astype(np.float32)
