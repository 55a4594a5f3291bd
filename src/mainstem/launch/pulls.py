"""How does each unit pull on a metric at every look? From tables of units to a path that a verdict can be read from.

Whatever the metric is (a mean, a ratio, either with covariates, a quantile), its figure moves with one unit's values by a
number that is known: the linearised value less its mean, over the units. Products of these pulls over units that come back
say how looks hang together, so bounds know it, and nobody need believe that looks are independent.

Source: influence functions (Huber 1967); see ``mainstem.launch.returning``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import CONTROL, TREATMENT, positions, unit_keys
from mainstem.launch.contrast import ArmMean, Contrast, Direction, contrast
from mainstem.launch.estimand import USER, independent, measure_for, unit_column
from mainstem.launch.gather import Layout, gather
from mainstem.launch.metrics import Arm, Effect, Measure, effect_of, wanted
from mainstem.launch.plan_file import Metric
from mainstem.launch.quantiles import Measurements, QuantileFigure
from mainstem.launch.returning import Looks
from mainstem.launch.sufficient import Column, Group
from mainstem.launch.verdict import Path

Floats = NDArray[np.float64]
_BLOCK: Final = 65_536
"""Units whose products are summed at once."""
GROUPS: Final = 32_768
"""Of each arm; the correlation of any two of 22 looks was then off by at most 2 % of its distance from 1, and a bound by .004."""
_SALT: Final = "mainstem/pulls"
NOT_YET: Final = frozenset(
    {"launch-006", "launch-051", "launch-061", "launch-064", "launch-065", "launch-068", "launch-110"}
)
"""A look of which nothing can be said yet: an arm is empty, nothing varies, or too few units were measured."""


@dataclass(frozen=True, slots=True)
class Where:
    """What the columns of a table of units are, and what its arms are called.

    Attributes:
        arm, unit: Columns. A metric by clusters or blocks has its unit in the column ``cluster`` or ``block``.
        control, treatment: The arms' names in it.
    """

    arm: str = "arm"
    unit: str = "unit"
    control: object = CONTROL
    treatment: object = TREATMENT


@dataclass(frozen=True, slots=True)
class Pulls:
    """One metric at one look.

    Attributes:
        effect: What changed.
        units: Every unit of both arms, in order.
        pull: Of each on its own arm's figure.
        new: Whether it is in the new arm.

    Shapes: units, pull, new ``[units]``.
    """

    effect: Effect
    units: NDArray[Any]
    pull: Floats
    new: NDArray[np.bool_]

    def grouped(self, groups: int = GROUPS) -> Pulls:
        """The same over groups of units of one arm instead of units, where there are more units than groups.

        A group's pull is the sum of its units'. Units are independent, so sums of products over groups are, but for luck of one
        part in the root of the groups, those over units; and what has to be kept for later looks no longer grows with users.
        Which group a unit is in depends on the unit alone, so looks still meet.

        Args:
            groups: In each arm.

        Source: random groups, Wolter 2007, chapter 2.
        """
        if len(self.units) <= 2 * groups:
            return self
        place = (positions(_SALT, unit_keys(self.units)) * groups).astype(np.int64) + groups * self.new
        total = np.bincount(place, self.pull, 2 * groups).astype(np.float64)
        side = np.arange(2 * groups) >= groups
        return Pulls(self.effect, np.arange(2 * groups), total, side)

    def standing(self, metric: Metric) -> Contrast:
        """How the metric stands to its margin at this look, as z statistics; few units are held to Student's wider tails."""
        new, old = (ArmMean(one.units, one.mean, one.variance) for one in (self.effect.treatment, self.effect.control))
        return contrast(new, old, metric.margin, cast(Direction, metric.direction))


def pulls_of(table: pl.DataFrame, metric: Metric, where: Where | None = None, name: str = "metric") -> Pulls:
    """What a metric shows at one look, and each unit's part in it.

    Args:
        table: One row a user (from ``exposure.triggered``, and ``with_covariates`` where there are some); of a quantile, one
            row a measurement; of a metric by blocks, one row for whatever is counted.
        metric: As promised.
        where: See there.
        name: For messages.

    Raises:
        LaunchError: What ``independent``, ``gather``, ``effect_of`` or ``Measurements`` raise.
    """
    where = where or Where()
    if metric.kind == "quantile":
        return _quantile_pulls(table, metric, where, name)
    rows = independent(table, metric, where.arm, unit=where.unit)
    measure = measure_for(name, metric)
    sums = gather(rows, Layout(where.arm), wanted([measure]))
    binary = metric.kind == "binary" and metric.unit == USER
    effect = effect_of(sums, measure, where.control, where.treatment, binary=binary)
    parts = []
    for key in (where.control, where.treatment):
        mine = rows.filter(pl.col(where.arm) == key)
        parts.append((_ids(mine, unit_column(metric, where.unit)), _pull(mine, measure, effect, sums.group((key,)))))
    return _joined(effect, parts)


def looks_of(looks: Sequence[Pulls], old_weight: float = 1.0) -> Looks:
    """How the contrast ``new - weight * old`` varies over several looks, from its units' pulls.

    Args:
        looks: In order of time.
        old_weight: One less the margin for "not worse" when up is good, one and the margin for "not better"; 1 for the change.

    Raises:
        LaunchError: No look (``launch-010``).
    """
    if not looks:
        raise LaunchError("found no look, expected one at least", code="launch-010", hint="give each look's pulls")
    every = np.unique(np.concatenate([one.units for one in looks]))
    total = np.zeros((len(looks), len(looks)))
    for at in range(0, len(every), _BLOCK):
        block = every[at : at + _BLOCK]
        table = np.zeros((len(block), len(looks)))
        for k, one in enumerate(looks):
            low = int(np.searchsorted(one.units, block[0], side="left"))
            high = int(np.searchsorted(one.units, block[-1], side="right"))
            weight = np.where(one.new[low:high], 1.0, -old_weight)
            table[np.searchsorted(block, one.units[low:high]), k] = weight * one.pull[low:high]
        total += table.T @ table
    return Looks.of_covariance(total)


def path_of(
    looks: Sequence[pl.DataFrame],
    metric: Metric,
    *,
    days: Sequence[float],
    most_units: float,
    planned_days: float,
    where: Where | None = None,
    name: str = "metric",
) -> Path:
    """What was seen of one metric, look by look, with the correlation that its looks really have.

    A look at which the metric cannot be computed yet (an arm is empty, nothing varies) is left out; ``days`` of the answer says
    which are in it.

    Args:
        looks: Each look's table as ``pulls_of`` takes it, in order of time.
        metric: As promised, with a margin.
        days: Since the start, of each look.
        most_units: Units an arm at the planned maximum.
        planned_days: The day of the last planned look; alpha is spent by the share of it that has passed.
        where: See there.
        name: For messages.

    Raises:
        LaunchError: Nothing can be computed at any look; what stopped the last one is told. Or what ``pulls_of`` raises of
            tables that are wrong.
    """
    found: list[tuple[float, Pulls]] = []
    last: LaunchError | None = None
    for day, table in zip(days, looks, strict=True):
        try:
            found.append((day, pulls_of(table, metric, where, name)))
        except LaunchError as error:
            if error.code not in NOT_YET:
                raise
            last = error
    if not found and last is not None:
        raise last
    return path_of_pulls([one for _, one in found], metric, [day for day, _ in found], most_units, planned_days)


def path_of_pulls(
    looks: Sequence[Pulls], metric: Metric, days: Sequence[float], most_units: float, planned_days: float
) -> Path:
    """The same from pulls that were kept, so that only the newest look's table need be read.

    The correlation is that of the "not worse" statistic, which is the one that lets a launch pass; the others differ from it by
    what the margin weighs the old arm more or less.

    Raises:
        LaunchError: No look, or a metric without a margin (``launch-007``).
    """
    standings = [one.standing(metric) for one in looks]
    freedom = [one.effect.freedom for one in looks]
    # The side of the loss, as in ``contrast``: below the old mean when up is good, and a mean below 0 turns it round.
    sign = (1.0 if metric.direction == "up" else -1.0) * np.sign(looks[-1].effect.control.mean or 1.0) if looks else 1.0
    correlation = looks_of(looks, 1.0 - float(sign) * metric.margin).correlation
    arms = [(one.effect.control.units, one.effect.treatment.units) for one in looks]
    day = np.asarray(days, np.float64)
    return Path(
        day,
        np.array([2 / (1 / old + 1 / new) for old, new in arms]) / most_units,
        *(
            np.array([as_normal(getattr(one, claim), n) for one, n in zip(standings, freedom, strict=True)])
            for claim in ("not_worse", "not_better", "better")
        ),
        correlation=correlation,
        clock=day / planned_days,
    )


def as_normal(statistic: float, freedom: float) -> float:
    """The z that is as unlikely as this t: the same for many units, nearer to 0 for few blocks or clusters."""
    tail = float(stdtr(freedom, -abs(statistic)))
    return float(np.copysign(-ndtri(tail), statistic)) if tail > 0 else statistic


def _pull(mine: pl.DataFrame, measure: Measure, effect: Effect, group: Group) -> Floats:
    """Linearised values around their mean, less what covariates explain, over the units of the arm."""
    total = np.zeros(mine.height)
    for part, weight in zip(measure.parts, (1.0, *(-one for one in effect.theta)), strict=True):
        for column, slope in zip(part.columns, part.gradient(group), strict=True):
            total += weight * slope * (_values(mine, column) - group.mean(column))
    return total / mine.height


def _values(table: pl.DataFrame, column: Column) -> Floats:
    values = table[column.name].cast(pl.Float64).to_numpy()
    return np.minimum(values, column.cap) if column.cap else values


def _quantile_pulls(table: pl.DataFrame, metric: Metric, where: Where, name: str) -> Pulls:
    parts, arms = [], []
    for key in (where.control, where.treatment):
        mine = table.filter(pl.col(where.arm) == key)
        values = mine[metric.column].cast(pl.Float64).to_numpy()
        figure = Measurements(values, _ids(mine, unit_column(metric, where.unit))).figure(metric.quantile)
        arms.append(quantile_arm(figure))
        parts.append((figure.units, figure.pulls))
    return _joined(Effect(name, *arms), parts)


def quantile_arm(figure: QuantileFigure) -> Arm:
    """A quantile of one arm as what contrasts take."""
    count = len(figure.units)
    return Arm(count, figure.value, figure.error**2 * count, figure.value)


def _ids(table: pl.DataFrame, column: str) -> NDArray[Any]:
    """Units as numbers, or as text of a fixed width, which sorts and joins quickly."""
    found = table[column].to_numpy()
    return found.astype(str) if found.dtype == object else found


def _joined(effect: Effect, parts: list[tuple[NDArray[Any], Floats]]) -> Pulls:
    units = np.concatenate([one for one, _ in parts])
    order = np.argsort(units, kind="stable")
    new = np.repeat([False, True], [len(one) for one, _ in parts])
    units = units[order]
    twice = int((units[1:] == units[:-1]).sum())
    if twice:
        raise LaunchError(
            f"found {twice} units of {effect.name!r} with more than one row, expected one row a unit, in one arm",
            code="launch-111",
            hint="add up a unit's rows first; exposure.triggered gives one row a user",
        )
    return Pulls(effect, units, np.concatenate([one for _, one in parts])[order], new[order])
