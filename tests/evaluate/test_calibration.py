from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import DataError
from mainstem.evaluate.calibration import calibration_error, predicted_over_observed, reliability


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
