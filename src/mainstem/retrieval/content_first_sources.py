"""Where the content-first stack's candidates come from: content near what was enjoyed, content near a taste, what is new or busy.

Its fourth source, items of followed creators, is ``retrieval.sources.Connected`` as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Found, Request, Rows
from mainstem.retrieval.search import top_k
from mainstem.retrieval.sources import NOTHING

FRESH_MS: Final = 48 * 3_600_000
_DECIMALS: Final = 5
"""Likeness is rounded to this many decimals, so that items that are as good as equal stand in the order of their ids."""


class Likes(Protocol):
    """What the content sources know of who asks."""

    @property
    def seeds(self) -> Rows:
        """The newest different items they enjoyed."""
        ...

    @property
    def taste(self) -> Floats:
        """Their tastes, [2, d]; the first is what they enjoy."""
        ...


class LikeRecentItems:
    """Items that resemble any one of the last items the viewer enjoyed.

    Args:
        vectors: Content of each catalog row, [n + 1, d].
        offered: Rows that may be offered, ascending by item id.
    """

    name = "item_to_item"

    def __init__(self, vectors: Floats, offered: Rows) -> None:
        self._vectors = vectors
        self._offered = offered
        self._index = np.ascontiguousarray(vectors[offered])

    def retrieve(self, request: Request, user: Likes, limit: int) -> Found:
        """The nearest to the nearest seed; nothing for a viewer who enjoyed nothing yet."""
        if not len(user.seeds) or limit <= 0:
            return NOTHING
        return _nearest(self._offered, (self._index @ self._vectors[user.seeds].T).max(axis=1), limit)


class TwoTower:
    """Items that lie where the viewer's taste points to, once it is turned by what was learned.

    Args:
        vectors: Content of each catalog row, [n + 1, d].
        offered: Rows that may be offered, ascending by item id.
        tower: From a taste to the next item enjoyed, [d, d].
    """

    name = "content_two_tower"

    def __init__(self, vectors: Floats, offered: Rows, tower: Floats) -> None:
        self._offered = offered
        self._index = np.ascontiguousarray(vectors[offered])
        self._tower = tower

    def retrieve(self, request: Request, user: Likes, limit: int) -> Found:
        """The items with the largest inner product; nothing for a viewer without a taste."""
        length = np.linalg.norm(user.taste[0])
        if length == 0 or limit <= 0:
            return NOTHING
        return _nearest(self._offered, self._index @ (user.taste[0] / length @ self._tower), limit)


class FreshTrending:
    """Half the newest uploads of two days, and for the rest what was most seen in 24 UTC hours.

    Args:
        created_ms: Upload time of each catalog row.
        offered: Rows that may be offered, ascending by item id.
        day_views: Answers the views of each catalog row in the 24 hours before a time.
    """

    name = "fresh_trending"

    def __init__(self, created_ms: NDArray[np.int64], offered: Rows, day_views: Callable[[int], Floats]) -> None:
        self._created_ms = created_ms[offered]
        self._offered = offered
        self._day_views = day_views

    def retrieve(self, request: Request, user: Likes, limit: int) -> Found:
        """New ones first; their score is minus their age in ms, that of the others their views."""
        age_ms = (request.now_ms - self._created_ms).astype(np.float64)
        young = (age_ms >= 0) & (age_ms < FRESH_MS)
        new = top_k(np.where(young, -age_ms, -np.inf), limit // 2)
        views = self._day_views(request.now_ms)[self._offered]
        views = np.where(views > 0, views, -np.inf)
        views[new] = -np.inf
        busy = top_k(views, limit - len(new))
        return Found(self._offered[np.r_[new, busy]], np.r_[-age_ms[new], views[busy]])


def _nearest(offered: Rows, likeness: Floats, limit: int) -> Found:
    rounded = np.round(likeness, _DECIMALS)
    best = top_k(rounded, limit)
    return Found(offered[best], rounded[best])
