"""The parts of one stack as another one calls them: rows are translated over item ids, and each reads its own view of the viewer.

Candidates stand in the rows of one catalog, that of the stack whose retrieval is used. Two catalogs number their rows differently.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import AsServed, Floats, Found, Pool, Request, Rows, Selection
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.stage import Claims, Control, Guard, Memory, Source, Stack, Union

Viewers = dict[str, Any]
"""What each stack in use knows of the viewer, by the side it stands on."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of the two stacks, and where the shared catalog's items stand in its own.

    Shapes: ``rows_of[n + 1]``, the last for items the shared catalog does not hold.
    """

    name: str
    stack: Stack
    rows_of: Rows

    @classmethod
    def of(cls, name: str, stack: Stack, shared: Catalog) -> Side:
        """The side of a stack beside a catalog."""
        return cls(name, stack, np.append(stack.catalog.item_rows(shared.items.ids), np.int64(-1)))

    def rows(self, shared: Rows) -> Rows:
        """Its own rows of shared ones. Shapes: ``[n]``."""
        return self.rows_of[shared]

    def pool(self, shared: Pool) -> Pool:
        """The same candidates in its own rows."""
        return Pool(self.rows(shared.rows), shared.source_mask, shared.fused)


@dataclass(frozen=True, slots=True)
class SideSource:
    """A source that reads its own stack's view of the viewer. Its rows are the shared ones."""

    inner: Source
    side: Side

    @property
    def name(self) -> str:
        """As the stack's own traces call it."""
        return self.inner.name

    @property
    def blocking(self) -> bool:
        """Whether it waits for something and belongs on a thread."""
        return bool(getattr(self.inner, "blocking", False))

    def retrieve(self, request: Request, user: Viewers, limit: int) -> Found:
        """What the source itself finds."""
        return self.inner.retrieve(request, user[self.side.name], limit)


@dataclass(frozen=True, slots=True)
class SideUnion:
    """A stack's union, without candidates that a stack in use does not hold. Shapes: ``held[n + 1]``."""

    inner: Union
    held: NDArray[np.bool_]

    def merge(self, request: Request, found: list[Found]) -> Pool:
        """Every candidate once that all can rank."""
        pool = self.inner.merge(request, found)
        kept = self.held[pool.rows]
        return Pool(pool.rows[kept], pool.source_mask[kept], pool.fused[kept])


@dataclass(frozen=True, slots=True)
class SideFeatures:
    """The features of the model's stack; the viewer is read by every stack in use."""

    model: Side
    used: tuple[Side, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Those that the model reads."""
        return self.model.stack.features.names

    def user(self, request: Request) -> Viewers:
        """What each stack in use knows of the viewer."""
        return {one.name: one.stack.features.user(request) for one in self.used}

    def items(self, request: Request, user: Viewers, rows: Rows) -> Floats:
        """Feature values of each candidate. Shapes: [n, f]."""
        return self.model.stack.features.items(request, user[self.model.name], self.model.rows(rows))

    def as_served(self, user: Viewers) -> AsServed | None:
        """What makes them computable again, where the model's stack tells it."""
        tells = getattr(self.model.stack.features, "as_served", None)
        return None if tells is None else tells(user[self.model.name])


@dataclass(frozen=True, slots=True)
class SideRanker:
    """A stack's ranker."""

    side: Side

    @property
    def heads(self) -> tuple[str, ...]:
        """What it predicts."""
        return self.side.stack.ranker.heads

    def predict(self, request: Request, user: Viewers, rows: Rows, features: Floats) -> Floats:
        """One row of predictions a candidate. Shapes: [n, h]."""
        return self.side.stack.ranker.predict(request, user[self.side.name], self.side.rows(rows), features)


@dataclass(frozen=True, slots=True)
class SideValue:
    """A stack's value on another one's predictions.

    Attributes:
        columns: Where the heads it was written for stand among the model's.
    """

    side: Side
    columns: list[int]

    def values(self, request: Request, user: Viewers, rows: Rows, predictions: Floats) -> Floats:
        """What showing each candidate is worth. Shapes: [n]."""
        mine, rows = user[self.side.name], self.side.rows(rows)
        return self.side.stack.value.values(request, mine, rows, predictions[:, self.columns])

    def terms(self, request: Request, user: Viewers, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        """The parts the value is made of."""
        mine, rows = user[self.side.name], self.side.rows(rows)
        return self.side.stack.value.terms(request, mine, rows, predictions[:, self.columns])


@dataclass(frozen=True, slots=True)
class SideControl:
    """A stack's control over another one's candidates.

    Attributes:
        found: The sources that found candidates, in the order of the pool's mask. Those that control's stack has under the same
            name are its own to it; one it does not know is none of them.
    """

    side: Side
    inner: Control
    found: tuple[str, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule, in the order in which they are applied."""
        return self.inner.rules

    def parts(self, surface: str) -> tuple[str, ...]:
        """What can be switched off on a surface."""
        parts = getattr(self.inner, "parts", None)
        return self.rules if parts is None else parts(surface)

    def select(self, request: Request, user: Viewers, pool: Pool, values: Floats) -> Selection:
        """Which candidates are shown, and why the others are not."""
        mine = Pool(self.side.rows(pool.rows), self._mask(pool.source_mask), pool.fused)
        return self.inner.select(request, user[self.side.name], mine, values)

    def without(self, rule: str) -> SideControl:
        """The same with one rule switched off."""
        return SideControl(self.side, self.inner.without(rule), self.found)

    def _mask(self, mask: NDArray[np.uint32]) -> NDArray[np.uint32]:
        place = {one.name: at for at, one in enumerate(self.side.stack.sources)}
        own = np.zeros_like(mask)
        for at, name in enumerate(self.found):
            if name in place:
                own |= ((mask >> np.uint32(at)) & np.uint32(1)) << np.uint32(place[name])
        return own


@dataclass(frozen=True, slots=True)
class SideGuard:
    """A rule of a fallback list."""

    inner: Guard
    side: Side

    @property
    def name(self) -> str:
        """As the stack's own traces call it."""
        return self.inner.name

    def removes(self, request: Request, user: Any, pool: Pool) -> NDArray[np.bool_]:
        """True where the candidate is removed. Shapes: [n]."""
        return self.inner.removes(request, None if user is None else user[self.side.name], self.side.pool(pool))


@dataclass(frozen=True, slots=True)
class SideMemory:
    """A stack's memory, which hears of everything that is served, whoever chose it."""

    inner: Memory
    side: Side

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes."""
        self.inner.apply(feedback)

    def served(self, request: Request, rows: Rows) -> None:
        """Takes in what was just shown."""
        self.inner.served(request, self.side.rows(rows))


@dataclass(frozen=True, slots=True)
class SideClaims:
    """A stack's memory of what was served that several processes share."""

    inner: Claims
    side: Side

    def claim(self, request: Request, rows: Rows) -> bool:
        """Whether these rows may be served now."""
        return self.inner.claim(request, self.side.rows(rows))

    def alone(self) -> AbstractContextManager[None]:
        """While it is open no other thread or process can claim."""
        return self.inner.alone()
