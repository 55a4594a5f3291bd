"""The daily regime: a day's outcomes are told when the day is over, and a model's state is frozen day by day."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.workspace.compare import REGIMES, SCORE, Regime, known_until
from mainstem.workspace.replay import _lines

DAYS = [1, 1, 2, 2, 3]
TIMES = [1_000, 2_000, 90_000, 91_000, 180_000]


def _impressions() -> pl.DataFrame:
    n = len(DAYS)
    columns = {
        "request_id": [f"r{at}" for at in range(n)],
        "user_id": [1] * n,
        "item_id": list(range(n)),
        "surface": ["feed"] * n,
        "scenario": [0] * n,
        "time_ms": TIMES,
        "day": DAYS,
        "position": [0] * n,
        "long_view": [1, 0, 1, 0, 1],
    }
    return pl.DataFrame(columns)


def _told_before(by_night: bool) -> list[int]:
    """How many outcomes stand before each request."""
    starts = np.arange(len(DAYS))
    told, before = 0, []
    for kind, _ in _lines(_impressions(), starts, starts + 1, 60_000, by_night):
        if kind == "event":
            told += 1
        else:
            before.append(told)
    return before


def test_a_day_is_told_when_it_is_over() -> None:
    assert _told_before(by_night=False) == [0, 0, 2, 2, 4]
    assert _told_before(by_night=True) == [0, 0, 2, 2, 4]


def test_outcomes_of_the_same_day_wait_for_the_night() -> None:
    days = _impressions().with_columns(time_ms=pl.col("time_ms") * 3)
    starts = np.arange(len(DAYS))
    kinds = [kind for kind, _ in _lines(days, starts, starts + 1, 1_000, by_night=True)]
    assert kinds == ["score", "score", "event", "event", "score", "score", "event", "event", "score"]
    at_once = [kind for kind, _ in _lines(days, starts, starts + 1, 1_000)]
    assert at_once == ["score", "event"] * 4 + ["score"]


@pytest.mark.parametrize(
    ("regime", "wanted"), [("frozen", 2_000), ("daily", [2_000, 2_000, 91_000]), ("continuous", None)]
)
def test_what_is_known_when_a_row_is_scored(regime: Regime, wanted: int | list[int] | None) -> None:
    judged = np.array(DAYS) >= 2
    found = known_until(_impressions(), judged, 2, regime)
    assert (found.tolist() if isinstance(found, np.ndarray) else found) == wanted


def test_daily_is_ordered_like_continuous_and_only_when_asked_for() -> None:
    assert (SCORE["frozen"], SCORE["daily"], SCORE["continuous"]) == ("head", "order", "order")
    assert "daily" not in REGIMES
