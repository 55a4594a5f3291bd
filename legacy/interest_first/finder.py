"""The four sources: interests first, then posts out of their lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .catalogue import CATEGORY, ENTITY, FINE, INTEREST, Catalogue, Lists, build_lists
from .chance import draw
from .plans import Plan
from .viewer import Viewer

SOURCES = ("top_interests", "explicit_topics", "entity_to_entity", "exploration")
TOP, EXPLICIT, ENTITIES, EXPLORE = (1 << at for at in range(4))
TOPICS = 10  # so many joined categories, joined entities and touched entities are followed
_INTEREST_DRAW = -1_000_000  # interests draw with numbers far from items (>= 0) and slots (-1, -2, ...)


@dataclass(frozen=True, slots=True)
class Pool:
    """What was fetched: catalogue rows, ascending, and a bit for every source that brought each."""

    rows: np.ndarray
    sources: np.ndarray

    def names(self, at: int) -> list[str]:
        """The sources of one candidate."""
        return [name for bit, name in enumerate(SOURCES) if self.sources[at] >> bit & 1]


class Finder:
    """Fetches candidates. Reads state, changes none."""

    def __init__(self, catalogue: Catalogue, list_order: np.ndarray, near_entities: np.ndarray, seed: int) -> None:
        self._catalogue, self._near, self._seed = catalogue, near_entities, seed
        self._interest, self._fine, self._category, self._entity = (
            build_lists(catalogue, relation, list_order) for relation in (INTEREST, FINE, CATEGORY, ENTITY)
        )
        filled = np.diff(self._interest.starts)[: catalogue.interests] > 0
        self._filled = np.flatnonzero(filled)

    def fetch(self, viewer: Viewer | None, shares: np.ndarray, plan: Plan, request_id: int) -> Pool:
        """The candidates of a request: every source fills its declared quota, and a post keeps all its sources.

        Args:
            viewer: The user's memory, or None.
            shares: [interests + 1] P(interest | user).
            plan: Declares the quotas.
            request_id: Fixes the explored interest.
        """
        quota = [
            int(plan.fetch * share)
            for share in (
                plan.share_top_interests, plan.share_explicit_topics, plan.share_entity_to_entity, plan.share_exploration
            )
        ]  # fmt: skip
        explored = self._unfamiliar(viewer, shares, request_id)
        found = (
            self._top_interests(viewer, shares, plan.top_interests, quota[0]),
            self._explicit_topics(viewer, quota[1]),
            self._entity_to_entity(viewer, quota[2]),
            self._interest.of(explored, quota[3]) if explored >= 0 else np.zeros(0, dtype=np.int64),
        )
        rows, at = np.unique(np.concatenate(found), return_inverse=True)
        sources = np.zeros(len(rows), dtype=np.int64)
        np.bitwise_or.at(sources, at, np.repeat([1 << bit for bit in range(4)], [len(part) for part in found]))
        return Pool(rows, sources)

    def _top_interests(self, viewer: Viewer | None, shares: np.ndarray, count: int, quota: int) -> np.ndarray:
        order = self._filled[np.argsort(-np.round(shares[self._filled], 9), kind="stable")][:count]
        weight = shares[order] / shares[order].sum()
        want = np.floor(quota * weight).astype(np.int64)
        want[: quota - int(want.sum())] += 1
        liked = self._liked_fine(viewer)
        parts = []
        for interest, few in zip(order.tolist(), want.tolist(), strict=True):
            coarse = self._interest.of(interest, few)
            if interest in liked:  # half of an interest's share comes from the corner of it that the user touched most
                coarse = _first(np.concatenate([self._fine.of(liked[interest], few // 2), coarse]), few)
            parts.append(coarse)
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def _liked_fine(self, viewer: Viewer | None) -> dict[int, int]:
        """For every interest the user touched, the fine code touched most; the lower code wins a tie."""
        if viewer is None:
            return {}
        offsets = self._catalogue.offsets
        keys = viewer.past.keys[: viewer.used][viewer.past.depth[: viewer.used] > 0]
        fine, touches = np.unique(keys[:, FINE] - offsets[FINE], return_counts=True)
        unlisted = int(self._catalogue.sizes[FINE]) - 1
        width = unlisted // self._catalogue.interests
        order = np.lexsort((-fine, touches))  # later ones win: more touches, then the lower code
        return {code // width: code for code in fine[order].tolist() if code != unlisted}

    def _explicit_topics(self, viewer: Viewer | None, quota: int) -> np.ndarray:
        if viewer is None:
            return np.zeros(0, dtype=np.int64)
        keys = viewer.past.keys[: viewer.used][viewer.past.joined[: viewer.used]][::-1]
        lists: list[tuple[Lists, int]] = [(self._entity, slot) for slot in self._recent(keys, ENTITY)]
        lists += [(self._category, slot) for slot in self._recent(keys, CATEGORY)]
        each = -(-quota // max(len(lists), 1))
        parts = [index.of(slot, each) for index, slot in lists]
        return _first(np.concatenate(parts), quota) if parts else np.zeros(0, dtype=np.int64)

    def _entity_to_entity(self, viewer: Viewer | None, quota: int) -> np.ndarray:
        if viewer is None:
            return np.zeros(0, dtype=np.int64)
        keys = viewer.past.keys[: viewer.used][viewer.past.depth[: viewer.used] > 0][::-1]
        touched = self._recent(keys, ENTITY)
        near = self._near[touched].T.ravel()  # the nearest of each first, then the second of each
        near = _first(near[near >= 0], len(near)).tolist()
        each = max(1, -(-quota // max(len(near), 1)))
        parts = [self._entity.of(slot, each) for slot in near]
        return _first(np.concatenate(parts), quota) if parts else np.zeros(0, dtype=np.int64)

    def _recent(self, keys: np.ndarray, relation: int) -> list[int]:
        """The last few distinct slots of a relation, newest first, the unlisted slot left out."""
        slots = keys[:, relation] - self._catalogue.offsets[relation]
        slots = slots[slots < self._catalogue.sizes[relation] - 1]
        return _first(slots, TOPICS).tolist()

    def _unfamiliar(self, viewer: Viewer | None, shares: np.ndarray, request_id: int) -> int:
        """One interest the user was never shown, drawn; when there is none, one of the least likely quarter."""
        strange = self._filled
        if viewer is not None:
            shown = viewer.past.keys[: viewer.used, INTEREST] - self._catalogue.offsets[INTEREST]
            strange = self._filled[~np.isin(self._filled, shown)]
        if not len(strange):
            strange = self._filled[np.argsort(np.round(shares[self._filled], 9), kind="stable")]
            strange = strange[: max(1, len(strange) // 4)]
        lots = [(draw(self._seed, request_id, _INTEREST_DRAW - one), one) for one in strange.tolist()]
        return min(lots)[1] if lots else -1


def _first(values: np.ndarray, count: int) -> np.ndarray:
    """The first distinct values, in order."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)][:count]
