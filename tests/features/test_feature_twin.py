"""Offline and online are one definition: values as of a logged moment equal what the live state says at that moment."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from feature_log import Tables
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features import define
from mainstem.features.batch import DELAY_MS, Timeline
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.online import FeatureState
from mainstem.features.statics import Rates, Statics


def _made(tables: Tables) -> tuple[Catalog, Statics, FeedbackBatch, FeedbackBatch]:
    catalog = Catalog.from_tables(tables.items, tables.users)
    past, timed = FeedbackBatch.from_history(tables.history), FeedbackBatch.from_frame(tables.impressions)
    return catalog, Statics.fit(catalog, past, Rates.fit(past.then(timed))), past, timed


def _assert_twins(
    catalog: Catalog, statics: Statics, past: FeedbackBatch, timed: FeedbackBatch, asked: np.ndarray
) -> None:
    line = Timeline.of(catalog, statics, past.then(timed))
    values = line.values(len(past) + asked)
    state = FeatureState(catalog, statics)
    state.apply(past)
    done = 0
    for j, row in enumerate(asked):
        now = int(timed.time_ms[row])
        known = int(np.searchsorted(timed.time_ms, now - DELAY_MS, side="right"))
        state.apply(timed.take(slice(done, known)))
        done = max(done, known)
        item, place = values.item_row[j : j + 1], int(timed.surface[row])
        user = state.user_side(int(values.user_row[j]), int(timed.scenario[row]), place, now)
        np.testing.assert_allclose(user, values.user[j], atol=1e-6, rtol=0)
        np.testing.assert_allclose(state.item_side(item, place, now)[0], values.item[j], atol=1e-6, rtol=0)
        np.testing.assert_allclose(
            state.cross(int(values.user_row[j]), item, now)[0], values.cross[j], atol=1e-6, rtol=0
        )


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
    before = Timeline.of(catalog, statics, past.then(timed)).values(asked)
    later = np.flatnonzero(timed.time_ms > now - DELAY_MS)
    draw = np.random.default_rng(seed)
    outcomes = timed.outcomes.copy()
    outcomes[later] = draw.integers(-1, 2, (len(later), outcomes.shape[1]))
    changed = timed.take(np.arange(len(timed)))
    changed = FeedbackBatch(**{n: getattr(changed, n) for n in FeedbackBatch.__slots__} | {"outcomes": outcomes})
    after = Timeline.of(catalog, statics, past.then(changed)).values(asked)
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
    values = Timeline.of(catalog, statics, FeedbackBatch.from_frame(frame)).values(np.arange(3))
    seen = values.cross[:, define.columns(define.CROSS)["seen_count"]]
    np.testing.assert_allclose(seen, [0.0, 0.0, np.log(2.0)], rtol=1e-6)


def test_a_frozen_user_state_stands_still(small: Tables) -> None:
    catalog, statics, past, timed = _made(small)
    line = Timeline.of(catalog, statics, past.then(timed))
    user = int(np.bincount(line.user_row[len(past) :]).argmax())
    rows = len(past) + np.flatnonzero(line.user_row[len(past) :] == user)[-6:]
    cut = int(timed.time_ms[rows[0] - len(past)]) - 1
    count = define.columns(define.USER)["lifetime_count"]
    assert np.ptp(line.values(rows, cut).user[:, count]) == 0.0
    assert np.ptp(line.values(rows).user[:, count]) > 0.0


def test_a_frozen_state_knows_nothing_later_of_users_or_items(small: Tables) -> None:
    catalog, statics, past, timed = _made(small)
    known = int(timed.time_ms[900])
    asked = np.arange(1000, 1100)
    line = Timeline.of(catalog, statics, past.then(timed))
    values, fresh = line.values(len(past) + asked, known), line.values(len(past) + asked)
    state = FeatureState(catalog, statics)
    state.apply(past)
    state.apply(timed.take(timed.time_ms <= known))
    for j, row in enumerate(asked):
        now, item, place = int(timed.time_ms[row]), values.item_row[j : j + 1], int(timed.surface[row])
        user = state.user_side(int(values.user_row[j]), int(timed.scenario[row]), place, now)
        np.testing.assert_allclose(user, values.user[j], atol=1e-6, rtol=0)
        np.testing.assert_allclose(state.item_side(item, place, now)[0], values.item[j], atol=1e-6, rtol=0)
    assert (values.item != fresh.item).any()
    assert (values.user != fresh.user).any()
