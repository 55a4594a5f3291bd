"""The slow correction: follows a shift, leaves a steady world alone, keeps orders and survives a restart."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.heads import HEADS
from mainstem.ranking.drift_intercept import MOST, DriftIntercept

HOUR = 3_600_000


def _rows(n: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    odds = draw.normal(-1.0, 1.0, (n, len(HEADS)))
    outcomes = (draw.random((n, len(HEADS))) < 1.0 / (1.0 + np.exp(-odds - shift))).astype(np.int8)
    seconds = np.full((n, 1), 9.0)
    return np.concatenate([1.0 / (1.0 + np.exp(-odds)), seconds], axis=1).astype(np.float32), outcomes


def _after(shift: float, hours: int = 48, surface: int = 0) -> DriftIntercept:
    drift = DriftIntercept(2)
    for hour in range(hours):
        predictions, outcomes = _rows(200, shift, hour)
        drift.learn(predictions, outcomes, np.full(200, surface), hour * HOUR)
    return drift


def test_a_shift_is_followed_and_what_was_predicted_comes_true_again() -> None:
    drift = _after(0.5)
    predictions, outcomes = _rows(20_000, 0.5, 999)
    before = predictions[:, :7].sum() / outcomes.sum()
    got = drift.corrected(predictions, np.zeros(20_000, np.int64))
    assert before < 0.85
    assert got[:, :7].sum() / outcomes.sum() == pytest.approx(1.0, abs=0.03)
    np.testing.assert_array_equal(got[:, 7], predictions[:, 7])


def test_a_steady_world_is_left_alone() -> None:
    assert np.abs(_after(0.0).added(0)).max() < 0.12


def test_no_order_within_a_surface_changes() -> None:
    drift = _after(0.8, 12)
    predictions, _ = _rows(3_000, 0.0, 5)
    got = drift.corrected(predictions, np.zeros(3_000, np.int64))
    for head in range(len(HEADS)):
        ordered = got[np.argsort(predictions[:, head], kind="stable"), head]
        assert (np.diff(ordered) >= 0).all()


def test_another_surface_shares_the_heads_shift_only() -> None:
    drift = DriftIntercept(2)
    for hour in range(48):
        same, a = _rows(200, 0.0, hour)
        other, b = _rows(200, 1.0, hour + 1_000)
        place = np.repeat([0, 1], 200)
        drift.learn(np.concatenate([same, other]), np.concatenate([a, b]), place, hour * HOUR)
    assert np.all(drift.added(1) > drift.added(0) + 0.4)
    assert np.all(drift.added(7) > drift.added(0))
    assert np.all(drift.added(7) < drift.added(1))


def test_nonsense_moves_nothing_far() -> None:
    drift = DriftIntercept(1)
    predictions, outcomes = _rows(500, 0.0, 1)
    predictions[:, 3] = np.nan
    drift.learn(predictions, outcomes, np.zeros(500, np.int64), 0)
    assert not drift.added(0).any()
    for hour in range(200):
        predictions, outcomes = _rows(50, 0.0, hour)
        drift.learn(predictions, np.ones_like(outcomes), np.zeros(50, np.int64), hour * HOUR)
    assert np.abs(drift.heads).max() <= MOST
    unknown = DriftIntercept(1)
    unknown.learn(predictions, np.full_like(outcomes, -1), np.zeros(50, np.int64), 0)
    assert not unknown.added(0).any()


def test_what_was_learned_fades_and_outlives_a_restart() -> None:
    drift = _after(0.6, 24)
    again = DriftIntercept(2)
    again.load(drift.as_dict())
    np.testing.assert_array_equal(again.added(1), drift.added(1))
    predictions, outcomes = _rows(1, 0.0, 3)
    again.learn(predictions, np.full_like(outcomes, -1), np.zeros(1, np.int64), 60 * 24 * HOUR)
    assert np.abs(again.added(0)).max() < 0.05 < np.abs(drift.added(0)).min()
    other = DriftIntercept(5)
    other.load(drift.as_dict())
    assert not other.added(0).any()
