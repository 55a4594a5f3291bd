"""Offline and online are one definition: values as of a logged moment equal what the live state says at that moment."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from feature_log import Tables
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.statics import Rates, Statics
from mainstem.features.timeline import DELAY_MS, Timeline, Values
from mainstem.features.unified import UNIFIED
from mainstem.features.unified_state import FeatureState


def _made(tables: Tables) -> tuple[Catalog, Statics, FeedbackBatch, FeedbackBatch]:
    catalog = Catalog.from_tables(tables.items, tables.users)
    past, timed = FeedbackBatch.from_history(tables.history), FeedbackBatch.from_frame(tables.impressions)
    return catalog, Statics.fit(catalog, past, Rates.fit(past.then(timed))), past, timed


def _assert_twins(
    catalog: Catalog, statics: Statics, past: FeedbackBatch, timed: FeedbackBatch, asked: np.ndarray
) -> None:
    line = Timeline(catalog, statics, past.then(timed))
    values = line.values(len(past) + asked)
    state = FeatureState(catalog, statics)
    state.apply(past)
    done = 0
    for j, row in enumerate(asked):
        now = int(timed.time_ms[row])
        known = int(np.searchsorted(timed.time_ms, now - DELAY_MS, side="right"))
        state.apply(timed.take(slice(done, known)))
        done = max(done, known)
        _assert_same(state, timed, int(row), values, j)


def _assert_same(state: FeatureState, timed: FeedbackBatch, row: int, values: Values, j: int) -> None:
    """Live and past sides of one impression, to the bit."""
    user, context = state.viewer(
        int(timed.user_id[row]), int(timed.surface[row]), int(timed.scenario[row]), int(timed.time_ms[row])
    )
    np.testing.assert_array_equal(user, values.user[j])
    item = state.catalog.item_rows(timed.item_id[row : row + 1])
    if item[0] >= 0:  # a candidate that is not in the catalog has no row to be asked by
        side = state.candidates(context, item)[0]
        np.testing.assert_array_equal(side, np.concatenate([values.item[j], values.cross[j]]))


def test_online_equals_batch_on_a_replay(small: Tables) -> None:
    catalog, statics, past, timed = _made(small)
    _assert_twins(catalog, statics, past, timed, np.arange(0, len(timed), 2))


def test_online_equals_batch_for_strangers(small: Tables) -> None:
    _, statics, past, timed = _made(small)
    few = Catalog.from_tables(small.items[:30], small.users[:40])
    _assert_twins(few, statics, past, timed, np.arange(500, 800))
    assert (few.item_rows(timed.item_id) < 0).any()
    assert (few.user_rows(timed.user_id) < 0).any()


@pytest.mark.real
def test_online_equals_batch_on_kuairand(pack, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from mainstem.data.importer import import_log
    from mainstem.data.log import read_log

    import_log(pack("kuairand_pure"), tmp_path / "log")
    log = read_log(tmp_path / "log")
    tables = Tables(log.items, log.users, log.impressions, log.history)
    catalog, statics, past, timed = _made(tables)
    _assert_twins(catalog, statics, past, timed, np.arange(40_000, 40_600))


@settings(max_examples=15, deadline=None)
@given(at=st.integers(300, 1400), seed=st.integers(0, 9))
def test_the_future_changes_nothing(small: Tables, at: int, seed: int) -> None:
    catalog, statics, past, timed = _made(small)
    now = int(timed.time_ms[at])
    asked = len(past) + np.arange(at - 50, at + 1)
    before = Timeline(catalog, statics, past.then(timed)).values(asked)
    later = np.flatnonzero(timed.time_ms > now - DELAY_MS)
    draw = np.random.default_rng(seed)
    outcomes = timed.outcomes.copy()
    outcomes[later] = draw.integers(-1, 2, (len(later), outcomes.shape[1]))
    changed = timed.take(np.arange(len(timed)))
    changed = FeedbackBatch(**{n: getattr(changed, n) for n in FeedbackBatch.__slots__} | {"outcomes": outcomes})
    after = Timeline(catalog, statics, past.then(changed)).values(asked)
    seen = timed.time_ms[asked - len(past)] <= now
    for group in ("user", "item", "cross"):
        np.testing.assert_array_equal(getattr(before, group)[seen], getattr(after, group)[seen])


def test_an_outcome_is_not_known_before_its_delay(small: Tables) -> None:
    catalog, statics, _, timed = _made(small)
    user, item, start = timed.user_id[0], timed.item_id[0], int(timed.time_ms[0])
    frame = pl.DataFrame(
        {"user_id": [user] * 3, "item_id": [item] * 3, "time_ms": [start, start + DELAY_MS - 1, start + DELAY_MS],
         "long_view": [1, 1, 1]}
    )  # fmt: skip
    values = Timeline(catalog, statics, FeedbackBatch.from_frame(frame)).values(np.arange(3))
    seen = values.cross[:, UNIFIED.columns_of("cross").index("seen_count")]
    np.testing.assert_allclose(seen, [0.0, 0.0, np.log(2.0)], rtol=1e-6)


def test_a_frozen_user_state_stands_still(small: Tables) -> None:
    catalog, statics, past, timed = _made(small)
    line = Timeline(catalog, statics, past.then(timed))
    user = np.bincount(timed.user_id).argmax()
    rows = len(past) + np.flatnonzero(timed.user_id == user)[-6:]
    cut = int(timed.time_ms[rows[0] - len(past)]) - 1
    count = UNIFIED.columns_of("user").index("lifetime_count")
    assert np.ptp(line.values(rows, cut).user[:, count]) == 0.0
    assert np.ptp(line.values(rows).user[:, count]) > 0.0


def test_a_frozen_state_knows_nothing_later_of_users_or_items(small: Tables) -> None:
    catalog, statics, past, timed = _made(small)
    known = int(timed.time_ms[900])
    asked = np.arange(1000, 1100)
    line = Timeline(catalog, statics, past.then(timed))
    values, fresh = line.values(len(past) + asked, known), line.values(len(past) + asked)
    state = FeatureState(catalog, statics)
    state.apply(past)
    state.apply(timed.take(timed.time_ms <= known))
    for j, row in enumerate(asked):
        _assert_same(state, timed, int(row), values, j)
    assert (values.item != fresh.item).any()
    assert (values.user != fresh.user).any()
