"""How alike two orders of the same candidates are at the top: what "reproduces the legacy order" means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mainstem.base.request import Floats


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one request: the first list's top against a second order of the same candidates.

    Attributes:
        tau: Kendall's tau-b of both orders over the first list's top; NaN when one of them ties everything.
        overlap: Share of the first list's top that is in the second's top.
    """

    tau: float
    overlap: float


def agreement(theirs: Floats, ours: Floats, top: int = 20) -> Agreement:
    """How well ``ours`` reproduces the top of ``theirs``; ties stand in the order of the candidates.

    Args:
        theirs: The reference's scores of all candidates. Shapes: [n].
        ours: Other scores of the same candidates. Shapes: [n].
        top: How many places count.
    """
    first = np.argsort(-theirs, kind="stable")[:top]
    second = np.argsort(-ours, kind="stable")[:top]
    overlap = len(np.intersect1d(first, second)) / max(1, len(first))
    return Agreement(kendall_tau(theirs[first], ours[first]), overlap)


def kendall_tau(a: Floats, b: Floats) -> float:
    """Kendall's tau-b of two short lists, by looking at every pair.

    Source: Kendall, The treatment of ties in ranking problems, Biometrika 1945.
    """
    upper = np.triu_indices(len(a), 1)
    x, y = np.sign(a[upper[0]] - a[upper[1]]), np.sign(b[upper[0]] - b[upper[1]])
    moved = np.sqrt(float((x != 0).sum()) * float((y != 0).sum()))
    return float((x * y).sum()) / moved if moved else float("nan")
