from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_metrics import plain_auc, plain_gauc, plain_ndcg
from scipy.stats import mannwhitneyu

from mainstem.base.errors import DataError
from mainstem.evaluate import metrics
from mainstem.evaluate.within_user import within_user

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=14)


def columns(rows: list[tuple[int, int, int]]) -> tuple[list[float], list[int], list[int]]:
    return [float(s) for _, s, _ in rows], [y for _, _, y in rows], [u for u, _, _ in rows]


def test_auc_by_hand() -> None:
    assert metrics.auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75
    assert metrics.auc([1, 1, 1, 1], [0, 1, 0, 1]) == 0.5
    assert metrics.auc([1, 2, 2, 3], [0, 0, 1, 1]) == (1 + 0.5 + 1 + 1) / 4


def test_auc_is_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(3)
    scores, labels = np.round(rng.normal(size=500), 1), rng.integers(0, 2, 500)
    expected = mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic / (labels.sum() * (1 - labels).sum())
    assert metrics.auc(scores, labels) == pytest.approx(expected, abs=1e-12)


@given(ROWS)
def test_auc_and_gauc_agree_with_the_plain_twins(rows: list[tuple[int, int, int]]) -> None:
    scores, labels, users = columns(rows)
    assert metrics.auc(scores, labels) == pytest.approx(plain_auc(scores, labels))
    assert metrics.grouped_auc(scores, labels, users) == pytest.approx(plain_gauc(scores, labels, users))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12))
def test_ndcg_is_the_mean_over_every_order_of_tied_rows(rows: list[tuple[int, int, int]]) -> None:
    rows = [row for user in range(3) for row in [r for r in rows if r[0] == user][:6]]
    scores, grades, users = columns(rows)
    for k in (1, 3, 5):
        assert metrics.ndcg_at(scores, grades, users, k) == pytest.approx(plain_ndcg(scores, grades, users, k))


def test_ndcg_by_hand() -> None:
    best = 1 + 1 / math.log2(3)
    assert metrics.ndcg_at([3, 2, 1], [0, 1, 1], [7, 7, 7], 2) == pytest.approx((1 / math.log2(3)) / best)
    assert metrics.ndcg_at([3, 2, 1], [0, 0, 0], [7, 7, 7]) == 0.0
    assert metrics.ndcg_at([2, 1, 5], [1, 0, 0], [7, 7, 8]) == 0.5  # user 8 has no positive and counts 0


def test_gauc_weighs_users_by_their_positives_and_leaves_out_the_one_sided() -> None:
    scores, labels = [2, 1, 1, 2, 3, 9, 9], [1, 0, 1, 1, 0, 1, 1]
    users = [1, 1, 2, 2, 2, 3, 3]  # AUC 1 with one positive, AUC 0 with two, only positives
    assert metrics.grouped_auc(scores, labels, users) == pytest.approx(1 / 3)


def test_primary_is_the_mean_of_gauc_and_ndcg() -> None:
    rng = np.random.default_rng(5)
    scores, labels, users = rng.normal(size=300), rng.integers(0, 2, 300), rng.integers(0, 40, 300)
    gauc, ndcg = metrics.grouped_auc(scores, labels, users), metrics.ndcg_at(scores, labels, users)
    assert gauc is not None
    assert ndcg is not None
    assert metrics.primary(scores, labels, users) == pytest.approx((gauc + ndcg) / 2)


def test_no_number_depends_on_the_order_of_rows_or_on_a_monotone_change_of_scores() -> None:
    rng = np.random.default_rng(6)
    scores, labels, users = rng.integers(0, 5, 200), rng.integers(0, 2, 200), rng.integers(0, 30, 200)
    shuffled = rng.permutation(200)
    for metric in (metrics.grouped_auc, metrics.ndcg_at, metrics.primary):
        assert metric(scores, labels, users) == pytest.approx(
            metric(scores[shuffled], labels[shuffled], users[shuffled])
        )
        assert metric(scores, labels, users) == pytest.approx(metric(np.exp(scores), labels, users))


def test_sums_per_user_give_the_metric() -> None:
    rng = np.random.default_rng(7)
    scores, users = rng.normal(size=400).round(1), rng.integers(0, 50, 400)
    labels = rng.integers(0, 2, 400).astype(float)
    pooled = metrics.auc_by_user(scores, labels, users, 60)
    assert pooled is not None
    assert pooled.value() == pytest.approx(metrics.auc(scores, labels))
    order = within_user(users, scores)
    assert metrics.gauc_by_user(order, labels, 60).value() == pytest.approx(metrics.grouped_auc(scores, labels, users))
    assert metrics.ndcg_by_user(order, labels, 60).value() == pytest.approx(metrics.ndcg_at(scores, labels, users))


def test_log_loss_and_normalised_entropy_by_hand() -> None:
    assert metrics.log_loss([0.5, 0.5], [0, 1]) == pytest.approx(math.log(2))
    assert metrics.log_loss([1.0], [1]) == pytest.approx(0, abs=1e-9)
    assert metrics.normalised_entropy([0.25] * 4, [0, 0, 0, 1]) == pytest.approx(1.0)
    assert metrics.normalised_entropy([0.1, 0.1, 0.1, 0.9], [0, 0, 0, 1]) < 1  # type: ignore[operator]


def test_nothing_to_compare_is_none_and_not_a_number() -> None:
    assert metrics.auc([1, 2], [1, 1]) is None
    assert metrics.auc([], []) is None
    assert metrics.grouped_auc([1, 2], [1, 0], [1, 2]) is None
    assert metrics.ndcg_at([], [], []) is None
    assert metrics.primary([1, 2], [1, 1], [4, 4]) is None
    assert metrics.log_loss([], []) is None
    assert metrics.normalised_entropy([0.5], [1]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    for measure in (metrics.grouped_auc, metrics.ndcg_at, metrics.primary):
        with pytest.raises(DataError, match="row 1") as refused:
            measure([1.0, bad], [0, 1], [1, 1])
        assert refused.value.code == "evaluate-001"
    with pytest.raises(DataError):
        metrics.auc([1.0, bad], [0, 1])


def test_lengths_labels_and_probabilities_are_checked() -> None:
    for code, call in (
        ("evaluate-002", lambda: metrics.auc([1.0, 2.0], [1])),
        ("evaluate-002", lambda: metrics.grouped_auc([1.0, 2.0], [1, 0], [1])),
        ("evaluate-003", lambda: metrics.auc([1.0, 2.0], [1, 2])),
        ("evaluate-006", lambda: metrics.log_loss([1.2], [1])),
    ):
        with pytest.raises(DataError) as refused:
            call()
        assert refused.value.code == code
        assert refused.value.hint
