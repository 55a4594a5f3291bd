"""Training: the same seed gives the same bytes, it learns, and what a log does not have does not stop it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from feature_log import Tables
from small_training import SMALL

from mainstem.base.errors import DataError
from mainstem.base.heads import HEADS
from mainstem.features.statics import LONG_VIEW
from mainstem.ranking.lesson import Lesson, lesson
from mainstem.ranking.model import Model
from mainstem.ranking.train import train

DAY = 20220429


def _auc(score: np.ndarray, label: np.ndarray) -> float:
    good, bad = score[label == 1], score[label == 0]
    return float((good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean())


def test_it_learns_and_is_calibrated(small_lesson: Lesson, small_model: Model) -> None:
    held, v = ~small_lesson.train, small_lesson.values
    raw = small_model.network(small_lesson.catalog).many(v.user[held], v.item_row[held], v.item[held], v.cross[held])
    feedback = small_lesson.feedback.take(held)
    got = small_model.calibrators().apply_many(raw, feedback.surface)
    label = feedback.outcomes[:, LONG_VIEW]
    assert _auc(got[:, LONG_VIEW], label) > 0.62
    assert got[:, LONG_VIEW].sum() / label.sum() == pytest.approx(1.0, abs=0.1)


def test_same_seed_same_bytes(small_lesson: Lesson, small_model: Model) -> None:
    again = train(small_lesson, SMALL)
    for name, weight in small_model.weights.items():
        np.testing.assert_array_equal(weight, again.weights[name])
    other = train(small_lesson, replace(SMALL, seed=1))
    assert not np.array_equal(other.weights["head_w"], small_model.weights["head_w"])


def test_heads_the_log_does_not_have_keep_their_prior(small_lesson: Lesson, small_model: Model) -> None:
    v = small_lesson.values
    got = small_model.network(small_lesson.catalog).many(v.user, v.item_row, v.item, v.cross)
    assert (small_lesson.feedback.outcomes[:, HEADS.index("comment")] == -1).all()
    assert got[:, HEADS.index("comment")].max() < 0.3
    assert got[:, HEADS.index("hate")].max() < 0.1
    assert np.isfinite(got).all()


def test_the_card_tells_what_the_model_is(small_model: Model) -> None:
    card = small_model.card
    assert card["rows"]["train"] > card["rows"]["train_timed"] > 0
    assert card["positives"]["follow"] == 0
    assert len(card["validation_loss"]) >= card["epochs"] >= 1
    assert card["peak_memory_bytes"] > 0


def test_days_after_the_validation_day_change_nothing(small: Tables) -> None:
    cut = small.impressions.filter(pl.col("day") <= DAY)
    whole = lesson(small.items, small.users, small.impressions, small.history, DAY)
    short = lesson(small.items, small.users, cut, small.history, DAY)
    for group in ("user", "item", "cross"):
        np.testing.assert_array_equal(getattr(whole.values, group), getattr(short.values, group))
    np.testing.assert_array_equal(whole.statics.vectors, short.statics.vectors)


def test_item_vectors_do_not_know_the_rows_that_are_learned_from(small: Tables) -> None:
    other = small.impressions.with_columns(long_view=1 - pl.col("long_view"))
    one = lesson(small.items, small.users, small.impressions, small.history, DAY)
    two = lesson(small.items, small.users, other, small.history, DAY)
    np.testing.assert_array_equal(one.statics.vectors, two.statics.vectors)


def test_a_log_without_history_trains(small: Tables) -> None:
    made = lesson(small.items, small.users, small.impressions, small.history[:0], DAY)
    assert made.timed.all()
    model = train(made, replace(SMALL, epochs=1))
    v = made.values
    assert np.isfinite(model.network(made.catalog).many(v.user, v.item_row, v.item, v.cross)).all()


def test_a_log_with_two_heads_and_one_surface_trains(small: Tables) -> None:
    bare = small.impressions.select("user_id", "item_id", "time_ms", "day", "long_view", click=pl.lit(1, pl.Int8))
    made = lesson(small.items.select("item_id"), small.users.select("user_id"), bare, small.history[:0], DAY)
    model = train(made, replace(SMALL, epochs=1))
    v = made.values
    got = model.network(made.catalog).many(v.user, v.item_row, v.item, v.cross)
    assert got[:, 0].min() > 0.5


def test_a_log_without_a_day_to_train_on_is_refused(small: Tables) -> None:
    with pytest.raises(DataError) as refused:
        lesson(small.items, small.users, small.impressions, small.history, 20220425)
    assert refused.value.code == "data-042"
