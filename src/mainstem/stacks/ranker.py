"""The trained network and its calibration as the ranker of a stack."""

from __future__ import annotations

import numpy as np

from mainstem.base.heads import PREDICTIONS
from mainstem.base.request import Floats, Request, Rows
from mainstem.ranking.calibrate import Calibrators, RequestCalibrators
from mainstem.ranking.network import Network
from mainstem.stacks.viewer import Viewer


class CalibratedRanker:
    """Seven probabilities that mean what they say on their surface, and the expected seconds watched."""

    heads = PREDICTIONS

    def __init__(self, network: Network, calibrators: Calibrators, surfaces: tuple[str, ...]) -> None:
        self._network = network
        self._calibrators = RequestCalibrators(calibrators)
        self._surfaces = surfaces
        self._items = network.item_columns

    def predict(self, request: Request, user: Viewer, rows: Rows, features: Floats) -> Floats:
        """One row of predictions a candidate. Shapes: [n, 8]."""
        item, cross = features[:, : self._items], features[:, self._items :]
        logits = self._network.logits(user.side, rows.astype(np.int32, copy=False), item, cross)
        return self._calibrators.of_logits(logits, user.surface)
