"""The unified stack's own request path, as its server runs it: ``FeatureState`` with everything it keeps between requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.live import LiveState
from mainstem.features.steps import Arrays
from mainstem.features.unified_state import FeatureState
from mainstem.parity.features.configuration import Side

Ints = NDArray[np.int64]


class UnifiedDoor:
    """Events as feedback, requests as viewer and candidates.

    Args:
        held: The server's state.
    """

    def __init__(self, held: FeatureState) -> None:
        self._held = held

    @property
    def state(self) -> LiveState:
        """What events move."""
        return self._held.live

    def apply(self, events: Events) -> None:
        """Takes in the next events of the log."""
        self._held.apply(feedback_of(events))

    def sides(self, given: Arrays, candidates: Ints) -> tuple[Side, Side]:
        """The viewer's columns and the candidates' of one request."""
        numbers = [int(given[name][0]) for name in ("user_id", "surface", "scenario", "now_ms")]
        user, context = self._held.viewer(*numbers)
        rows = self._held.catalog.item_rows(candidates).astype(np.int64)
        return user, self._held.candidates(context, rows)

    def load(self, path: Path) -> None:
        """Goes on from a saved state."""
        self._held.load(path)


def feedback_of(events: Events) -> FeedbackBatch:
    """The feedback that events were made of."""
    columns = events.columns
    names = ("user_id", "item_id", "surface", "scenario", "time_ms")
    outcomes = np.stack([columns[head] for head in HEADS], axis=1)
    return FeedbackBatch(
        *(columns[name] for name in names),
        outcomes=outcomes,
        viewed=columns["viewed"],
        watch_s=columns["watch_s"],
        duration_s=columns["duration_s"],
    )
