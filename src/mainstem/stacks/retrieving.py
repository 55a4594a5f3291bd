"""The unified stack's sources and their union: what offers candidates, how many each may offer, and how they are joined."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import numpy as np

from mainstem.base.request import Floats
from mainstem.base.settings import Settings, Surface
from mainstem.base.withdrawn import Withdrawn
from mainstem.features.catalog import Catalog
from mainstem.retrieval.clusters import interest_clusters
from mainstem.retrieval.index import vector_index
from mainstem.retrieval.learned_sources import Encoded, Fresh, ItemToItem, NextItems
from mainstem.retrieval.sources import Connected, Exploration, Interests, Period, Popular, Unseen
from mainstem.retrieval.trained import Retrieval
from mainstem.retrieval.union import RankFusion, TableFusion
from mainstem.stacks.stage import Source
from mainstem.stacks.viewer import LiveFeatures

LOG = logging.getLogger("mainstem.retrieval")

QUOTAS: Final = {
    "next_item": 400,
    "encoder": 300,
    "item_to_item": 300,
    "interests": 300,
    "popular": 300,
    "connected": 100,
    "fresh": 50,
    "exploration": 50,
}
"""Most candidates each source offers when a surface does not say."""

RESERVED: Final = {"fresh": 15, "exploration": 15}
"""So many of a source's first candidates are ranked whatever the union makes of them: nobody has asked for them yet."""

INTERESTS: Final = 64
"""Clusters of item vectors that stand for interests."""

LASTING: Final = 1e-3
"""What an event of long ago counts beside one of the last three days: enough to order what nobody took lately."""


class Demand:
    """How much each item is taken now, and how often it was ever shown, from the behavioural state.

    Args:
        features: Where the state lies; another state may take its place while serving.
    """

    def __init__(self, features: LiveFeatures) -> None:
        self._features = features

    def lately(self, now_ms: int) -> Floats:
        """Long views of the last three days beyond what their scenarios lead to expect, and a trace of all earlier ones."""
        count, lift, ever, lift_ever = self._features.state.item_values(
            ("item_count_72h", "item_lift_72h", "item_count", "item_lift_long_view"), now_ms
        ).T
        return np.expm1(count) * np.exp(lift) + LASTING * np.expm1(ever) * np.exp(lift_ever)

    def shown(self, now_ms: int) -> Floats:
        """Impressions of each item, ever."""
        return np.expm1(self._features.state.item_values(("item_count",), now_ms)[:, 0])


def sources_of(
    catalog: Catalog,
    features: LiveFeatures,
    settings: Settings,
    retrieval: Retrieval | None,
    withdrawn: Withdrawn | None = None,
) -> tuple[Source, ...]:
    """Every source the workspace's models allow, in the order in which traces and slates name them."""
    items = catalog.items
    vectors = np.ascontiguousarray(features.state.statics.on(catalog)[0][:-1], np.float32)
    unseen = Unseen(len(items), {name: one.rules.seen for name, one in settings.served().items()}, withdrawn)
    demand = Demand(features)
    lately = Period(demand.lately)
    near = ItemToItem(vectors, vector_index(vectors, seed=settings.seed), unseen)
    return (
        *_learned(catalog, unseen, retrieval),
        near,
        Interests(interest_clusters(vectors, INTERESTS, settings.seed), lately, unseen),
        Popular(lately, unseen),
        Connected(items.creator[:-1], items.created_ms[:-1], withdrawn),
        Fresh(vectors, Period(demand.shown), items.created_ms[:-1], near.query, unseen),
        Exploration(len(items), settings.seed, withdrawn),
    )


def _learned(catalog: Catalog, unseen: Unseen, retrieval: Retrieval | None) -> list[Source]:
    """The sources that need a trained retrieval; what is missing is said once."""
    if retrieval is None:
        LOG.warning("no trained retrieval: the source next_item is missing; `mainstem train` makes it")
        return []
    found: list[Source] = []
    if retrieval.followers.shape[1]:
        found.append(NextItems(*retrieval.on(catalog), unseen))
    if retrieval.encoder is not None:
        place = retrieval.places(catalog)
        rows = np.flatnonzero(place >= 0)
        index = vector_index(retrieval.encoder.keys[place[rows]], rows)
        found.append(Encoded(retrieval.encoder, index, place, unseen))
    return found


def union_of(sources: tuple[Source, ...], surfaces: Mapping[str, Surface], retrieval: Retrieval | None) -> TableFusion:
    """Joins by fitted curves where every source has one, by reciprocal rank otherwise."""
    names = tuple(one.name for one in sources)
    candidates = {name: one.candidates for name, one in surfaces.items()}
    curves = None if retrieval is None else retrieval.curves
    tables = [] if curves is None else [one for one in map(curves.of, names) if one is not None]
    if len(tables) < len(names):
        return RankFusion(names, candidates)
    reserved = {at: RESERVED[name] for at, name in enumerate(names) if name in RESERVED}
    return TableFusion(tuple(tables), candidates, reserved, {name: one.rank for name, one in surfaces.items()})
