"""What showing an item is worth to the content-first stack: a weighted sum, shrunk for creators the viewer does not follow."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import PREDICTIONS
from mainstem.base.request import Floats, Request, Rows


class Follower(Protocol):
    """What the value knows of who asks."""

    def follows(self, rows: Rows) -> NDArray[np.bool_]:
        """Which candidates come from a creator they follow."""
        ...


class WeightedSum:
    """The sum over heads of weight times prediction. The factor shrinks negative sums too, which lifts those items.

    Args:
        weights: By surface, one a head.
        unconnected: By surface, the factor for items of creators that are not followed.
    """

    def __init__(self, weights: dict[str, Floats], unconnected: dict[str, float]) -> None:
        self.weights = weights
        self.unconnected = unconnected

    def values(self, request: Request, user: Follower, rows: Rows, predictions: Floats) -> Floats:
        """Higher is better. Shapes: [n]."""
        return (predictions * self.weights[request.surface]).sum(axis=1) * self._factor(request, user, rows)

    def terms(self, request: Request, user: Follower, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        """Each head's share of the value; heads without a weight are left out."""
        weights = self.weights[request.surface]
        shares = predictions * weights * self._factor(request, user, rows)[:, None]
        return {head: shares[:, at] for at, head in enumerate(PREDICTIONS) if weights[at]}

    def _factor(self, request: Request, user: Follower, rows: Rows) -> Floats:
        return np.where(user.follows(rows), 1.0, self.unconnected[request.surface])
