"""What a policy showed, by what chance, and what came of it: the records every off-policy answer begins from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.within_user import Floats, Ints


@dataclass(frozen=True, slots=True)
class BanditLog:
    """Logged choices of one action each, with the chance that the logging policy gave it.

    Attributes:
        actions: What was shown, 0 to ``count - 1``.
        rewards: What came of it.
        propensity: The chance of the shown action at that time, above 0.
        contexts: What was known before the choice; no column is allowed.
        clusters: Rows of one number may depend on each other (a user's, a request's); whole clusters are independent.
        count: How many actions there are.

    Shapes: ``actions``, ``rewards``, ``propensity`` and ``clusters`` ``[n]``, ``contexts`` ``[n, d]``.
    """

    actions: Ints
    rewards: Floats
    propensity: Floats
    contexts: Floats
    clusters: Ints
    count: int

    def __post_init__(self) -> None:
        """Refuses what is no log (``evidence-003``)."""
        n = len(self.actions)
        for name in ("rewards", "propensity", "contexts", "clusters"):
            if len(getattr(self, name)) != n:
                raise malformed(f"{name} holds {len(getattr(self, name))} rows, expected {n}")
        if not n or not (np.isfinite(self.rewards).all() and np.isfinite(self.contexts).all()):
            raise malformed("the log is empty, or a reward or context is not finite")
        check_chances(self.propensity, "propensity")
        if self.actions.min() < 0 or self.actions.max() >= self.count:
            raise malformed(f"actions lie in {self.actions.min()}..{self.actions.max()}, expected 0..{self.count - 1}")

    @classmethod
    def of(
        cls,
        actions: Ints,
        rewards: Floats,
        propensity: Floats,
        *,
        contexts: Floats | None = None,
        clusters: Ints | None = None,
        count: int | None = None,
    ) -> BanditLog:
        """A log of plain arrays: no contexts, every row on its own, and as many actions as were seen, unless given."""
        action = np.asarray(actions, np.int64)
        n = len(action)
        return cls(
            actions=action,
            rewards=np.asarray(rewards, np.float64),
            propensity=np.asarray(propensity, np.float64),
            contexts=np.zeros((n, 0)) if contexts is None else np.asarray(contexts, np.float64),
            clusters=np.arange(n) if clusters is None else np.asarray(clusters, np.int64),
            count=int(action.max(initial=-1)) + 1 if count is None else count,
        )


@dataclass(frozen=True, slots=True)
class SlateLog:
    """Logged slates with, for each place, the chance of the item given the places above it.

    Attributes:
        items: What stood in each place, 0 to ``count - 1``.
        rewards: What came of each place.
        propensity: The chance of each place's item, given what stands above.
        clusters: Rows of one number may depend on each other.
        count: How many items there are.

    Shapes: ``items``, ``rewards`` and ``propensity`` ``[n, places]``, ``clusters`` ``[n]``.
    """

    items: Ints
    rewards: Floats
    propensity: Floats
    clusters: Ints
    count: int

    def __post_init__(self) -> None:
        """Refuses what is no log (``evidence-003``)."""
        shape = self.items.shape
        if len(shape) != 2 or self.rewards.shape != shape or self.propensity.shape != shape or not shape[0]:
            raise malformed(
                f"items, rewards and propensity have shapes {shape}, {self.rewards.shape}, {self.propensity.shape}, "
                "expected the same [n, places]"
            )
        if len(self.clusters) != shape[0]:
            raise malformed(f"clusters hold {len(self.clusters)} rows, expected {shape[0]}")
        check_chances(self.propensity, "propensity")


def check_chances(chances: Floats, name: str) -> None:
    """Refuses chances that are not above 0 and at most 1 (``evidence-003``)."""
    bad = ~((chances > 0) & (chances <= 1.0 + 1e-9))
    if bad.any():
        raise malformed(f"{name} holds {int(bad.sum())} values that are not above 0 and at most 1")


def malformed(found: str) -> EvidenceError:
    """The refusal of a log or a policy that contradicts itself."""
    return EvidenceError(found, code="evidence-003", hint="docs/concepts/off-policy.md says what a log must hold")
