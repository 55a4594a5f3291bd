"""Going on from yesterday: nothing moves by itself, the vocabulary grows without a jump, and yesterday pulls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from feature_log import Tables

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.statics import LONG_VIEW
from mainstem.ranking.lesson import Lesson, timeline
from mainstem.ranking.model import Model
from mainstem.ranking.rows import rows_in_memory
from mainstem.ranking.warm import (
    WarmSettings,
    continue_training,
    contradictions,
    grow,
    recalibrated,
    vocabulary_drift,
)

NEW = 20220429
QUICK = WarmSettings(batch=128, least_events=3)


def _new_rows(tables: Tables, model: Model) -> Lesson:
    """The impressions after the days that the small model has learned from."""
    catalog = Catalog.from_tables(tables.items, tables.users)
    line = timeline(catalog, model.statics, tables.impressions, tables.history)
    new = np.flatnonzero(tables.impressions["day"].to_numpy() >= NEW)
    asked = len(line.feedback) - tables.impressions.height + new
    train = np.ones(len(asked), np.bool_)
    rows = rows_in_memory(line.values(asked), train)
    return Lesson(catalog, model.statics, rows, line.feedback.take(asked), train, train, model.features)


@pytest.fixture(scope="module")
def new(small: Tables, small_model: Model) -> Lesson:
    return _new_rows(small, small_model)


@pytest.fixture(scope="module")
def warmed(small_model: Model, new: Lesson) -> Model:
    return continue_training(small_model, new, QUICK)


def _raw(model: Model, lesson: Lesson) -> np.ndarray:
    v = lesson.values
    return model.network(lesson.catalog).many(v.user, v.item_row, v.item, v.cross)


def _loss(model: Model, lesson: Lesson) -> float:
    p = np.clip(_raw(model, lesson)[:, LONG_VIEW], 1e-6, 1 - 1e-6)
    y = lesson.feedback.outcomes[:, LONG_VIEW]
    return float(-(y * np.log(p) + (1 - y) * np.log1p(-p)).mean())


def test_without_a_step_nothing_moves(small_model: Model, new: Lesson) -> None:
    still = continue_training(small_model, new, replace(QUICK, rate=0.0))
    np.testing.assert_allclose(_raw(still, new), _raw(small_model, new), atol=1e-5)


def test_it_learns_from_the_new_rows_and_does_so_again(small_model: Model, new: Lesson, warmed: Model) -> None:
    assert _loss(warmed, new) < _loss(small_model, new) - 1e-4
    again = continue_training(small_model, new, QUICK)
    for name, weight in warmed.weights.items():
        np.testing.assert_array_equal(weight, again.weights[name])
    assert warmed.card["warm"]["rows"] == len(new.train)
    assert "warm" not in small_model.card


def test_the_moments_and_the_constants_stay(small_model: Model, warmed: Model) -> None:
    for name in ("moment_in", "moment_bias", "moment_out"):
        np.testing.assert_array_equal(warmed.weights[name], small_model.weights[name])
    np.testing.assert_array_equal(warmed.statics.vectors, small_model.statics.vectors)


@pytest.mark.parametrize("fisher", [False, True])
def test_the_stronger_the_pull_the_nearer_to_yesterday(small_model: Model, new: Lesson, fisher: bool) -> None:
    far = []
    for pull in (0.0, 0.3, 3.0):
        after = continue_training(small_model, new, replace(QUICK, toward=pull, fisher=fisher))
        moved = [
            np.abs(after.weights[name] - small_model.weights[name]).sum() for name in ("expert_w", "head_w", "cross_in")
        ]
        far.append(float(sum(moved)))
    assert far[0] > far[1] > far[2]


def test_new_ids_change_no_prediction_and_then_get_their_own(small: Tables, small_model: Model, new: Lesson) -> None:
    few = replace(small_model, ids=small_model.ids[::2], weights=small_model.weights | {
        "id_in": small_model.weights["id_in"][np.append(0, 1 + np.arange(len(small_model.ids))[::2])]
    })  # fmt: skip
    grown = grow(few, small_model.ids, np.array([77], np.int32))
    assert len(grown.ids) == len(small_model.ids)
    assert 77 in grown.categories
    np.testing.assert_allclose(_raw(grown, new), _raw(few, new), atol=1e-6)
    warm = continue_training(few, new, replace(QUICK, rate=1e-2))
    assert warm.card["warm"]["new_ids"] == len(warm.ids) - len(few.ids) > 0
    fresh = np.flatnonzero(~np.isin(warm.ids, few.ids)) + 1
    assert np.abs(warm.weights["id_in"][fresh] - warm.weights["id_in"][0]).max() > 0


def test_vocabulary_drift_counts_rows(small_model: Model, new: Lesson) -> None:
    known = vocabulary_drift(small_model, new)
    none = vocabulary_drift(replace(small_model, ids=np.empty(0, np.int64)), new)
    share = float(np.isin(new.feedback.item_id, small_model.ids).mean())
    assert known.unseen_items == pytest.approx(1 - share)
    assert none.unseen_items == 1.0
    assert none.items == len(np.unique(new.feedback.item_id))


def test_recalibration_moves_the_level_and_no_order(small_model: Model, new: Lesson) -> None:
    said, before = _raw(small_model, new), small_model.calibrators()
    high = said.copy()
    high[:, LONG_VIEW] = np.clip(high[:, LONG_VIEW] * 0.5, 1e-4, 1)
    after = recalibrated(before, high, new.feedback, trust=0.01)
    p = after.apply_many(high, new.feedback.surface)
    assert p[:, LONG_VIEW].sum() / (new.feedback.outcomes[:, LONG_VIEW] == 1).sum() == pytest.approx(1.0, abs=0.01)
    one = new.feedback.surface == 0
    order = np.argsort(high[one, LONG_VIEW], kind="stable")
    assert (np.diff(p[one, LONG_VIEW][order]) >= -1e-6).all()
    comment = HEADS.index("comment")
    np.testing.assert_allclose(after.tables[:, comment], before.tables[:, comment])
    held = recalibrated(before, high, new.feedback, trust=1e9)
    np.testing.assert_allclose(held.tables, before.tables, atol=1e-4)


def test_contradictions_are_counted_by_what_they_say(small: Tables) -> None:
    rows = small.impressions[:6].with_columns(
        user_id=pl.lit(7), item_id=pl.lit(100), time_ms=pl.Series([5, 5, 6, 7, 8, 9]),
        click=pl.Series([0, 1, 1, 0, 1, 1], dtype=pl.Int8), like=pl.Series([1, 1, 0, 0, 0, 0], dtype=pl.Int8),
        long_view=pl.lit(0, pl.Int8),
    )  # fmt: skip
    found = contradictions(FeedbackBatch.from_frame(rows))
    assert found == {"like without click": 1, "both outcomes of click at once": 1}
    assert contradictions(FeedbackBatch.empty()) == {}


@pytest.mark.parametrize(
    ("what", "code"), [("constants", "model-044"), ("no rows", "model-045"), ("another log", "model-048")]
)
def test_rows_that_do_not_fit_are_refused(small_model: Model, new: Lesson, what: str, code: str) -> None:
    model, lesson = small_model, new
    if what == "constants":
        lesson = replace(new, statics=replace(new.statics, vectors=new.statics.vectors + 1))
    elif what == "no rows":
        lesson = replace(new, train=np.zeros_like(new.train))
    else:
        model = replace(small_model, ids=np.array([10**9]), weights=small_model.weights | {
            "id_in": small_model.weights["id_in"][:2]
        })  # fmt: skip
    with pytest.raises(ModelError) as refused:
        continue_training(model, lesson, QUICK)
    assert refused.value.code == code
