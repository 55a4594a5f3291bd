"""The unified stack: the list of its parts."""

from __future__ import annotations

import numpy as np

from mainstem.base.heads import PREDICTIONS
from mainstem.base.settings import Settings, Surface
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.filters import Filter, Gone, Integrity, Originals, Seen
from mainstem.control.slate import SlateRules, SurfaceControl
from mainstem.features.catalog import Catalog
from mainstem.features.unified_state import FeatureState
from mainstem.ranking.model import Model
from mainstem.retrieval.follows import Follows
from mainstem.retrieval.trained import Retrieval
from mainstem.stacks.neutral import CONNECTED, Connection, surface_values
from mainstem.stacks.ranker import CalibratedRanker
from mainstem.stacks.retrieving import QUOTAS, sources_of, union_of
from mainstem.stacks.stage import Stack
from mainstem.stacks.viewer import LiveFeatures, SeenByViewer
from mainstem.value.expression import SurfaceValues


def unified(
    catalog: Catalog,
    model: Model,
    state: FeatureState,
    settings: Settings,
    now_ms: int,
    retrieval: Retrieval | None = None,
) -> Stack:
    """The unified stack over a catalog, trained models and the behavioural state as it is now.

    ``state`` is moved by feedback from here on. Without ``retrieval`` the sources that were never learned are missing and
    candidates are joined by reciprocal rank.
    """
    surfaces, names = settings.served(), tuple(settings.served())
    follows = Follows(catalog)
    features = LiveFeatures(state, follows, names)
    state.finish(now_ms)
    withdrawn = Withdrawn(len(catalog.items))
    sources = sources_of(catalog, features, settings, retrieval, withdrawn)
    return Stack(
        name="unified",
        catalog=catalog,
        sources=sources,
        union=union_of(sources, surfaces, retrieval),
        features=features,
        ranker=CalibratedRanker(model.network(catalog), model.calibrators(), names),
        value=SurfaceValues(
            surface_values(settings), PREDICTIONS, {CONNECTED: Connection(np.asarray(catalog.items.creator))}
        ),
        control=_control(catalog, surfaces, [one.name for one in sources], settings.seed, withdrawn),
        memories=(features, follows),
        quotas={name: {**QUOTAS, **one.sources} for name, one in surfaces.items()},
        rank={name: one.rank for name, one in surfaces.items()},
        surfaces=names,
        withdrawn=withdrawn,
    )


def _control(
    catalog: Catalog, surfaces: dict[str, Surface], sources: list[str], seed: int, withdrawn: Withdrawn
) -> SurfaceControl:
    items = catalog.items
    filters: dict[str, tuple[Filter, ...]] = {}
    slates = {}
    for name, surface in surfaces.items():
        rules = surface.rules
        filters[name] = (
            Gone(withdrawn),
            Integrity(items.integrity, closed=rules.integrity == "closed"),
            *([Seen(SeenByViewer(), last=rules.seen, catalog_size=len(items))] if rules.seen else []),
            *([Originals(items.canonical_row)] if rules.originals else []),
        )
        quotas = tuple((sources.index(source), least) for source, least in rules.quotas.items() if source in sources)
        slates[name] = SlateRules(rules.creator_cap, quotas, rules.variety, rules.exploration_share)
    return SurfaceControl(filters, slates, np.asarray(items.creator), np.asarray(items.category), seed)
