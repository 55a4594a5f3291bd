"""The exported network: equal to the trained one, whole where inputs are not, the same for one request and for many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import SMALL

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.features.unified import UNIFIED
from mainstem.ranking import train as training
from mainstem.ranking.batches import Batches
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.model import Model
from mainstem.ranking.network import LATER, item_first
from mainstem.ranking.trunk import TrunkShape, exported
from mainstem.ranking.trunk_again import trunk_of, trunk_predictions

PLAIN = TrunkShape(hidden=24, expert=12, experts=3, group_experts=0, crosses=0, gated_by_all=True)

SHAPES = {
    "plain": (PLAIN, 0),
    "ordinal": (PLAIN, 5),
    "crossed": (replace(PLAIN, crosses=1, cross_rank=4), 0),
    "all": (
        TrunkShape(
            hidden=24, expert=12, experts=2, group_experts=1, crosses=3, cross_rank=4, scaled=True, gated_by_all=False
        ),
        5,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_numpy_equals_torch(small_lesson: Lesson, name: str) -> None:
    torch.manual_seed(3)
    shape, levels = SHAPES[name]
    batches = Batches.of(small_lesson, 5, levels, 0.4)
    net = training._begun(batches, replace(SMALL, shape=shape, watch_levels=levels), PREDICTIONS)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    moment = {
        "moment_in": np.zeros((len(UNIFIED.columns_of("user")), 1)),
        "moment_bias": np.zeros(1),
        "moment_out": np.zeros(1),
    }
    seconds = {"watch_at": batches.levels.at, "watch_width": batches.levels.width}
    weights = exported(net, batches.scales) | moment | seconds
    model = Model(weights, small_lesson.statics, batches.ids, batches.categories, {}, {})
    network, v = model.network(small_lesson.catalog), small_lesson.values
    wanted = _with_seconds(training._logits(net, batches), batches.levels.width)
    row = 5
    same = np.full(300, v.item_row[row], np.int32)
    got = network.logits(v.user[row], same, np.repeat(v.item[[row]], 300, 0), np.repeat(v.cross[[row]], 300, 0))
    np.testing.assert_allclose(got, np.repeat(wanted[[row]], 300, 0), atol=1e-5)
    many = network.many(v.user, v.item_row, v.item, v.cross)
    np.testing.assert_allclose(many[:, : len(HEADS)], _sigmoid(wanted[:, : len(HEADS)]), atol=1e-5)
    np.testing.assert_allclose(np.log1p(many[:, -1]), np.clip(wanted[:, -1], 0.0, 10.0), atol=1e-5)
    again = trunk_predictions(model, small_lesson.catalog, v.user[:99], v.item_row[:99], v.item[:99], v.cross[:99])
    np.testing.assert_allclose(again, many[:99, : len(HEADS)], atol=1e-5)
    found = trunk_of(model).shape
    assert found == replace(shape, dropout=found.dropout, id_dropout=found.id_dropout, cross_rank=found.cross_rank)


def _with_seconds(answers: np.ndarray, width: np.ndarray) -> np.ndarray:
    if not len(width):
        return answers
    seconds = (_sigmoid(answers[:, len(HEADS) :].astype(np.float64)) * width).sum(axis=1)
    return np.concatenate([answers[:, : len(HEADS)], np.log1p(seconds)[:, None]], axis=1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def test_a_model_from_before_groups_predicts_what_it_did(small_lesson: Lesson) -> None:
    model = training.train(small_lesson, replace(SMALL, epochs=1, watch_levels=0, shape=PLAIN))
    before = {name: weight for name, weight in model.weights.items() if name not in LATER}
    v = small_lesson.values
    one = model.network(small_lesson.catalog).many(v.user, v.item_row, v.item, v.cross)
    two = replace(model, weights=before).network(small_lesson.catalog).many(v.user, v.item_row, v.item, v.cross)
    np.testing.assert_array_equal(one, two)


def test_one_request_equals_many_rows(small_lesson: Lesson, small_model: Model) -> None:
    network, v = small_model.network(small_lesson.catalog), small_lesson.values
    user = np.repeat(v.user[:1], 20, axis=0)
    rows = v.item_row[:20]
    one = network.predict(v.user[0], rows, v.item[:20], v.cross[:20], surface=0)
    np.testing.assert_allclose(one, network.many(user, rows, v.item[:20], v.cross[:20]), atol=1e-5)
    assert ((one[:, : len(HEADS)] > 0) & (one[:, : len(HEADS)] < 1)).all()
    assert (one[:, -1] >= 0).all()


def test_candidates_do_not_see_each_other(small_lesson: Lesson, small_model: Model) -> None:
    network, v = small_model.network(small_lesson.catalog), small_lesson.values
    rows, item, cross = v.item_row[:20], v.item[:20], v.cross[:20]
    whole = network.predict(v.user[0], rows, item, cross)
    part = network.predict(v.user[0], rows[5:9], item[5:9], cross[5:9])
    np.testing.assert_allclose(whole[5:9], part, atol=1e-6)
    assert network.predict(v.user[0], rows[:0], item[:0], cross[:0]).shape == (0, 8)


def test_an_answer_is_not_overwritten_by_the_next_request(small_lesson: Lesson, small_model: Model) -> None:
    network, v = small_model.network(small_lesson.catalog), small_lesson.values
    first = network.predict(v.user[0], v.item_row[:20], v.item[:20], v.cross[:20])
    kept = first.copy()
    network.predict(v.user[9], v.item_row[20:40], v.item[20:40], v.cross[20:40])
    np.testing.assert_array_equal(first, kept)


def test_values_that_are_not_finite_become_defaults_and_are_counted(small_lesson: Lesson, small_model: Model) -> None:
    network, v = small_model.network(small_lesson.catalog), small_lesson.values
    item, cross, user = v.item[:4].copy(), v.cross[:4].copy(), v.user[0].copy()
    item[1, 2], cross[3, 0], user[7] = np.nan, np.inf, -np.inf
    got = network.predict(user, v.item_row[:4], item, cross)
    assert np.isfinite(got).all()
    assert network.counters.not_finite == 3
    item[1, 2], cross[3, 0] = UNIFIED.defaults_of("item")[2], UNIFIED.defaults_of("cross")[0]
    user[7] = UNIFIED.defaults_of("user")[7]
    np.testing.assert_array_equal(got, network.predict(user, v.item_row[:4], item, cross))


def test_an_unknown_item_is_scored_as_one(small_lesson: Lesson, small_model: Model) -> None:
    network, v = small_model.network(small_lesson.catalog), small_lesson.values
    unknown = np.full(2, -1, np.int32)
    got = network.predict(v.user[0], unknown, v.item[:2], v.cross[:2])
    assert np.isfinite(got).all()
    np.testing.assert_allclose(
        got, network.many(np.repeat(v.user[:1], 2, 0), unknown, v.item[:2], v.cross[:2]), atol=1e-6
    )


def test_the_moment_is_the_same_for_every_candidate_of_a_request(small_lesson: Lesson, small_model: Model) -> None:
    moment = small_model.network(small_lesson.catalog).moment(small_lesson.values.user[:50])
    assert moment.shape == (50,)
    assert np.isfinite(moment).all()
    assert np.ptp(moment) > 0.0


def test_items_appended_after_training_are_scored(small_lesson: Lesson, small_model: Model) -> None:
    catalog = small_lesson.catalog
    grown = catalog.with_items(catalog._tables[0].with_columns(item_id=catalog._tables[0]["item_id"] + 1))
    network, v = small_model.network(grown), small_lesson.values
    assert len(grown.items) == 2 * len(catalog.items)
    last = np.array([len(grown.items) - 1], np.int32)
    assert np.isfinite(network.predict(v.user[0], last, v.item[:1], v.cross[:1])).all()
    np.testing.assert_allclose(
        network.predict(v.user[0], np.array([3], np.int32), v.item[:1], v.cross[:1]),
        small_model.network(catalog).predict(v.user[0], np.array([3], np.int32), v.item[:1], v.cross[:1]),
        atol=1e-6,
    )


def test_the_first_layer_of_items_is_a_sum_of_parts(small_lesson: Lesson, small_model: Model) -> None:
    weights = {name: np.zeros_like(weight) for name, weight in small_model.weights.items()}
    rows = np.zeros(len(small_lesson.catalog.items) + 1, np.int64)
    vectors, _ = small_model.statics.on(small_lesson.catalog)
    assert not item_first(weights, small_lesson.catalog, vectors, rows, rows).any()
    assert replace(small_model, weights=weights).network(small_lesson.catalog).parameters > 0
