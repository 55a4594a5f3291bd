"""Calibration: probabilities come true, orders stay, thin cells lean on the head."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.heads import HEADS
from mainstem.ranking.calibrate import Calibrators, RequestCalibrators, fit_calibrators


def _made(n: int, tilt: float, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    odds = draw.normal(-1.0, 1.2, (n, len(HEADS)))
    outcomes = (draw.random((n, len(HEADS))) < 1.0 / (1.0 + np.exp(-(tilt * odds + shift)))).astype(np.int8)
    predictions = np.concatenate([1.0 / (1.0 + np.exp(-odds)), np.full((n, 1), 7.0)], axis=1)
    return predictions.astype(np.float32), outcomes


def test_what_is_predicted_comes_true_on_each_surface() -> None:
    one, y_one = _made(6000, 0.6, 0.8)
    two, y_two = _made(6000, 1.3, -0.5, seed=1)
    predictions, outcomes = np.concatenate([one, two]), np.concatenate([y_one, y_two])
    surface = np.repeat(np.array([0, 1], np.int8), 6000)
    fitted = Calibrators.from_dict(fit_calibrators(predictions, outcomes, surface))
    fresh, y = _made(6000, 0.6, 0.8, seed=2)
    got = fitted.apply(fresh, 0)
    assert abs(fresh[:, 0].mean() / y[:, 0].mean() - 1.0) > 0.2
    np.testing.assert_allclose(got[:, :7].mean(axis=0) / y.mean(axis=0), 1.0, atol=0.06)
    np.testing.assert_array_equal(got[:, 7], fresh[:, 7])
    mixed = fitted.apply_many(fresh, np.zeros(len(fresh), np.int8))
    np.testing.assert_array_equal(got, mixed)


def test_orders_stay() -> None:
    predictions, outcomes = _made(3000, 0.7, 0.3)
    fitted = Calibrators.from_dict(fit_calibrators(predictions, outcomes, np.zeros(3000, np.int8)))
    for surface in (-1, 0, 5):
        got = fitted.apply(predictions, surface)
        for head in range(len(HEADS)):
            ordered = got[np.argsort(predictions[:, head]), head]
            assert (np.diff(ordered) >= -1e-7).all()
            assert len(np.unique(ordered)) > 2500


def test_a_thin_surface_leans_on_the_head() -> None:
    predictions, outcomes = _made(8000, 1.0, 1.0)
    surface = np.zeros(8000, np.int8)
    surface[:30] = 1
    outcomes[:30] = 0
    outcomes[:12] = 1
    tables = Calibrators.from_dict(fit_calibrators(predictions, outcomes, surface)).tables
    middle = tables.shape[2] // 2
    assert abs(tables[1, 0, middle] - tables[2, 0, middle]) < 0.5


def test_too_few_positives_leave_the_head_as_it_is() -> None:
    predictions, outcomes = _made(500, 1.0, 0.0)
    outcomes[:, 2] = 0
    outcomes[:, 3] = -1
    fitted = Calibrators.from_dict(fit_calibrators(predictions, outcomes, np.zeros(500, np.int8)))
    np.testing.assert_allclose(fitted.apply(predictions, 0)[:, 2:4], predictions[:, 2:4], atol=1e-4)
    assert fitted.chosen[-1][2] == "identity"


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-12])
def test_extreme_probabilities_stay_finite(p: float) -> None:
    nothing = Calibrators.from_dict({})
    got = nothing.apply(np.full((2, 8), p, np.float32), 0)
    assert np.isfinite(got).all()


def test_no_rows_is_no_calibration() -> None:
    empty = fit_calibrators(np.empty((0, 8), np.float32), np.empty((0, 7), np.int8), np.empty(0, np.int8))
    assert Calibrators.from_dict(empty).tables.shape[0] == 1


def test_requests_are_calibrated_as_rows_are() -> None:
    predictions, outcomes = _made(4000, 0.7, 0.3)
    surface = np.repeat(np.array([0, 1], np.int8), 2000)
    outcomes[surface == 1] = -1
    outcomes[:, 3] = -1
    fitted = Calibrators.from_dict(fit_calibrators(predictions, outcomes, surface))
    for calibrators in (fitted, Calibrators.from_dict({})):
        requests = RequestCalibrators(calibrators)
        odds = np.linspace(-20.0, 20.0, 800).astype(np.float32)
        logits = np.repeat(odds[:, None], len(HEADS) + 1, axis=1)
        raw = np.concatenate(
            [
                1.0 / (1.0 + np.exp(-logits[:, : len(HEADS)].astype(np.float64))),
                np.expm1(np.clip(logits[:, -1:], 0.0, 10.0)),
            ],
            axis=1,
        )
        for place in (-1, 0, 1, 2, 9):
            got, wanted = requests.of_logits(logits, place), calibrators.apply(raw, place)
            np.testing.assert_allclose(got[:, : len(HEADS)], wanted[:, : len(HEADS)], atol=1e-6)
            np.testing.assert_allclose(got[:, -1], wanted[:, -1], rtol=1e-5)
    assert not np.allclose(fitted.tables[0, 0], fitted.tables[0, 3])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 2.0), st.floats(-2.0, 2.0), st.booleans())
def test_no_two_candidates_of_a_request_change_places(seed: int, tilt: float, shift: float, celled: bool) -> None:
    predictions, outcomes = _made(400, tilt, shift, seed)
    draw = np.random.default_rng(seed)
    surface, cell = draw.integers(0, 3, 400).astype(np.int8), draw.integers(0, 4, 400)
    held = fit_calibrators(predictions, outcomes, surface, seed, cell if celled else None)
    fitted = Calibrators.from_dict(held)
    for place, at in ((0, 0), (2, 3), (9, -1)):
        got = fitted.apply(predictions, place, at)
        for head in range(len(HEADS)):
            order = np.argsort(predictions[:, head], kind="stable")
            assert (np.diff(got[order, head]) >= 0).all()
            assert len(np.unique(got[:, head])) >= 0.99 * len(np.unique(predictions[:, head]))


def test_a_cell_that_differs_is_corrected_and_the_others_are_not() -> None:
    predictions, outcomes = _made(9000, 1.0, 0.0)
    cell = np.repeat([0, 1, 2], 3000)
    odds = np.log(predictions[:, :7] / (1.0 - predictions[:, :7]))
    shifted = odds + np.where(cell == 1, 1.0, 0.0)[:, None]
    outcomes = (np.random.default_rng(9).random(shifted.shape) < 1.0 / (1.0 + np.exp(-shifted))).astype(np.int8)
    place = np.zeros(9000, np.int8)
    fitted = Calibrators.from_dict(fit_calibrators(predictions, outcomes, place, 0, cell))
    got = fitted.apply_many(predictions, place, cell)
    for at in range(3):
        here = cell == at
        np.testing.assert_allclose(got[here, :7].mean(axis=0) / outcomes[here].mean(axis=0), 1.0, atol=0.05)
    again = Calibrators.from_dict(fitted.as_dict())
    np.testing.assert_array_equal(again.apply_many(predictions, place, cell), got)
    assert again.strengths == fitted.strengths
    assert not np.allclose(fitted.apply_many(predictions, place), got)
    logits = np.concatenate([odds, np.zeros((9000, 1))], axis=1).astype(np.float32)
    requests = RequestCalibrators(fitted)
    for at in (-1, 0, 1, 2, 7):
        np.testing.assert_allclose(
            requests.of_logits(logits, 0, at)[:, :7], fitted.apply(predictions, 0, at)[:, :7], atol=1e-6
        )


def test_the_same_rows_and_seed_give_the_same_calibrators() -> None:
    predictions, outcomes = _made(900, 0.7, 0.5)
    surface = (np.arange(900) % 2).astype(np.int8)
    assert fit_calibrators(predictions, outcomes, surface, 3) == fit_calibrators(predictions, outcomes, surface, 3)


def test_a_surface_that_differs_gets_a_map_of_its_own() -> None:
    one, y_one = _made(4000, 1.0, 0.0)
    two, y_two = _made(4000, 1.0, 1.5, seed=4)
    surface = np.repeat(np.array([0, 1], np.int8), 4000)
    held = fit_calibrators(np.concatenate([one, two]), np.concatenate([y_one, y_two]), surface)
    fitted = Calibrators.from_dict(held)
    assert all(np.isfinite(fitted.strengths["surface"]))
    np.testing.assert_allclose(fitted.apply(two, 1)[:, :7].mean(axis=0) / y_two.mean(axis=0), 1.0, atol=0.05)
