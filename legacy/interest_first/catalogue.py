"""The posts as the stack holds them: keys that memory counts under, and inverted lists to fetch from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .folder import Items

RELATIONS = ("all", "place", "interest", "fine", "category", "entity", "item", "length")
"""What every shown item is counted under, for the user and for everybody. `place` is (surface, scenario)."""
ALL, PLACE, INTEREST, FINE, CATEGORY, ENTITY, ITEM, LENGTH = range(8)
SCENARIOS = 64
LENGTH_EDGES_S = np.array([0.001, 5, 7, 10, 14, 18, 25, 35, 50, 65, 90, 130, 200, 300])
DEBIAS = 0.3  # a list is ordered by touch rate over popularity to this power


@dataclass(frozen=True, slots=True)
class Lists:
    """Inverted lists of one relation: the posts of a slot, best first."""

    starts: np.ndarray
    rows: np.ndarray

    def of(self, slot: int, limit: int) -> np.ndarray:
        """The first posts of one list."""
        start = self.starts[slot]
        return self.rows[start : min(self.starts[slot + 1], start + limit)]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Columns by row (ascending item id); the last row stands for every post that is not listed."""

    items: Items
    row_of: dict[int, int]
    slots: np.ndarray
    """[rows, relations] slot inside each relation; `all` and `place` are 0 here."""
    keys: np.ndarray
    """[rows, relations] slot plus the relation's offset: one number space for every count."""
    offsets: np.ndarray
    sizes: np.ndarray
    surfaces: tuple[str, ...]
    created_ms: np.ndarray
    duration_s: np.ndarray
    is_ad: np.ndarray
    integrity: np.ndarray
    item_ids: np.ndarray
    """By row, with -1 for what is not listed."""

    @property
    def unlisted(self) -> int:
        """The row of a post that is not listed."""
        return len(self.items.item_id)

    @property
    def interests(self) -> int:
        """How many interests there are, the one of unlisted posts left out."""
        return int(self.sizes[INTEREST]) - 1

    def rows(self, item_ids: list[int]) -> np.ndarray:
        """The row of each item id."""
        row_of, unlisted = self.row_of, self.unlisted
        return np.array([row_of.get(item, unlisted) for item in item_ids], dtype=np.int64)

    def rows_of(self, item_ids: np.ndarray) -> np.ndarray:
        """`rows` for a long array."""
        row = np.minimum(np.searchsorted(self.items.item_id, item_ids), max(self.unlisted - 1, 0))
        return np.where(self.item_ids[row] == item_ids, row, self.unlisted)

    def place_key(self, surface: str, scenario: int) -> int:
        """The key of (surface, scenario)."""
        at = self.surfaces.index(surface) + 1 if surface in self.surfaces else 0
        return int(self.offsets[PLACE]) + at * SCENARIOS + min(max(scenario + 1, 0), SCENARIOS - 1)

    def place_keys(self, surface: np.ndarray, scenario: np.ndarray) -> np.ndarray:
        """`place_key` for a long array."""
        at = sum((surface == name) * place for place, name in enumerate(self.surfaces, start=1))
        return self.offsets[PLACE] + at * SCENARIOS + np.clip(scenario + 1, 0, SCENARIOS - 1)


def _padded(column: np.ndarray, last: float) -> np.ndarray:
    return np.append(column, np.array(last, dtype=column.dtype))


def build_catalogue(
    items: Items, interest: np.ndarray, fine: np.ndarray, shape: tuple[int, int], surfaces: tuple[str, ...]
) -> Catalogue:
    """The catalogue of a folder's posts, coded with (interests, fine codes an interest) = `shape`."""
    count = len(items.item_id)
    categories, category = np.unique(items.category, return_inverse=True)
    entities, entity = np.unique(items.entity_id, return_inverse=True)
    length = np.searchsorted(LENGTH_EDGES_S, items.duration_ms / 1000.0, side="right")
    unlisted = 1  # every relation of posts has one slot more
    coded = (shape[0] + unlisted, shape[0] * shape[1] + unlisted, len(categories) + unlisted)
    places = (len(surfaces) + 1) * SCENARIOS
    sizes = np.array([1, places, *coded, len(entities) + unlisted, count + unlisted, len(LENGTH_EDGES_S) + 1])
    slots = np.zeros((count + 1, len(RELATIONS)), dtype=np.int64)
    for relation, column in (
        (INTEREST, interest), (FINE, fine), (CATEGORY, category), (ENTITY, entity), (ITEM, np.arange(count)),
    ):  # fmt: skip
        slots[:count, relation] = column
        slots[count, relation] = sizes[relation] - 1
    slots[:count, LENGTH] = length
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return Catalogue(
        items=items,
        row_of={int(item): row for row, item in enumerate(items.item_id)},
        slots=slots,
        keys=slots + offsets,
        offsets=offsets,
        sizes=sizes,
        surfaces=surfaces,
        created_ms=_padded(items.created_ms, 0),
        duration_s=_padded(items.duration_ms / 1000.0, 0.0),
        is_ad=_padded(items.is_ad, 0),
        integrity=_padded(items.integrity, -1),
        item_ids=_padded(items.item_id, -1),
    )


def list_order(depth: np.ndarray, served: np.ndarray) -> np.ndarray:
    """How early each post stands in its lists: its touch rate, with what mere popularity lends it taken off."""
    rate = (depth + 2.0) / (served + 8.0)
    return np.round(rate / (served + 10.0) ** DEBIAS, 9)


def build_lists(catalogue: Catalogue, relation: int, order: np.ndarray) -> Lists:
    """The inverted lists of one relation; equal orders by ascending item id."""
    slot = catalogue.slots[:-1, relation]
    rows = np.lexsort((catalogue.items.item_id, -order, slot))
    starts = np.searchsorted(slot[rows], np.arange(catalogue.sizes[relation] + 1))
    return Lists(starts, rows)
