"""Where candidates come from: four sources over one flat index, each with its declared quota."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from content_first import memory as m
from content_first.catalogue import Items
from content_first.flags import SOURCE_NAMES
from content_first.memory import Memory

Rows = NDArray[np.intp]
SEEDS = 10
FRESH_UPLOAD_H = 48
SIMILARITY_DECIMALS = 5


@dataclass(frozen=True, slots=True)
class Found:
    """Candidate rows in the order they came, and for each the sources that named it (one bit a source)."""

    rows: Rows
    sources: NDArray[np.int64]

    def names(self, place: int) -> list[str]:
        """The sources that named the candidate at this place."""
        return [name for bit, name in enumerate(SOURCE_NAMES) if self.sources[place] >> bit & 1]


def find_candidates(
    memory: Memory, items: Items, tower: NDArray[np.float64], user: int, quotas: dict[str, int], now_ms: int
) -> Found:
    """Which items are worth scoring for this user? Each source fills its own quota; the same item counts once."""
    finders = {
        "item_to_item": lambda n: like_recent_items(memory, items, user, n),
        "content_two_tower": lambda n: like_the_user(memory, items, tower, user, n),
        "fresh_trending": lambda n: fresh_and_trending(memory, items, now_ms, n),
        "connected_new": lambda n: new_from_followed(memory, items, user, now_ms, n),
    }
    found = [finders[name](quotas[name]) if quotas[name] > 0 else np.zeros(0, dtype=np.intp) for name in SOURCE_NAMES]
    every = np.concatenate(found)
    bits = np.repeat(1 << np.arange(len(found)), [len(rows) for rows in found])
    rows, first, inverse = np.unique(every, return_index=True, return_inverse=True)
    merged = np.zeros(len(rows), dtype=np.int64)
    np.bitwise_or.at(merged, inverse, bits)
    order = np.argsort(first, kind="stable")
    return Found(rows[order], merged[order])


def recent_engaged(memory: Memory, user: int, count: int) -> Rows:
    """The newest different items this user enjoyed."""
    ring, actions = memory.user_ring[user], int(memory.user_counts[user, m.ACTIONS])
    order = (actions - 1 - np.arange(m.ACTIONS_KEPT)) % m.ACTIONS_KEPT
    liked = [int(ring[m.RING_ITEM, k]) for k in order if ring[m.RING_DID, k] & m.ENGAGED]
    return np.array(list(dict.fromkeys(row for row in liked if row))[:count], dtype=np.intp)


def like_recent_items(memory: Memory, items: Items, user: int, count: int) -> Rows:
    """Item to item: what resembles any of the last items they enjoyed most?"""
    seeds = recent_engaged(memory, user, SEEDS)
    if not len(seeds):
        return np.zeros(0, dtype=np.intp)
    return _best((items.vectors @ items.vectors[seeds].T).max(axis=1), count)


def like_the_user(memory: Memory, items: Items, tower: NDArray[np.float64], user: int, count: int) -> Rows:
    """Two towers: which items lie nearest to where this user's taste points?"""
    taste = memory.user_taste[user, 0]
    if not taste.any():
        return np.zeros(0, dtype=np.intp)
    return _best(items.vectors @ (taste / np.linalg.norm(taste) @ tower), count)


def fresh_and_trending(memory: Memory, items: Items, now_ms: int, count: int) -> Rows:
    """Half of the quota for uploads of the last two days, newest first; the rest for the most viewed in 24 UTC hours."""
    age_ms = now_ms - items.created_ms
    new = np.flatnonzero((age_ms >= 0) & (age_ms < FRESH_UPLOAD_H * m.HOUR_MS) & (np.arange(len(age_ms)) > 0))
    new = new[np.argsort(age_ms[new], kind="stable")][: count // 2]
    hours = memory.item_hours
    age_h = now_ms // m.HOUR_MS - hours[:, :, 0]
    views = (hours[:, :, 1] * ((age_h >= 0) & (age_h < 24))).sum(axis=1)
    busy = np.flatnonzero(views > 0)
    busy = busy[np.argsort(-views[busy], kind="stable")]
    busy = busy[~np.isin(busy, new)][: count - len(new)]
    return np.concatenate([new, busy]).astype(np.intp)


def new_from_followed(memory: Memory, items: Items, user: int, now_ms: int, count: int) -> Rows:
    """The newest uploads of the creators this user followed."""
    rows = [row for creator in sorted(memory.follows.get(user, ())) for row in items.rows_of_creator[creator]]
    there = np.array([row for row in rows if items.created_ms[row] <= now_ms], dtype=np.intp)
    return there[np.lexsort((there, -items.created_ms[there]))][:count]


def _best(similarity: NDArray[np.float64], count: int) -> Rows:
    """The nearest rows, best first; equals by ascending item id. Row 0 is nobody."""
    rounded = np.round(similarity, SIMILARITY_DECIMALS)
    rounded[0] = -np.inf
    count = min(count, len(rounded) - 1)
    if count <= 0:
        return np.zeros(0, dtype=np.intp)
    edge = np.partition(rounded, -count)[-count]
    near = np.flatnonzero(rounded >= edge)
    return near[np.argsort(-rounded[near], kind="stable")][:count]
