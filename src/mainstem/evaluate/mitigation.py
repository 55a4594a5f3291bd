"""What does it cost to show a group more: an exposure floor met at the least price, and re-weighted values beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.evaluate.within_user import Floats


@dataclass(frozen=True, slots=True)
class Floored:
    """Slates of a batch under an exposure floor.

    Attributes:
        chosen: Candidates of each slate, best first.
        share: Share of all places that the group has.
        value: Sum of the values of what is shown.
        price: Value given up against the same batch without a floor.
        boost: What one more place of the group costs here: added to the group's values, it gives these slates.
        met: Whether the floor is reached; candidates of the group may be too few.

    Shapes: ``chosen`` ``[requests, places]``.
    """

    chosen: NDArray[np.int64]
    share: float
    value: float
    price: float
    boost: float
    met: bool


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One point of a front of exposure against value.

    ``asked`` is the floor, or the strength of a re-weighting; ``price_share`` the value given up over the value without.
    """

    method: str
    asked: float
    share: float
    value: float
    price: float
    price_share: float
    boost: float


def exposure_floor(values: Floats, group: NDArray[np.bool_], places: int, floor: float) -> Floored:
    """The slates of most value in which a group has at least a share of all places of the batch.

    Within a request the price of one more of the group is what the last other candidate is worth above the group's next:
    it rises with each. So the cheapest places over all requests, taken in order, are the optimum.

    Args:
        values: What each candidate is worth; -inf where there is none. Shapes: [requests, candidates].
        group: Whether a candidate belongs to the group. Shapes: [requests, candidates].
        places: Of a slate, at most the candidates.
        floor: Share of all places, 0 to 1.

    Source: the greedy optimum of separable concave resource allocation, Fox 1966.
    """
    value = np.asarray(values, np.float64)
    requests = len(value)
    own, others = (_sorted(np.where(mask, value, -np.inf), places) for mask in (group, ~group))
    taken, prices = _swap_prices(own, others, places)
    needed = int(np.ceil(floor * places * requests - 1e-9)) - int(taken.sum())
    more = np.zeros(requests, np.int64)
    flat = np.sort(prices[np.isfinite(prices)])
    boost = 0.0
    if needed > 0 and len(flat):
        order = np.argsort(prices, axis=None, kind="stable")[: min(needed, len(flat))]
        more = np.bincount(order // places, minlength=requests)
        boost = float(flat[min(needed, len(flat)) - 1])
    count = taken + more
    chosen = _assemble(value, group, count, places)
    total = _value(value, chosen)
    free = _value(value, np.argsort(-value, axis=1, kind="stable")[:, :places])
    share = float(count.sum()) / (places * requests)
    return Floored(chosen, share, total, free - total, boost, share >= floor - 1e-12)


def _sorted(value: NDArray[np.float64], places: int) -> NDArray[np.float64]:
    """The best values of each request, padded with -inf to one more than the places."""
    best = -np.sort(-value, axis=1)[:, : places + 1]
    return np.pad(best, ((0, 0), (0, places + 1 - best.shape[1])), constant_values=-np.inf)


def _swap_prices(
    own: NDArray[np.float64], others: NDArray[np.float64], places: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many of the group are among the best anyway, and what each further one costs.

    Shapes: -> [requests], [requests, places]; inf where no further one can be shown.
    """
    # The m-th of the group is in when it is worth more than the other that would stand in its place.
    against = others[:, places - 1 :: -1]
    with np.errstate(invalid="ignore"):
        cost = np.where(np.isfinite(own[:, :places]), against - own[:, :places], np.inf)
    free = cost < 0
    taken = free.sum(axis=1)
    return taken, np.where(free, np.inf, cost)


def _assemble(
    value: NDArray[np.float64], group: NDArray[np.bool_], count: NDArray[np.int64], places: int
) -> NDArray[np.int64]:
    """The best ``count`` of the group and the best of the others in each request, by value."""
    order = np.argsort(-value, axis=1, kind="stable")
    ours = np.take_along_axis(group, order, axis=1)
    kept = np.where(
        ours, np.cumsum(ours, axis=1) <= count[:, None], np.cumsum(~ours, axis=1) <= places - count[:, None]
    )
    first = np.argsort(~kept, axis=1, kind="stable")[:, :places]
    return np.take_along_axis(order, first, axis=1)


def _value(value: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
    shown = np.take_along_axis(value, chosen, axis=1)
    return float(shown[np.isfinite(shown)].sum())


def boosted(values: Floats, group: NDArray[np.bool_], places: int, boost: float) -> NDArray[np.int64]:
    """The slates when the group's values are raised by a fixed amount: what serving can do without knowing the batch."""
    raised = np.asarray(values, np.float64) + boost * group
    return np.argsort(-raised, axis=1, kind="stable")[:, :places]


def reweighted(values: Floats, weights: Floats, strength: float, places: int) -> NDArray[np.int64]:
    """The slates when values are multiplied by a power of a weight, such as one over past exposure.

    What is worth less than nothing is divided, so that a larger weight always helps.

    Args:
        values: Shapes: [requests, candidates].
        weights: Above 0. Shapes: [requests, candidates].
        strength: The power; 0 changes nothing.
        places: Of a slate.

    Source: inverse propensity as in Schnabel et al. 2016, applied to the value instead of to training rows.
    """
    value, factor = np.asarray(values, np.float64), np.asarray(weights, np.float64) ** strength
    return np.argsort(-np.where(value >= 0, value * factor, value / factor), axis=1, kind="stable")[:, :places]


def floor_front(
    values: Floats,
    group: NDArray[np.bool_],
    weights: Floats,
    places: int,
    floors: Sequence[float],
    strengths: Sequence[float],
) -> tuple[FrontPoint, ...]:
    """Exposure of a group against value: by floors, and by re-weighting of rising strength."""
    value = np.asarray(values, np.float64)
    free = exposure_floor(value, group, places, 0.0)
    points = []
    for asked in floors:
        one = exposure_floor(value, group, places, asked)
        points.append(FrontPoint("floor", asked, one.share, one.value, one.price, one.price / free.value, one.boost))
    for asked in strengths:
        chosen = reweighted(value, weights, asked, places)
        total = _value(value, chosen)
        share = float(np.take_along_axis(group, chosen, axis=1).mean())
        points.append(FrontPoint("re-weighting", asked, share, total, free.value - total, 1 - total / free.value, 0.0))
    return tuple(points)
