"""The parts a stack is made of: six protocols, in the order the water flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Found, Pool, Request, Rows, Selection
from mainstem.base.withdrawn import Withdrawn
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.blocking import Blocking


class Source(Protocol):
    """Offers candidates for one reason."""

    @property
    def name(self) -> str:
        """How traces, quotas and explanations call it."""
        ...

    def retrieve(self, request: Request, user: Any, limit: int) -> Found:
        """Which items it would show this viewer now, best first, at most ``limit``."""
        ...


class Union(Protocol):
    """Makes one pool of what the sources found."""

    def merge(self, request: Request, found: list[Found]) -> Pool:
        """Every candidate once, best fused score first. ``found`` stands in the order of the stack's sources."""
        ...


class FeatureReader(Protocol):
    """Feature values as of now."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of what ``items`` answers, in order."""
        ...

    def user(self, request: Request) -> Any:
        """The viewer's side, computed once a request. Opaque to the engine; sources, ranker and value read it."""
        ...

    def items(self, request: Request, user: Any, rows: Rows) -> Floats:
        """Feature values of each candidate. Shapes: [n, f]."""
        ...


class Ranker(Protocol):
    """Feature values to predictions."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The columns of what ``predict`` answers, in order."""
        ...

    def predict(self, request: Request, user: Any, rows: Rows, features: Floats) -> Floats:
        """One prediction a head for each candidate, independent of the other candidates. Shapes: [n, h]."""
        ...


class Value(Protocol):
    """Predictions to one number."""

    def values(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> Floats:
        """What showing each candidate is worth; higher is better. Shapes: [n]."""
        ...

    def terms(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        """The parts the value is made of, by name, for explanations. Empty when it cannot be split."""
        ...


class Control(Protocol):
    """Valued candidates to a slate."""

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule that may remove, demote or promote, in the order in which they are applied."""
        ...

    def select(self, request: Request, user: Any, pool: Pool, values: Floats) -> Selection:
        """Which candidates are shown, in what order, and why the others are not."""
        ...

    def without(self, rule: str) -> Control:
        """The same layer with one rule switched off, to see what it costs or to plant a fault."""
        ...


class Memory(Protocol):
    """State that changes with feedback or with what was served."""

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes, in the log's order: late ones come late."""
        ...

    def served(self, request: Request, rows: Rows) -> None:
        """Takes in what was just shown."""
        ...


class Claims(Protocol):
    """A memory of what was served that several processes share."""

    def claim(self, request: Request, rows: Rows) -> bool:
        """Whether these rows may be served now; False when the viewer was served something else while they were chosen."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """While it is open no other thread or process can claim: what is chosen inside is claimed for certain."""
        ...


class Guard(Protocol):
    """A rule that needs nothing but the request and the items, so that a fallback list can obey it too."""

    @property
    def name(self) -> str:
        """How traces call it."""
        ...

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True where the candidate is removed; ``user`` may be None. Shapes: [n]."""
        ...


QUOTA: Final = 1_000
"""Most candidates of a source for which a stack names no quota."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A ranking stack: the parts, and nothing else. The runner does the rest.

    Args:
        quotas: Most candidates each source may offer, by surface and source name; ``QUOTA`` where nothing is named.
        rank: Most candidates the ranker scores, taken by fused score, by surface; all where nothing is named.
        decimals: Values are rounded to this many decimals before anything is ordered, so that two implementations of the same sum
            cannot order items differently; None leaves them as they are.
        memories: Everything that must see feedback and served slates.
        withdrawn: What is taken out of it while it serves; None where nothing can be.
        guards: By surface, the rules that a fallback list obeys too.
        claims: Where a slate is claimed before it is served; None where nothing is remembered over requests.
        blocking: What viewers blocked; None where they cannot.
    """

    name: str
    catalog: Catalog
    sources: tuple[Source, ...]
    union: Union
    features: FeatureReader
    ranker: Ranker
    value: Value
    control: Control
    memories: tuple[Memory, ...] = ()
    quotas: dict[str, dict[str, int]] = field(default_factory=dict)
    rank: dict[str, int] = field(default_factory=dict)
    decimals: int | None = None
    surfaces: tuple[str, ...] = ("feed", "groups", "pages")
    withdrawn: Withdrawn | None = None
    guards: Mapping[str, Sequence[Guard]] = field(default_factory=dict)
    claims: Claims | None = None
    blocking: Blocking | None = None

    def apply(self, feedback: FeedbackBatch) -> None:
        """Lets every memory see these outcomes."""
        for memory in self.memories:
            memory.apply(feedback)
