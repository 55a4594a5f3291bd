"""The served correction: it learns from the slates it showed and from nothing else, and outlives a restart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mainstem.base.heads import HEADS, PREDICTIONS
from mainstem.base.request import Request
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.drift import WAITING, DriftCorrected

ITEMS = np.arange(100, 140)
CATALOG: Any = SimpleNamespace(items=SimpleNamespace(ids=ITEMS))
VIEWER = SimpleNamespace(surface=0)
ROWS = np.arange(40)
HOUR = 3_600_000


class Still:
    """Says .1 to .3 of everything, whatever becomes of it."""

    heads = PREDICTIONS

    def predict(self, request: Request, user: Any, rows: np.ndarray, features: np.ndarray) -> np.ndarray:
        share = 0.1 + 0.005 * rows[:, None].astype(np.float32)
        return np.concatenate([np.tile(share, (1, len(HEADS))), np.full((len(rows), 1), 5.0)], axis=1).astype(
            np.float32
        )


def _request(number: int) -> Request:
    return Request(number, number, "feed", number * HOUR, 10)


def _feedback(number: int, items: np.ndarray, rate: float) -> FeedbackBatch:
    n, draw = len(items), np.random.default_rng(number)
    outcomes = (draw.random((n, len(HEADS))) < rate).astype(np.int8)
    whole = (np.full(n, number), items, np.zeros(n, np.int8), np.full(n, -1, np.int16), np.full(n, number * HOUR))
    return FeedbackBatch(*whole, outcomes, np.ones(n, np.int8), np.full(n, np.nan, np.float32), np.zeros(n, np.float32))


def _lived(ranker: DriftCorrected, turns: int, served: bool = True, rate: float = 0.4) -> DriftCorrected:
    for number in range(1, turns + 1):
        ranker.predict(_request(number), VIEWER, ROWS, np.empty((40, 0)))
        if served:
            ranker.served(_request(number), ROWS[:20])
        ranker.apply(_feedback(number, ITEMS, rate))
    return ranker


def _told(ranker: DriftCorrected) -> np.ndarray:
    return np.asarray(ranker.predict(_request(999), VIEWER, ROWS, np.empty((40, 0))))


def test_what_became_of_its_slates_moves_its_probabilities_toward_it() -> None:
    still, moved = _told(DriftCorrected(Still(), CATALOG, 1)), _told(_lived(DriftCorrected(Still(), CATALOG, 1), 60))
    assert still[:20, :7].mean() < 0.16
    assert 0.25 < moved[:20, :7].mean() < 0.45
    assert (np.diff(moved[:, :7], axis=0) > 0).all()
    np.testing.assert_array_equal(moved[:, 7], still[:, 7])


def test_what_it_did_not_show_teaches_it_nothing() -> None:
    ranker = _lived(DriftCorrected(Still(), CATALOG, 1), 10, served=False)
    assert not ranker.drift.learned
    ranker.predict(_request(1), VIEWER, ROWS, np.empty((40, 0)))
    ranker.served(_request(2), ROWS[:5])
    ranker.apply(_feedback(2, ITEMS, 1.0))
    assert not ranker.drift.learned


def test_one_outcome_counts_once() -> None:
    ranker = DriftCorrected(Still(), CATALOG, 1)
    ranker.predict(_request(1), VIEWER, ROWS, np.empty((40, 0)))
    ranker.served(_request(1), ROWS[:20])
    ranker.apply(_feedback(1, ITEMS, 1.0))
    first = ranker.drift.added(0).copy()
    ranker.apply(_feedback(1, ITEMS, 1.0))
    np.testing.assert_array_equal(ranker.drift.added(0), first)
    assert first.min() > 0


def test_a_restart_goes_on_and_memory_is_bounded(tmp_path: Path) -> None:
    ranker = _lived(DriftCorrected(Still(), CATALOG, 1), 30)
    ranker.save(tmp_path / "drift.json")
    again = DriftCorrected(Still(), CATALOG, 1)
    again.load(tmp_path / "drift.json")
    np.testing.assert_array_equal(_told(again), _told(ranker))
    for number in range(WAITING // 40 + 5):
        again.predict(_request(number), VIEWER, ROWS, np.empty((40, 0)))
        again.served(_request(number), ROWS)
    assert len(again._waiting) == WAITING
