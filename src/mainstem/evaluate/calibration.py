"""Whether a probability of .3 comes true three times in ten: calibration error and predicted over observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.evaluate.checks import binary_labels, probabilities, same_length
from mainstem.evaluate.within_user import sums_by

BINS = 20
"""Equal-mass bins of the calibration error and of the reliability curve."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of a reliability curve: rows of similar predictions, what was predicted and what came true."""

    rows: int
    predicted: float
    observed: float


def reliability(predicted: ArrayLike, labels: ArrayLike, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """What came true for rows of similar predictions: equal-mass bins, lowest predictions first.

    Rows with the same prediction share a bin, so a curve of few distinct predictions has fewer bins.
    """
    p, label = probabilities(predicted), binary_labels(labels)
    same_length(len(p), labels=label)
    if not len(p):
        return ()
    rows, predicted_sum, observed_sum = _bin_sums(p, label, bins)
    return tuple(
        ReliabilityBin(rows=int(n), predicted=float(ps / n), observed=float(os / n))
        for n, ps, os in zip(rows, predicted_sum, observed_sum, strict=True)
    )


def calibration_error(predicted: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float | None:
    """Expected calibration error: mean over rows of |predicted - observed| of the row's bin; None without rows.

    Source: Naeini et al., AAAI 2015, with equal-mass bins.
    """
    p, label = probabilities(predicted), binary_labels(labels)
    same_length(len(p), labels=label)
    if not len(p):
        return None
    _, predicted_sum, observed_sum = _bin_sums(p, label, bins)
    return float(np.abs(predicted_sum - observed_sum).sum() / len(p))


def predicted_over_observed(predicted: ArrayLike, labels: ArrayLike) -> float | None:
    """The sum of predictions over the number of positives: 1 is calibrated on the whole; None without positives."""
    p, label = probabilities(predicted), binary_labels(labels)
    same_length(len(p), labels=label)
    observed = float(label.sum())
    return float(p.sum()) / observed if observed else None


def _bin_sums(
    p: NDArray[np.float64], label: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Rows, summed predictions and positives of each bin; equal predictions go to the bin of the first of them."""
    order = np.argsort(p, kind="stable")
    ranked = p[order]
    first_equal = np.searchsorted(ranked, ranked, side="left")
    part = first_equal * bins // len(p)
    used, dense = np.unique(part, return_inverse=True)
    n = len(used)
    return (
        np.bincount(dense, minlength=n),
        sums_by(dense, ranked, n),
        sums_by(dense, label[order], n),
    )
