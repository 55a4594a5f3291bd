"""The isotonic map: the best increasing curve, and never a tie where there was none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from mainstem.ranking.calibration_maps import GRID, KINDS, SLOPE, choose_map, folds, map_table, on_table, shift
from mainstem.ranking.isotonic import isotonic_odds, pool_adjacent_violators, strictly_increasing


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9)), min_size=1, max_size=60))
def test_pooling_is_the_regression_of_a_library(pairs: list[tuple[float, float]]) -> None:
    values, weights = np.array([one for one, _ in pairs]), np.array([one for _, one in pairs])
    level, start = pool_adjacent_violators(values, weights)
    ours = np.repeat(level, np.diff(np.append(start, len(values))))
    theirs = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert (np.diff(level) > 0).all()


def _bent(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose truth is a step of the prediction: nothing a line in log odds could follow."""
    draw = np.random.default_rng(seed)
    odds = draw.normal(-0.5, 1.5, n)
    truth = np.where(odds < 0.0, 0.1, 0.6)
    return odds, (draw.random(n) < truth).astype(float)


def test_a_step_is_followed_by_the_isotonic_map_only() -> None:
    odds, labels = _bent(20_000)
    chosen = choose_map(odds, labels, folds(len(odds), 0))
    assert chosen.kind == "isotonic"
    got = 1.0 / (1.0 + np.exp(-on_table(chosen.table, np.array([-1.5, 1.0]))))
    np.testing.assert_allclose(got, [0.1, 0.6], atol=0.05)
    assert min(chosen.losses, key=lambda kind: chosen.losses[kind]) == "isotonic"


def test_what_is_right_stays_as_it_is() -> None:
    draw = np.random.default_rng(1)
    odds = draw.normal(-1.0, 1.0, 5_000)
    labels = (draw.random(5_000) < 1.0 / (1.0 + np.exp(-odds))).astype(float)
    assert choose_map(odds, labels, folds(len(odds), 0)).kind == "identity"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 400))
def test_every_kind_of_map_rises_everywhere(kind: str, seed: int, n: int) -> None:
    draw = np.random.default_rng(seed)
    odds = draw.normal(0.0, draw.uniform(0.1, 4.0), n)
    labels = (draw.random(n) < draw.uniform(0.05, 0.95)).astype(float)
    table = map_table(kind, odds, labels)
    assert np.isfinite(table).all()
    assert (np.diff(table) >= SLOPE * (GRID[1] - GRID[0]) - 1e-9).all()


def test_one_prediction_for_all_rows_is_no_reason_to_fail() -> None:
    table = isotonic_odds(np.zeros(50), np.repeat([0.0, 1.0], 25), GRID)
    assert np.isfinite(table).all()
    assert (np.diff(strictly_increasing(table, GRID, SLOPE)) > 0).all()


def test_a_shift_brings_the_mean_home_and_the_pull_holds_it_back() -> None:
    odds = np.random.default_rng(2).normal(-2.0, 1.0, 4_000)
    labels = (np.random.default_rng(3).random(4_000) < 1.0 / (1.0 + np.exp(-odds - 0.7))).astype(float)
    free, held = shift(odds, labels, 0.0), shift(odds, labels, 400.0)
    assert free == pytest.approx(0.7, abs=0.1)
    assert 0.2 < held < free - 0.1
    assert shift(odds, labels, float("inf")) == 0.0
    assert shift(odds[:0], labels[:0], 1.0) == 0.0
