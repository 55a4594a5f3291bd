"""How good an order or a probability is: AUC, within-user AUC, nDCG, log loss and normalised entropy.

All are exact under ties: AUC counts a tied pair as half, nDCG takes the mean over all orders of the tied rows, so that
no number depends on the order of the rows in a file. Every metric is also a ratio of two sums over users (``Ratio``),
which is what makes a bootstrap over users a weighted sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.evaluate.checks import binary_labels, finite_scores, probabilities, same_length
from mainstem.evaluate.within_user import Ints, WithinUser, mid_ranks, sums_by, tied_runs, within_user

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Ratio:
    """A metric as two sums over users: its value is ``sum(over) / sum(under)``, with any weight per user.

    Shapes: ``over[users]``, ``under[users]``.
    """

    over: NDArray[np.float64]
    under: NDArray[np.float64]

    def value(self) -> float | None:
        """The metric, or None when no user counts."""
        under = float(self.under.sum())
        return float(self.over.sum()) / under if under > 0 else None


def auc(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """How often a positive row scores above a negative one, ties counted half; None without both kinds."""
    score, label = _pair(scores, labels)
    positives = label.sum()
    negatives = len(label) - positives
    if positives == 0 or negatives == 0:
        return None
    wins = mid_ranks(score)[label == 1].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def grouped_auc(scores: ArrayLike, labels: ArrayLike, users: ArrayLike) -> float | None:
    """Within-user AUC (GAUC): users with both outcomes, weighted by positives; None when there is none."""
    score, label = _pair(scores, labels)
    dense, count = _dense(users, len(score))
    return gauc_by_user(within_user(dense, score), label, count).value()


def ndcg_at(scores: ArrayLike, relevance: ArrayLike, users: ArrayLike, k: int = 5) -> float | None:
    """Mean over users of nDCG@k, gain ``2^rel - 1``; a user without positives counts 0 (the TechJam protocol).

    Source: Järvelin and Kekäläinen 2002; ties as in McSherry and Najork, ECIR 2008.
    """
    score = finite_scores(scores)
    grade = finite_scores(relevance, "relevance")
    same_length(len(score), relevance=grade)
    dense, count = _dense(users, len(score))
    return ndcg_by_user(within_user(dense, score), grade, count, k).value()


def primary(scores: ArrayLike, labels: ArrayLike, users: ArrayLike, k: int = 5) -> float | None:
    """The number the stacks are judged by: the mean of GAUC and nDCG@5."""
    score, label = _pair(scores, labels)
    dense, count = _dense(users, len(score))
    order = within_user(dense, score)
    gauc, ndcg = gauc_by_user(order, label, count).value(), ndcg_by_user(order, label, count, k).value()
    return None if gauc is None or ndcg is None else (gauc + ndcg) / 2


def log_loss(predicted: ArrayLike, labels: ArrayLike) -> float | None:
    """Mean negative log likelihood of the labels, in nats, predictions held 1e-12 off 0 and 1; None without rows."""
    p = probabilities(predicted)
    label = binary_labels(labels)
    same_length(len(p), labels=label)
    return float(row_losses(p, label).mean()) if len(p) else None


def normalised_entropy(predicted: ArrayLike, labels: ArrayLike) -> float | None:
    """Log loss over that of always predicting the base rate: below 1 is better than knowing only the rate.

    Source: He et al., Practical lessons from predicting clicks on ads at Facebook, ADKDD 2014.
    """
    loss = log_loss(predicted, labels)
    label = binary_labels(labels)
    rate = float(label.mean()) if len(label) else 0.0
    if loss is None or rate in (0.0, 1.0):
        return None
    return loss / float(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))


def row_losses(p: NDArray[np.float64], label: NDArray[np.float64]) -> NDArray[np.float64]:
    """Negative log likelihood of each row."""
    held = np.clip(p, _TINY, 1 - _TINY)
    return -(label * np.log(held) + (1 - label) * np.log1p(-held))


def gauc_by_user(order: WithinUser, labels: NDArray[np.float64], users: int) -> Ratio:
    """GAUC as sums per user: positives times the user's AUC, over positives, for users with both outcomes."""
    label = labels[order.rows]
    size = np.bincount(order.user, minlength=users)
    positives = sums_by(order.user, label, users)
    ranks = sums_by(order.user, order.mid_ranks() * label, users)
    mixed = (positives > 0) & (positives < size)
    wins = ranks - positives * (positives + 1) / 2
    over = np.divide(wins, size - positives, out=np.zeros(users), where=mixed)
    return Ratio(over=over, under=np.where(mixed, positives, 0.0))


def ndcg_by_user(
    order: WithinUser, relevance: NDArray[np.float64], users: int, k: int = 5, ideal: NDArray[np.float64] | None = None
) -> Ratio:
    """nDCG@k as sums per user: the user's nDCG over 1, for users with rows; 0 where nothing is relevant.

    Args:
        ideal: The best DCG per user, when it is known already (``ideal_dcg``).
    """
    if ideal is None:
        ideal = ideal_dcg(order, relevance, users, k)
    reached = _dcg(order, relevance, users, k)
    over = np.divide(reached, ideal, out=np.zeros(users), where=ideal > 0)
    return Ratio(over=over, under=(np.bincount(order.user, minlength=users) > 0).astype(np.float64))


def ideal_dcg(order: WithinUser, relevance: NDArray[np.float64], users: int, k: int = 5) -> NDArray[np.float64]:
    """The best DCG@k each user could have: the user's rows in the order of their relevance."""
    by_row = np.empty(len(order.rows), np.int64)
    by_row[order.rows] = order.user
    return _dcg(within_user(by_row, relevance), relevance, users, k)


def auc_by_user(scores: NDArray[np.float64], labels: NDArray[np.float64], user: Ints, users: int) -> Ratio | None:
    """Pooled AUC as sums per user, exact at equal weights and to first order under others; None without both outcomes.

    Pooled AUC compares rows of different users, so it is no plain sum over users. Its influence function is: the share of
    negatives below each positive and of positives above each negative (DeLong's placements), summed per user.

    Source: DeLong et al. 1988; Obuchowski 1997 for clustered rows.
    """
    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return None
    order, low, high = tied_runs(scores)
    counted = np.concatenate([[0], np.cumsum(positive[order])])
    positives_below = (counted[low] + counted[high]) / 2
    negatives_below = (low + high) / 2 - positives_below
    share = np.empty(len(scores))
    share[order] = np.where(positive[order], negatives_below / n, 1 - positives_below / m)
    value = float(share[positive].mean())
    influence = sums_by(user, (share - value) / np.where(positive, m, n), users)
    under = (np.bincount(user, minlength=users) > 0).astype(np.float64)
    return Ratio(over=under * value + under.sum() * influence, under=under)


def mean_by_user(rows: NDArray[np.float64], user: Ints, users: int, under: NDArray[np.float64] | None = None) -> Ratio:
    """A mean over rows, or a ratio of two row sums, as sums per user."""
    weights = np.ones(len(rows)) if under is None else under
    return Ratio(over=sums_by(user, rows, users), under=sums_by(user, weights, users))


def _dcg(order: WithinUser, relevance: NDArray[np.float64], users: int, k: int) -> NDArray[np.float64]:
    """DCG@k per user, best score first; tied rows share the mean discount of their places."""
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    first, after = order.size - order.high, order.size - order.low
    share = (discounts[np.minimum(after, k)] - discounts[np.minimum(first, k)]) / (after - first)
    gain = np.exp2(relevance[order.rows]) - 1
    return sums_by(order.user, gain * share, users)


def _pair(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    score, label = finite_scores(scores), binary_labels(labels)
    same_length(len(score), labels=label)
    return score, label


def _dense(users: ArrayLike, n: int) -> tuple[NDArray[np.int64], int]:
    array = np.asarray(users)
    same_length(n, users=array)
    known, dense = np.unique(array, return_inverse=True)
    return dense.astype(np.int64), len(known)
