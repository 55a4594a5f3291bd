"""Which scores and labels can be measured at all: refusals with a code, before any number is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.errors import DataError


def finite_scores(scores: ArrayLike, where: str = "scores") -> NDArray[np.float64]:
    """The scores as float64.

    Raises:
        DataError: A score is NaN or infinite (``evaluate-001``); an order cannot be made of it.
    """
    array = np.asarray(scores, np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{where}: {int(bad.sum())} of {array.size} scores are not finite "
            f"(first {array.ravel()[row]} at row {row}), expected finite numbers",
            code="evaluate-001",
            hint="look at the features of that row; a model that answers NaN must fail before it is measured",
        )
    return array


def binary_labels(labels: ArrayLike, where: str = "labels") -> NDArray[np.float64]:
    """The labels as float64 zeros and ones.

    Raises:
        DataError: A label is neither 0 nor 1 (``evaluate-003``).
    """
    array = np.asarray(labels, np.float64)
    bad = (array != 0) & (array != 1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{where}: label {array.ravel()[row]} at row {row}, expected 0 or 1",
            code="evaluate-003",
            hint="leave out the rows whose outcome is not known",
        )
    return array


def probabilities(values: ArrayLike, where: str = "probabilities") -> NDArray[np.float64]:
    """The predictions as float64 in [0, 1].

    Raises:
        DataError: A prediction is not finite (``evaluate-001``) or outside 0 to 1 (``evaluate-006``).
    """
    array = finite_scores(values, where)
    bad = (array < 0) | (array > 1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{where}: {array.ravel()[row]} at row {row}, expected a probability from 0 to 1",
            code="evaluate-006",
            hint="declare the arm calibrated=False when its scores are not probabilities",
        )
    return array


def same_length(n: int, **arrays: NDArray[Any]) -> None:
    """Refuses arrays that do not belong to the same rows.

    Raises:
        DataError: An array is not one-dimensional or has another length (``evaluate-002``).
    """
    for name, array in arrays.items():
        if array.ndim != 1 or len(array) != n:
            raise DataError(
                f"{name} has shape {array.shape}, expected ({n},)",
                code="evaluate-002",
                hint="every array holds one value for each row of the log, in the same order",
            )
