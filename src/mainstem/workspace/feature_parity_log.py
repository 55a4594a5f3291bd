"""The engine's configurations on a workspace's log, and the requests they are asked: one entry each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.data.log import Log
from mainstem.features.catalog import Catalog
from mainstem.features.content_first import CONTENT_FIRST
from mainstem.features.content_first_acts import KEPT_ACTIONS
from mainstem.features.content_first_items import ContentItems, with_originals
from mainstem.features.content_first_state import content_events
from mainstem.features.content_first_tables import content_tables
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.interest_first import INTEREST_FIRST
from mainstem.features.interest_first_artefacts import read_artefacts
from mainstem.features.interest_first_posts import INTEREST, posts_of
from mainstem.features.interest_first_tables import interest_first_tables
from mainstem.features.statics import Rates, Statics
from mainstem.features.steps import Arrays
from mainstem.features.unified_state import FeatureState
from mainstem.features.unified_tables import unified_tables
from mainstem.parity.features.configuration import Asked, Configuration
from mainstem.parity.features.unified_door import UnifiedDoor
from mainstem.ranking.model import load_statics
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import Workspace

Ints = NDArray[np.int64]
CANDIDATES: Final = 24
"""Candidates of a replayed request; the first of them was shown."""
LOGGED: Final = 3
"""Candidates of it whose values are written down."""
FAILED_SHARE: Final = 0.01
"""Of replayed requests find the viewer's lookup failed."""
STRANGE_SHARE: Final = 0.01
"""Of other candidates, and of viewers, are ones nobody has heard of."""
_STRANGER: Final = 2**62
_UNTIL: Final = 99_999_999


@dataclass(frozen=True, slots=True)
class Pack:
    """A log as configurations read it.

    Attributes:
        past: Outcomes without times, oldest first.
        timed: Outcomes of the impressions, by time.
        surfaces: The names whose position is a surface's code.
    """

    workspace: Workspace
    log: Log
    past: FeedbackBatch
    timed: FeedbackBatch
    surfaces: tuple[str, ...]

    @classmethod
    def of(cls, workspace: Workspace, log: Log) -> Pack:
        """The pack of a workspace's log."""
        surfaces = tuple(workspace.settings.served())
        shown = log.impressions.sort("time_ms", maintain_order=True)
        past, timed = FeedbackBatch.from_history(log.history), FeedbackBatch.from_frame(shown, surfaces)
        return cls(workspace, log, past, timed, surfaces)


def unified(pack: Pack) -> Configuration:
    """The unified stack with the features of the workspace."""
    statics = load_statics(pack.workspace.unified_model)
    catalog = Catalog.from_tables(pack.log.items, pack.log.users)
    if statics is None:
        # Without a model the constants are learned here: parity is a question about features, whatever model reads them.
        statics = Statics.fit(catalog, pack.past, Rates.fit(pack.past.then(pack.timed)))
    events = Events.from_feedback(pack.past.then(pack.timed), 0)
    features, learned = feature_set(pack.workspace), statics
    own = attribute_tables(pack.workspace)
    tables = unified_tables(catalog, statics) | own

    def door() -> UnifiedDoor:
        return UnifiedDoor(FeatureState(catalog, learned, features, own))

    return Configuration("unified", features, tables, {"feedback": events}, door=door)


def content_first(pack: Pack) -> Configuration:
    """The content-first program's features; they need no artefacts."""
    table = with_originals(pack.log.items)
    catalog = Catalog.from_tables(table, pack.log.users)
    items = ContentItems.of(table, catalog)
    past = content_events(pack.past, 0, past=True, studied=True, acts=_last_of_each(pack.past.user_id, KEPT_ACTIONS))
    timed = content_events(pack.timed, len(past))
    first_day = len(pack.timed) // 3  # what profiles were made of; later impressions came while it served
    timed.columns["studied"][:first_day] = 1  # type: ignore[index]
    return Configuration(
        "content-first",
        CONTENT_FIRST,
        content_tables(items, pack.log.users),
        {"feedback": _joined(past, timed)},
        candidate=("cross", "item"),
        dtype=np.float64,
        nobody={},
    )


def interest_first(pack: Pack) -> Configuration | None:
    """The interest-first program's features; None where its training has not run in this workspace."""
    folder = pack.workspace.legacy_model("interest-first")
    if not (folder / "model.npz").is_file():
        return None
    trained = read_artefacts(folder)
    items = pack.log.items.sort("item_id")
    catalog = Catalog.from_tables(items, pack.log.users)
    posts = posts_of(catalog, items, trained)
    codes = {name: code for code, name in enumerate(dict.fromkeys((*pack.surfaces, *trained.plans)))}
    cohorts = {name: row for row, name in enumerate(trained.arrays["cohorts"].tolist())}
    activity = pack.log.users["activity"].fill_null("").to_list()
    cohort_of = np.array([*(cohorts.get(name, 0) for name in activity), 0])
    history = pack.log.history.drop_nulls(["user_id", "item_id", "back", "time_ms"])
    history = history.sort(["user_id", "back"], descending=[False, True], maintain_order=True)
    feedback = FeedbackBatch.from_frame(history, pack.surfaces).then(pack.timed)
    events = Events.from_feedback(feedback, 0)
    days = pack.log.impressions.sort("time_ms", maintain_order=True)["day"].to_numpy()
    logged = np.concatenate([np.ones(history.height, np.int64), (days < trained.until).astype(np.int64)])

    def topics(ids: Ints) -> Arrays:
        rows = catalog.item_rows(ids.reshape(-1)).reshape(ids.shape)
        return {"topic": posts.slots[rows, INTEREST].astype(np.int64)}

    return Configuration(
        "interest-first",
        INTEREST_FIRST,
        interest_first_tables(posts, trained, cohort_of, codes, trained.until),
        {"feedback": Events(events.offset, {**events.columns, "logged": logged})},
        user=(),
        of_candidates=topics,
        nobody={"history_id": -1},
    )


CONFIGURATIONS: Final[Mapping[str, Callable[[Pack], Configuration | None]]] = {
    "unified": unified,
    "content-first": content_first,
    "interest-first": interest_first,
}
"""Every configuration whose features are verified. What it needs and does not find makes it None."""


def named(stack: str) -> tuple[str, ...]:
    """The configurations a person asked for; all for an empty name.

    Raises:
        FeatureError: There is none of this name (``parity-070``).
    """
    if stack and stack not in CONFIGURATIONS:
        raise FeatureError(
            f"no configuration is called {stack!r}", code="parity-070", hint=did_you_mean(stack, CONFIGURATIONS)
        )
    return (stack,) if stack else tuple(CONFIGURATIONS)


def asked_of(pack: Pack, configuration: Configuration, requests: int, seed: int) -> Asked:
    """Logged requests, drawn evenly over the log; each with what was shown and further candidates.

    Raises:
        FeatureError: The log has no impression (``parity-071``).
    """
    n = len(pack.timed)
    if not n:
        raise FeatureError(
            "the log has no impression, so there is no request to replay",
            code="parity-071",
            hint="mainstem data describe",
        )
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.choice(n, min(requests, n), replace=False))
    size = len(rows)
    feedback = pack.timed.take(rows)
    candidates = draw.choice(pack.log.items["item_id"].to_numpy().astype(np.int64), (size, CANDIDATES))
    candidates[draw.random((size, CANDIDATES)) < STRANGE_SHARE] = _STRANGER
    candidates[:, 0] = feedback.item_id
    user_id = np.where(draw.random(size) < STRANGE_SHARE, _STRANGER, feedback.user_id)
    ids = pack.log.impressions.sort("time_ms", maintain_order=True)["request_id"].to_numpy()[rows].astype(np.int64)
    context = {
        "user_id": user_id,
        "history_id": user_id,
        "surface": feedback.surface.astype(np.int64),
        "scenario": feedback.scenario.astype(np.int64),
    }
    first = sum(len(one) for one in configuration.streams.values()) - n
    unique = np.unique(ids, return_index=True)[1]
    asked = Asked(
        ids,
        feedback.time_ms,
        context,
        candidates,
        np.full(size, LOGGED),
        draw.random(size) < FAILED_SHARE,
        first + rows,
    )
    return asked.take(np.sort(unique))


def _joined(one: Events, other: Events) -> Events:
    columns = {name: np.concatenate([array, other.columns[name]]) for name, array in one.columns.items()}
    return Events(np.concatenate([one.offset, other.offset]), columns)


def _last_of_each(user: Ints, most: int) -> NDArray[np.bool_]:
    """Which events are among their user's last ones."""
    by_user = np.argsort(user, kind="stable")
    grouped = user[by_user]
    out = np.zeros(len(user), np.bool_)
    out[by_user] = np.searchsorted(grouped, grouped, side="right") - np.arange(len(user)) <= most
    return out


def days_of(log: Log) -> list[int]:
    """The days of a log (yyyymmdd)."""
    return sorted(log.impressions.select(pl.col("day").unique())["day"].to_list())
