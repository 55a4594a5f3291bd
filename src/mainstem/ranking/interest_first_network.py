"""P(interest | viewer) and P(item | interest): the two predictions of the interest-first stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Request, Rows
from mainstem.features.interest_first_posts import INTEREST, Posts
from mainstem.features.interest_first_reader import Viewer


class InterestTimesItem:
    """A small network for the item, a look-up for its interest.

    P(item | interest) is an ordered score: trained so that touched items win their lists, never calibrated.

    Args:
        posts: Which interest a post belongs to.
        arrays: Weights, input scales, and each cohort's mean inputs.
    """

    heads = ("interest", "item")

    def __init__(self, posts: Posts, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._interest = posts.slots[:, INTEREST]
        self._means = arrays["cohort_signals"]
        self._centre, self._scale = arrays["centre"], arrays["scale"]
        self._hidden, self._hidden_bias = arrays["hidden"], arrays["hidden_bias"]
        self._out, self._out_bias = arrays["out"], float(arrays["out_bias"][0])

    def predict(self, request: Request, user: Viewer, rows: Rows, features: Floats) -> Floats:
        """Both chances of each candidate; a feature that is not known is the mean of the viewer's cohort. Shapes: [n, 2]."""
        inputs = np.minimum(np.maximum((self.known(user, features) - self._centre) / self._scale, -4.0), 4.0)
        merit = np.tanh(inputs @ self._hidden + self._hidden_bias) @ self._out + self._out_bias
        return np.stack([self.looked_up(user, rows), 1.0 / (1.0 + np.exp(-merit))], axis=1)

    def known(self, user: Viewer, features: Floats) -> Floats:
        """The features with the viewer's cohort's means where something is not known. Shapes: [n, f]."""
        return np.where(np.isnan(features), self._means[user.cohort], features)

    def looked_up(self, user: Viewer, rows: Rows) -> Floats:
        """P(interest | viewer) of each candidate's interest: a declared feature, not a prediction. Shapes: [n]."""
        return user.shares[self._interest[rows]]
