"""A declared join of a list and candidates: what the same sum over every pair says, live and back-filled."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import FeatureError
from mainstem.features.attributes import dense
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.events import Events
from mainstem.features.language.aggregate import Latest
from mainstem.features.language.feature import Attribute, Context, Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.matched import Matched
from mainstem.features.language.plan import Plan
from mainstem.features.language.source import Source
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading

WATCHED = Source(
    "watched", {"user_id": "int64", "item_id": "int64", "time_ms": "int64", "watch_s": "float64"}, stream="s"
)
KEPT = Latest(9, {"item_id": "item_id", "watch_s": "watch_s"}, by_time=False)


def features(of: Matched, *more: Feature) -> FeatureSet:
    return FeatureSet(
        (
            Feature("user_id", Context()),
            Feature("now_ms", Context()),
            Feature("item_id", Context(per="candidate")),
            Feature("creator", Attribute("items", "creator", "item_id")),
            Feature("kept", KEPT, over="user_id", source=WATCHED),
            Feature("kept_creator", Attribute("items", "creator", "kept.item_id")),
            Feature("long", "where(kept.watch_s > 1, kept.watch_s, 0)"),
            Feature("alike", of),
            *more,
        )
    )


PAIRS = (
    Feature("by_pairs", "sum(where(kept_creator == creator and creator >= 0, long, 0))"),
    Feature("latest_by_pairs", "max_of(where(kept_creator == creator and creator >= 0, kept.time_ms, empty))"),
    Feature("watched", "alike.watched + 0"),
    Feature("seen_ms", "alike.seen + 0"),
)
ALIKE = Matched("kept_creator", "creator", sums={"watched": "long"}, largest={"seen": "kept.time_ms"})
NAMES = tuple(feature.name for feature in PAIRS)


def _events(n: int = 400) -> Events:
    draw = np.random.default_rng(3)
    return Events(
        np.arange(n, dtype=np.int64),
        {
            "user_id": draw.integers(0, 8, n),
            "item_id": draw.integers(0, 30, n),
            "time_ms": np.where(draw.random(n) < 0.1, -1, 10**12 + draw.integers(0, 10**6, n)),
            "watch_s": np.where(draw.random(n) < 0.1, np.nan, draw.uniform(0, 9, n)),
        },
    )


def test_a_join_says_what_every_pair_says_live_and_back_filled() -> None:
    tables = {"items": dense({"creator": np.append(np.arange(30) % 7 - 1.0, np.nan)})}
    plan, events, draw = Plan(features(ALIKE, *PAIRS)), _events(), np.random.default_rng(5)
    state, reading = LiveState(plan, tables), Reading(plan, tables, NAMES)
    asked, found = [], []
    for at in range(0, 400, 20):
        given = {
            "user_id": np.array([at % 9]),
            "now_ms": np.array([10**12 + 5]),
            "item_id": draw.integers(0, 33, (1, 12)),
        }
        values = state.read(reading, given)
        np.testing.assert_array_equal(values["watched"], values["by_pairs"])
        np.testing.assert_array_equal(values["seen_ms"], values["latest_by_pairs"])
        asked.append((at, given))
        found.append(np.stack([values[name][0] for name in NAMES]))
        state.apply("s", events.take(slice(at, at + 20)))
    assert np.nansum(found) > 0
    past = Requests(
        {name: np.concatenate([np.repeat(one[name].reshape(1, -1), 12 // one[name].size, axis=1).T for _, one in asked])
         for name in ("user_id", "now_ms", "item_id")}
        | {name: np.repeat(np.concatenate([one[name] for _, one in asked]), 12) for name in ("user_id", "now_ms")},
        np.repeat(np.array([at for at, _ in asked]), 12),
    )  # fmt: skip
    back = Backfill(plan, tables, {"s": events}).values(reading, past)
    np.testing.assert_array_equal(np.concatenate(found, axis=1), np.stack([back[name] for name in NAMES]))


@pytest.mark.parametrize(
    "of",
    [Matched("creator", "kept_creator", {"watched": "long"}), Matched("kept_creator", "creator", {"x": "creator"})],
)
def test_a_join_of_anything_but_a_list_with_a_number_is_refused(of: Matched) -> None:
    tables = {"items": dense({"creator": np.append(np.arange(30.0), np.nan)})}
    feature = Feature("out", f"alike.{of.parts[0]} + 0")
    with pytest.raises(FeatureError, match="must be of one list") as refused:
        Reading(Plan(features(of, feature)), tables, ("out",))
    assert refused.value.code == "feature-006"
