"""Candidates from what was learned: what is taken next after what the viewer took, what lies near it, what is new and like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import NOTHING, Floats, Found, Request, Rows
from mainstem.retrieval.index import ExactIndex, VectorIndex
from mainstem.retrieval.search import top_k
from mainstem.retrieval.sources import Rates, Unseen, Viewer

Vectors = NDArray[np.float32]


class NextItems:
    """Items that are taken after those the viewer lately enjoyed: the sum of what follows each, the older the less.

    Args:
        followers: The catalog rows that are taken after each, as learned in closed form.
        weights: How strongly; 0 where an item has fewer followers.
        unseen: What is left out.
        last: How many enjoyed items are read.
        decay: Weight of each further item back.

    Shapes: ``followers[n, k]``, ``weights[n, k]``.
    """

    name = "next_item"

    def __init__(
        self,
        followers: NDArray[np.int32],
        weights: NDArray[np.float32],
        unseen: Unseen,
        last: int = 50,
        decay: float = 0.95,
    ) -> None:
        self._rows = np.ascontiguousarray(followers)
        self._weights = np.ascontiguousarray(weights, np.float32)
        self._unseen = unseen
        self._decay = (decay ** np.arange(last)).astype(np.float32)

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The best sums; nothing for a viewer without history."""
        liked = user.liked_rows[: len(self._decay)]
        if not len(liked):
            return NOTHING
        weights = self._weights[liked] * self._decay[: len(liked), None]
        scores = np.bincount(self._rows[liked].ravel(), weights.ravel(), len(self._rows)).astype(np.float64, copy=False)
        scores[self._unseen.seen(request, user)] = 0.0
        scores[self._unseen.withdrawn.rows] = 0.0
        rows = top_k(scores, limit)
        rows = rows[scores[rows] > 0]
        return Found(rows=rows, scores=scores[rows])


class ItemToItem:
    """Items like those the viewer lately enjoyed: nearest to the decayed mean of their vectors.

    Args:
        vectors: [n, d], unit length, one row for each item.
        index: The same vectors, or those of them that may be found, by catalog row.
        unseen: What is left out.
        last: How many enjoyed items make the query.
        decay: Weight of each further item back.
    """

    name = "item_to_item"

    def __init__(
        self, vectors: Vectors, index: VectorIndex, unseen: Unseen, last: int = 50, decay: float = 0.95
    ) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self.index = index
        self._unseen = unseen
        self._weights = (decay ** np.arange(last)).astype(np.float32)

    def query(self, liked: Rows) -> Vectors | None:
        """What the index is asked for a viewer who enjoyed these items, newest first; None without any."""
        liked = liked[: len(self._weights)]
        return self._weights[: len(liked)] @ self._vectors[liked] if len(liked) else None

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The items nearest to what the viewer enjoyed; nothing for a viewer without history."""
        query = self.query(user.liked_rows)
        if query is None:
            return NOTHING
        found = self.index.search(query, self._unseen.enough(request, user, limit))
        return self._unseen.of(request, user, found, limit)


class Asking(Protocol):
    """A trained encoder of sequences, as far as a source needs it."""

    def queries(self, items: NDArray[np.integer]) -> Vectors:
        """Query vectors of somebody who took these items, oldest first. Shapes: [queries, d]."""
        ...


class Encoded:
    """Items nearest to what an encoder makes of the viewer's sequence; several queries stand for several interests.

    Args:
        encoder: What makes the queries; its items are numbered as at its training.
        index: The encoder's item vectors, by catalog row.
        place_of: The encoder's number of each catalog row; -1 where it knows none. Shapes: [n].
        unseen: What is left out.
        kept: For how many histories the queries are remembered.
    """

    name = "encoder"

    def __init__(
        self, encoder: Asking, index: VectorIndex, place_of: NDArray[np.integer], unseen: Unseen, kept: int = 4_096
    ) -> None:
        self._encoder, self.index = encoder, index
        self._place_of = place_of
        self._unseen = unseen
        self._kept = kept
        self._asked: dict[bytes, Vectors] = {}

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The items nearest to any of the viewer's queries; nothing for a viewer without history."""
        places = self._place_of[user.liked_rows]
        places = places[places >= 0][::-1]
        if not len(places):
            return NOTHING
        found = self.index.search(self._queries(places), self._unseen.enough(request, user, limit))
        return self._unseen.of(request, user, found, limit)

    def _queries(self, places: NDArray[np.integer]) -> Vectors:
        """A viewer's queries stay the same until they enjoy something else."""
        key = places.tobytes()
        held = self._asked.pop(key, None)
        if held is None:
            held = self._encoder.queries(places)
            if len(self._asked) >= self._kept:
                del self._asked[next(iter(self._asked))]
        self._asked[key] = held
        return held


MOST_NEW: Final = 16_384
"""Items that count as new at once, the newest first: every request looks at each of them."""


class Fresh:
    """New items by what they are: hardly shown yet, so nothing but their content speaks for them.

    Args:
        vectors: [n, d], unit length; those of new items come from content.
        shown: How often each item has been shown; items above ``most`` are not new.
        created_ms: Upload time of each item; negative where unknown.
        taste: Makes the query of what a viewer enjoyed; None without any.
        unseen: What is left out.
        most: Impressions up to which an item is new.
    """

    name = "fresh"

    def __init__(
        self,
        vectors: Vectors,
        shown: Rates,
        created_ms: NDArray[np.int64],
        taste: Callable[[Rows], Vectors | None],
        unseen: Unseen,
        most: float = 20.0,
    ) -> None:
        self._vectors, self._created_ms = vectors, created_ms
        self._shown, self._taste, self._unseen = shown, taste, unseen
        self._most = most
        self._made_of: Floats | None = None
        self._index = ExactIndex(vectors.shape[1])
        self._newest = np.empty(0, np.int64)

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """New items nearest to what the viewer enjoyed; the newest for a viewer without history."""
        shown = self._shown.at(request.now_ms)
        if shown is not self._made_of:
            self._renew(shown, request.now_ms)
        query = self._taste(user.liked_rows)
        more = self._unseen.enough(request, user, limit)
        if query is None:
            rows = self._newest[:more]
            found = Found(rows, self._created_ms[rows].astype(np.float64))
        else:
            found = self._index.search(query, more)
        return self._unseen.of(request, user, found, limit)

    def _renew(self, shown: Floats, now_ms: int) -> None:
        """Which items are new now: those that were shown enough leave, those whose time has come join."""
        new = np.flatnonzero((shown <= self._most) & (self._created_ms <= now_ms))
        self._newest = new[np.lexsort((new, -self._created_ms[new]))][:MOST_NEW]
        new = np.sort(self._newest)
        self._index = ExactIndex(self._vectors.shape[1])
        self._index.add(new, self._vectors[new])
        self._made_of = shown
