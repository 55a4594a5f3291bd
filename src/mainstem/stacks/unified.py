"""The unified stack: the list of its parts."""

from __future__ import annotations

import numpy as np

from mainstem.base.heads import PREDICTIONS
from mainstem.base.settings import Settings, Surface
from mainstem.control.filters import Filter, Integrity, Originals, Seen
from mainstem.control.slate import SlateRules, SurfaceControl
from mainstem.features.catalog import Catalog
from mainstem.features.unified_state import FeatureState
from mainstem.ranking.model import Model
from mainstem.retrieval.clusters import interest_clusters
from mainstem.retrieval.follows import Follows
from mainstem.retrieval.sources import Connected, Exploration, Interests, ItemToItem, Popular
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.ranker import CalibratedRanker
from mainstem.stacks.stage import Source, Stack
from mainstem.stacks.viewer import LiveFeatures, SeenByViewer
from mainstem.value.expression import Expression, SurfaceValues

QUOTAS = {"item_to_item": 400, "interests": 400, "popular": 300, "connected": 100, "exploration": 50}
"""Most candidates each source offers when a surface does not say."""

INTERESTS = 64
"""Clusters of item vectors that stand for interests."""


def unified(catalog: Catalog, model: Model, state: FeatureState, settings: Settings, now_ms: int) -> Stack:
    """The unified stack over a catalog, a trained model and the behavioural state as it is now.

    ``state`` is moved by feedback from here on; item lists that do not depend on the viewer are made from it as of ``now_ms``.
    """
    surfaces, names = settings.served(), tuple(settings.served())
    follows = Follows(catalog)
    features = LiveFeatures(state, follows, names)
    state.finish(now_ms)
    sources = _sources(catalog, features, settings.seed, now_ms)
    return Stack(
        name="unified",
        catalog=catalog,
        sources=sources,
        union=RankFusion(tuple(one.name for one in sources), {name: one.candidates for name, one in surfaces.items()}),
        features=features,
        ranker=CalibratedRanker(model.network(catalog), model.calibrators(), names),
        value=SurfaceValues(
            {name: Expression(one.value, PREDICTIONS, f"surfaces.{name}.value") for name, one in surfaces.items()},
            PREDICTIONS,
        ),
        control=_control(catalog, surfaces, [one.name for one in sources], settings.seed),
        memories=(features, follows),
        quotas={name: {**QUOTAS, **one.sources} for name, one in surfaces.items()},
        rank={name: one.rank for name, one in surfaces.items()},
        surfaces=names,
    )


def _sources(catalog: Catalog, features: LiveFeatures, seed: int, now_ms: int) -> tuple[Source, ...]:
    vectors = features.state.statics.on(catalog)[0][:-1]
    quality = features.state.item_quality(now_ms)
    return (
        ItemToItem(vectors),
        Interests(interest_clusters(vectors, INTERESTS, seed), quality),
        Popular(lambda now_ms: features.state.item_quality(now_ms)),
        Connected(catalog.items.creator[:-1], catalog.items.created_ms[:-1]),
        Exploration(len(catalog.items), seed),
    )


def _control(catalog: Catalog, surfaces: dict[str, Surface], sources: list[str], seed: int) -> SurfaceControl:
    items = catalog.items
    filters: dict[str, tuple[Filter, ...]] = {}
    slates = {}
    for name, surface in surfaces.items():
        rules = surface.rules
        filters[name] = (
            Integrity(items.integrity, closed=rules.integrity == "closed"),
            *([Seen(SeenByViewer(), last=rules.seen, catalog_size=len(items))] if rules.seen else []),
            *([Originals(items.canonical_row)] if rules.originals else []),
        )
        quotas = tuple((sources.index(source), least) for source, least in rules.quotas.items() if source in sources)
        slates[name] = SlateRules(rules.creator_cap, quotas, rules.variety, rules.exploration_share)
    return SurfaceControl(filters, slates, np.asarray(items.creator), np.asarray(items.category), seed)
