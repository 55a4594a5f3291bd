"""What an item is worth to interest-first: interest times item, less what the viewer is tired of."""

from __future__ import annotations

import numpy as np

from mainstem.base.request import Floats, Request, Rows
from mainstem.features.interest_first_posts import ENTITY, INTEREST, Posts
from mainstem.features.interest_first_reader import Viewer


class TiredProduct:
    """P(interest)^a * P(item | interest)^b * exp(-fatigue). The portfolio bonus depends on the slate: control adds it."""

    def __init__(self, posts: Posts) -> None:
        self._interest, self._entity = posts.slots[:, INTEREST], posts.slots[:, ENTITY]

    def values(self, request: Request, user: Viewer, rows: Rows, predictions: Floats) -> Floats:
        """The product for each candidate. Shapes: [n]."""
        interest, item, rest = self._factors(request, user, rows, predictions)
        return interest * item * rest

    def terms(self, request: Request, user: Viewer, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        """The product as a sum: the interest alone, then what the item's chance and what fatigue take off it."""
        interest, item, rest = self._factors(request, user, rows, predictions)
        return {"interest": interest, "item": interest * (item - 1.0), "fatigue": interest * item * (rest - 1.0)}

    def _factors(
        self, request: Request, user: Viewer, rows: Rows, predictions: Floats
    ) -> tuple[Floats, Floats, Floats]:
        tired = user.account.fatigue(self._interest[rows], self._entity[rows], request.now_ms, user.plan)
        a, b = user.plan.powers
        return predictions[:, 0] ** a, predictions[:, 1] ** b, np.exp(-tired)
