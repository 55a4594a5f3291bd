"""Off-policy estimates: exact on small cases, refusing where the log is thin, right in the mean on made policies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.bandit_log import BanditLog, SlateLog
from mainstem.evaluate.off_policy import METHODS, estimate, interval
from mainstem.evaluate.overlap import overlap
from mainstem.evaluate.reward_model import cross_fitted, folds_of
from mainstem.evaluate.student_t import student_t_quantile

ACTIONS = 5


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def drawn(rows: int, seed: int, sharp: float = 1.0):
    """A log with contexts, the target's chances, and the target's true value."""
    rng = np.random.default_rng(seed)
    slopes = np.random.default_rng(1).normal(0, 1, (2, ACTIONS))
    x = rng.normal(size=(rows, 2))
    p, target = softmax(x @ slopes * 0.5), softmax(sharp * np.cos(np.arange(ACTIONS)) + 0 * x[:, :1])
    chance = 1 / (1 + np.exp(1.5 - x @ slopes))
    action = (p.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(max=ACTIONS - 1)
    row = np.arange(rows)
    reward = (rng.random(rows) < chance[row, action]).astype(float)
    log = BanditLog.of(action, reward, p[row, action], contexts=x, count=ACTIONS)
    return log, target, float((target * chance).sum(axis=1).mean())


def test_by_hand():
    log = BanditLog.of(np.tile([0, 1, 0, 1], 20), np.tile([1.0, 0, 1, 1], 20), np.full(80, 0.5))
    target = np.tile([0.75, 0.25], (80, 1))
    assert estimate(log, target, "ips").value == pytest.approx((1.5 + 1.5 + 0.5) / 4)
    assert estimate(log, target, "snips").value == pytest.approx((1.5 + 1.5 + 0.5) / 4.0)
    q = np.tile([1.0, 0.5], (80, 1))
    assert estimate(log, target, "dm", predicted=q).value == pytest.approx(0.875)
    expected = 0.875 + (0.5 * -0.5 + 0.5 * 0.5) / 4
    assert estimate(log, target, "dr-plain", predicted=q).value == pytest.approx(expected)


def test_the_logging_policy_itself_is_worth_what_was_logged():
    log, _, _ = drawn(2_000, 4)
    found = estimate(log, log.propensity, "ips")
    assert found.value == pytest.approx(log.rewards.mean())
    assert found.effective_share == pytest.approx(1.0)
    se = log.rewards.std(ddof=1) / np.sqrt(2_000)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * se, rel=0.01)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("dm", "dr-shrunk")])
def test_the_interval_holds_the_truth_on_most_logs(method):
    held = []
    for seed in range(40):
        log, target, truth = drawn(1_500, 100 + seed)
        predicted = None if seed % 4 == 0 else np.full((1_500, ACTIONS), 0.2)
        found = estimate(log, target, method, predicted=predicted)
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) >= 0.87


def test_a_wrong_reward_model_does_not_mislead_doubly_robust():
    log, target, truth = drawn(6_000, 7)
    nonsense = np.tile(np.linspace(3, -3, ACTIONS), (6_000, 1))
    found = estimate(log, target, "dr", predicted=nonsense)
    assert found.low <= truth <= found.high
    assert abs(estimate(log, target, "dm", predicted=nonsense).value - truth) > 0.3
    leaning = estimate(log, target, "dm", predicted=nonsense)
    assert (leaning.low, leaning.high) == (found.low, found.high)
    plain = estimate(log, target, "dr-plain", predicted=nonsense)
    assert found.high - found.low < 0.7 * (plain.high - plain.low)


def test_what_the_model_explains_exactly_leaves_no_width():
    log, target, _ = drawn(500, 2)
    worth = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    known = BanditLog.of(log.actions, worth[log.actions], log.propensity, contexts=log.contexts, count=ACTIONS)
    found = estimate(known, target, predicted=np.tile(worth, (500, 1)))
    assert found.value == pytest.approx(float(target[0] @ worth))
    assert found.high - found.low < 1e-6


def test_a_thin_log_is_refused():
    log, _, _ = drawn(4_000, 9)
    rare = np.zeros((4_000, ACTIONS))
    rare[:, 0] = 1.0
    weights = np.zeros(4_000)
    weights[:20] = 1.0
    with pytest.raises(EvidenceError) as refused:
        estimate(log, weights * log.propensity, "snips")
    assert refused.value.code == "evidence-001"
    one = np.where(np.arange(4_000) == 5, 1.0, 0.001)
    propensity = np.where(np.arange(4_000) == 5, 0.001, 0.5)
    heavy = BanditLog.of(log.actions, log.rewards, propensity, count=ACTIONS)
    with pytest.raises(EvidenceError, match=r"one row holds|effective sample"):
        estimate(heavy, one, "ips")


def test_propensities_of_another_log_are_refused():
    log, target, _ = drawn(4_000, 9)
    doubled = BanditLog.of(log.actions, log.rewards, np.minimum(1, log.propensity * 2), count=ACTIONS)
    with pytest.raises(EvidenceError) as refused:
        estimate(doubled, target, "ips")
    assert refused.value.code == "evidence-004"


def test_what_is_no_log_and_no_policy_is_refused():
    log, target, _ = drawn(500, 1)
    for bad in (
        lambda: BanditLog.of(np.array([0, 1]), np.ones(2), np.array([0.5, 0.0])),
        lambda: BanditLog.of(np.array([0, 1]), np.ones(3), np.array([0.5, 0.5])),
        lambda: BanditLog.of(np.array([0, 4]), np.ones(2), np.array([0.5, 0.5]), count=2),
        lambda: BanditLog.of(np.array([0, 1]), np.array([0, np.nan]), np.array([0.5, 0.5])),
        lambda: SlateLog(np.zeros((2, 3), int), np.zeros((2, 2)), np.ones((2, 3)), np.arange(2), 4),
        lambda: estimate(log, target * 0.5),
        lambda: estimate(log, target[:10]),
        lambda: estimate(log, -target),
        lambda: estimate(log, target, predicted=np.zeros((3, 3))),
    ):
        with pytest.raises(EvidenceError) as refused:
            bad()
        assert refused.value.code == "evidence-003"
    for bad in (lambda: estimate(log, log.propensity, "dr"), lambda: estimate(log, target, "magic")):
        with pytest.raises(EvidenceError) as refused:
            bad()
        assert refused.value.code == "evidence-002"


def test_same_seed_same_bytes_and_no_row_judges_itself():
    log, target, _ = drawn(800, 3)
    assert estimate(log, target, seed=5) == estimate(log, target, seed=5)
    base = cross_fitted(log, seed=2)
    flipped = log.rewards.copy()
    flipped[17] = 1 - flipped[17]
    changed = BanditLog.of(log.actions, flipped, log.propensity, contexts=log.contexts, count=ACTIONS)
    fold = folds_of(log.clusters, 2)
    moved = np.abs(cross_fitted(changed, seed=2) - base).max(axis=1) > 0
    assert not moved[fold == fold[17]].any()
    assert moved[fold != fold[17]].any()


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_scaling_rewards_scales_the_answer(seed):
    log, target, _ = drawn(1_500, seed, 0.5)
    q = np.full((1_500, ACTIONS), 0.3)
    tripled = BanditLog.of(log.actions, 3 * log.rewards, log.propensity, contexts=log.contexts, count=ACTIONS)
    for method in METHODS:
        a, b = estimate(log, target, method, predicted=q), estimate(tripled, target, method, predicted=3 * q)
        assert b.value == pytest.approx(3 * a.value, abs=1e-9)
        assert b.high - b.low == pytest.approx(3 * (a.high - a.low), abs=1e-9)


def test_rows_of_one_user_are_no_new_evidence():
    pull = np.random.default_rng(0).normal(size=400)
    alone = interval(0.0, pull, np.arange(400))
    twice = interval(0.0, np.repeat(pull, 9), np.repeat(np.arange(400), 9))
    assert twice == pytest.approx(alone)


def test_overlap_is_kish():
    found = overlap(np.array([1.0, 1.0, 2.0]))
    assert found.effective == pytest.approx(16 / 6)
    assert found.largest_weight_share == 0.5


@given(st.floats(0.6, 0.999), st.floats(1, 1e5))
def test_the_t_is_students(p, freedom):
    assert student_t_quantile(p, freedom) == pytest.approx(student.ppf(p, freedom), rel=1e-6)
