"""What is read when a lookup failed: each feature's declared policy, for it and for everything that reads it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.language.feature_set import FeatureSet

PREFIX: Final = "feature:"
"""How a request names a lookup that failed, or is to be treated so in a drill: ``feature:user_good_like``."""


class FailurePolicies:
    """The declared answers to failed lookups of some columns.

    Args:
        features: What is declared.
        columns: The columns, in order.
    """

    def __init__(self, features: FeatureSet, columns: Sequence[str]) -> None:
        self._features, self._columns = features, tuple(columns)
        self._replaced = lru_cache(maxsize=256)(self._of)

    def applied(self, side: NDArray[Any], failures: Collection[str]) -> NDArray[Any]:
        """The columns with failed ones as declared: the default, or empty where a ranker fills the cohort's mean.

        Args:
            side: ``[columns]`` or ``[n, columns]``.
            failures: What failed; names without ``feature:`` are not ours.

        Raises:
            FeatureError: A failed feature may not be replaced (policy ``refuse``, ``feature-019``).
        """
        failed = frozenset(name.removeprefix(PREFIX) for name in failures if name.startswith(PREFIX))
        if not failed:
            return side
        at, instead = self._replaced(failed)
        if not len(at):
            return side
        out = side.copy()
        out[..., at] = instead
        return out

    def _of(self, failed: frozenset[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which columns are replaced, and by what."""
        at, instead = [], []
        for place, column in enumerate(self._columns):
            feature = self._features.owner_of[column]
            behind = {feature.name, *self._features.everything_behind(feature.name)}
            if not behind & failed:
                continue
            if feature.failed == "refuse":
                raise FeatureError(
                    f"feature {feature.name!r} could not be read, and is declared not to be replaced",
                    code="feature-019",
                    status=503,
                    hint="ask again, or declare failed='default' for it",
                )
            at.append(place)
            instead.append(np.nan if feature.failed == "cohort_mean" else feature.default)
        return np.array(at, np.int64), np.array(instead, np.float64)
