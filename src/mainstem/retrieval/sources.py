"""Where candidates come from that need no learned model of sequences: interests, what is popular now, who is followed, chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.order import best_first
from mainstem.base.request import NOTHING, Floats, Found, Request, Rows
from mainstem.base.seeds import uniforms
from mainstem.base.withdrawn import Withdrawn
from mainstem.retrieval.search import top_k


class Viewer(Protocol):
    """What sources may know of who asks."""

    @property
    def liked_rows(self) -> Rows:
        """Items the viewer lately watched long, liked, followed from, commented on or forwarded; newest first."""
        ...

    @property
    def seen_rows(self) -> Rows:
        """Items the viewer was lately shown; newest first."""
        ...

    @property
    def followed_creators(self) -> NDArray[np.int64]:
        """Creator codes the viewer followed."""
        ...


class Rates(Protocol):
    """How much each item is taken now, by everybody."""

    def at(self, now_ms: int) -> Floats:
        """A number for each catalog row; higher is more. The same array for the same period. Shapes: [n]."""
        ...


class Unseen:
    """Leaves out what the viewer would not be shown anyway, seen or withdrawn, so that a source's quota is not spent on it.

    Args:
        catalog_size: Rows.
        last: By surface, how many of the viewer's last impressions its rules keep from being shown again.
        withdrawn: What nobody is shown; None when nothing ever is.
    """

    def __init__(self, catalog_size: int, last: Mapping[str, int], withdrawn: Withdrawn | None = None) -> None:
        self._marks = np.zeros(catalog_size, np.bool_)
        self._last = last
        self.withdrawn = Withdrawn(catalog_size) if withdrawn is None else withdrawn

    def seen(self, request: Request, user: Viewer) -> Rows:
        """What must not be offered to this viewer here, for having been shown."""
        return user.seen_rows[: self._last.get(request.surface, 0)]

    def enough(self, request: Request, user: Viewer, limit: int) -> int:
        """How many a source must find so that ``limit`` are left whatever is left out."""
        return limit + len(self.seen(request, user)) + len(self.withdrawn.rows)

    def of(self, request: Request, user: Viewer, found: Found, limit: int) -> Found:
        """The first ``limit`` of what was found that may be shown."""
        seen = self.seen(request, user)
        if not len(found.rows) or not (len(seen) or len(self.withdrawn.rows)):
            return Found(found.rows[:limit], found.scores[:limit])
        self._marks[seen] = True
        kept = np.flatnonzero(~(self._marks[found.rows] | self.withdrawn.mask[found.rows]))[:limit]
        self._marks[seen] = False
        return Found(found.rows[kept], found.scores[kept])


class Period:
    """Rates that are worked out again when their time is over.

    Args:
        rates: Answers a number for each item as of a time.
        every_ms: How long they stay good.
    """

    def __init__(self, rates: Callable[[int], Floats], every_ms: int = 300_000) -> None:
        self._rates = rates
        self._every_ms = every_ms
        self._made_for: int | None = None
        self._held: Floats = np.empty(0)

    def at(self, now_ms: int) -> Floats:
        """The rates of the period that this time lies in."""
        period = now_ms // self._every_ms
        if period != self._made_for:
            # A copy, so that whoever lists items by these rates sees by identity that they are new.
            self._held, self._made_for = np.array(self._rates(now_ms)), period
        return self._held


class Interests:
    """What is taken now in the viewer's strongest interests: interest lists first, items second.

    Args:
        interest_of: Interest code of each item, 0 to m-1; negative has none.
        rates: Orders the items of an interest.
        unseen: What is left out.
        top: How many interests a request draws from.
        smoothing: Added to every count, so that one click is not a whole taste.
    """

    name = "interests"

    def __init__(
        self, interest_of: NDArray[np.integer], rates: Rates, unseen: Unseen, top: int = 8, smoothing: float = 0.5
    ) -> None:
        self._interest_of = np.asarray(interest_of, np.int64)
        self._interests = int(self._interest_of.max(initial=-1)) + 1
        self._rates, self._unseen = rates, unseen
        self._top, self._smoothing = top, smoothing
        self._listed: Floats | None = None
        self._lists: list[Rows] = []

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """Each strong interest gives items in proportion to its weight."""
        codes = self._interest_of[user.liked_rows]
        codes = codes[codes >= 0]
        if not len(codes):
            return NOTHING
        rates = self._rates.at(request.now_ms)
        self._order(rates)
        weights = np.bincount(codes, minlength=self._interests).astype(np.float64)
        strongest = top_k(weights, self._top)
        strongest = strongest[weights[strongest] > 0]
        share = (weights[strongest] + self._smoothing) / (weights[strongest] + self._smoothing).sum()
        more = self._unseen.enough(request, user, limit)
        lists = [self._lists[one][: max(1, int(more * part))] for one, part in zip(strongest, share, strict=True)]
        rows = np.concatenate(lists)
        scores = np.repeat(np.sqrt(share), [len(one) for one in lists]) * (rates[rows] + 1e-3)
        order = best_first(scores, rows)
        return self._unseen.of(request, user, Found(rows=rows[order], scores=scores[order]), limit)

    def _order(self, rates: Floats) -> None:
        """Lists the items of every interest again when the rates are new."""
        if rates is self._listed:
            return
        order = np.lexsort((np.arange(len(rates)), -rates, self._interest_of))
        order = order[self._interest_of[order] >= 0]
        self._lists = np.split(order, np.searchsorted(self._interest_of[order], np.arange(1, self._interests)))
        self._listed = rates


class Popular:
    """What is watched now, by everybody.

    Args:
        rates: What it is ordered by; items at 0 or below are not offered.
        unseen: What is left out.
        depth: Most items of the list.
    """

    name = "popular"

    def __init__(self, rates: Rates, unseen: Unseen, depth: int = 2_000) -> None:
        self._rates, self._unseen = rates, unseen
        self._depth = depth
        self._listed: Floats | None = None
        self._without: Rows | None = None
        self._list = NOTHING

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The head of the current list."""
        rates, without = self._rates.at(request.now_ms), self._unseen.withdrawn.rows
        if rates is not self._listed or without is not self._without:
            self._order(rates, without)
            self._listed, self._without = rates, without
        more = self._unseen.enough(request, user, limit)
        return self._unseen.of(request, user, Found(self._list.rows[:more], self._list.scores[:more]), limit)

    def _order(self, rates: Floats, without: Rows) -> None:
        """Lists items again when the rates are new, or others are withdrawn: its depth is not spent on those."""
        left = rates.copy()
        left[without] = 0.0
        rows = top_k(left, self._depth)
        rows = rows[left[rows] > 0]
        self._list = Found(rows=rows, scores=rates[rows])


class Connected:
    """Items of creators the viewer chose to follow, newest first.

    Args:
        creator_of: Creator code of each item.
        created_ms: Upload time of each item.
        withdrawn: What nobody is shown; None when nothing ever is.
    """

    name = "connected"

    def __init__(
        self, creator_of: NDArray[np.integer], created_ms: NDArray[np.int64], withdrawn: Withdrawn | None = None
    ) -> None:
        self._created_ms = created_ms
        self._withdrawn = Withdrawn(len(created_ms)) if withdrawn is None else withdrawn
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
        rows = rows[(self._created_ms[rows] <= request.now_ms) & ~self._withdrawn.mask[rows]]
        order = np.lexsort((rows, -self._created_ms[rows]))[:limit]
        return Found(rows=rows[order], scores=self._created_ms[rows[order]].astype(np.float64))


class Exploration:
    """Items drawn evenly from the whole catalog, so that nothing stays unseen for ever. Fixed by the request's id.

    Args:
        catalog_size: Rows.
        seed: Fixes, with the request's id, what is drawn.
        withdrawn: What nobody is shown: for it more are drawn, up to four times as many; None when nothing ever is.
    """

    name = "exploration"

    def __init__(self, catalog_size: int, seed: int, withdrawn: Withdrawn | None = None) -> None:
        self._size = catalog_size
        self._seed = seed
        self._withdrawn = Withdrawn(catalog_size) if withdrawn is None else withdrawn

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """Some rows by chance; the same for the same request."""
        count = min(limit + min(len(self._withdrawn.rows), 3 * limit), self._size)
        draws = uniforms(self._seed, request.request_id, np.arange(count))
        drawn = (draws * self._size).astype(np.int64)
        # In the order drawn: sorted, the first of many would all be items of low numbers.
        rows = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
        rows = rows[~self._withdrawn.mask[rows]][:limit]
        return Found(rows=rows, scores=np.zeros(len(rows)))


@dataclass(frozen=True, slots=True)
class Fixed:
    """Rates that never change. Shapes: ``held[n]``."""

    held: Floats

    def at(self, now_ms: int) -> Floats:
        """The same at every time."""
        return self.held
