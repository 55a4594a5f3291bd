"""What a closed-form next-item model is made of: horizons, experts, readings and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mainstem.base.errors import RetrievalError
from mainstem.retrieval.pair_sums import DENSE_MOST, Decay

Reading = Literal["each", "sum"]


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far a transition reaches: one pair of sums, solved once.

    Attributes:
        name: Experts call it by this.
        decay: Half-lives of the past and the future, in events.
        ridge: Added to the diagonal; about the sum's mean diagonal over four.
    """

    name: str
    decay: Decay
    ridge: float


@dataclass(frozen=True, slots=True)
class ExpertSettings:
    """One list of followers, how it is read, and what it weighs.

    Attributes:
        source: ``<horizon>``, or ``alike``, ``marks/<horizon>``, ``items/<horizon>``, ``around/<horizon>`` (content).
        reading: ``each`` event a witness of its own, or the ``sum`` of them one.
        half_life: After how many further events an event counts half.
    """

    source: str
    reading: Reading
    half_life: float
    weight: float = 1.0

    @property
    def label(self) -> str:
        """How tables call it."""
        return f"{self.source}:{self.reading}:{self.half_life:g}"

    @property
    def is_content(self) -> bool:
        """Does it need to know what items are?"""
        return self.source == "alike" or "/" in self.source

    @property
    def horizon(self) -> str | None:
        """Whose sums it needs; None for ``alike``."""
        return None if self.source == "alike" else self.source.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class PopularitySettings:
    """How popularity is counted; ``half_life_days`` None counts every event alike (and where a set has no times)."""

    half_life_days: float | None = 30.0
    weight: float = 0.1

    @property
    def label(self) -> str:
        """How tables call it."""
        return "popularity"


DEFAULT_HORIZONS = (
    Horizon("next", Decay(1, 0.1), 100.0),
    Horizon("near", Decay(3, 0.5), 100.0),
    Horizon("far", Decay(20, 5), 400.0),
)
DEFAULT_EXPERTS = (
    ExpertSettings("next", "each", 1, 0.35),
    ExpertSettings("near", "sum", 3, 0.5),
    ExpertSettings("far", "sum", 20, 0.5),
    ExpertSettings("alike", "sum", 6, 0.15),
    ExpertSettings("items/near", "sum", 6, 0.15),
    ExpertSettings("around/near", "sum", 3, 0.1),
)


@dataclass(frozen=True, slots=True)
class LinearSettings:
    """A whole model, as a recipe names it.

    Attributes:
        kept: Followers kept of each item.
        rarity: How much rare marks count above common ones (``content_followers.Marks``).
        marks_ridge: The ridge of what is learned by mark.
        dense_most: Up to how many items sums are plain matrices.
    """

    name: str = "linear"
    horizons: tuple[Horizon, ...] = DEFAULT_HORIZONS
    experts: tuple[ExpertSettings, ...] = DEFAULT_EXPERTS
    popularity: PopularitySettings = PopularitySettings()
    kept: int = 200
    rarity: float = 1.0
    marks_ridge: float = 100.0
    dense_most: int = DENSE_MOST

    def __post_init__(self) -> None:
        names = [horizon.name for horizon in self.horizons]
        unknown = [e.source for e in self.experts if e.horizon is not None and e.horizon not in names]
        if unknown or len(set(names)) < len(names) or self.kept < 1 or any(e.half_life <= 0 for e in self.experts):
            raise RetrievalError(
                f"found the horizons {names}, experts of {[e.source for e in self.experts]} and {self.kept} kept, expected "
                "each expert to name one horizon, half-lives above 0 and followers kept",
                code="retrieval-016",
                hint="sources are <horizon>, alike, marks/<horizon>, items/<horizon> and around/<horizon>",
            )

    @property
    def all_weights(self) -> tuple[float, ...]:
        """The experts' weights, popularity's last."""
        return (*(expert.weight for expert in self.experts), self.popularity.weight)

    def uses(self, source: str) -> bool:
        """Does any expert read this source?"""
        return any(expert.source == source for expert in self.experts)

    def for_content(self, known: bool) -> LinearSettings:
        """The same settings without the experts of content where there is none."""
        if known:
            return self
        return replace(self, experts=tuple(expert for expert in self.experts if not expert.is_content))

    def arm(self, name: Literal["content", "interest"]) -> LinearSettings:
        """Only what items are (``content``), or only what users did with them (``interest``); to be weighted anew.

        ``around`` reads both and belongs to neither. Marks that were learned to follow marks count as content.
        """
        chosen = tuple(
            expert
            for expert in self.experts
            if expert.is_content == (name == "content") and not expert.source.startswith("around/")
        )
        return replace(self, name=f"{self.name}, {name} only", experts=chosen)

    def weighted(self, weights: Sequence[float]) -> LinearSettings:
        """The same experts under other weights, popularity's last."""
        if len(weights) != len(self.experts) + 1:
            raise RetrievalError(
                f"found {len(weights)} weights, expected {len(self.experts) + 1}: one an expert and popularity's last",
                code="retrieval-016",
            )
        experts = tuple(replace(e, weight=float(w)) for e, w in zip(self.experts, weights[:-1], strict=True))
        return replace(self, experts=experts, popularity=replace(self.popularity, weight=float(weights[-1])))
