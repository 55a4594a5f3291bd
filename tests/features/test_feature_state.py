"""The live state: bounded lists, counted strangers, declared policies for late and future records, restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_log import START_MS, Tables

from mainstem.base.errors import StoreError
from mainstem.base.heads import HEADS
from mainstem.features import define
from mainstem.features.catalog import Catalog
from mainstem.features.cross import cross_side
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.online import FUTURE_MS, Applied, FeatureState
from mainstem.features.recent import Moments, Totals, user_side
from mainstem.features.recent_one import user_side_of_one
from mainstem.features.statics import STRENGTH, Rates, Statics


@pytest.fixture
def state(small: Tables) -> FeatureState:
    catalog = Catalog.from_tables(small.items, small.users)
    past = FeedbackBatch.from_history(small.history)
    return FeatureState(catalog, Statics.fit(catalog, past, Rates.fit(past)))


def _events(**columns: list) -> FeedbackBatch:
    return FeedbackBatch.from_frame(pl.DataFrame(columns))


def test_one_batch_or_many_give_the_same_state(small: Tables, state: FeatureState) -> None:
    other = FeatureState(state.catalog, state.statics)
    timed = FeedbackBatch.from_frame(small.impressions)
    state.apply(timed)
    for start in range(0, len(timed), 7):
        other.apply(timed.take(slice(start, start + 7)))
    rows, now = np.arange(-1, 40, dtype=np.int32), START_MS + 6 * 86_400_000
    np.testing.assert_allclose(state.item_side(rows, 0, now), other.item_side(rows, 0, now), atol=1e-6)
    for user in range(10):
        np.testing.assert_allclose(state.user_side(user, 1, 0, now), other.user_side(user, 1, 0, now), atol=1e-6)
        np.testing.assert_array_equal(state.recent(user).row, other.recent(user).row)


def test_only_the_last_50_events_of_a_user_are_kept(state: FeatureState) -> None:
    ids = (np.arange(120) % 40 * 5 + 100).tolist()
    state.apply(
        _events(user_id=[7] * 120, item_id=ids, time_ms=list(range(START_MS, START_MS + 120)), long_view=[1] * 120)
    )
    recent = state.recent(0)
    assert recent.row.shape == (1, define.KEPT)
    np.testing.assert_array_equal(recent.time_ms[0], START_MS + 119 - np.arange(50))


def test_strangers_late_and_future_records_are_counted(state: FeatureState) -> None:
    now = START_MS + 10_000
    done = state.apply(
        _events(
            user_id=[7, 7, 999_999, 7, 7],
            item_id=[100, 105, 105, 424_242, 100],
            time_ms=[START_MS + 5_000, START_MS, START_MS, START_MS + 6_000, now + FUTURE_MS + 1],
            long_view=[1, 0, 1, 0, 1],
        ),
        now_ms=now,
    )
    assert done == Applied(applied=4, late=1, future=1, unknown_users=1, unknown_items=1)
    late = state.apply(_events(user_id=[7], item_id=[100], time_ms=[START_MS + 1], long_view=[1]))
    assert late.late == 1
    assert state.counted.late == 2


def test_numbers_that_are_not_finite_are_taken_as_unknown(state: FeatureState) -> None:
    frame = _events(
        user_id=[7, 10], item_id=[100, 105], time_ms=[START_MS, START_MS], watch_ms=[5, 5], duration_ms=[5, 5]
    )
    bad = FeedbackBatch(
        **{name: getattr(frame, name) for name in FeedbackBatch.__slots__}
        | {"watch_s": np.array([np.inf, 1.0], np.float32), "duration_s": np.array([1.0, np.nan], np.float32)}
    )
    assert state.apply(bad).not_finite == 2
    rows = np.arange(-1, 3, dtype=np.int32)
    assert np.isfinite(state.item_side(rows, 0, START_MS)).all()
    assert np.isfinite(state.user_side(0, 1, 0, START_MS + 1)).all()


def test_nobody_and_nothing_get_finite_features(state: FeatureState) -> None:
    rows = np.array([-1, -1, 3], np.int32)
    assert np.isfinite(state.user_side(-1, -1, -1, START_MS)).all()
    assert np.isfinite(state.cross(-1, rows, START_MS)).all()
    assert state.item_side(np.empty(0, np.int32), 0, START_MS).shape == (0, len(define.ITEM))
    assert state.cross(0, np.empty(0, np.int32), START_MS).shape == (0, len(define.CROSS))


def test_old_days_leave_the_windows(state: FeatureState) -> None:
    column = define.columns(define.ITEM)
    state.apply(_events(user_id=[7], item_id=[100], time_ms=[START_MS], long_view=[1]))
    row = np.array([0], np.int32)

    def count(hours: int) -> tuple[float, float]:
        side = state.item_side(row, 0, START_MS + hours * 3_600_000)[0]
        return float(side[column["count_24h"]]), float(side[column["count_72h"]])

    assert count(1) == (pytest.approx(np.log(2)), pytest.approx(np.log(2)))
    assert count(30) == (0.0, pytest.approx(np.log(2)))
    assert count(80) == (0.0, 0.0)
    state.apply(_events(user_id=[7], item_id=[105], time_ms=[START_MS + 200 * 3_600_000], long_view=[1]))
    assert count(200) == (0.0, 0.0)


def test_what_is_kept_ready_follows_every_batch(small: Tables, state: FeatureState) -> None:
    unread = FeatureState(state.catalog, state.statics)
    timed = FeedbackBatch.from_frame(small.impressions)
    rows = np.arange(-1, 40, dtype=np.int32)
    now = 0
    for start in range(0, 1200, 60):
        now = int(timed.time_ms[start])
        for surface in (-1, 0, 1):
            state.item_side(rows, surface, now)
        state.lasting(now + 86_400_000)
        for one in (state, unread):
            one.apply(timed.take(slice(start, start + 60)))
    for surface in (-1, 0, 1, 2, 99):
        got, wanted = state.item_side(rows, surface, now), unread.item_side(rows, surface, now)
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(state.lasting(now)[:40], got[1:, :13])


def test_one_users_cross_features_are_those_of_any_request(small: Tables, state: FeatureState) -> None:
    state.apply(FeedbackBatch.from_frame(small.impressions))
    rows = np.arange(-1, len(state.catalog.items), dtype=np.int32)
    for user in range(-1, 30):
        wanted = cross_side(state.recent(user), rows, state.likeness)
        np.testing.assert_allclose(state.cross(user, rows, START_MS), wanted, atol=1e-6)


def test_one_requests_user_features_are_those_of_many(small: Tables, state: FeatureState) -> None:
    state.apply(FeedbackBatch.from_frame(small.impressions))
    nothing, last = np.zeros((1, len(HEADS))), int(small.impressions["time_ms"].max())
    for user in range(-1, 40):
        for slot, surface, now in ((0, -1, -1), (3, 0, last), (24, 7, last + 900_000), (1, 8, START_MS)):
            moments = Moments(*(np.array([one], np.int64) for one in (user, slot, surface, now)))  # type: ignore[arg-type]
            asked = (moments, Totals(np.array([user + 2.0]), nothing + 1.0, nothing + 0.5), state.catalog)
            asked = (state.recent(user), *asked, state.statics.rates, STRENGTH)
            np.testing.assert_allclose(user_side_of_one(*asked), user_side(*asked)[0], atol=1e-6)


def test_a_restart_goes_on_where_it_was(small: Tables, state: FeatureState, tmp_path: Path) -> None:
    timed = FeedbackBatch.from_frame(small.impressions)
    state.apply(timed.take(slice(0, 700)))
    state.save(tmp_path / "state.npz")
    again = FeatureState.load(tmp_path / "state.npz", state.catalog, state.statics)
    for one in (state, again):
        one.apply(timed.take(slice(700, 900)))
    now, rows = int(timed.time_ms[900]), np.arange(40, dtype=np.int32)
    np.testing.assert_array_equal(state.item_side(rows, 1, now), again.item_side(rows, 1, now))
    np.testing.assert_array_equal(state.user_side(3, 1, 1, now), again.user_side(3, 1, 1, now))
    assert again.counted == state.counted


def test_a_state_of_another_catalog_is_refused(small: Tables, state: FeatureState, tmp_path: Path) -> None:
    state.save(tmp_path / "state.npz")
    with pytest.raises(StoreError) as refused:
        FeatureState.load(tmp_path / "state.npz", Catalog.from_tables(small.items[:10], small.users), state.statics)
    assert refused.value.code == "store-040"
