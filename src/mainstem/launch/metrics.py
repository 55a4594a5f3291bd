"""What did the new stack change, by each metric? Means, rates and ratios, with and without what was known before (CUPED).

A metric is a smooth function of a few column means, so one rule serves all: its gradient at an arm's means turns the arm's
covariance of columns into the variance of one unit's value. A ratio's covariate may be a ratio too.

Source: Deng, Xu, Kohavi and Walker 2013 (CUPED, pooled theta); Deng, Knoblich and Lu 2018 (delta method); Fieller 1954.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval
from mainstem.launch.assignment import CONTROL, TREATMENT
from mainstem.launch.plan_file import Metric
from mainstem.launch.sufficient import Column, Group, Sums, Wanted

_NOTHING = 1e-20
"""A variance this small beside the square of the mean is the rounding of a value that never changes."""
_RANK = 1e-10
"""Covariates that are combinations of others, to this share of their spread, add nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """A mean of a column, or a ratio of two means: the metric itself, or something known before."""

    top: Column
    bottom: Column | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns it reads."""
        return (self.top,) if self.bottom is None else (self.top, self.bottom)

    def value(self, group: Group) -> float:
        """Its figure over a group's units.

        Raises:
            LaunchError: The denominator's mean is 0 (``launch-064``).
        """
        if self.bottom is None:
            return group.mean(self.top)
        below = group.mean(self.bottom)
        if below == 0:
            raise LaunchError(
                f"found a mean of 0 of {self.bottom.name!r}, expected a denominator that is not 0",
                code="launch-064",
                hint="count the denominator over units that could have one, or make the metric a mean",
            )
        return group.mean(self.top) / below

    def gradient(self, group: Group) -> tuple[float, ...]:
        """How its figure moves with each of its columns' means."""
        if self.bottom is None:
            return (1.0,)
        value, below = self.value(group), group.mean(self.bottom)
        return 1.0 / below, -value / below


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as a computation: what it is, and what is known before the start that explains it."""

    name: str
    part: Part
    covariates: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The metric, then its covariates."""
        return (self.part, *self.covariates)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns whose products must be summed."""
        return tuple(dict.fromkeys(column for part in self.parts for column in part.columns))


@dataclass(frozen=True, slots=True)
class Arm:
    """What is left of an arm once its units are summed: what the verdict's contrasts take.

    Attributes:
        units: How many.
        mean: The figure, adjusted by covariates where there are some.
        variance: Of one unit's value; ``variance / units`` is the square of the standard error.
        unadjusted: The figure before covariates.
    """

    units: int
    mean: float
    variance: float
    unadjusted: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What changed in one metric between two arms.

    Attributes:
        theta: The weight of each covariate.
        explained: Share of the variance that covariates took away.
    """

    name: str
    control: Arm
    treatment: Arm
    theta: tuple[float, ...] = ()
    explained: float = 0.0

    @property
    def difference(self) -> float:
        """New minus old."""
        return self.treatment.mean - self.control.mean

    @property
    def relative(self) -> float:
        """The difference as a share of the old figure; NaN where that is 0."""
        return self.difference / self.control.mean if self.control.mean else math.nan

    @property
    def error(self) -> float:
        """The standard error of the difference."""
        return math.sqrt(sum(arm.variance / arm.units for arm in (self.control, self.treatment)))

    @property
    def freedom(self) -> float:
        """Degrees of freedom by Welch and Satterthwaite."""
        parts = [(arm.variance / arm.units, arm.units - 1) for arm in (self.control, self.treatment)]
        below = sum(one**2 / freedom for one, freedom in parts)
        total = sum(one for one, _ in parts)
        return total**2 / below if below else float(sum(freedom for _, freedom in parts))

    @property
    def p_value(self) -> float:
        """Two-sided, of no difference (Welch); by itself it decides nothing."""
        if not self.error:
            return float(self.difference == 0)
        return float(2 * stdtr(self.freedom, -abs(self.difference) / self.error))

    def interval(self, level: float = 0.95) -> Interval:
        """The difference with Welch's interval."""
        reach = _reach(level, self.freedom) * self.error
        units = self.control.units + self.treatment.units
        return Interval(
            self.difference - reach, self.difference, self.difference + reach, level, units, "units, Welch's t"
        )

    def relative_interval(self, level: float = 0.95) -> Interval:
        """The relative difference with Fieller's interval: what the verdict's linear contrast would not refuse.

        Without end on both sides where the old figure cannot be told from 0.
        """
        reach2 = _reach(level, self.freedom) ** 2
        old, new = self.control, self.treatment
        old2, new2 = (arm.variance / arm.units * reach2 for arm in (old, new))
        units, how = old.units + new.units, "units, Fieller"
        below = old.mean**2 - old2
        if below <= 0:
            return Interval(-math.inf, self.relative, math.inf, level, units, how)
        root = math.sqrt((new.mean * old.mean) ** 2 - below * (new.mean**2 - new2))
        ends = sorted((new.mean * old.mean + side * root) / below - 1 for side in (-1, 1))
        return Interval(ends[0], self.relative, ends[1], level, units, how)


def measure_of(name: str, metric: Metric) -> Measure:
    """A promised metric as a computation. A covariate of a ratio is written ``clicks_before / impressions_before``.

    Raises:
        LaunchError: It is a quantile, which is no function of sums (``launch-060``).
    """
    if metric.kind == "quantile":
        raise LaunchError(
            f"found the quantile {name!r} among metrics of sums, expected means, rates or ratios",
            code="launch-060",
            hint="quantiles are read from the rows: mainstem.launch.quantiles",
        )
    part = Part(Column(metric.column, metric.winsor_cap), Column(metric.per) if metric.per else None)
    return Measure(name, part, tuple(_part_of(text) for text in metric.covariates))


def wanted(measures: Iterable[Measure]) -> Wanted:
    """The sums that some measures need."""
    return Wanted.of([one.columns for one in measures])


def effect_of(
    sums: Sums, measure: Measure, control: object = CONTROL, treatment: object = TREATMENT, *, binary: bool = False
) -> Effect:
    """What changed in a measure between two arms of sums that are kept apart by the arm alone.

    Covariates get one theta from both arms together, and only take away what they explain: the figure of a balanced pair
    of arms stays where it is.

    Args:
        sums: By the arm; see ``Sums.pooled`` and ``effects_by``.
        control, treatment: The arms' names in the table.
        binary: Whether the measure must be of zeros and ones.

    Raises:
        LaunchError: An arm is empty or has one unit (``launch-061``), nothing varies (``launch-065``), a denominator is 0
            (``launch-064``), or a rate holds other values than 0 and 1 (``launch-066``).
    """
    sums = sums.pooled(sums.by[:1])
    arms = [sums.group((one,)) for one in (control, treatment)]
    both = _together(sums, control, treatment)
    theta, at = np.zeros(0), np.zeros(0)
    if measure.covariates:
        at = np.array([part.value(both) for part in measure.covariates])
        theta = _theta(_covariance(both, measure.parts), at)
    if binary:
        _check_binary(arms, measure)
    old, new = (_arm(group, measure, theta, at) for group in arms)
    plain = sum(_covariance(group, (measure.part,))[0, 0] / group.count for group in arms)
    left = old.variance / old.units + new.variance / new.units
    if not plain > _NOTHING * (old.unadjusted**2 / old.units + new.unadjusted**2 / new.units):
        raise LaunchError(
            f"found the same value of {measure.name!r} in every unit of both arms, expected one that varies",
            code="launch-065",
            hint="a metric that cannot move cannot be judged: is it written to the table at all?",
        )
    return Effect(measure.name, old, new, tuple(float(one) for one in theta), float(1 - left / plain))


def effects_by(
    sums: Sums, measures: Sequence[Measure], by: str, control: object = CONTROL, treatment: object = TREATMENT
) -> dict[object, list[Effect]]:
    """The effects within each value of one dimension: surface, legacy stack, cohort or creator side.

    Raises:
        LaunchError: See ``effect_of``; also where the dimension was not kept apart (``launch-060``).
    """
    return {
        value: [effect_of(mine, one, control, treatment) for one in measures]
        for value, mine in slices(sums, by).items()
    }


def slices(sums: Sums, by: str) -> dict[object, Sums]:
    """The sums of each value of one dimension, by the arm alone.

    Raises:
        LaunchError: The dimension was not kept apart (``launch-060``).
    """
    apart = sums.pooled((sums.by[0], by))
    found: dict[object, Sums] = {}
    for value in dict.fromkeys(key[1] for key in apart.keys):
        places = [i for i, key in enumerate(apart.keys) if key[1] == value]
        found[value] = Sums(
            apart.wanted,
            (apart.by[0],),
            tuple((apart.keys[i][0],) for i in places),
            apart.count[places],
            apart.first[:, places],
            apart.second[:, places],
        )
    return found


def _arm(group: Group, measure: Measure, theta: NDArray[np.float64], at: NDArray[np.float64]) -> Arm:
    value = measure.part.value(group)
    weights = np.concatenate([[1.0], -theta])
    table = _covariance(group, measure.parts)
    before = np.array([part.value(group) for part in measure.covariates])
    moved = float(theta @ (before - at)) if len(theta) else 0.0
    return Arm(group.count, value - moved, float(weights @ table @ weights), value)


def _theta(table: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariates' weights by least squares; 0 for one that never changes, and shared out between copies.

    Args:
        table: Covariance of the metric, then its covariates, over both arms.
        at: The covariates' figures over both arms.
    """
    spread = np.sqrt(np.maximum(np.diag(table)[1:], 0))
    moves = spread**2 > _NOTHING * at**2
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=moves)
    alike = table[1:, 1:] * np.outer(scale, scale)
    return np.linalg.pinv(alike, rcond=_RANK, hermitian=True) @ (table[1:, 0] * scale) * scale


def _covariance(group: Group, parts: Sequence[Part]) -> NDArray[np.float64]:
    """The covariance of units' linearised values of some parts. Shapes: ``[parts, parts]``."""
    columns = tuple(dict.fromkeys(column for part in parts for column in part.columns))
    gradient = np.zeros((len(parts), len(columns)))
    for row, part in enumerate(parts):
        for column, slope in zip(part.columns, part.gradient(group), strict=True):
            gradient[row, columns.index(column)] += slope
    table = np.array([[group.covariance(one, other) for other in columns] for one in columns])
    return gradient @ table @ gradient.T


def _together(sums: Sums, control: object, treatment: object) -> Group:
    """Both arms as one group, for what must not depend on the arm."""
    places = [sums.keys.index((one,)) for one in (control, treatment)]
    one = Sums(
        sums.wanted, sums.by, (("both",), ("both",)), sums.count[places], sums.first[:, places], sums.second[:, places]
    )
    return one.pooled(one.by).group(("both",))


def _check_binary(arms: list[Group], measure: Measure) -> None:
    """Zeros and ones have a variance that their mean fixes; anything else has another."""
    column = measure.part.top
    for group in arms:
        rate, n = group.mean(column), group.count
        expected = rate * (1 - rate) * n / (n - 1)
        if not (-1e-12 <= rate <= 1 + 1e-12) or abs(group.covariance(column, column) - expected) > 1e-9:
            raise LaunchError(
                f"found other values than 0 and 1 in {column.name!r}, expected a binary metric",
                code="launch-066",
                hint='say kind = "mean" in the plan, or make the column whether it happened',
            )


def _part_of(text: str) -> Part:
    top, _, bottom = (one.strip() for one in text.partition("/"))
    return Part(Column(top), Column(bottom) if bottom else None)


def _reach(level: float, freedom: float) -> float:
    return float(stdtrit(freedom, (1 + level) / 2))
