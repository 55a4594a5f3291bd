from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import DataError
from mainstem.evaluate.calibration import (
    calibration_cells,
    calibration_error,
    calibration_error_floor,
    field_calibration_error,
    predicted_over_observed,
    predicted_over_observed_interval,
    reliability,
)


def test_calibration_by_hand() -> None:
    predicted, labels = [0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1]
    assert calibration_error(predicted, labels, bins=2) == pytest.approx((2 * 0.4 + 2 * 0.1) / 4)
    assert predicted_over_observed(predicted, labels) == pytest.approx(2 / 3)
    low, high = reliability(predicted, labels, bins=2)
    assert (low.rows, low.predicted, low.observed) == (2, pytest.approx(0.1), 0.5)
    assert (high.rows, high.predicted, high.observed) == (2, pytest.approx(0.9), 1.0)


def test_true_probabilities_are_calibrated_and_shifted_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.02, 0.7, 40_000)
    labels = (rng.random(40_000) < p).astype(int)
    true, shifted = calibration_error(p, labels), calibration_error(p + 0.1, labels)
    assert true is not None
    assert shifted is not None
    assert true < 0.012
    assert shifted == pytest.approx(0.1, abs=0.01)
    assert predicted_over_observed(p, labels) == pytest.approx(1, abs=0.02)


def test_equal_predictions_share_a_bin_whatever_the_order_of_rows() -> None:
    labels = np.array([0, 1] * 50)
    assert len(reliability(np.full(100, 0.5), labels)) == 1
    assert calibration_error(np.full(100, 0.5), np.sort(labels)) == pytest.approx(0.0)
    assert len(reliability(np.linspace(0, 1, 100), labels)) == 20


def test_nothing_and_nonsense() -> None:
    assert calibration_error([], []) is None
    assert reliability([], []) == ()
    assert predicted_over_observed([0.2], [0]) is None
    with pytest.raises(DataError) as refused:
        calibration_error([1.5], [1])
    assert refused.value.code == "evaluate-006"


def test_errors_that_cancel_over_all_rows_do_not_cancel_over_fields() -> None:
    predicted, labels, fields = [0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0], [7, 7, 3, 3]
    assert predicted_over_observed(predicted, labels) == pytest.approx(1.0)
    assert calibration_error(predicted, labels) == pytest.approx(0.0)
    assert field_calibration_error(predicted, labels, fields) == pytest.approx(0.5)
    assert field_calibration_error([], [], []) is None


def _logged(n: int = 6_000) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    p = rng.uniform(0.1, 0.6, n)
    return p, (rng.random(n) < p).astype(np.int8), rng.integers(0, 400, n), rng.integers(0, 2, n)


def test_the_interval_holds_the_truth_and_shifts_with_the_predictions() -> None:
    p, labels, users, _ = _logged()
    told = predicted_over_observed_interval(p, labels, users, resamples=200)
    assert told is not None
    assert told.low < 1.0 < told.high
    assert told.mid == pytest.approx(predicted_over_observed(p, labels))
    high = predicted_over_observed_interval(p * 1.2, labels, users, resamples=200)
    assert high is not None
    assert high.low > 1.05
    assert predicted_over_observed_interval(p, np.zeros(len(p)), users) is None


def test_the_floor_is_what_perfect_probabilities_show() -> None:
    p, _, _, _ = _logged()
    draws = [calibration_error(p, (np.random.default_rng(100 + k).random(len(p)) < p).astype(int)) for k in range(20)]
    assert calibration_error_floor(p) == pytest.approx(np.mean(draws), rel=0.15)  # type: ignore[arg-type]
    assert calibration_error_floor([]) is None


def test_every_head_of_every_surface_is_told_and_says_when_rows_cannot_tell() -> None:
    p, labels, users, surface = _logged()
    labels = np.where(np.arange(len(p)) < 10, -1, labels)
    cells = calibration_cells(
        {"click": p}, {"click": labels}, surface, users, surface, ("feed", "pages", "never"), resamples=50
    )
    assert [one.surface for one in cells] == ["all", "feed", "pages"]
    assert cells[0].rows == len(p) - 10 == cells[1].rows + cells[2].rows
    assert cells[0].reached is None
    assert cells[0].over_observed is not None
