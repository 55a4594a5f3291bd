"""Who gets shown: the top of each viewer's rows under an arm, against a random choice from the same rows.

Every number here compares two policies on the same logged candidates: the arm, which takes the ``k`` rows of each user that
it scores highest, and chance, which takes any ``k`` of them. What the logging policy never offered neither can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.evaluate.intervals import LEVEL, Interval, poisson_weights, resample
from mainstem.evaluate.metrics import Ratio
from mainstem.evaluate.within_user import Floats, sums_by, within_user

TOP: Final = 5
"""Rows a user is shown. Users with no more rows than that leave no choice and are not counted."""
_RESAMPLES: Final = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """What an arm shows each user of the rows there are, and what chance would.

    Attributes:
        users: Dense numbers of the users that leave a choice.
        rows: Positions of the rows these users have.
        taken: How likely each row is shown by the arm: 1, 0, or between where scores tie.
        chance: The same for a random choice.
        user_ids: Whose numbers.

    Shapes: ``users``, ``rows``, ``taken`` and ``chance`` ``[m]``, ``user_ids[users]``.
    """

    users: NDArray[np.int64]
    rows: NDArray[np.int64]
    taken: NDArray[np.float64]
    chance: NDArray[np.float64]
    user_ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Concentration:
    """How unequal exposure is over what could be shown.

    Attributes:
        gini: 0 where all get the same, near 1 where one gets everything.
        top_share: Share of exposure that the most shown hundredth gets.
        effective: How many equally shown things would be as varied: ``1 / sum share^2``.
        reached: Share of what could be shown that is shown at all.
    """

    gini: float
    top_share: float
    effective: float
    reached: float


def shown(users: NDArray[np.integer[Any]], scores: Floats, k: int = TOP) -> Shown:
    """What an order shows of each user's rows, ties sharing their places alike.

    Args:
        users: Whose row each is. Shapes: [n].
        scores: Higher is shown first. Shapes: [n].
        k: Places a user has.
    """
    order = within_user(np.asarray(users), np.asarray(scores, np.float64))
    choice = order.size > k
    low, high, size = order.low[choice], order.high[choice], order.size[choice]
    first = size - k  # the lowest place, counted from a user's lowest score, that is shown
    taken = np.clip((high - np.maximum(low, first)) / (high - low), 0.0, 1.0)
    ids, dense = np.unique(order.user[choice], return_inverse=True)
    return Shown(dense.astype(np.int64), order.rows[choice], taken, k / size, ids)


def concentration(exposure: Floats) -> Concentration:
    """How unequal these amounts of exposure are.

    Args:
        exposure: One for everything that could be shown, zeros included. Shapes: [things].

    Source: Gini 1912; Herfindahl 1950 for the effective number.
    """
    amount = np.sort(np.asarray(exposure, np.float64))
    n, total = len(amount), float(amount.sum())
    if not n or total <= 0:
        return Concentration(0.0, 0.0, 0.0, 0.0)
    gini = float(2 * (np.arange(1, n + 1) * amount).sum() / (n * total) - (n + 1) / n)
    share = amount / total
    return Concentration(
        gini=max(0.0, gini),
        top_share=float(share[-max(1, round(n / 100)) :].sum()),
        effective=float(1 / (share * share).sum()),
        reached=float((amount > 1e-12).mean()),
    )


def exposure_of(one: Shown, things: NDArray[np.integer[Any]]) -> tuple[Concentration, Concentration]:
    """How concentrated an arm's exposure is over things (items, creators), and what chance would show.

    Args:
        one: What is shown.
        things: The thing of every row of the log that ``one.rows`` points into. Shapes: [n].
    """
    _, dense = np.unique(things[one.rows], return_inverse=True)
    count = int(dense.max(initial=-1)) + 1
    return concentration(sums_by(dense, one.taken, count)), concentration(sums_by(dense, one.chance, count))


def effective_share(
    one: Shown, things: NDArray[np.integer[Any]], *, seed: int = 0, level: float = LEVEL
) -> Interval | None:
    """The arm's effective number of things over chance's, with its interval by resampling users."""
    if not len(one.rows):
        return None
    _, dense = np.unique(things[one.rows], return_inverse=True)
    count = int(dense.max()) + 1

    def ratio(weight: NDArray[np.float64]) -> float:
        amounts = (sums_by(dense, weight * part, count) for part in (one.taken, one.chance))
        taken, chance = (float(a.sum() ** 2 / max((a * a).sum(), 1e-300)) for a in amounts)
        return taken / max(chance, 1e-300)

    weights = poisson_weights(seed, np.arange(_RESAMPLES), one.user_ids)
    drawn = [ratio(row[one.users]) for row in weights]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    mid = ratio(np.ones(len(one.users)))
    # Drawing users anew repeats some and so concentrates: the interval is moved to lie around what was measured.
    shift = mid - float(np.median(drawn))
    source = f"bootstrap over users, Poisson weights, {_RESAMPLES} resamples, seed {seed}, centred"
    return Interval(float(low) + shift, mid, float(high) + shift, level, len(one.user_ids), source)


def against_chance(one: Shown, what: Floats, *, seed: int = 0, level: float = LEVEL) -> Interval | None:
    """How much of something an arm's rows hold, over what a random choice would hold: 1 is no bias.

    Args:
        one: What is shown.
        what: An amount of every row: its popularity, 1 for a small creator's, 1 for a hide. NaN rows do not count.
            Shapes: [n].
    """
    amount = np.nan_to_num(np.asarray(what, np.float64)[one.rows])
    count = len(one.user_ids)
    over, under = (sums_by(one.users, part * amount, count) for part in (one.taken, one.chance))
    if not under.sum() > 0:
        return None
    return resample([Ratio(over, under)], one.user_ids, seed=seed).interval([1.0], level)


def share_of(one: Shown, what: Floats) -> tuple[float, float]:
    """The mean of something over what the arm shows and over what chance would: a share where it is 0 or 1."""
    amount = np.nan_to_num(np.asarray(what, np.float64)[one.rows])
    return float((one.taken * amount).sum() / one.taken.sum()), float((one.chance * amount).sum() / one.chance.sum())
