"""The live state: bounded lists, counted strangers, declared policies for late and future records, restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_log import START_MS, Tables

from mainstem.base.errors import StoreError
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.live import FIRST_MS, FUTURE_MS
from mainstem.features.statics import Rates, Statics
from mainstem.features.unified import KEPT, UNIFIED
from mainstem.features.unified_state import FeatureState

SURFACE, SCENARIO = 0, 1


@pytest.fixture
def state(small: Tables) -> FeatureState:
    catalog = Catalog.from_tables(small.items, small.users)
    past = FeedbackBatch.from_history(small.history)
    return FeatureState(catalog, Statics.fit(catalog, past, Rates.fit(past)))


def _events(**columns: list) -> FeedbackBatch:
    return FeedbackBatch.from_frame(pl.DataFrame(columns))


def _sides(state: FeatureState, user_id: int, now_ms: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side, context = state.viewer(user_id, SURFACE, SCENARIO, now_ms)
    return side, state.candidates(context, rows)


def _same(one: FeatureState, other: FeatureState, now_ms: int) -> None:
    rows = np.arange(-1, len(one.catalog.items))
    for user_id in (*range(7, 40, 3), 999_999):
        for left, right in zip(_sides(one, user_id, now_ms, rows), _sides(other, user_id, now_ms, rows), strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("step", [1, 7, 400])
def test_one_batch_or_many_give_the_same_bits(small: Tables, state: FeatureState, step: int) -> None:
    other = FeatureState(state.catalog, state.statics)
    timed = FeedbackBatch.from_frame(small.impressions)
    state.apply(timed)
    for start in range(0, len(timed), step):
        other.apply(timed.take(slice(start, start + step)))
    _same(state, other, START_MS + 6 * 86_400_000)


def test_only_the_last_50_events_of_a_user_are_kept(state: FeatureState) -> None:
    ids = (np.arange(120) % 40 * 5 + 100).tolist()
    state.apply(
        _events(user_id=[7] * 120, item_id=ids, time_ms=list(range(START_MS, START_MS + 120)), long_view=[1] * 120)
    )
    _, context = state.viewer(7, SURFACE, SCENARIO, START_MS + 200)
    np.testing.assert_array_equal(context["kept.time_ms"][0], START_MS + 119 - np.arange(KEPT))
    seen, enjoyed = state.kept(context)
    assert len(seen) == KEPT
    assert enjoyed.all()


def test_strangers_late_future_and_ancient_records_are_counted(state: FeatureState) -> None:
    now = START_MS + 10_000
    done = state.apply(
        _events(
            user_id=[7, 7, 999_999, -1, 7, 7],
            item_id=[100, 105, 105, 424_242, 100, 100],
            time_ms=[START_MS + 5_000, START_MS, START_MS, START_MS + 6_000, now + FUTURE_MS + 1, FIRST_MS // 1_000],
            long_view=[1, 0, 1, 0, 1, 1],
        ),
        now_ms=now,
    )
    assert (done.applied, done.future, done.ancient) == (4, 1, 1)
    assert done.late == 4  # two events, each seen by two sources
    assert done.without_key > 0
    assert state.counted == done


def test_an_event_that_comes_again_changes_nothing(small: Tables, state: FeatureState) -> None:
    from mainstem.features.events import Events

    timed = FeedbackBatch.from_frame(small.impressions)
    other = FeatureState(state.catalog, state.statics)
    events = Events.from_feedback(timed, 0)
    state.live.apply("feedback", events)
    other.live.apply("feedback", events.take(slice(0, 700)))
    again = other.live.apply("feedback", events.take(slice(400, len(events))))
    assert again.again == 300
    _same(state, other, START_MS + 6 * 86_400_000)


def test_numbers_that_are_not_finite_are_taken_as_unknown(state: FeatureState) -> None:
    frame = _events(
        user_id=[7, 10], item_id=[100, 105], time_ms=[START_MS, START_MS], watch_ms=[5, 5], duration_ms=[5, 5]
    )
    bad = FeedbackBatch(
        **{name: getattr(frame, name) for name in FeedbackBatch.__slots__}
        | {"watch_s": np.array([np.inf, 1.0], np.float32), "duration_s": np.array([1.0, np.nan], np.float32)}
    )
    assert state.apply(bad).not_finite == 1
    for side in _sides(state, 7, START_MS + 1, np.arange(-1, 3)):
        assert np.isfinite(side).all()


def test_nobody_and_nothing_get_finite_features(state: FeatureState) -> None:
    user, cross = _sides(state, -1, START_MS, np.array([-1, -1, 3]))
    assert np.isfinite(user).all()
    assert np.isfinite(cross).all()
    assert _sides(state, 7, -1, np.empty(0, np.int64))[1].shape == (0, len(state.columns))


def test_old_days_leave_the_windows(state: FeatureState) -> None:
    column = {name: at for at, name in enumerate(state.columns)}
    state.apply(_events(user_id=[7], item_id=[100], time_ms=[START_MS], long_view=[1]))

    def count(hours: int) -> tuple[float, float]:
        side = _sides(state, 10, START_MS + hours * 3_600_000, np.array([0]))[1][0]
        return float(side[column["item_count_24h"]]), float(side[column["item_count_72h"]])

    assert count(1) == (pytest.approx(np.log(2)), pytest.approx(np.log(2)))
    assert count(30) == (0.0, pytest.approx(np.log(2)))
    assert count(80) == (0.0, 0.0)
    state.apply(_events(user_id=[7], item_id=[105], time_ms=[START_MS + 200 * 3_600_000], long_view=[1]))
    assert count(200) == (0.0, 0.0)


def test_one_candidate_or_many_give_the_same_bits(small: Tables, state: FeatureState) -> None:
    state.apply(FeedbackBatch.from_frame(small.impressions))
    rows = np.arange(-1, len(state.catalog.items))
    now = START_MS + 6 * 86_400_000
    for user_id in (7, 10, 999_999):
        user, many = _sides(state, user_id, now, rows)
        for at, row in enumerate(rows):
            alone_user, alone = _sides(state, user_id, now, np.array([row]))
            np.testing.assert_array_equal(alone_user, user)
            np.testing.assert_array_equal(alone[0], many[at])


def test_a_restart_goes_on_where_it_was(small: Tables, state: FeatureState, tmp_path: Path) -> None:
    timed = FeedbackBatch.from_frame(small.impressions)
    state.apply(timed.take(slice(0, 700)))
    state.save(tmp_path / "state.npz")
    again = FeatureState(state.catalog, state.statics)
    again.load(tmp_path / "state.npz")
    for one in (state, again):
        one.apply(timed.take(slice(700, 900)))
    _same(state, again, int(timed.time_ms[900]))
    assert again.counted == state.counted


@pytest.mark.parametrize("broken", ["other features", "half a file", "no file"])
def test_a_state_that_is_not_ours_is_refused(state: FeatureState, tmp_path: Path, broken: str) -> None:
    path = tmp_path / "state.npz"
    state.save(path)
    features = UNIFIED
    if broken == "other features":
        from mainstem.features.language.aggregate import count
        from mainstem.features.language.feature import Feature
        from mainstem.features.unified import FEEDBACK

        features = UNIFIED.with_more([Feature("seen_by", count(), over="item_id", source=FEEDBACK)])
    elif broken == "half a file":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    with pytest.raises(StoreError) as refused:
        FeatureState(state.catalog, state.statics, features).load(path)
    assert refused.value.code == "store-040"


def test_finished_columns_are_those_of_a_state_that_never_kept_them(small: Tables, state: FeatureState) -> None:
    from mainstem.features.reader import SideReader

    timed = FeedbackBatch.from_frame(small.impressions)
    rows = np.arange(-1, len(state.catalog.items))
    direct = SideReader(state.live, ("user",), ("item", "cross"))
    assert len(state._finished.columns) > 15
    for start in range(0, 1200, 40):
        now = int(timed.time_ms[start]) + (start % 7) * 3_600_000
        for surface in (-1, 0, 1, 2):
            _, context = state.viewer(10, surface, SCENARIO, now)
            kept = state.candidates(context, rows)
            ids = np.where(rows < 0, -1, state.catalog.items.ids[rows])[None]
            wanted = direct.candidates({**context, "item_id": ids}, {}, len(rows))
            np.testing.assert_array_equal(kept, wanted)
        state.apply(timed.take(slice(start, start + 40)))
        state.item_values(("item_count_72h",), now)
