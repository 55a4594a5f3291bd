"""A stack small enough to read: real knock-on effects, and one switch for each fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mainstem.parity.trace import NO_RULE, StageRecord

SOURCES = ("similar", "fresh", "topics", "connected")
FEATURES = tuple(f"f{number}" for number in range(8))
HEADS = ("click", "like", "long_view", "hate")
RULES = ("seen", "integrity", "creator_cap", "variety", "topic_cap")
ITEMS = 400


class SmallStack:
    """Made once a seed. ``trace`` answers a request; the faults change one thing each."""

    def __init__(self, seed: int, product: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.product = product
        self.creators, self.topics = rng.integers(0, 60, ITEMS), rng.integers(0, 12, ITEMS)
        self.violating = rng.random(ITEMS) < 0.08
        self.table = rng.normal(size=(ITEMS, len(FEATURES)))
        self.table[:, 1] = 0.5 * self.table[:, 0]  # one feature made of another
        self.table[rng.random(ITEMS) < 0.3, 2] = 0.0
        self.weights = rng.normal(size=(len(FEATURES), len(HEADS))) * 0.4
        self.bias = np.array([-0.3, -3.0, -0.8, -5.0])
        self.value = rng.uniform(0.5, 2.0, len(HEADS)) * np.array([1, 6, 1, -8])

    def trace(self, request: int, fault: tuple[str, str] = ("", ""), noise: float = 0.0) -> StageRecord:
        rng = np.random.default_rng(request)
        kind, name = fault
        items, mask = self._retrieve(rng, name if kind == "source" else "", noise, request + 7)
        features = self.table[items] + rng.normal(size=len(FEATURES)) * (np.arange(len(FEATURES)) >= 5)
        features[:, 7] = np.bitwise_count(mask)  # a feature made of where the candidate came from
        if kind == "features":
            features = features * np.where(np.array(FEATURES) == name, 1_000.0, 1.0)
        predictions = self._predict(features, name if kind == "model" else "")
        weights = self.value * np.where(np.array(HEADS) == name, -1, 1) if kind == "value" else self.value
        terms = np.log(predictions) * weights if self.product else predictions * weights
        values = np.exp(terms.sum(axis=1) / 8) if self.product else terms.sum(axis=1)
        seen = np.random.default_rng(request + 10**6).random(ITEMS)[items] < 0.15
        slate, removed, demoted = self._control(items, values, seen, name if kind == "rule" else "")
        return StageRecord(
            request_id=request,
            item_ids=items,
            slate=slate,
            source_names=SOURCES,
            source_mask=mask,
            feature_names=FEATURES,
            features=features,
            head_names=HEADS,
            predictions=predictions,
            values=values,
            term_names=HEADS,
            terms=terms,
            rule_names=RULES,
            removed_by=removed,
            demoted_by=demoted,
            timings_ms={"rank": 2.0},
        )

    def _retrieve(
        self, rng: np.random.Generator, dropped: str, noise: float, items_seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The union takes 100 candidates: what one source leaves free, the others fill."""
        offered = np.zeros((ITEMS, len(SOURCES)), bool)
        for at, name in enumerate(SOURCES):
            found = rng.permutation(ITEMS)[:40]
            if name != dropped:
                offered[found, at] = True
        if np.random.default_rng(items_seed).random() < noise:
            offered[np.flatnonzero(offered[:, 3])[:2], 3] = False
        items = np.flatnonzero(offered.any(axis=1))
        items = items[np.argsort(-offered[items].sum(axis=1), kind="stable")][:100]
        return items, (offered[items] * (1 << np.arange(len(SOURCES)))).sum(axis=1).astype(np.uint32)

    def _predict(self, features: np.ndarray, shifted: str) -> np.ndarray:
        """A like needs a click: one head's fault moves another head too."""
        logits = np.tanh(features) @ self.weights + self.bias
        logits = logits + 1.5 * (np.array(HEADS) == shifted)
        chances = 1 / (1 + np.exp(-logits))
        chances[:, 1] = chances[:, 0] * chances[:, 1]
        return chances

    def _control(self, items: np.ndarray, values: np.ndarray, seen: np.ndarray, off: str) -> tuple[np.ndarray, ...]:
        removed = np.full(len(items), NO_RULE)
        demoted = np.zeros((len(items), len(RULES)), bool)
        for code, hit in ((0, seen), (1, self.violating[items])):
            if RULES[code] != off:
                removed[hit & (removed == NO_RULE)] = code
        values = values.copy()
        if off != "variety":
            ahead = np.argsort(-np.where(removed == NO_RULE, values, -np.inf), kind="stable")[1:12:3]
            demoted[ahead, 3] = True
            values[ahead] -= 0.3 * np.abs(values[ahead])
        slate: list[int] = []
        for at in np.argsort(-values, kind="stable"):
            if removed[at] != NO_RULE:
                continue
            shown = np.array(slate, int)
            if off != "creator_cap" and (self.creators[items[shown]] == self.creators[items[at]]).sum() >= 1:
                removed[at] = 2
            elif off != "topic_cap" and (self.topics[items[shown]] == self.topics[items[at]]).sum() >= 2:
                removed[at] = 4
            elif len(slate) < 12:
                slate.append(int(at))
        return items[np.array(slate, int)], removed, demoted


def untold(record: StageRecord, *names: str) -> StageRecord:
    """The record of a stack that does not tell these."""
    return replace(record, **dict.fromkeys(names))  # type: ignore[arg-type]
