"""What is there to show: topics, creators, pages, groups and items, with the qualities a log never tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.data.world.facts import FACTS
from mainstem.data.world.settings import DAY_MS, WorldSettings

TOPICS: Final = 24
LEAVES_PER_TOPIC: Final = 4
LEAVES: Final = TOPICS * LEAVES_PER_TOPIC
WIDTH: Final = 16
"""Length of a topic vector."""

FIRST_ITEM_ID: Final = 1_000_000
FIRST_CREATOR_ID: Final = 20_000_000
FIRST_PLACE_ID: Final = 30_000_000
"""Pages and groups have ids from here; each fine topic has both (see ``is_group``)."""

SUBTAG_BASE: Final = 100
"""Tag of a leaf is this plus its number; tag of a topic is its number plus 1."""

_LOG_DURATION_SD = float(np.log(FACTS["duration_p90_s"].value / FACTS["duration_p50_s"].value) / 1.2816)
_APPEAL_SD = 2.30  # a lognormal of this spread gives the top 1 % of items 44 % of exposures once interests dilute it


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every item of a world, one array entry an item, ordered by upload time.

    Attributes ending in nothing special are what the log shows; ``quality``, ``clickbait``, ``appeal``, ``violating``, ``bridge``,
    ``leaf`` and ``closeness`` are the truth behind it.

    Shapes:
        closeness: [items, leaves], how near the item's topic vector is to each fine topic, 0 to 1.
        vectors: [items, 16], unit length.
    """

    item_ids: NDArray[np.int64]
    canonical: NDArray[np.int64]
    creator_ids: NDArray[np.int64]
    entity_ids: NDArray[np.int64]
    created_ms: NDArray[np.int64]
    duration_s: NDArray[np.float64]
    tag_count: NDArray[np.int8]
    audio_ids: NDArray[np.int64]
    is_ad: NDArray[np.bool_]
    leaf: NDArray[np.int16]
    quality: NDArray[np.float64]
    clickbait: NDArray[np.float64]
    appeal: NDArray[np.float64]
    violating: NDArray[np.bool_]
    checked: NDArray[np.bool_]
    bridge: NDArray[np.bool_]
    vectors: NDArray[np.float32]
    closeness: NDArray[np.float32]
    place_leaf: NDArray[np.int16]

    @property
    def topic(self) -> NDArray[np.int16]:
        """The broad topic of each item."""
        return (self.leaf // LEAVES_PER_TOPIC).astype(np.int16)


def is_group(entity_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these entities are groups (the others are pages or creators)?"""
    row = entity_ids - FIRST_PLACE_ID
    return (row >= 0) & (row // LEAVES % 2 == 1)


def is_page(entity_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these entities are pages?"""
    row = entity_ids - FIRST_PLACE_ID
    return (row >= 0) & (row // LEAVES % 2 == 0)


def make_catalogue(settings: WorldSettings) -> Catalogue:
    """Which items exist in this world?"""
    rng = np.random.default_rng([settings.seed, 1])
    count = settings.items
    leaf_vectors = _leaf_vectors(rng)
    creators, places = max(count // 12, 8), max(count // 40, 2 * LEAVES)
    creator_leaf = rng.integers(0, LEAVES, creators)
    place_leaf = np.resize(rng.permutation(LEAVES), places).astype(np.int16)
    creator = _heavy_choice(rng, creators, count)
    leaf = np.where(rng.random(count) < 0.7, creator_leaf[creator], rng.integers(0, LEAVES, count))
    creator_quality = rng.normal(0, 0.6, creators)
    quality = 0.8 * rng.normal(size=count) + creator_quality[creator]
    clickbait = rng.normal(size=count)
    appeal = np.exp(_APPEAL_SD * (0.45 * quality + 0.25 * clickbait + 0.857 * rng.normal(size=count)))
    violating = rng.random(count) < 0.012
    checked = rng.random(count) >= np.where(violating, 0.10, 0.02)
    bridge = rng.random(count) < 0.08
    appeal = appeal * np.where(violating, 0.3, 1.0)
    # Nobody promotes a bridge item: its appeal is small whatever its quality, so that no trend finds it.
    appeal = np.where(bridge, 0.05 * np.exp(0.3 * rng.normal(size=count)), appeal)
    vectors = _near(rng, leaf_vectors[leaf], 0.45)
    origin = _reposts(rng, count, ~(bridge | violating))
    is_copy = origin != np.arange(count)
    closeness = np.maximum(vectors @ leaf_vectors.T, 0.0) ** 2
    duration_s = FACTS["duration_p50_s"].value * np.exp(_LOG_DURATION_SD * rng.normal(size=count))
    return Catalogue(
        item_ids=FIRST_ITEM_ID + np.arange(count, dtype=np.int64),
        canonical=FIRST_ITEM_ID + origin,
        creator_ids=FIRST_CREATOR_ID + creator,
        entity_ids=_entities(rng, creator, leaf, place_leaf),
        created_ms=_upload_times(rng, settings),
        duration_s=np.clip(duration_s, 1.0, 7200.0)[origin],
        tag_count=_tag_counts(rng, count)[origin],
        audio_ids=np.where(rng.random(count) < 0.025, -1, 40_000_000 + rng.integers(0, max(count // 6, 2), count))[
            origin
        ],
        is_ad=(rng.random(count) < 0.002)[origin],
        leaf=leaf[origin].astype(np.int16),
        quality=quality[origin],
        clickbait=clickbait[origin],
        appeal=np.where(is_copy, 0.5 * appeal[origin] + 0.5 * appeal, appeal),
        violating=violating[origin],
        checked=checked,
        bridge=bridge[origin],
        vectors=vectors[origin],
        closeness=closeness[origin].astype(np.float32),
        place_leaf=place_leaf,
    )


def _leaf_vectors(rng: np.random.Generator) -> NDArray[np.float32]:
    """A unit vector for each fine topic, near its broad topic."""
    broad = np.repeat(_unit(rng.normal(size=(TOPICS, WIDTH))), LEAVES_PER_TOPIC, axis=0)
    return _near(rng, broad.astype(np.float32), 0.5)


def _near(rng: np.random.Generator, centre: NDArray[np.float32], spread: float) -> NDArray[np.float32]:
    return _unit(centre + spread * _unit(rng.normal(size=centre.shape))).astype(np.float32)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _heavy_choice(rng: np.random.Generator, choices: int, count: int) -> NDArray[np.int64]:
    """Creators post unequally: a few make much of what there is."""
    weight = np.exp(rng.normal(size=choices))
    return rng.choice(choices, size=count, p=weight / weight.sum()).astype(np.int64)


def _reposts(rng: np.random.Generator, count: int, may: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The row each item was copied from (itself for most): always an earlier upload that is itself an original."""
    rows = np.arange(count)
    copies = (rng.random(count) < 0.06) & may & (rows > count // 10)
    source = (rng.random(count) * rows).astype(np.int64)
    valid = copies & ~copies[source] & may[source]
    return np.where(valid, source, rows).astype(np.int64)


def _entities(
    rng: np.random.Generator, creator: NDArray[np.int64], leaf: NDArray[np.int64], place_leaf: NDArray[np.int16]
) -> NDArray[np.int64]:
    """Half the items stand under their creator, half in a page or group of their fine topic."""
    order = np.argsort(place_leaf, kind="stable")
    starts = np.searchsorted(place_leaf[order], np.arange(LEAVES + 1))
    room = (starts[leaf + 1] - starts[leaf]).astype(np.float64)
    place = order[starts[leaf] + (rng.random(len(leaf)) * room).astype(np.int64)]
    return np.where(rng.random(len(leaf)) < 0.5, FIRST_CREATOR_ID + creator, FIRST_PLACE_ID + place).astype(np.int64)


def _upload_times(rng: np.random.Generator, settings: WorldSettings) -> NDArray[np.int64]:
    """Two in a hundred items are uploaded each day of the log, the rest over the sixty days before; ascending."""
    fresh = min(int(0.02 * settings.days * settings.items), settings.items // 2)
    before = settings.start_ms - 60 * DAY_MS
    old = rng.integers(before, settings.start_ms, settings.items - fresh)
    new = rng.integers(settings.start_ms, settings.end_ms, fresh)
    return np.sort(np.concatenate([old, new])).astype(np.int64)


def _tag_counts(rng: np.random.Generator, count: int) -> NDArray[np.int8]:
    """0, 1 or 2 tags (27K video_basic_tag_count_distribution; three and more are rare and left out)."""
    return np.digitize(rng.random(count), [FACTS["items_without_tags"].value, 0.761]).astype(np.int8)
