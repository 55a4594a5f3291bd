"""The content-first program as a configuration of the one engine: the list of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from mainstem.base.heads import PREDICTIONS
from mainstem.control.content_first_rules import Caps, HardCaps
from mainstem.data.log import Log
from mainstem.features.catalog import Catalog
from mainstem.features.content_first_inputs import NAMES, ContentReader
from mainstem.features.content_first_items import ContentItems, with_originals
from mainstem.features.content_first_state import ContentState
from mainstem.features.feedback import FeedbackBatch
from mainstem.ranking.content_first_networks import SurfaceNetworks, read_content_model
from mainstem.retrieval.content_first_sources import FreshTrending, LikeRecentItems, TwoTower
from mainstem.retrieval.sources import Connected
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.stage import Source, Stack
from mainstem.value.content_first_value import WeightedSum

SOURCES: Final = ("item_to_item", "content_two_tower", "fresh_trending", "connected_new")


def content_first(artefacts: Path, log: Log, until: int | None = None) -> Stack:
    """The content-first stack as it is after the log's days before ``until``.

    Args:
        artefacts: The folder that the content-first program trained: ``model.npz``, ``about.json``, ``flags.json``.
        log: The log it was trained on.
        until: First day (yyyymmdd) that it must not know; None takes the model's own.
    """
    model = read_content_model(artefacts, NAMES)
    flags: dict[str, Any] = msgspec.json.decode((artefacts / "flags.json").read_bytes())
    surfaces: tuple[str, ...] = tuple(flags["surfaces"])
    table = with_originals(log.items)
    catalog = Catalog.from_tables(table, log.users)
    items = ContentItems.of(table, catalog)
    logged = _logged(log, until or model.until_day)
    state = ContentState(items, log.users, FeedbackBatch.from_history(log.history), logged, catalog)
    reader = ContentReader(state)
    quotas = {surface: {name: flags[f"{surface}.quota.{name}"] for name in SOURCES} for surface in surfaces}
    return Stack(
        name="content-first",
        catalog=catalog,
        sources=_sources(items, state, model.tower),
        union=RankFusion(SOURCES, {surface: sum(quota.values()) for surface, quota in quotas.items()}),
        features=reader,
        ranker=SurfaceNetworks(model),
        value=WeightedSum(
            {surface: np.array([flags[f"{surface}.w.{head}"] for head in PREDICTIONS]) for surface in surfaces},
            {surface: flags[f"{surface}.unconnected_factor"] for surface in surfaces},
        ),
        control=HardCaps({surface: _caps(flags, surface) for surface in surfaces}, items),
        memories=(reader,),
        quotas=quotas,
        decimals=9,
        surfaces=surfaces,
    )


def _sources(items: ContentItems, state: ContentState, tower: np.ndarray) -> tuple[Source, ...]:
    creators = np.full(len(items.ids), -1)
    creators[items.offered] = items.creator[items.offered]
    connected = Connected(creators, items.created_ms[:-1])
    connected.name = SOURCES[3]
    return (
        LikeRecentItems(items.vectors, items.offered),
        TwoTower(items.vectors, items.offered, tower),
        FreshTrending(items.created_ms, items.offered, state.day_views),
        connected,
    )


def _caps(flags: dict[str, Any], surface: str) -> Caps:
    names = ("creator_cap", "creator_window", "duplicate_cosine", "max_age_h", "unconnected_factor")
    return Caps(*(flags[f"{surface}.{name}"] for name in names))


def _logged(log: Log, until: int | None) -> FeedbackBatch:
    shown = log.impressions if until is None else log.impressions.filter(pl.col("day") < until)
    return FeedbackBatch.from_frame(shown.sort("time_ms", "request_id", "position", maintain_order=True))
