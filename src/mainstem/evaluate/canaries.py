"""Leakage canaries: changes after which a score must lose its gain, or must not move at all. One that goes on singing is a leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.evaluate.intervals import Interval, paired_difference, resample
from mainstem.evaluate.metrics import Ratio, gauc_by_user
from mainstem.evaluate.within_user import Floats, within_user

KEPT = 0.5
"""Most of a gain that may be left after timing was shuffled."""


@dataclass(frozen=True, slots=True)
class Canary:
    """What one canary found.

    Attributes:
        name: ``shuffled timing``, ``label permutation`` or ``future row``.
        of: What was tried: the model, or a cheat on purpose that must be caught.
        measured: What was found, in words.
        clean: Whether nothing leaks, as far as this canary can tell.
        expected_clean: False for a cheat on purpose.
    """

    name: str
    of: str
    measured: str
    clean: bool
    expected_clean: bool = True

    @property
    def passed(self) -> bool:
        """Whether it said what it had to say."""
        return self.clean == self.expected_clean


def gauc_ratio(scores: Floats, labels: Floats, users: NDArray[np.int64], count: int) -> Ratio:
    """Within-user AUC as sums per user; users are dense numbers below ``count``."""
    return gauc_by_user(within_user(users, np.asarray(scores, np.float64)), np.asarray(labels, np.float64), count)


def shuffled_timing(
    of: str,
    users: NDArray[np.int64],
    labels: Floats,
    blind: Floats,
    timely: Floats,
    shuffled: Floats,
    *,
    seed: int = 0,
    expected_clean: bool = True,
) -> Canary:
    """Does the gain of knowing what happened so far vanish when what happened is dealt to other moments?

    Clean when most of the gain is gone. A gain that stays comes from something that does not depend on time, and is no gain
    of being timely: a statistic over the whole period, or the outcome itself.

    Args:
        of: What is tried.
        users: Whose row each is.
        labels: Outcomes.
        blind: Scores that knew nothing of the judged days.
        timely: Scores that knew every outcome up to each row.
        shuffled: The same, with outcomes dealt to other rows.
        seed: Of the intervals.
        expected_clean: Whether this is to be clean.
    """
    ids, dense = np.unique(users, return_inverse=True)
    base, gain, left = (gauc_ratio(one, labels, dense, len(ids)) for one in (blind, timely, shuffled))
    first = paired_difference(gain, base, ids, seed=seed)
    second = paired_difference(left, base, ids, seed=seed)
    if first is None or second is None:
        return Canary("shuffled timing", of, "too few users tell", False, expected_clean)
    # Without a gain there is nothing to lose: what stays must then be no gain either.
    kept = second.mid <= KEPT * max(first.mid, 0.0) if first.low > 0 else second.low <= 0
    told = f"gain {_told(first)}, {_told(second)} after shuffling"
    return Canary("shuffled timing", of, told, bool(kept), expected_clean)


def label_permutation(
    of: str,
    users: NDArray[np.int64],
    labels: Floats,
    score_of: Callable[[Floats], Floats],
    *,
    seed: int = 0,
    expected_clean: bool = True,
) -> Canary:
    """Is within-user AUC one half when labels are permuted? If not, the score has seen the label it is judged by.

    Args:
        of: What is tried.
        users: Whose row each is.
        labels: Outcomes.
        score_of: Scores for given labels: a path that reads no label ignores them.
        seed: Of the permutation.
        expected_clean: Whether this is to be clean.
    """
    ids, dense = np.unique(users, return_inverse=True)
    permuted = np.random.default_rng(seed).permutation(np.asarray(labels, np.float64))
    ratio = gauc_ratio(score_of(permuted), permuted, dense, len(ids))
    found = resample([ratio], ids, seed=seed).interval([1.0], level=0.999)
    if found is None:
        return Canary("label permutation", of, "too few users tell", False, expected_clean)
    told = f"within-user AUC {found.mid:.4f} ({found.low:.4f} to {found.high:.4f}), .5 expected"
    return Canary("label permutation", of, told, found.low <= 0.5 <= found.high, expected_clean)


def future_row(
    of: str,
    times: NDArray[np.integer[Any]],
    cut: int,
    compute: Callable[[bool], NDArray[Any]],
    *,
    expected_clean: bool = True,
) -> Canary:
    """Does anything computed up to a moment change when only later rows do? Any bit that moves has read the future.

    Args:
        of: What is tried.
        times: Of the rows ``compute`` answers for.
        cut: Rows at or before this time must not move.
        compute: The values of every row, from the log as it is (False) or with what lies after the cut replaced (True).
        expected_clean: Whether this is to be clean.
    """
    plain, planted = (np.asarray(compute(one)) for one in (False, True))
    before = np.asarray(times) <= cut
    moved = ~_same(plain, planted)
    told = (
        f"{int(moved[before].sum())} of {int(before.sum())} earlier rows moved, {int(moved[~before].sum())} later ones"
    )
    return Canary("future row", of, told, bool(before.any()) and not moved[before].any(), expected_clean)


def _same(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each row has the same bits in both."""
    a2, b2 = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return ((a2 == b2) | ((a2 != a2) & (b2 != b2))).all(axis=1)


def _told(one: Interval) -> str:
    return f"{one.mid:+.4f} ({one.low:+.4f} to {one.high:+.4f})"
