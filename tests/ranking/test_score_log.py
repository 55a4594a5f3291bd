"""Scores of logged impressions by what is known: nothing new, the days before, or everything that had arrived."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from feature_log import Tables

from mainstem.data.log import Log
from mainstem.ranking.model import Model
from mainstem.ranking.score_log import mean_of, score_moments, until_yesterday


class _Log:
    def __init__(self, tables: Tables) -> None:
        self.items, self.users = tables.items, tables.users
        self.impressions, self.history = tables.impressions, tables.history


@pytest.fixture(scope="module")
def log(small: Tables) -> Log:
    return _Log(small)  # type: ignore[return-value]


def test_yesterday_ends_with_the_last_event_of_the_day_before() -> None:
    days, times = np.array([1, 1, 2, 3, 3]), np.array([10, 20, 30, 40, 50])
    judged = np.array([True, False, True, True, True])
    assert until_yesterday(days, times, judged).tolist() == [0, 20, 30, 30]


def test_daily_is_frozen_day_by_day(log: Log, small_model: Model) -> None:
    days, times = log.impressions["day"].to_numpy(), log.impressions["time_ms"].to_numpy()
    last = np.unique(days)[-2:]
    judged = np.isin(days, last)
    judged[np.flatnonzero(judged)[::2]] = False
    daily = score_moments(small_model, log, judged, known_until_ms=until_yesterday(days, times, judged))
    for day in last:
        one = judged & (days == day)
        frozen = score_moments(small_model, log, one, known_until_ms=int(times[days < day].max()))
        np.testing.assert_allclose(daily.predictions[days[judged] == day], frozen.predictions, atol=1e-6, rtol=1e-6)
    still = score_moments(small_model, log, judged, known_until_ms=int(times[days < last[0]].max()))
    assert not np.array_equal(daily.predictions, still.predictions)


def test_the_mean_of_a_model_with_itself_is_the_model(log: Log, small_model: Model) -> None:
    judged = np.zeros(log.impressions.height, bool)
    judged[-50:] = True
    one = score_moments(small_model, log, judged)
    both = mean_of([one, one])
    np.testing.assert_allclose(both.predictions, one.predictions, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(both.order, one.order, atol=1e-6)


def test_a_folder_is_as_good_as_a_model(log: Log, small_model: Model, tmp_path: Path) -> None:
    small_model.save(tmp_path)
    judged = np.zeros(log.impressions.height, bool)
    judged[-20:] = True
    np.testing.assert_array_equal(
        score_moments(tmp_path, log, judged).predictions, score_moments(small_model, log, judged).predictions
    )
