"""Under which keys a post is counted: its interest and fine code, entity, category, itself, its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.request import Floats, Ids, Rows
from mainstem.features.catalog import Catalog
from mainstem.features.interest_first_artefacts import Artefacts, rows_in

KINDS: Final = ("all", "place", "interest", "fine", "category", "entity", "item", "length")
"""What every shown item is counted under. A place is a surface and its scenario; it belongs to the showing, not to the post."""
ALL, PLACE, INTEREST, FINE, CATEGORY, ENTITY, ITEM, LENGTH = range(len(KINDS))
_SCENARIOS: Final = 64
_LENGTHS_S: Final = (0.001, 5, 7, 10, 14, 18, 25, 35, 50, 65, 90, 130, 200, 300)

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Posts:
    """Static facts of posts by catalog row; the last row (row -1) stands for every post that is not listed.

    Shapes:
        ``slots[rows, kinds]`` count from 0 within a kind; the last slot of a kind is the unlisted post's, save for lengths, where
        it shares the slot of unknown lengths. ``slots + first`` are keys: one number space for all kinds. ``list_order[rows]`` is
        how early a post stands in the lists it belongs to.
    """

    catalog: Catalog
    slots: Keys
    first: Keys
    sizes: Keys
    list_order: Floats
    length_s: Floats
    is_ad: Floats
    surfaces: tuple[str, ...]

    @property
    def unlisted(self) -> int:
        """The row of a post that is not listed, counted from the front."""
        return len(self.slots) - 1

    def keys(self, rows: Rows, places: Keys | int) -> Keys:
        """The keys of posts shown at places. Shapes: [n, kinds]."""
        keys = self.slots[rows] + self.first
        keys[:, PLACE] = places
        return keys

    def places(self, surface: NDArray[np.integer], scenario: NDArray[np.integer]) -> Keys:
        """The key of each (surface, scenario); a surface below 0 is one that training did not know."""
        inner = np.clip(scenario.astype(np.int64) + 1, 0, _SCENARIOS - 1)
        return self.first[PLACE] + (surface.astype(np.int64) + 1) * _SCENARIOS + inner

    def place(self, surface: str, scenario: int) -> int:
        """The key of one (surface, scenario)."""
        code = self.surfaces.index(surface) if surface in self.surfaces else -1
        return int(self.places(np.array([code]), np.array([scenario]))[0])


def posts_of(catalog: Catalog, items: pl.DataFrame, artefacts: Artefacts) -> Posts:
    """The posts of a log under a trained codebook.

    Args:
        catalog: Made of ``items``.
        items: The log's table, in the catalog's order.
        artefacts: Posts that training saw keep their codes; newer ones get theirs from their tags.
    """
    n, arrays = len(items), artefacts.arrays
    seen = rows_in(arrays["item_ids"], catalog.items.ids)
    interest, fine = _codes(items, artefacts)
    length_s = items["duration_ms"].fill_null(0).to_numpy() / 1000.0
    columns = np.zeros((n + 1, len(KINDS)), np.int64)
    columns[:n, INTEREST] = np.where(seen >= 0, arrays["interest"][seen], interest)
    columns[:n, FINE] = np.where(seen >= 0, arrays["fine"][seen], fine)
    columns[:n, CATEGORY], categories = _dense(catalog.items.category_id[:n])
    columns[:n, ENTITY], entities = _dense(catalog.items.entity_id[:n])
    columns[:n, ITEM] = np.arange(n)
    columns[:n, LENGTH] = np.searchsorted(np.array(_LENGTHS_S), length_s, side="right")
    interests, fines = artefacts.interests, artefacts.interests * len(arrays["fine_centres"])
    columns[n, INTEREST : ITEM + 1] = interests, fines, categories, entities, n
    places = (len(artefacts.surfaces) + 1) * _SCENARIOS
    sizes = np.array([1, places, *(columns[n, INTEREST : ITEM + 1] + 1).tolist(), len(_LENGTHS_S) + 1])
    return Posts(
        catalog=catalog,
        slots=columns,
        first=np.cumsum(sizes) - sizes,
        sizes=sizes,
        list_order=np.where(seen >= 0, arrays["list_order"][seen], 0.0),
        length_s=np.append(length_s, 0.0),
        is_ad=np.append((items["kind"].fill_null("") == "AD").to_numpy(), False).astype(np.float64),
        surfaces=artefacts.surfaces,
    )


def entity_neighbours(posts: Posts, artefacts: Artefacts) -> NDArray[np.int64]:
    """The entity slots nearest to each entity slot, nearest first; -1 where there are fewer, or the entity was not trained on.

    Shapes: [entity slots, 10].
    """
    held = np.unique(posts.catalog.items.entity_id[:-1])
    slot = rows_in(held, artefacts.arrays["entity_ids"])
    trained = artefacts.arrays["near_entities"]
    near = np.full((len(held) + 1, trained.shape[1]), -1)
    known = slot >= 0
    near[slot[known]] = np.where(trained >= 0, slot[trained], -1)[known]
    return near


def _codes(items: pl.DataFrame, artefacts: Artefacts) -> tuple[Keys, Keys]:
    """Interest and fine code of every post by its tags alone: two nearest centres, the second for what the first leaves over."""
    coarse, fine = artefacts.arrays["coarse_centres"], artefacts.arrays["fine_centres"]
    vectors = _tag_vectors(items, artefacts)
    interest = _nearest(vectors, coarse)
    return interest, interest * len(fine) + _nearest(vectors - coarse[interest], fine)


def _tag_vectors(items: pl.DataFrame, artefacts: Artefacts) -> Floats:
    """The sum of a post's tag vectors at unit length; a post without a known tag is the origin."""
    pairs = items.select(row=pl.int_range(pl.len()), tag="tags").explode("tag").drop_nulls()
    tag = rows_in(artefacts.arrays["tags"], pairs["tag"].cast(pl.Int64).to_numpy())
    total = np.zeros((len(items), artefacts.arrays["coarse_centres"].shape[1]))
    np.add.at(total, pairs["row"].to_numpy()[tag >= 0], artefacts.arrays["tag_vectors"][tag[tag >= 0]])
    return total / np.maximum(np.sqrt((total * total).sum(axis=1, keepdims=True)), 1e-12)


def _nearest(vectors: Floats, centres: Floats) -> Keys:
    """Which centre is nearest, to nine decimals so that a tie is one everywhere; the first of equals."""
    return np.round((centres * centres).sum(axis=1) - 2.0 * (vectors @ centres.T), 9).argmin(axis=1)


def _dense(ids: Ids | NDArray[np.int32]) -> tuple[Keys, int]:
    values, slot = np.unique(ids, return_inverse=True)
    return slot, len(values)
