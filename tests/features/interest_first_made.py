"""A made interest-first program: posts, plans and learned arrays without a training, and a log of served posts."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import polars as pl
from feature_log import DAY_MS, START_MS, Tables

from mainstem.base.heads import HEADS
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.interest_first_artefacts import Artefacts
from mainstem.features.interest_first_plan import SOURCES, read_plan
from mainstem.features.interest_first_posts import Posts, posts_of
from mainstem.features.interest_first_reader import InterestFirstReader

UNTIL = 20220425
UNTIL_MS = 1_650_844_800_000
"""The first moment of that day by UTC."""
INTERESTS = 4
SURFACES = ("feed", "groups", "pages")
_DIALS = (
    *("fetch", "top_interests", "prior_strength", "interest_power", "item_power", "fatigue_interest", "fatigue_entity"),
    *("fatigue_half_life_h", "cooldown_h", "portfolio_bonus", "debt_weight", "debt_decay", "explore_share", "max_run"),
    *("quota_interests", "quota_share", *(f"share_{source}" for source in SOURCES)),
)


def made_program(tables: Tables, until: int = UNTIL) -> tuple[Posts, Artefacts, np.ndarray]:
    """Posts, artefacts and the cohort of each user row. The last items are not in the codebook, the first surface has no row."""
    draw, items = np.random.default_rng(4), tables.items.sort("item_id")
    seen = items["item_id"].to_numpy()[:-5]
    shares = draw.dirichlet(np.ones(INTERESTS + 1), 3)
    arrays = {
        "surfaces": np.array(["groups", "pages"]),
        "cohorts": np.array(["full_active", "low_active"]),
        "cohort_interest": draw.uniform(0.1, 3.0, (2, INTERESTS + 1)),
        "cohort_signals": draw.normal(size=(2, 77)),
        "prior": shares,
        "item_ids": seen,
        "interest": draw.integers(0, INTERESTS, len(seen)),
        "fine": draw.integers(0, 2 * INTERESTS, len(seen)),
        "list_order": draw.random(len(seen)),
        "coarse_centres": draw.normal(size=(INTERESTS, 3)),
        "fine_centres": draw.normal(size=(2, 3)),
        "tags": np.arange(4),
        "tag_vectors": draw.normal(size=(4, 3)),
    }
    plans = {name: read_plan(name, {name: dict.fromkeys(_DIALS, 2.0 + at)}) for at, name in enumerate(SURFACES)}
    artefacts = Artefacts(MappingProxyType(arrays), MappingProxyType(plans), until, 7)
    catalog = Catalog.from_tables(items, tables.users)
    cohorts = np.append(np.arange(len(tables.users)) % 2, 0)
    return posts_of(catalog, items, artefacts), artefacts, cohorts


def made_reader(tables: Tables, log: FeedbackBatch | None = None, until: int = UNTIL) -> InterestFirstReader:
    posts, artefacts, cohorts = made_program(tables, until)
    return InterestFirstReader(posts, artefacts, cohorts, log or FeedbackBatch.empty(), until, SURFACES)


def served(rows: list[dict[str, int]]) -> FeedbackBatch:
    """Served posts by hand; what is left out is 0, and of the time START_MS."""
    nothing = {"surface": "feed", "scenario": 1, "viewed": 1, "time_ms": START_MS} | dict.fromkeys(HEADS, 0)
    return FeedbackBatch.from_frame(pl.DataFrame([nothing | row for row in rows]), SURFACES)


def made_stream(tables: Tables, seed: int = 0) -> FeedbackBatch:
    """The small log's impressions with what is awkward: late ones, strangers, unknown posts, one heavy user."""
    draw, frame = np.random.default_rng(seed), tables.impressions
    n = frame.height
    late = np.where(draw.random(n) < 0.1, draw.integers(0, 5 * DAY_MS, n), 0)
    strange = draw.random(n) < 0.05
    return FeedbackBatch.from_frame(
        frame.with_columns(
            time_ms=pl.col("time_ms") - pl.Series(late),
            user_id=pl.when(pl.Series(draw.random(n) < 0.6)).then(7).otherwise(pl.col("user_id")),
            item_id=pl.when(pl.Series(strange)).then(10**9).otherwise(pl.col("item_id")),
        ),
        SURFACES,
    )
