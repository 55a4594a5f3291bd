"""Slates off policy: the cascade is respected, and the model of what is to come takes variance off."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.bandit_log import SlateLog
from mainstem.evaluate.off_policy_slates import SLATE_METHODS, estimate_slates

ITEMS, PLACES = 4, 3
APPEAL = np.array([0.1, 0.3, 0.5, 0.7])


def chances_given(above: np.ndarray, taste: np.ndarray) -> np.ndarray:
    """A policy without repeats: by taste among what is not above."""
    p = np.tile(taste, (len(above), 1))
    for place in range(above.shape[1]):
        p[np.arange(len(above)), above[:, place]] = 0
    return p / p.sum(axis=1, keepdims=True)


def drawn(taste: np.ndarray, n: int, rng: np.random.Generator):
    """Slates of a policy; a place earns less after a place that earned."""
    items, chance = np.zeros((n, 0), int), []
    for _ in range(PLACES):
        p = chances_given(items, taste)
        one = (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=ITEMS - 1)
        chance.append(p[np.arange(n), one])
        items = np.column_stack([items, one])
    rewards = np.zeros((n, PLACES))
    for place in range(PLACES):
        spent = rewards[:, :place].any(axis=1)
        rewards[:, place] = rng.random(n) < APPEAL[items[:, place]] * np.where(spent, 0.2, 1.0)
    return items, rewards, np.column_stack(chance)


def target_of(items: np.ndarray, taste: np.ndarray) -> np.ndarray:
    return np.stack([chances_given(items[:, :place], taste) for place in range(PLACES)], axis=1)


@pytest.fixture(scope="module")
def found():
    shown, wanted = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
    truth = float(drawn(wanted, 150_000, np.random.default_rng(5))[1].sum(axis=1).mean())
    runs = {method: [] for method in SLATE_METHODS}
    for seed in range(40):
        items, rewards, chance = drawn(shown, 1_500, np.random.default_rng(seed))
        log = SlateLog(items, rewards, chance, np.arange(1_500), ITEMS)
        for method in SLATE_METHODS:
            runs[method].append(estimate_slates(log, target_of(items, wanted), method))
    return truth, runs


def test_the_methods_that_respect_the_cascade_are_right_in_the_mean(found):
    truth, runs = found
    for method in ("ips", "rips", "cascade-dr"):
        values = np.array([one.value for one in runs[method]])
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)) + 0.003
    assert abs(np.mean([one.value for one in runs["iips"]]) - truth) > 0.02


def test_intervals_hold_and_the_model_narrows_them(found):
    truth, runs = found
    for method in ("rips", "cascade-dr"):
        assert np.mean([one.low <= truth <= one.high for one in runs[method]]) >= 0.87
    error = {m: np.sqrt(np.mean([(one.value - truth) ** 2 for one in runs[m]])) for m in SLATE_METHODS}
    assert error["cascade-dr"] <= error["rips"] * 1.02 <= error["ips"] * 1.05


def test_the_same_policy_gives_the_logged_mean():
    taste = np.array([0.4, 0.3, 0.2, 0.1])
    items, rewards, chance = drawn(taste, 500, np.random.default_rng(1))
    log = SlateLog(items, rewards, chance, np.arange(500), ITEMS)
    for method in ("ips", "iips", "rips"):
        assert estimate_slates(log, target_of(items, taste), method).value == pytest.approx(rewards.sum(axis=1).mean())


def test_a_policy_of_one_slate_is_refused():
    shown = np.array([0.9, 0.09, 0.009, 0.001])
    items, rewards, chance = drawn(shown, 2_000, np.random.default_rng(2))
    log = SlateLog(items, rewards, chance, np.arange(2_000), ITEMS)
    with pytest.raises(EvidenceError) as refused:
        estimate_slates(log, target_of(items, shown[::-1]))
    assert refused.value.code == "evidence-001"
    for bad, code in ((lambda: estimate_slates(log, np.ones((2_000, 3, 3))), "evidence-003"),
                      (lambda: estimate_slates(log, target_of(items, shown), "dice"), "evidence-002")):  # fmt: skip
        with pytest.raises(EvidenceError) as refused:
            bad()
        assert refused.value.code == code
