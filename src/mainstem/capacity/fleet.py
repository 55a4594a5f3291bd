"""Instances of every service, day by day, from a public trace: what plans of a week ahead are judged on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError
from mainstem.capacity.conformal import Interval

DAY_S = 86_400.0
WEEK = 7
Rule = Callable[[Sequence[NDArray[np.float64]]], Interval]


@dataclass(frozen=True, slots=True)
class Covered:
    """How well an interval for a week ahead held what came.

    Args:
        share: The share of actuals inside.
        below: The share below it.
        above: The share above it.
        actuals: How many there were.
        width: Median of the interval's width, in shares of the instances held when it was stated.
    """

    share: float
    below: float
    above: float
    actuals: int
    width: float


def instances(file: Path, days: int = 31) -> NDArray[np.float64]:
    """Instances of each service at noon of each day, ``[services, days]``.

    An empty creation time was before the trace, an empty deletion time after it.

    Args:
        file: ``disaggregated_DLRM_trace.csv`` of the pack ``alibaba`` (cluster-trace-gpu-v2025).
        days: Days of the trace.

    Raises:
        CapacityError: ``capacity-061`` for a file that is not there or has other columns, with the line.
    """
    try:
        with file.open(newline="") as text:
            read = csv.DictReader(text)
            rows = [
                (row["app_name"], _time(row["creation_time"], -1.0), _time(row["deletion_time"], 1e12)) for row in read
            ]
    except (OSError, KeyError, ValueError) as no:
        raise CapacityError(
            f"found no trace of instances in {file}: {no!r}",
            code="capacity-061",
            hint="expected columns app_name, creation_time, deletion_time in seconds",
        ) from no
    names = {name: at for at, name in enumerate(sorted({row[0] for row in rows}))}
    count, noon = np.zeros((len(names), days)), np.arange(days) + 0.5
    for name, first, last in rows:
        count[names[name], (noon >= first / DAY_S) & (noon < last / DAY_S)] += 1.0
    return count


def _time(text: str, otherwise: float) -> float:
    return float(text) if text else otherwise


def week_ratios(count: NDArray[np.float64], day: int, least: int = 5) -> NDArray[np.float64]:
    """Instances on a day over those a week before, of services that had enough and moved at all."""
    before, now = count[:, day - WEEK], count[:, day]
    told = (before >= least) & (now > 0) & (before != now)
    return now[told] / before[told]


def judged(count: NDArray[np.float64], days: Iterable[int], rule: Rule, until: int | None = None) -> Covered:
    """An interval stated a week before each day, held against that day.

    Args:
        count: Instances of each service and day.
        days: The days that judge.
        rule: From the ratios of past days to an interval.
        until: The last day whose ratios are used; None for all that were known a week before the day judged.
    """
    inside, below, above, widths = [], [], [], []
    for day in days:
        known = day - WEEK if until is None else min(until, day - WEEK)
        held = rule([week_ratios(count, past) for past in range(WEEK, known + 1)])
        came = week_ratios(count, day)
        inside.append(held.holds(came))
        below.append(came < held.low)
        above.append(came > held.high)
        widths.append(np.full(came.size, held.high - held.low))
    each = [np.concatenate(one) for one in (inside, below, above, widths)]
    return Covered(
        float(each[0].mean()), float(each[1].mean()), float(each[2].mean()), each[0].size, float(np.median(each[3]))
    )
