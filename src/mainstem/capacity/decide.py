"""Which size of a pool, and which start weeks, are regretted least over all worlds; and why the others were not taken."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError, did_you_mean
from mainstem.capacity.transition import Transition
from mainstem.capacity.worlds import Worlds, draw_worlds, pools

_LAST_UNIT = 1e-9
_MOST_ORDERS = 24


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an option was not taken.

    Args:
        option: The option.
        bottleneck: The resource that speaks most against it, and in which way.
        failed: The share of worlds in which that resource's pool was too small.
        week: The week in which that happens most often; -1 when it never does.
        regret: Expected regret.
        best: The share of worlds in which it would have been the best option.
    """

    option: str
    bottleneck: str
    failed: float
    week: int
    regret: float
    best: float


@dataclass(frozen=True, slots=True)
class SizeChoice:
    """The pool size with the least expected regret.

    Args:
        size: Units.
        regret: Its expected regret.
        covered: The share of worlds whose peak it covers.
        rejected: The other sizes asked about.
    """

    size: float
    regret: float
    covered: float
    rejected: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class OrderChoice:
    """The start weeks with the least expected regret.

    Args:
        option: The name of the option taken.
        starts: Start weeks by surface.
        regret: Its expected regret, in money and penalty.
        failed: The share of worlds in which some pool is too small all the same.
        best: The share of worlds in which it is the best option.
        rejected: Every other option with its bottleneck.
    """

    option: str
    starts: dict[str, int]
    regret: float
    failed: float
    best: float
    rejected: tuple[Refusal, ...]


def choose_size(
    found: Worlds, resource: str, *, under: float = 4.0, over: float = 1.0, step: float = 1.0
) -> SizeChoice:
    """The size that costs least over all worlds when a unit missing costs ``under`` and a unit too many ``over``.

    The whole grid from the least to the largest peak is judged on every world, so the answer is no single world's plan.

    Args:
        found: The worlds.
        resource: Which resource.
        under: What a unit missing at the peak costs.
        over: What a unit that is never used costs.
        step: Units come in steps of this many, such as 8 for a server of eight.

    Raises:
        CapacityError: ``capacity-005`` for an unknown resource, ``capacity-009`` for a cost or step that is not positive.
    """
    if min(under, over, step) <= 0.0:
        raise CapacityError(
            f"found under {under}, over {over}, step {step}, expected positive numbers",
            code="capacity-009",
            hint="4 to 1 is averse to outages, 1.25 to 1 is thrifty",
        )
    peaks = np.sort(found.held[_resource_at(found.plan, resource)].max(axis=0))
    sizes = np.arange(np.floor(peaks[0] / step), np.ceil(peaks[-1] / step) + 1.0) * step
    regrets = _size_regrets(peaks, sizes, under, over)
    at = int(regrets.argmin())
    ideal = np.clip(np.ceil(peaks / step) * step, sizes[0], sizes[-1])
    asked = {at // 2, max(at - 1, 0), min(at + 1, sizes.size - 1), sizes.size - 1} - {at}
    return SizeChoice(
        size=float(sizes[at]),
        regret=float(regrets[at]),
        covered=float((peaks <= sizes[at] + _LAST_UNIT).mean()),
        rejected=tuple(
            Refusal(
                option=f"{sizes[other]:g}",
                bottleneck=f"{resource}: " + ("too small at the peak" if other < at else "units that are never used"),
                failed=float((peaks > sizes[other] + _LAST_UNIT).mean()),
                week=_short_week(found, _resource_at(found.plan, resource), float(sizes[other])),
                regret=float(regrets[other]),
                best=float((ideal == sizes[other]).mean()),
            )
            for other in sorted(asked)
        ),
    )


def _size_regrets(
    peaks: NDArray[np.float64], sizes: NDArray[np.float64], under: float, over: float
) -> NDArray[np.float64]:
    """The expected regret of every size against sorted peaks, by running sums."""
    below = np.searchsorted(peaks, sizes, side="right")
    sums = np.concatenate(([0.0], np.cumsum(peaks)))
    missing = (sums[-1] - sums[below]) - sizes * (peaks.size - below)
    idle = sizes * below - sums[below]
    return (under * missing + over * idle) / peaks.size


def choose_start(
    plan: Transition,
    options: Mapping[str, Mapping[str, int]],
    *,
    worlds: int = 2_000,
    seed: int = 0,
    penalty: float = 10.0,
    progress: Callable[[float, str], None] | None = None,
) -> OrderChoice:
    """Which start weeks are regretted least over the same worlds.

    A world's cost of an option is what is held at the resources' prices (1 where none is given) and, for each unit
    missing in a week, ``penalty`` times that price. Its regret is the cost over the best option's cost in that world.

    Args:
        plan: The transition.
        options: Start weeks by surface for each option.
        worlds: How many worlds.
        seed: The same worlds judge every option.
        penalty: What a missing unit costs, in prices of a unit.
        progress: Told how far it is.

    Raises:
        CapacityError: ``capacity-010`` without any option, ``capacity-011`` for a surface nobody knows.
    """
    if not options:
        raise CapacityError(
            "found no option to choose from, expected at least one", code="capacity-010", hint="name start weeks"
        )
    known = {s.name for s in plan.surfaces}
    for name in sorted({name for option in options.values() for name in option} - known):
        raise CapacityError(
            f"found a start of {name!r}, which is no surface of the plan",
            code="capacity-011",
            hint=did_you_mean(name, known),
        )
    costs, short, weeks = [], [], []
    for at, (name, starts) in enumerate(options.items()):
        cost, missing, week = _judged(draw_worlds(plan.starting(starts), worlds, seed), penalty)
        costs.append(cost)
        short.append(missing)
        weeks.append(week)
        if progress is not None:
            progress((at + 1) / len(options), name)
    return _chosen(plan, options, np.stack(costs), short, weeks)


def _judged(found: Worlds, penalty: float) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
    """One option's cost in each world, units missing by resource and world, and the week each is short most often."""
    price = np.array([r.price for r in found.plan.resources])
    price = price if price.any() else np.ones_like(price)
    over = np.maximum(found.held - found.pool[:, :, None], 0.0)
    missing = over.sum(axis=1)
    cost = np.einsum("rtw,r->w", found.held, price) + penalty * (price @ missing)
    often = (over > _LAST_UNIT).sum(axis=2)
    return cost, missing, [int(row.argmax()) if row.any() else -1 for row in often]


def _chosen(
    plan: Transition,
    options: Mapping[str, Mapping[str, int]],
    costs: NDArray[np.float64],
    short: Sequence[NDArray[np.float64]],
    weeks: Sequence[Sequence[int]],
) -> OrderChoice:
    names = list(options)
    regret = (costs - costs.min(axis=0)).mean(axis=1)
    best = np.bincount(costs.argmin(axis=0), minlength=len(names)) / costs.shape[1]
    taken = int(regret.argmin())
    refused = []
    for at, name in enumerate(names):
        if at == taken:
            continue
        failed = (short[at] > _LAST_UNIT).mean(axis=1)
        worst = int((short[at].mean(axis=1) * 1.0).argmax()) if failed.any() else -1
        refused.append(
            Refusal(
                option=name,
                bottleneck=f"{plan.resources[worst].name}: pool too small" if worst >= 0 else "money: costs more",
                failed=float(failed[worst]) if worst >= 0 else 0.0,
                week=weeks[at][worst] if worst >= 0 else -1,
                regret=float(regret[at]),
                best=float(best[at]),
            )
        )
    return OrderChoice(
        option=names[taken],
        starts={s.name: options[names[taken]].get(s.name, s.start) for s in plan.surfaces},
        regret=float(regret[taken]),
        failed=float((short[taken] > _LAST_UNIT).any(axis=0).mean()),
        best=float(best[taken]),
        rejected=tuple(sorted(refused, key=lambda one: one.regret)),
    )


def earliest_starts(
    plan: Transition, order: Sequence[str], *, chance: float = 0.9, worlds: int = 400, seed: int = 0
) -> dict[str, int]:
    """The earliest start of each surface, in this order, at which every pool holds in each week with this chance.

    Surfaces are placed one after the other, each no earlier than planned; those not yet placed stay on their old stack.

    Raises:
        CapacityError: ``capacity-011`` for an order that is not the plan's surfaces, ``capacity-012`` when a pool is too
            small for a surface in any week.
    """
    planned = {s.name: s.start for s in plan.surfaces}
    if sorted(order) != sorted(planned):
        raise CapacityError(
            f"found an order of {', '.join(order)}, expected each of {', '.join(planned)} once",
            code="capacity-011",
            hint="name every surface",
        )
    never = plan.weeks + max(max(s.lead, s.shadow_weeks) for s in plan.surfaces) + 1_000
    starts, room = dict.fromkeys(planned, never), pools(plan)
    fits = np.ones(room.shape, dtype=np.bool_)
    for name in order:
        for week in range(planned[name], plan.weeks):
            held = draw_worlds(plan.starting(starts | {name: week}), worlds, seed).held
            fits = np.quantile(held, chance, axis=2) <= room + _LAST_UNIT
            if fits.all():
                starts[name] = week
                break
        else:
            tight = int((~fits).sum(axis=1).argmax())
            raise CapacityError(
                f"found no week in which {name} fits the pool of {plan.resources[tight].name}",
                code="capacity-012",
                hint="a larger pool, a smaller shadow or reserve, or a lower chance would let it start",
            )
    return starts


def orders(plan: Transition, *, chance: float = 0.9, worlds: int = 400, seed: int = 0) -> dict[str, dict[str, int]]:
    """Options for `choose_start`: for each order of the surfaces the earliest starts that the pools allow.

    All orders of up to four surfaces; of more, each surface once in front of the planned order.

    Raises:
        CapacityError: ``capacity-012`` when no order fits.
    """
    names = [s.name for s in sorted(plan.surfaces, key=lambda s: (s.start, s.name))]
    asked = list(itertools.permutations(names)) if len(names) <= 4 else []
    if not asked:
        asked = [(name, *(other for other in names if other != name)) for name in names]
    found: dict[str, dict[str, int]] = {}
    refused: CapacityError | None = None
    for order in asked[:_MOST_ORDERS]:
        try:
            starts = earliest_starts(plan, order, chance=chance, worlds=worlds, seed=seed)
        except CapacityError as no:
            refused = no
            continue
        if starts not in found.values():
            found[" > ".join(order)] = starts
    if not found and refused is not None:
        raise refused
    return found


def _resource_at(plan: Transition, name: str) -> int:
    names = [r.name for r in plan.resources]
    if name not in names:
        raise CapacityError(
            f"found resource {name!r}, which the plan does not declare",
            code="capacity-005",
            hint=did_you_mean(name, names),
        )
    return names.index(name)


def _short_week(found: Worlds, at: int, size: float) -> int:
    often = (found.held[at] > size + _LAST_UNIT).sum(axis=1)
    return int(often.argmax()) if often.any() else -1
