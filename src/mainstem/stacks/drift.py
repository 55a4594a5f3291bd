"""A ranker whose probabilities follow the day: what became of its own slates corrects it slowly, orders within a head stay."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Request, Rows
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.ranking.drift_intercept import DriftIntercept
from mainstem.stacks.stage import Ranker

WAITING: Final = 50_000
"""Shown items whose outcome is waited for at most; the oldest are forgotten first."""


class DriftCorrected:
    """A stack's ranker with the slow correction on top; also the memory that learns it.

    What it learns from is its own: the predictions of the items it really showed, once their outcomes come in. Each server
    process follows the whole log but only knows its own slates, which is a fair sample of all.

    Args:
        ranker: The ranker that stands still.
        catalog: Whose rows the stack ranks.
        surfaces: How many surfaces there are.
    """

    def __init__(self, ranker: Ranker, catalog: Catalog, surfaces: int) -> None:
        self.heads = ranker.heads
        self.drift = DriftIntercept(surfaces)
        self._ranker = ranker
        self._ids = catalog.items.ids
        self._asked: tuple[int, Rows, Floats, int] | None = None
        self._waiting: OrderedDict[tuple[int, int], tuple[NDArray[np.float32], int]] = OrderedDict()

    def predict(self, request: Request, user: Any, rows: Rows, features: Floats) -> Floats:
        """One row of predictions a candidate, corrected as of now. Shapes: [n, 8]."""
        raw = self._ranker.predict(request, user, rows, features)
        self._asked = (request.request_id, rows, raw, user.surface)
        if not self.drift.learned:
            return raw
        return self.drift.corrected(raw, np.full(len(raw), user.surface))

    def served(self, request: Request, rows: Rows) -> None:
        """Remembers what was predicted, before correction, of the items that were shown."""
        asked, self._asked = self._asked, None
        if asked is None or asked[0] != request.request_id:
            return
        _, ranked, raw, surface = asked
        at = {int(row): place for place, row in enumerate(ranked.tolist())}
        for row in rows.tolist():
            if row in at and 0 <= row < len(self._ids):
                key = (request.user_id, int(self._ids[row]))
                self._waiting.pop(key, None)
                self._waiting[key] = (np.asarray(raw[at[row]], np.float32), surface)
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)

    def apply(self, feedback: FeedbackBatch) -> None:
        """Learns from the outcomes of what this process showed; all other outcomes say nothing of its predictions."""
        pairs = zip(feedback.user_id.tolist(), feedback.item_id.tolist(), strict=True)
        found = [(at, self._waiting.pop(pair)) for at, pair in enumerate(pairs) if pair in self._waiting]
        if not found:
            return
        places = np.array([at for at, _ in found])
        self.drift.learn(
            np.stack([raw for _, (raw, _) in found]),
            feedback.outcomes[places],
            np.array([surface for _, (_, surface) in found]),
            int(feedback.time_ms[places].max()),
        )

    def save(self, path: Path) -> None:
        """Writes what was learned for a restart; what is still waited for is let go."""
        path.write_text(json.dumps(self.drift.as_dict()))

    def load(self, path: Path) -> None:
        """Goes on from what ``save`` wrote."""
        self.drift.load(json.loads(path.read_text()))
