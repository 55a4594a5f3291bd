"""A platform of 100,000 made items with a network of about 385,000 parameters: random weights rank as fast as learned ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from mainstem.base.clock import SetClock
from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.base.settings import Settings, parse_settings
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.statics import SCENARIO_SLOTS, Rates, Statics
from mainstem.features.unified import UNIFIED
from mainstem.features.unified_state import FeatureState
from mainstem.ranking.model import Model
from mainstem.ranking.network import EXPERTS, STATIC_DIM
from mainstem.stacks.follow import Follower
from mainstem.stacks.live import Live, popular_rows
from mainstem.stacks.stage import Stack
from mainstem.stacks.unified import unified
from mainstem.store.event_log import EventLog

ITEMS = 100_000
USERS = 5_000
EVENTS = 250_000
VECTOR_DIM = 64
HIDDEN = 736
EXPERT = 72
"""About 386,000 parameters; 188,000 products a candidate remain once the user side and the items' static side are computed."""
NOW_MS = 1_650_812_741_436
DAY_MS = 86_400_000
SLATE = 50
SURFACES = ("feed", "groups", "pages")

SETTINGS = """
[serve]
token = "bench"
queue_limit = 128
request_budget_ms = 2000
shadow_share = 0.0
[surfaces.base]
count = 50
candidates = 1000
rank = 500
[surfaces.base.sources]
item_to_item = 500
interests = 400
popular = 300
connected = 100
exploration = 50
[surfaces.feed]
extends = "base"
[surfaces.groups]
extends = "base"
[surfaces.pages]
extends = "base"
rank = 1000
"""


def settings() -> Settings:
    """Feed ranks 500 of 1,000 candidates, pages all 1,000."""
    return parse_settings(SETTINGS, "benchmark")


def made_catalog(random: np.random.Generator) -> Catalog:
    creators = random.integers(1, 8_000, ITEMS)
    items = pl.DataFrame(
        {
            "item_id": np.arange(1, ITEMS + 1) * 7,
            "canonical_id": np.arange(1, ITEMS + 1) * 7,
            "creator_id": creators,
            "entity_id": creators,
            "created_ms": NOW_MS - random.integers(0, 30 * DAY_MS, ITEMS),
            "duration_ms": random.integers(3_000, 240_000, ITEMS),
            "kind": np.where(random.random(ITEMS) < 0.05, "AD", "NORMAL"),
            "category": random.integers(0, 60, ITEMS).astype(np.int32),
            "integrity": np.zeros(ITEMS, np.int8),
        }
    )
    users = pl.DataFrame({"user_id": np.arange(1, USERS + 1), "activity": ["full_active"] * USERS})
    return Catalog.from_tables(items, users)


def made_vectors(random: np.random.Generator, count: int, clusters: int = 200) -> np.ndarray:
    """Unit vectors around centres, so that neighbourhoods exist, as in learned ones."""
    centres = random.standard_normal((clusters, VECTOR_DIM))
    vectors = centres[random.integers(0, clusters, count)] + 0.6 * random.standard_normal((count, VECTOR_DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def made_events(random: np.random.Generator, catalog: Catalog) -> FeedbackBatch:
    outcomes = (random.random((EVENTS, len(HEADS))) < [0.4, 0.03, 0.01, 0.01, 0.01, 0.002, 0.3]).astype(np.int8)
    time_ms = np.sort(NOW_MS - random.integers(0, 3 * DAY_MS, EVENTS))
    return FeedbackBatch(
        user_id=random.integers(1, USERS + 1, EVENTS),
        item_id=catalog.items.ids[(ITEMS * random.random(EVENTS) ** 2).astype(np.int64)],
        surface=random.integers(0, 3, EVENTS).astype(np.int8),
        scenario=random.integers(0, 8, EVENTS).astype(np.int16),
        time_ms=time_ms,
        outcomes=outcomes,
        viewed=np.ones(EVENTS, np.int8),
        watch_s=random.random(EVENTS).astype(np.float32) * 40,
        duration_s=np.full(EVENTS, 30, np.float32),
    )


def made_model(random: np.random.Generator, catalog: Catalog, events: FeedbackBatch) -> Model:
    content_dim = catalog.items.content.shape[1]
    statics = Statics(
        rates=Rates.fit(events),
        item_ids=catalog.items.ids,
        vectors=np.concatenate([made_vectors(random, ITEMS), np.zeros((1, VECTOR_DIM), np.float32)]),
        lift=np.ones(ITEMS + 1, np.float32),
        from_content=random.standard_normal((content_dim, VECTOR_DIM)).astype(np.float32),
    )
    assert statics.rates.by_scenario.shape[0] == SCENARIO_SLOTS
    categories = np.unique(catalog.items.category_id[:-1])
    shapes = {
        "user_in": (len(UNIFIED.columns_of("user")), HIDDEN),
        "user_bias": (HIDDEN,),
        "item_in": (len(UNIFIED.columns_of("item")), HIDDEN),
        "cross_in": (len(UNIFIED.columns_of("cross")), HIDDEN),
        "static_in": (STATIC_DIM, HIDDEN),
        "vector_in": (VECTOR_DIM, HIDDEN),
        "id_in": (ITEMS + 1, HIDDEN),
        "category_in": (len(categories) + 1, HIDDEN),
        "expert_w": (HIDDEN, EXPERTS * EXPERT),
        "expert_b": (EXPERTS * EXPERT,),
        "gate_w": (len(UNIFIED.columns_of("user")), EXPERTS),
        "gate_b": (EXPERTS,),
        "head_w": (EXPERT, len(PREDICTIONS)),
        "head_user_w": (len(UNIFIED.columns_of("user")), len(PREDICTIONS)),
        "head_b": (len(PREDICTIONS),),
        "moment_in": (len(UNIFIED.columns_of("user")), 16),
        "moment_bias": (16,),
        "moment_out": (16,),
        "head_item_w": (len(UNIFIED.columns_of("item")), len(PREDICTIONS)),
    }
    weights = {
        name: (random.standard_normal(shape, np.float32) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in shapes.items()
    }
    weights["head_b"][:] = -2.0
    return Model(weights, statics, np.sort(catalog.items.ids), categories, {}, {})


def made_stack(seed: int = 7) -> tuple[Stack, FeatureState, Model]:
    random = np.random.default_rng(seed)
    catalog = made_catalog(random)
    events = made_events(random, catalog)
    model = made_model(random, catalog, events)
    state = FeatureState(catalog, model.statics)
    for start in range(0, EVENTS, 20_000):
        state.apply(events.take(slice(start, start + 20_000)))
    stack = unified(catalog, model, state, settings(), NOW_MS)
    for memory in stack.memories[1:]:
        memory.apply(events)
    return stack, state, model


def made_live(folder: Path, seed: int = 7) -> Live:
    stack, _, _ = made_stack(seed)
    log = EventLog(folder / "events.sqlite")
    fallback = popular_rows(np.arange(ITEMS), np.ones(ITEMS, bool))
    return Live(stack, settings(), SetClock(NOW_MS), log, Follower(log, stack, SURFACES), fallback)
