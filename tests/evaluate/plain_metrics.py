"""The same metrics written plainly, one user and one pair at a time: the reference twins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import fmean


def plain_auc(scores: Sequence[float], labels: Sequence[int]) -> float | None:
    above = [s for s, y in zip(scores, labels, strict=True) if y]
    below = [s for s, y in zip(scores, labels, strict=True) if not y]
    if not above or not below:
        return None
    return fmean((a > b) + 0.5 * (a == b) for a in above for b in below)


def by_user(scores: Sequence[float], labels: Sequence[int], users: Sequence[int]) -> dict[int, tuple[list, list]]:
    rows: dict[int, tuple[list, list]] = {}
    for s, y, u in zip(scores, labels, users, strict=True):
        rows.setdefault(u, ([], []))
        rows[u][0].append(s)
        rows[u][1].append(y)
    return rows


def plain_gauc(scores: Sequence[float], labels: Sequence[int], users: Sequence[int]) -> float | None:
    over = under = 0.0
    for own, seen in by_user(scores, labels, users).values():
        if 0 < sum(seen) < len(seen):
            over += sum(seen) * (plain_auc(own, seen) or 0.0)
            under += sum(seen)
    return over / under if under else None


def plain_dcg(order: Sequence[float], k: int) -> float:
    return sum((2**rel - 1) / math.log2(place + 2) for place, rel in enumerate(order[:k]))


def plain_user_ndcg(scores: Sequence[float], relevance: Sequence[float], k: int) -> float:
    """The mean over every order that the scores allow: slow, so for a few rows only."""
    best = plain_dcg(sorted(relevance, reverse=True), k)
    if best == 0:
        return 0.0
    runs = [
        [r for s, r in zip(scores, relevance, strict=True) if s == score] for score in sorted(set(scores), reverse=True)
    ]
    orders = itertools.product(*(itertools.permutations(run) for run in runs))
    return fmean(plain_dcg(list(itertools.chain(*order)), k) for order in orders) / best


def plain_ndcg(scores: Sequence[float], relevance: Sequence[float], users: Sequence[int], k: int) -> float:
    return fmean(plain_user_ndcg(own, seen, k) for own, seen in by_user(scores, relevance, users).values())
