"""Where candidates come from: five reasons to show an item, each a source with a name, a reason and a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.order import best_first
from mainstem.base.request import NOTHING, Floats, Found, Request, Rows
from mainstem.base.seeds import uniforms
from mainstem.retrieval.inverted import InvertedLists
from mainstem.retrieval.search import nearest, top_k

LARGE: Final = 50_000
"""From this many items on, similar ones are looked for in inverted lists; below, one exact pass is as fast."""


class Viewer(Protocol):
    """What sources may know of who asks."""

    @property
    def liked_rows(self) -> Rows:
        """Items the viewer lately watched long, liked, followed from, commented on or forwarded; newest first."""
        ...

    @property
    def followed_creators(self) -> NDArray[np.int64]:
        """Creator codes the viewer followed."""
        ...


class ItemToItem:
    """Items like those the viewer lately enjoyed: nearest to the decayed mean of their vectors.

    Args:
        vectors: [n, d], unit length, one row for each item.
        last: How many enjoyed items make the query.
        decay: Weight of each further item back.
    """

    name = "item_to_item"

    def __init__(self, vectors: NDArray[np.float32], last: int = 10, decay: float = 0.8) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._lists = InvertedLists(self._vectors, seed=0) if len(vectors) >= LARGE else None
        self._weights = (decay ** np.arange(last)).astype(np.float32)

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The items nearest to what the viewer enjoyed; nothing for a viewer without history."""
        liked = user.liked_rows[: len(self._weights)]
        if not len(liked):
            return NOTHING
        query = self._weights[: len(liked)] @ self._vectors[liked]
        return nearest(self._vectors, query, limit) if self._lists is None else self._lists.nearest(query, limit)


class Interests:
    """The best items of the viewer's strongest interests: interest lists first, items second.

    Args:
        interest_of: Interest code of each item, 0 to m-1; negative has none.
        quality: A score of each item that does not depend on the viewer, best items highest.
        top: How many interests a request draws from.
        smoothing: Added to every count, so that one click is not a whole taste.
    """

    name = "interests"

    def __init__(self, interest_of: NDArray[np.integer], quality: Floats, top: int = 8, smoothing: float = 0.5) -> None:
        self._interest_of = np.asarray(interest_of, np.int64)
        self._interests = int(self._interest_of.max(initial=-1)) + 1
        self._top = top
        self._smoothing = smoothing
        order = np.lexsort((np.arange(len(quality)), -quality, self._interest_of))
        order = order[self._interest_of[order] >= 0]
        self._lists = np.split(order, np.searchsorted(self._interest_of[order], np.arange(1, self._interests)))
        self._quality = quality

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """Each strong interest gives items in proportion to its weight."""
        codes = self._interest_of[user.liked_rows]
        codes = codes[codes >= 0]
        if not len(codes):
            return NOTHING
        weights = np.bincount(codes, minlength=self._interests).astype(np.float64)
        strongest = top_k(weights, self._top)
        strongest = strongest[weights[strongest] > 0]
        share = (weights[strongest] + self._smoothing) / (weights[strongest] + self._smoothing).sum()
        lists = [self._lists[one][: max(1, int(limit * part))] for one, part in zip(strongest, share, strict=True)]
        rows = np.concatenate(lists)
        scores = np.concatenate([self._quality[one] * part for one, part in zip(lists, share, strict=True)])
        order = best_first(scores, rows)[:limit]
        return Found(rows=rows[order], scores=scores[order])


class Popular:
    """What is watched now, by everybody: a list that is made again when its time is over.

    Args:
        rates: Answers a score for each item as of a time: recent quality, fresh items first among equals.
        every_ms: How long a list stays good.
    """

    name = "popular"

    def __init__(self, rates: Callable[[int], Floats], every_ms: int = 300_000, depth: int = 2_000) -> None:
        self._rates = rates
        self._every_ms = every_ms
        self._depth = depth
        self._made_for: int | None = None
        self._list = NOTHING

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The head of the current list."""
        period = request.now_ms // self._every_ms
        if period != self._made_for:
            scores = self._rates(request.now_ms)
            rows = top_k(scores, self._depth)
            self._list, self._made_for = Found(rows=rows, scores=scores[rows]), period
        return Found(self._list.rows[:limit], self._list.scores[:limit])


class Connected:
    """Items of creators the viewer chose to follow, newest first.

    Args:
        creator_of: Creator code of each item.
        created_ms: Upload time of each item.
    """

    name = "connected"

    def __init__(self, creator_of: NDArray[np.integer], created_ms: NDArray[np.int64]) -> None:
        self._created_ms = created_ms
        self._order = np.lexsort((-created_ms, creator_of))
        self._creators = np.asarray(creator_of)[self._order]

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The newest items of each followed creator, uploaded before now."""
        followed = user.followed_creators
        if not len(followed):
            return NOTHING
        starts = np.searchsorted(self._creators, followed, "left")
        ends = np.searchsorted(self._creators, followed, "right")
        rows = np.concatenate([self._order[a:b] for a, b in zip(starts, ends, strict=True)])
        rows = rows[self._created_ms[rows] <= request.now_ms]
        order = np.lexsort((rows, -self._created_ms[rows]))[:limit]
        return Found(rows=rows[order], scores=self._created_ms[rows[order]].astype(np.float64))


class Exploration:
    """Items drawn evenly from the whole catalog, so that nothing stays unseen for ever. Fixed by the request's id."""

    name = "exploration"

    def __init__(self, catalog_size: int, seed: int) -> None:
        self._size = catalog_size
        self._seed = seed

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """Some rows by chance; the same for the same request."""
        count = min(limit, self._size)
        draws = uniforms(self._seed, request.request_id, np.arange(count))
        rows = np.unique((draws * self._size).astype(np.int64))
        return Found(rows=rows, scores=np.zeros(len(rows)))
