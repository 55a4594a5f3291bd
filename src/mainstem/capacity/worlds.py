"""Ten thousand transitions week by week: what is held, for what use, and what it would have been without a move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError, did_you_mean
from mainstem.capacity.elicited import joint
from mainstem.capacity.transition import Need, SurfaceMove, Transition

USES = ("old serving", "new serving", "shadow", "rollback reserve", "waiting for reclaim", "provisioned ahead")
_WEEKS_A_YEAR = 52.0
_UNKNOWNS = ("slip", "lag", "growth", "level", "efficiency")


@dataclass(frozen=True, slots=True)
class Worlds:
    """What happened in each drawn world.

    Args:
        plan: The transition.
        held: Units held, by resource, week and world.
        baseline: Units the old stacks would have held had nothing moved, likewise.
        pool: Units there are, by resource and week; infinite where there is no limit.
        uses: Unit-weeks by resource, use (`USES`) and world: they sum to what was held.
        dual: Unit-weeks above the baseline, by surface, resource and world.
        seed: The seed of the draws.
    """

    plan: Transition
    held: NDArray[np.float64]
    baseline: NDArray[np.float64]
    pool: NDArray[np.float64]
    uses: NDArray[np.float64]
    dual: NDArray[np.float64]
    seed: int

    @property
    def count(self) -> int:
        """How many worlds."""
        return self.held.shape[2]


def draw_worlds(
    plan: Transition,
    worlds: int = 10_000,
    seed: int = 0,
    *,
    starts: Mapping[str, NDArray[np.float64]] | None = None,
    waits: Mapping[str, NDArray[np.float64]] | None = None,
    ramps: Mapping[str, NDArray[np.float64]] | None = None,
    shadows: Mapping[str, NDArray[np.float64]] | None = None,
) -> Worlds:
    """Every world's weeks, from the same unknowns under the same seed.

    Args:
        plan: The transition.
        worlds: How many.
        seed: Which.
        starts: By surface the week of the first stage in each world, where a schedule says it instead of ``start`` and
            ``slip``. The other unknowns keep their draws.
        waits: By surface and world, weeks by which new capacity is there earlier than ``lead``: it was ordered for a week
            that the launch did not keep.
        ramps: By surface and world, whole weeks from the first stage to the last, in which the stages keep their proportions
            (`stage_begins`). What was ordered ahead keeps the plan's stages: it was ordered for them.
        shadows: By surface and world, whole weeks of shadow.

    Returns:
        Arrays of `Worlds`; 10,000 worlds, 104 weeks and 3 resources take about 60 MB.

    Raises:
        CapacityError: ``capacity-008`` for less than one world, ``capacity-080`` for weeks of a surface that is not there or
            of another number of worlds.
    """
    if worlds < 1:
        raise CapacityError(f"found {worlds} worlds, expected at least 1", code="capacity-008", hint="10000 is usual")
    drawn = joint(plan.unknowns(), plan.loadings, worlds, seed)
    starts, waits, ramps, shadows = (_given(plan, one, worlds) for one in (starts, waits, ramps, shadows))
    drawn |= {f"{s.name}.slip": starts[s.name] - s.start for s in plan.surfaces if s.name in starts}
    cost = np.stack([drawn[f"{r.name}.cost"] for r in plan.resources])
    shape = (len(plan.resources), plan.weeks, worlds)
    held, baseline = np.zeros(shape), np.zeros(shape)
    uses = np.zeros((shape[0], len(USES), worlds))
    dual = np.zeros((len(plan.surfaces), shape[0], worlds))
    _walk(
        _unknown(plan, drawn, waits, ramps, shadows),
        np.ascontiguousarray(cost.T),
        _needs(plan, "old"),
        _needs(plan, "new"),
        *_stages(plan),
        np.array([_shares(s) for s in plan.surfaces]),
        np.array([_weeks(s) for s in plan.surfaces], dtype=np.int64),
        np.array([r.retention for r in plan.resources], dtype=np.int64),
        *_seasons(plan),
        held,
        baseline,
        uses,
        dual,
    )
    return Worlds(plan, held, baseline, pools(plan), uses, dual, seed)


def _unknown(
    plan: Transition, drawn: Mapping[str, NDArray[np.float64]], *given: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """World x surface x unknown: what was drawn, then ``waits``, ``ramps`` and ``shadows``, of which -1 is the plan's own."""
    one = next(iter(drawn.values()))
    none = (np.zeros_like(one), np.full_like(one, -1.0), np.full_like(one, -1.0))
    rows = [
        [
            *(drawn[f"{s.name}.{u}"] for u in _UNKNOWNS),
            *(by.get(s.name, or_) for by, or_ in zip(given, none, strict=True)),
        ]
        for s in plan.surfaces
    ]
    return np.ascontiguousarray(np.array(rows).transpose(2, 0, 1))


def _given(
    plan: Transition, weeks: Mapping[str, NDArray[np.float64]] | None, worlds: int
) -> dict[str, NDArray[np.float64]]:
    """Weeks by surface and world, each of a surface of the plan."""
    known = {s.name for s in plan.surfaces}
    for name, held in (weeks or {}).items():
        if name not in known or np.shape(held) != (worlds,):
            raise CapacityError(
                f"found weeks of {name!r} in {np.shape(held)} worlds, expected a surface of the plan in ({worlds},)",
                code="capacity-080",
                hint=did_you_mean(name, known),
            )
    return {name: np.asarray(held, np.float64) for name, held in (weeks or {}).items()}


def pools(plan: Transition) -> NDArray[np.float64]:
    """Units there are of each resource in each week, infinite where nothing is said."""
    found = np.full((len(plan.resources), plan.weeks), np.inf)
    for at, resource in enumerate(plan.resources):
        for week, units in sorted(resource.pool.items()):
            found[at, max(week, 0) :] = units
    return found


def stage_begins(stages: tuple[tuple[float, int], ...], ramp: int) -> tuple[int, ...]:
    """The week each stage begins, from the first, in a ramp of so many weeks to the last: in proportion, rounded half up."""
    begins = [sum(hold for _, hold in stages[:at]) for at in range(len(stages))]
    last = begins[-1]
    return tuple((2 * one * ramp + last) // (2 * last) if last else 0 for one in begins)


def _needs(plan: Transition, side: str) -> NDArray[np.float64]:
    """Surface x resource x (by traffic, whole)."""
    none = Need()
    return np.array(
        [
            [
                (need.by_traffic, need.whole)
                for need in ((s.old if side == "old" else s.new).get(r.name, none) for r in plan.resources)
            ]
            for s in plan.surfaces
        ]
    )


def _stages(plan: Transition) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Shares of the stages, the week each begins counted from the start, and how many there are."""
    most = max(len(s.stages) for s in plan.surfaces)
    share, begin = np.ones((len(plan.surfaces), most)), np.zeros((len(plan.surfaces), most), dtype=np.int64)
    for at, s in enumerate(plan.surfaces):
        week = 0
        for stage, (part, hold) in enumerate(s.stages):
            share[at, stage], begin[at, stage] = part, week
            week += hold
    return share, begin, np.array([len(s.stages) for s in plan.surfaces], dtype=np.int64)


def _shares(s: SurfaceMove) -> tuple[float, ...]:
    return s.shadow, s.holdback, s.reserve


def _weeks(s: SurfaceMove) -> tuple[int, ...]:
    return s.start, s.shadow_weeks, s.holdback_weeks, s.reserve_weeks, s.lead


def _seasons(plan: Transition) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The season's factors, one row a surface, and each row's length."""
    longest = max(1, *(len(s.season) for s in plan.surfaces))
    factors = np.ones((len(plan.surfaces), longest))
    for at, s in enumerate(plan.surfaces):
        factors[at, : len(s.season)] = s.season
    return factors, np.array([max(1, len(s.season)) for s in plan.surfaces], dtype=np.int64)


@njit(cache=True, nogil=True)
def _share_at(week, share, begin, stages, holdback, holdback_until):
    """The share on the new stack in a week counted from the start."""
    if week < 0:
        return 0.0
    x = share[0]
    for stage in range(1, stages):
        if week >= begin[stage]:
            x = share[stage]
    if week < holdback_until and x > 1.0 - holdback:
        x = 1.0 - holdback
    return x


@njit(cache=True, nogil=True)
def _begins(begin, stages, ramp, own):
    """The plan's stages in a ramp of another length, as `stage_begins`; -1 keeps them."""
    last = begin[stages - 1]
    for stage in range(stages):
        own[stage] = begin[stage] if ramp < 0 or last == 0 else (2 * begin[stage] * ramp + last) // (2 * last)


@njit(cache=True, nogil=True)
def _profile(weeks, unknown, share, begin, own, stages, shares, lengths, season, season_length, out, window):
    """One surface in one world: its weeks as seven rows of traffic (see `_walk`) and the week the old one is left.

    The weeks before the first are taken to have had its traffic. The old stack's capacity returns ``lag`` weeks after it
    was last wanted, so what is held is the most that was wanted in the weeks since; the new stack's is there ``lead``
    weeks before its share is, by the plan's stages even where the launch has its ``own``.
    """
    slip, lag, growth, level = unknown[0], int(np.ceil(unknown[1])), unknown[2], unknown[3]
    start, lead = lengths[0] + int(np.round(slip)), max(0, lengths[4] + int(np.round(unknown[5])))
    _begins(begin, stages, int(np.round(unknown[6])), own)
    committed, shadowed = own[stages - 1], lengths[1] if unknown[7] < 0 else int(np.round(unknown[7]))
    until, ordered = committed + lengths[2], begin[stages - 1] + lengths[2]
    step, traffic, left = growth ** (1.0 / 52.0), level, -1
    for week in range(weeks):
        demand = traffic * season[week % season_length]
        traffic *= step
        since = week - start
        x = _share_at(since, share, own, stages, shares[1], until)
        wanted = 1.0 - x
        reserve = shares[2] if 0 <= since < committed + lengths[3] else 0.0
        if x < 1.0 or reserve > 0.0:
            left = week
        most = max(wanted, reserve)
        window[week] = demand * most
        kept = window[week]
        for back in range(week - lag, week):
            if back >= 0:
                kept = max(kept, window[back])
            else:
                before = 1.0 - _share_at(back - start, share, own, stages, shares[1], until)
                kept = max(kept, level * season[0] * before)
        shadow = shares[0] if -shadowed <= since < 0 else 0.0
        ahead = _share_at(since + lead, share, begin, stages, shares[1], ordered)
        shadow = min(shadow, 1.0 - x)
        out[0, week] = demand * wanted
        out[1, week] = demand * x
        out[2, week] = demand * shadow
        out[3, week] = demand * (most - wanted)
        out[4, week] = kept - window[week]
        out[5, week] = demand * max(0.0, min(1.0, max(ahead, x) + shadow) - x - shadow)
        out[6, week] = demand
    first = start - max(shadowed, lead)
    return left + 1 + lag, first


@njit(cache=True, nogil=True)
def _walk(
    unknown, cost, old, new, share, begin, stages, shares, lengths, retention, season, season_length, held, baseline, uses, dual
):  # fmt: skip
    """Fills what is held, what the old stacks would have held, the uses and the dual running of every world.

    Rows of a profile: old serving, new serving, shadow, reserve, waiting, ahead (traffic of week 0 is 1), and demand.
    Both stacks' needs are linear in these rows, so the sums over uses and over what is held are one sum in two orders.
    """
    count, surfaces, resources, weeks = unknown.shape[0], old.shape[0], old.shape[1], held.shape[1]
    rows, window, own = np.empty((7, weeks)), np.empty(weeks), np.empty(begin.shape[1], np.int64)
    total, plain = np.empty((resources, weeks)), np.empty((resources, weeks))
    for w in range(count):
        total[:] = 0.0
        plain[:] = 0.0
        for s in range(surfaces):
            gone, first = _profile(
                weeks, unknown[w, s], share[s], begin[s], own, stages[s], shares[s], lengths[s], season[s], season_length[s],
                rows, window,
            )  # fmt: skip
            factor = unknown[w, s, 4]
            for r in range(resources):
                a, a_whole = old[s, r, 0] * cost[w, r], old[s, r, 1] * cost[w, r]
                b, b_whole = new[s, r, 0] * cost[w, r] * factor, new[s, r, 1] * cost[w, r] * factor
                leaves = gone + retention[r]
                u0, u1, u2, u3, u4, u5, extra = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
                for t in range(weeks):
                    whole_old = a_whole if t < leaves else 0.0
                    whole_new = b_whole if t >= first else 0.0
                    old_serving = a * rows[0, t] + whole_old
                    new_serving = b * rows[1, t] + whole_new
                    mirrored, reserve = b * rows[2, t], a * rows[3, t]
                    waiting, ahead = a * rows[4, t], b * rows[5, t]
                    need = old_serving + new_serving + mirrored + reserve + waiting + ahead
                    still = a * rows[6, t] + a_whole
                    total[r, t] += need
                    plain[r, t] += still
                    u0 += old_serving
                    u1 += new_serving
                    u2 += mirrored
                    u3 += reserve
                    u4 += waiting
                    u5 += ahead
                    extra += max(0.0, need - still)
                uses[r, 0, w] += u0
                uses[r, 1, w] += u1
                uses[r, 2, w] += u2
                uses[r, 3, w] += u3
                uses[r, 4, w] += u4
                uses[r, 5, w] += u5
                dual[s, r, w] = extra
        for r in range(resources):
            for t in range(weeks):
                held[r, t, w] = total[r, t]
                baseline[r, t, w] = plain[r, t]
