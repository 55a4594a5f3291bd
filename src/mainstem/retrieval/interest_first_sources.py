"""Where interest-first finds candidates: interests first, then posts out of their lists."""

from __future__ import annotations

from typing import Final

import numpy as np

from mainstem.base.request import NOTHING, Floats, Found, Request, Rows
from mainstem.base.seeds import uniforms
from mainstem.features.interest_first_posts import CATEGORY, ENTITY, FINE, INTEREST, Posts
from mainstem.features.interest_first_reader import Viewer

_TOPICS: Final = 10
"""So many of the latest entities and categories are followed."""
_DRAWS_FROM: Final = -1_000_000
"""Interests draw with numbers below this one; items draw with their ids, slots with -1, -2, and so on."""


class Lists:
    """The posts of each slot of a kind, best first; equals by ascending id, which is the order of rows."""

    def __init__(self, posts: Posts, kind: int) -> None:
        slots = posts.slots[:-1, kind]
        self._rows = np.lexsort((posts.catalog.items.ids, -posts.list_order, slots))
        self._ends = np.cumsum(np.bincount(slots, minlength=int(posts.sizes[kind])))
        self._sizes = np.diff(self._ends, prepend=0)

    def head(self, slot: int, most: int) -> Rows:
        """The first posts of a slot."""
        start = int(self._ends[slot] - self._sizes[slot])
        return self._rows[start : start + min(most, int(self._sizes[slot]))]

    def filled(self) -> Rows:
        """The slots that have posts, the unlisted one left out."""
        return np.flatnonzero(self._sizes[:-1])


class TopInterests:
    """The interests the viewer likes most, each with places by its weight.

    Half of an interest's places go to the corner of it (its fine code) that the viewer touched most.
    """

    name = "top_interests"

    def __init__(self, posts: Posts) -> None:
        self._posts, self._coarse, self._fine = posts, Lists(posts, INTEREST), Lists(posts, FINE)
        self._filled = self._coarse.filled()
        self._fines = (int(posts.sizes[FINE]) - 1) // (int(posts.sizes[INTEREST]) - 1)

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """Each interest gives its places' worth of posts; what rounding leaves over goes to the strongest."""
        by_share = np.argsort(-np.round(user.shares[self._filled], 9), kind="stable")
        chosen = self._filled[by_share][: user.plan.top_interests]
        if not len(chosen):
            return NOTHING
        weight = user.shares[chosen] / user.shares[chosen].sum()
        places = np.floor(limit * weight).astype(np.int64)
        places[: limit - places.sum()] += 1
        corners = self._corners(user)
        parts = [self._fill(one, most, corners) for one, most in zip(chosen.tolist(), places.tolist(), strict=True)]
        return Found(np.concatenate(parts), np.repeat(weight, [len(part) for part in parts]))

    def _fill(self, interest: int, most: int, corners: dict[int, int]) -> Rows:
        whole = self._coarse.head(interest, most)
        if interest not in corners:
            return whole
        return _distinct(np.concatenate([self._fine.head(corners[interest], most // 2), whole]), most)

    def _corners(self, user: Viewer) -> dict[int, int]:
        """The fine code touched most of each interest that was touched at all; the lower code of equals."""
        if user.past is None:
            return {}
        touched = user.past.slots(FINE, user.past.depth > 0)
        codes, times = np.unique(touched[touched < self._posts.sizes[FINE] - 1], return_counts=True)
        best_last = np.lexsort((-codes, times))
        return {code // self._fines: code for code in codes[best_last].tolist()}


class ExplicitTopics:
    """Posts of the entities and categories whose posts the viewer lately liked, followed, commented on or forwarded."""

    name = "explicit_topics"

    def __init__(self, posts: Posts) -> None:
        self._posts, self._lists = posts, {kind: Lists(posts, kind) for kind in (ENTITY, CATEGORY)}

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """Every topic gives the same share: entities first, the latest first."""
        if user.past is None:
            return NOTHING
        joined = user.past.joined
        topics = [
            (lists, slot)
            for kind, lists in self._lists.items()
            for slot in _latest(self._posts, kind, user.past.slots(kind, joined)).tolist()
        ]
        return _shared_out(topics, limit)


class EntityToEntity:
    """Posts of entities touched by the same people as those the viewer touched lately.

    Args:
        near: The nearest entity slots of each entity slot, nearest first; -1 is none.
    """

    name = "entity_to_entity"

    def __init__(self, posts: Posts, near: Rows) -> None:
        self._posts, self._near, self._lists = posts, near, Lists(posts, ENTITY)

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The nearest of every touched entity first, then the second nearest of each, and so on."""
        if user.past is None:
            return NOTHING
        touched = user.past.slots(ENTITY, user.past.depth > 0)
        near = self._near[_latest(self._posts, ENTITY, touched)].ravel(order="F")
        near = near[near >= 0]
        return _shared_out([(self._lists, slot) for slot in _distinct(near, len(near)).tolist()], limit)


class Unfamiliar:
    """One interest by chance that the viewer was never shown; when there is none, one of the least likely quarter."""

    name = "exploration"

    def __init__(self, posts: Posts, seed: int) -> None:
        self._posts, self._seed, self._lists = posts, seed, Lists(posts, INTEREST)
        self._filled = self._lists.filled()

    def retrieve(self, request: Request, user: Viewer, limit: int) -> Found:
        """The head of that interest's list; the same for the same request."""
        strange = self._filled
        if user.past is not None:
            strange = strange[~np.isin(strange, user.past.slots(INTEREST))]
        if not len(strange):
            unlikely = self._filled[np.argsort(np.round(user.shares[self._filled], 9), kind="stable")]
            strange = np.sort(unlikely[: max(1, len(unlikely) // 4)])
        if not len(strange):
            return NOTHING
        lots = uniforms(self._seed, request.request_id, _DRAWS_FROM - strange.astype(np.int64))
        return _scored(self._lists.head(int(strange[lots.argmin()]), limit))


def _shared_out(topics: list[tuple[Lists, int]], limit: int) -> Found:
    """The heads of some lists, each as long as an even share of the places, one list after the other; every post once."""
    if not topics:
        return NOTHING
    each = max(1, -(-limit // len(topics)))
    return _scored(_distinct(np.concatenate([lists.head(slot, each) for lists, slot in topics]), limit))


def _scored(rows: Rows) -> Found:
    """Rows with a score that says no more than their order."""
    scores: Floats = 1.0 / (1.0 + np.arange(len(rows)))
    return Found(rows, scores)


def _latest(posts: Posts, kind: int, slots: Rows) -> Rows:
    """The last few different slots, newest first, the unlisted one left out."""
    return _distinct(slots[slots < posts.sizes[kind] - 1][::-1], _TOPICS)


def _distinct(values: Rows, most: int) -> Rows:
    """The first different values, in their order."""
    first = np.unique(values, return_index=True)[1]
    return values[np.sort(first)[:most]]
