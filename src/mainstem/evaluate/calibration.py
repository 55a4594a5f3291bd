"""Whether a probability of .3 comes true three times in ten: calibration error and predicted over observed, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.evaluate.checks import binary_labels, probabilities, same_length
from mainstem.evaluate.intervals import LEVEL, RESAMPLES, Interval, resample
from mainstem.evaluate.metrics import Ratio, log_loss
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


def calibration_error_floor(predicted: ArrayLike, bins: int = BINS) -> float | None:
    """The calibration error that perfect probabilities of these rows are expected to show by chance; None without rows.

    An error target below it cannot be told from luck: 20 bins over 10,000 rows near p = .3 show .015 at the best.
    Source: the mean of |N(0, variance)| of each bin's count of positives.
    """
    p = probabilities(predicted)
    if not len(p):
        return None
    _, variance, _ = _bin_sums(p, np.zeros(len(p)), bins, p * (1.0 - p))
    return float(np.sqrt(2.0 / np.pi * variance).sum() / len(p))


def predicted_over_observed(predicted: ArrayLike, labels: ArrayLike) -> float | None:
    """The sum of predictions over the number of positives: 1 is calibrated on the whole; None without positives."""
    p, label = probabilities(predicted), binary_labels(labels)
    same_length(len(p), labels=label)
    observed = float(label.sum())
    return float(p.sum()) / observed if observed else None


def field_calibration_error(predicted: ArrayLike, labels: ArrayLike, fields: ArrayLike) -> float | None:
    """Field-ECE: mean over rows of |predicted - observed| of the row's field (a surface, an activity); None without rows.

    Source: Pan et al., Field-aware calibration, WWW 2020.
    """
    p, label = probabilities(predicted), binary_labels(labels)
    _, dense = np.unique(np.asarray(fields), return_inverse=True)
    same_length(len(p), labels=label, fields=dense)
    if not len(p):
        return None
    return float(np.abs(np.bincount(dense, p - label)).sum() / len(p))


def predicted_over_observed_interval(
    predicted: ArrayLike,
    labels: ArrayLike,
    users: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Predicted over observed with its interval by resampling users; None where too few users have positives."""
    p, label = probabilities(predicted), binary_labels(labels)
    ids, dense = np.unique(np.asarray(users, np.int64), return_inverse=True)
    same_length(len(p), labels=label, users=dense)
    ratio = Ratio(over=sums_by(dense, p, len(ids)), under=sums_by(dense, label, len(ids)))
    if not len(p) or ratio.value() is None:
        return None
    return resample([ratio], ids, seed=seed, resamples=resamples).interval([1.0], level)


@dataclass(frozen=True, slots=True)
class CalibrationCell:
    """How far one head's probabilities are off on one surface (``all`` of them together).

    ``error`` and ``field_error`` are shares of rows, ``floor`` the error that perfect probabilities would show by chance;
    ``over_observed`` is 1 where what was predicted came true.
    """

    head: str
    surface: str
    rows: int
    positives: int
    log_loss: float | None
    error: float | None
    floor: float | None
    field_error: float | None
    over_observed: Interval | None

    @property
    def reached(self) -> bool | None:
        """Whether it is within .98 to 1.02 and .005; None where interval or floor show that the rows cannot tell."""
        told = self.over_observed
        if told is None or self.error is None or told.high - told.low > 0.04 or (self.floor or 0.0) > 0.005:
            return None
        return 0.98 <= told.mid <= 1.02 and self.error <= 0.005


def calibration_cells(
    predictions: Mapping[str, NDArray[np.floating]],
    outcomes: Mapping[str, NDArray],
    surfaces: NDArray,
    users: NDArray,
    fields: NDArray,
    names: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[CalibrationCell, ...]:
    """Every head on every surface, all surfaces together first.

    Args:
        predictions: Probabilities by head.
        outcomes: 0, 1, or below 0 where it is not known, by head.
        surfaces: Each row's surface, as a place in ``names``.
        users: Each row's user: whole users are resampled.
        fields: What the field error groups rows by.
        names: The surfaces' names.
        seed: Same seed, same intervals.
        resamples: How many.
    """

    def made() -> Iterator[CalibrationCell]:
        for head, p in predictions.items():
            known = outcomes[head] >= 0
            for code, name in enumerate(("all", *names)):
                here = known & ((surfaces == code - 1) | (code == 0))
                if here.any():
                    got, label = p[here], outcomes[head][here]
                    told = predicted_over_observed_interval(got, label, users[here], seed=seed, resamples=resamples)
                    field_error = field_calibration_error(got, label, fields[here])
                    errors = calibration_error(got, label), calibration_error_floor(got), field_error
                    loss = log_loss(got, label)
                    yield CalibrationCell(head, name, int(here.sum()), int(label.sum()), loss, *errors, told)

    return tuple(made())


def _bin_sums(
    p: NDArray[np.float64], label: NDArray[np.float64], bins: int, weight: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Rows, summed predictions (or weights) and positives of each bin; equal predictions go to the bin of the first of them."""
    order = np.argsort(p, kind="stable")
    ranked = p[order]
    first_equal = np.searchsorted(ranked, ranked, side="left")
    part = first_equal * bins // len(p)
    used, dense = np.unique(part, return_inverse=True)
    n = len(used)
    return (
        np.bincount(dense, minlength=n),
        sums_by(dense, ranked if weight is None else weight[order], n),
        sums_by(dense, label[order], n),
    )
