from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mainstem.evaluate.intervals import (
    Interval,
    holm,
    paired_difference,
    poisson_weights,
    resample,
)
from mainstem.evaluate.metrics import Ratio, auc, auc_by_user, gauc_by_user, mean_by_user, ndcg_by_user
from mainstem.evaluate.within_user import within_user


def made_rows(seed: int, users: int = 400, rows: int = 4_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    user = rng.integers(0, users, rows)
    taste = rng.normal(size=users)[user]
    labels = (rng.random(rows) < 1 / (1 + np.exp(1 - taste))).astype(float)
    return user, labels, labels * 0.5 + taste * 0.5 + rng.normal(size=rows)


def test_weights_are_poisson_one_and_fixed_by_the_user_id() -> None:
    resamples, ids = np.arange(200), np.arange(2_000) * 7
    weights = poisson_weights(4, resamples, ids)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert (poisson_weights(4, resamples[5:9], ids[::-1])[:, ::-1] == weights[5:9]).all()
    assert (poisson_weights(5, resamples, ids) != weights).any()
    assert abs(np.corrcoef(weights[0], weights[1])[0, 1]) < 0.1


def test_same_seed_same_numbers_however_many_are_drawn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    user, labels, scores = made_rows(1)
    metric = gauc_by_user(within_user(user, scores), labels, 400)
    whole = resample([metric], np.arange(400), seed=3, resamples=100)
    monkeypatch.setattr("mainstem.evaluate.intervals._CHUNK_WEIGHTS", 1_000)
    parts = resample([metric], np.arange(400), seed=3, resamples=100)
    assert whole.draws == pytest.approx(parts.draws, abs=1e-12)
    assert (resample([metric], np.arange(400), seed=4, resamples=100).draws != whole.draws).any()


def test_a_resample_is_the_metric_of_the_users_it_drew() -> None:
    user, labels, scores = made_rows(2, users=60, rows=500)
    order = within_user(user, scores)
    metrics = [gauc_by_user(order, labels, 60), ndcg_by_user(order, labels, 60)]
    drawn = resample(metrics, np.arange(60), seed=9, resamples=3).draws
    weights = poisson_weights(9, np.arange(3), np.arange(60)).astype(int)
    for number in range(3):
        again = np.concatenate([np.flatnonzero(user == u) for u in range(60) for _ in range(weights[number, u])])
        copies = np.concatenate(
            [np.full((user == u).sum(), u * 100 + copy) for u in range(60) for copy in range(weights[number, u])]
        )
        dense = np.unique(copies, return_inverse=True)[1]
        own = within_user(dense, scores[again])
        users = int(dense.max()) + 1
        assert drawn[number, 0] == pytest.approx(gauc_by_user(own, labels[again], users).value())
        assert drawn[number, 1] == pytest.approx(ndcg_by_user(own, labels[again], users).value())


def test_pooled_auc_varies_as_much_as_when_it_is_computed_again_for_every_resample() -> None:
    user, labels, scores = made_rows(3, users=300, rows=3_000)
    metric = auc_by_user(scores, labels, user, 300)
    assert metric is not None
    drawn = resample([metric], np.arange(300), seed=1, resamples=300).draws[:, 0]
    weights = poisson_weights(1, np.arange(300), np.arange(300)).astype(int)
    exact = np.array([auc(np.repeat(scores, w[user]), np.repeat(labels, w[user])) for w in weights], float)
    assert np.corrcoef(drawn, exact)[0, 1] > 0.99
    assert drawn.std() == pytest.approx(exact.std(), rel=0.1)
    assert np.abs(drawn - exact).max() < 0.01


def test_bounds_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for world in range(200):
        rng = np.random.default_rng(world)
        user = rng.integers(0, 150, 900)
        rows = rng.normal(size=150)[user] + rng.normal(size=900)
        interval = resample([mean_by_user(rows, user, 150)], np.arange(150), seed=world, resamples=200).interval([1])
        assert interval is not None
        covered += interval.low < 0 < interval.high
    assert 0.89 <= covered / 200 <= 0.99


def test_a_paired_difference_is_narrower_than_two_intervals_apart() -> None:
    user, labels, scores = made_rows(4)
    near = scores + np.random.default_rng(0).normal(size=len(scores)) * 0.05
    first, second = auc_by_user(scores, labels, user, 400), auc_by_user(near, labels, user, 400)
    assert first is not None
    assert second is not None
    both = resample([first, second], np.arange(400), seed=2)
    alone, difference = both.interval([1, 0]), both.interval([1, -1])
    assert alone is not None
    assert difference is not None
    assert difference.high - difference.low < (alone.high - alone.low) / 4
    assert difference.mid == pytest.approx(auc(scores, labels) - auc(near, labels))  # type: ignore[operator]
    assert paired_difference(first, second, np.arange(400), seed=2) == difference


def test_equal_arms_differ_by_exactly_nothing() -> None:
    user, labels, scores = made_rows(5)
    metric = gauc_by_user(within_user(user, scores), labels, 400)
    difference = paired_difference(metric, metric, np.arange(400))
    assert difference is not None
    assert (difference.low, difference.mid, difference.high) == (0, 0, 0)


def test_p_values_point_the_right_way() -> None:
    rng = np.random.default_rng(0)
    user = np.arange(500)
    both = resample([mean_by_user(rng.normal(0.5, 1, 500), user, 500)], user, resamples=400)
    above, below = both.p_below([1]), both.p_above([1])
    assert above == pytest.approx(1 / 401)
    assert below == 1.0
    assert both.p_above([1], bound=1.0) == pytest.approx(1 / 401)
    assert both.p_below([1], bound=1.0) == 1.0


def test_too_few_users_have_no_interval() -> None:
    lonely = Ratio(over=np.array([1.0, 0, 0, 0]), under=np.array([1.0, 0, 0, 0]))
    drawn = resample([lonely], np.arange(4))
    assert drawn.interval([1]) is None
    assert drawn.p_below([1]) is None
    nothing = Ratio(over=np.zeros(4), under=np.zeros(4))
    assert resample([nothing], np.arange(4)).interval([1]) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


def test_an_interval_is_plain_json() -> None:
    interval = Interval(0.1, 0.2, 0.3, 0.95, 12, "made")
    assert msgspec.json.decode(msgspec.json.encode(interval), type=Interval) == interval
