"""The unified stack: the list of its parts."""

from __future__ import annotations

import numpy as np

from mainstem.base.heads import PREDICTIONS
from mainstem.base.settings import Settings
from mainstem.base.withdrawn import Withdrawn
from mainstem.features.catalog import Catalog
from mainstem.features.unified_state import FeatureState
from mainstem.ranking.model import Model
from mainstem.retrieval.follows import Follows
from mainstem.retrieval.trained import Retrieval
from mainstem.stacks.controlling import control_of
from mainstem.stacks.neutral import CONNECTED, Connection, surface_values
from mainstem.stacks.ranker import CalibratedRanker
from mainstem.stacks.retrieving import QUOTAS, sources_of, union_of
from mainstem.stacks.rule_chain import ControlFiles
from mainstem.stacks.stage import Stack
from mainstem.stacks.viewer import LiveFeatures
from mainstem.value.expression import SurfaceValues


def unified(
    catalog: Catalog,
    model: Model,
    state: FeatureState,
    settings: Settings,
    now_ms: int,
    retrieval: Retrieval | None = None,
    files: ControlFiles | None = None,
) -> Stack:
    """The unified stack over a catalog, trained models and the behavioural state as it is now.

    ``state`` is moved by feedback from here on. Without ``retrieval`` the sources that were never learned are missing and
    candidates are joined by reciprocal rank. Without ``files`` nothing is remembered of what it serves.
    """
    surfaces, names = settings.served(), tuple(settings.served())
    follows = Follows(catalog)
    features = LiveFeatures(state, follows, names)
    state.finish(now_ms)
    withdrawn = Withdrawn(len(catalog.items))
    sources = sources_of(catalog, features, settings, retrieval, withdrawn)
    control, chain = control_of(catalog, settings, [one.name for one in sources], withdrawn, files)
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
        control=control,
        memories=(features, follows),
        quotas={name: {**QUOTAS, **one.sources} for name, one in surfaces.items()},
        rank={name: one.rank for name, one in surfaces.items()},
        surfaces=names,
        withdrawn=withdrawn,
        guards=chain.guards,
        claims=chain.memory,
        blocking=chain.blocking,
    )
