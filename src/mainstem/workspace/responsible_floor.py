"""What a floor for small creators costs on the log itself: in what the model expects, and in what viewers did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.evaluate.exposure import TOP
from mainstem.evaluate.intervals import Interval, resample
from mainstem.evaluate.metrics import Ratio
from mainstem.evaluate.mitigation import exposure_floor
from mainstem.evaluate.within_user import Floats, Ints

TIMES: Final = (1.0, 1.25, 1.5, 2.0)
"""Floors, as multiples of what a random choice of the same rows would give the group."""


@dataclass(frozen=True, slots=True)
class FloorPrice:
    """One floor over the top of each viewer's logged rows.

    Attributes:
        floor: Share of places asked for; ``share`` what was reached, ``free`` what there is without.
        met: Whether the floor was reached: a log's rows may hold too few of the group.
        expected: Share of the expected outcomes given up.
        observed: Share of the outcomes that happened, given up, by resampling viewers.
        boost: The price of one more place, in the value's own unit.
    """

    floor: float
    free: float
    share: float
    met: bool
    expected: float
    observed: Interval | None
    boost: float


@dataclass(frozen=True, slots=True)
class Choices:
    """Each viewer's rows side by side, as many columns as the longest has; empty ones are worth -inf.

    Shapes: ``values``, ``group`` and ``happened`` ``[viewers, rows]``, ``viewers[viewers]``.
    """

    viewers: NDArray[np.int64]
    values: NDArray[np.float64]
    group: NDArray[np.bool_]
    happened: NDArray[np.float64]


def side_by_side(users: Ints, values: Floats, group: Floats, happened: Floats, places: int = TOP) -> Choices:
    """The rows of every viewer who has more of them than places."""
    order = np.argsort(users, kind="stable")
    ids, starts, counts = np.unique(np.asarray(users)[order], return_index=True, return_counts=True)
    kept = np.flatnonzero(counts > places)
    wide = int(counts[kept].max(initial=0))
    at = starts[kept, None] + np.arange(wide)
    there = np.arange(wide) < counts[kept, None]
    rows = order[np.where(there, at, 0)] if len(order) else np.zeros((0, 0), np.int64)
    return Choices(
        ids[kept].astype(np.int64),
        np.where(there, np.asarray(values, np.float64)[rows], -np.inf),
        there & (np.asarray(group)[rows] > 0),
        np.where(there, np.asarray(happened, np.float64)[rows], 0.0),
    )


def floor_prices(
    choices: Choices, times: Sequence[float] = TIMES, places: int = TOP, seed: int = 0
) -> tuple[FloorPrice, ...]:
    """What rising floors cost. A log without a choice, or without a group, has none."""
    if not len(choices.viewers) or not choices.group.any():
        return ()
    rows = np.isfinite(choices.values).sum(axis=1)
    chance = float((choices.group.sum(axis=1) / rows).mean())
    free = exposure_floor(choices.values, choices.group, places, 0.0)
    had = np.take_along_axis(choices.happened, free.chosen, axis=1).sum(axis=1)
    told = []
    for factor in times:
        asked = min(1.0, factor * chance)
        one = exposure_floor(choices.values, choices.group, places, asked)
        has = np.take_along_axis(choices.happened, one.chosen, axis=1).sum(axis=1)
        lost = resample([Ratio(had - has, had)], choices.viewers, seed=seed).interval([1.0])
        told.append(FloorPrice(asked, free.share, one.share, one.met, one.price / free.value, lost, one.boost))
    return tuple(told)
