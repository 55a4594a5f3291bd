"""Weighting by one over the chance takes out a planted exposure bias, and changes nothing where there is none."""

from __future__ import annotations

import numpy as np

from mainstem.evaluate.exposure_weights import Ratings, judge_weights


def made(biased: bool):
    rng = np.random.default_rng(8)
    taste = np.clip(3 + rng.normal(0, 1, (60, 1)) + rng.normal(0, 0.5, (1, 50)) + rng.normal(0, 1, (60, 50)), 1, 5)
    chance = np.clip((taste - 0.8) ** 3 / 60, 0.03, 1) if biased else np.full(taste.shape, 0.3)
    there, drawn = np.nonzero(rng.random(taste.shape) < chance), np.nonzero(rng.random(taste.shape) < 0.2)
    return Ratings(*there, taste[there]), chance[there], Ratings(*drawn, taste[drawn])


def test_a_planted_bias_is_taken_out():
    found = judge_weights(*made(biased=True))
    assert found.difference is not None
    assert found.difference.high < 0
    assert found.effective_share < 0.8


def test_equal_chances_change_nothing():
    found = judge_weights(*made(biased=False))
    assert found.plain == found.weighted
    assert abs(found.effective_share - 1) < 1e-12
