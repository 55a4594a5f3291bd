"""The interest-first program as a configuration of the engine: the list of its parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.heads import SURFACES
from mainstem.control.interest_first_rules import InterestFirstControl
from mainstem.data.log import Log
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.interest_first_artefacts import Artefacts, read_artefacts
from mainstem.features.interest_first_plan import SOURCES
from mainstem.features.interest_first_posts import Posts, entity_neighbours, posts_of
from mainstem.features.interest_first_reader import InterestFirstReader
from mainstem.ranking.interest_first_network import InterestTimesItem
from mainstem.retrieval.interest_first_sources import EntityToEntity, ExplicitTopics, TopInterests, Unfamiliar
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.stage import Stack
from mainstem.value.interest_first_worth import TiredProduct


def interest_first(artefacts: Path, log: Log, until: int | None = None, surfaces: tuple[str, ...] = SURFACES) -> Stack:
    """The interest-first stack on what its program's training left in a folder.

    Args:
        artefacts: The folder that ``train`` of the legacy program wrote.
        log: What happened before ``until`` becomes the stack's memory.
        until: The first day (yyyymmdd) not read; None is the day training stopped at.
        surfaces: The names whose position is a surface's code in feedback.

    Raises:
        ModelError: The folder holds no model of the program (``model-010``, ``model-011``).
    """
    trained = read_artefacts(artefacts)
    items = log.items.sort("item_id")  # rows in the order of ids, so that ties of rows are ties of ids
    catalog = Catalog.from_tables(items, log.users)
    posts = posts_of(catalog, items, trained)
    first = until or trained.until
    past = _past(log, first, surfaces)
    reader = InterestFirstReader(posts, trained, _cohorts(log.users, trained), past, first, surfaces)
    return Stack(
        name="interest-first",
        catalog=catalog,
        sources=_sources(posts, trained),
        union=RankFusion(SOURCES, {name: sum(plan.sources.values()) for name, plan in trained.plans.items()}),
        features=reader,
        ranker=InterestTimesItem(posts, trained.arrays),
        value=TiredProduct(posts),
        control=InterestFirstControl(posts, SOURCES.index("exploration"), trained.seed),
        memories=(reader,),
        quotas={name: dict(plan.sources) for name, plan in trained.plans.items()},
        decimals=9,
        surfaces=tuple(trained.plans),
    )


def _sources(posts: Posts, trained: Artefacts) -> tuple[TopInterests, ExplicitTopics, EntityToEntity, Unfamiliar]:
    """In the order of ``SOURCES``."""
    near = entity_neighbours(posts, trained)
    return TopInterests(posts), ExplicitTopics(posts), EntityToEntity(posts, near), Unfamiliar(posts, trained.seed)


def _past(log: Log, until: int, surfaces: tuple[str, ...]) -> FeedbackBatch:
    """The history with its upper bounds as times, as the program reads it, then the impressions before a day."""
    history = log.history.drop_nulls(["user_id", "item_id", "back", "time_ms"])
    history = history.sort(["user_id", "back"], descending=[False, True], maintain_order=True)
    impressions = log.impressions.filter(pl.col("day") < until).sort("time_ms", maintain_order=True)
    return FeedbackBatch.from_frame(history, surfaces).then(FeedbackBatch.from_frame(impressions, surfaces))


def _cohorts(users: pl.DataFrame, trained: Artefacts) -> NDArray[np.int64]:
    """The cohort row of each user; 0 for a cohort that training did not meet, and in the last row for unknown users."""
    rows = {name: row for row, name in enumerate(trained.arrays["cohorts"].tolist())}
    return np.array([*(rows.get(name, 0) for name in users["activity"].fill_null("").to_list()), 0])
