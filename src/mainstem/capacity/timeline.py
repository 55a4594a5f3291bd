"""What ten thousand worlds say: each week's P10, P50 and P90, the peak, the dual running, and when it has paid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.capacity.worlds import USES, Worlds

QUANTILES = (0.1, 0.5, 0.9)
_LAST_UNIT = 1e-9


@dataclass(frozen=True, slots=True)
class Band:
    """A figure's P10, P50 and P90 over the worlds."""

    p10: float
    p50: float
    p90: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Band:
        """The three quantiles of one number a world."""
        low, middle, high = np.quantile(values, QUANTILES)
        return cls(float(low), float(middle), float(high))


@dataclass(frozen=True, slots=True)
class ResourceLine:
    """One resource's weeks.

    Args:
        name: The resource.
        unit: Its unit.
        held: Units held in each week: P10, P50, P90, by week.
        baseline: Units the old stacks would have held, likewise.
        peak: The most that is held in any week.
        peak_over_baseline: The largest ratio of held to baseline in any week.
        peak_week: The week in which the peak falls most often.
        short_chance: The share of worlds in which the pool is too small in some week.
        short_unit_weeks: Units missing, summed over the weeks.
        dual: Unit-weeks above the baseline, summed over surfaces.
        uses: Unit-weeks by use, the mean over worlds.
        at_end: Units given back against the baseline in the last week; negative when more is held.
    """

    name: str
    unit: str
    held: NDArray[np.float64]
    baseline: NDArray[np.float64]
    peak: Band
    peak_over_baseline: Band
    peak_week: int
    short_chance: float
    short_unit_weeks: Band
    dual: Band
    uses: dict[str, float]
    at_end: Band


@dataclass(frozen=True, slots=True)
class Timeline:
    """The transition in figures.

    Args:
        resources: A line for each resource.
        dual: Unit-weeks above the baseline, by surface and resource.
        money: What dual running costs at the resources' prices.
        break_even: The week by which more has been saved than spent, among the worlds that get there; None when none.
        never: The share of worlds that do not get there within the weeks.
        worlds: How many worlds.
        seed: Of which seed.
    """

    resources: tuple[ResourceLine, ...]
    dual: dict[str, dict[str, Band]]
    money: Band
    break_even: Band | None
    never: float
    worlds: int
    seed: int


def timeline(found: Worlds) -> Timeline:
    """The figures of drawn worlds."""
    plan = found.plan
    prices = np.array([r.price for r in plan.resources])
    money = np.einsum("srw,r->w", found.dual, prices)
    weeks, never = _paid_back(found, prices)
    return Timeline(
        resources=tuple(_line(found, at) for at in range(len(plan.resources))),
        dual={
            s.name: {r.name: Band.of(found.dual[at, of]) for of, r in enumerate(plan.resources)}
            for at, s in enumerate(plan.surfaces)
        },
        money=Band.of(money),
        break_even=Band.of(weeks) if weeks.size else None,
        never=never,
        worlds=found.count,
        seed=found.seed,
    )


def _line(found: Worlds, at: int) -> ResourceLine:
    held, baseline, pool = found.held[at], found.baseline[at], found.pool[at]
    peaks = held.max(axis=0)
    missing = np.zeros(found.count)
    for week in np.flatnonzero(np.isfinite(pool)):
        missing += np.maximum(held[week] - pool[week], 0.0)
    ratio = np.divide(held, baseline, out=np.ones_like(held), where=baseline > 0.0).max(axis=0)
    resource = found.plan.resources[at]
    return ResourceLine(
        name=resource.name,
        unit=resource.unit,
        held=np.quantile(held, QUANTILES, axis=1).T,
        baseline=np.quantile(baseline, QUANTILES, axis=1).T,
        peak=Band.of(peaks),
        peak_over_baseline=Band.of(ratio),
        peak_week=int(np.bincount(held.argmax(axis=0)).argmax()),
        short_chance=float((missing > _LAST_UNIT).mean()),
        short_unit_weeks=Band.of(missing),
        dual=Band.of(found.dual[:, at].sum(axis=0)),
        uses={use: float(found.uses[at, of].mean()) for of, use in enumerate(USES)},
        at_end=Band.of(baseline[-1] - held[-1]),
    )


def _paid_back(found: Worlds, prices: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The first week after which the saving so far exceeds what was spent, of the worlds that have one.

    Without any price every resource counts its units as one; a rounding of nothing is no saving.
    """
    weight = prices if prices.any() else np.ones_like(prices)
    saved, spent = np.zeros(found.count), np.zeros(found.count)
    week_of = np.full(found.count, -1)
    for week in range(found.plan.weeks):
        now = weight @ found.baseline[:, week]
        saved += now - weight @ found.held[:, week]
        spent += now
        week_of[(week_of < 0) & (saved > _LAST_UNIT * spent)] = week
    paid = week_of >= 0
    return week_of[paid].astype(np.float64), float(1.0 - paid.mean())


def step_dual_running(
    weeks: int, start: int, new: float, old: float, *, lead: int = 0, lag: int = 0, shadow: float = 0.0
) -> float:
    """Unit-weeks of dual running of a move in one step, on paper: what the engine must say without any doubt.

    From ``start - lead`` the new stack stands beside the whole old one, and until ``start + lag`` the old one waits
    for its return; a shadow that runs from week 0 adds its share of the new stack's weeks before that. After the return
    only an excess of the new stack over the old one counts.

    Args:
        weeks: Weeks looked at.
        start: The week of the step.
        new: Units the new stack needs for the whole surface.
        old: Units the old stack needs for it.
        lead: Weeks the new capacity is there ahead.
        lag: Weeks the old capacity is kept.
        shadow: Share mirrored from week 0 to the step.
    """
    first, done = min(max(start - lead, 0), weeks), min(start + lag, weeks)
    mirrored = shadow * new * first
    return mirrored + new * (done - first) + max(0.0, new - old) * (weeks - done)
