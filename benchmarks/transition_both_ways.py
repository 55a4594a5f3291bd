"""One model, both ways: does a slip move dual running by the closed form, and does a pool move launches without being overdrawn?

    .venv/bin/python benchmarks/transition_both_ways.py

Delays: made migrations of two surfaces with their own sizes, ramps, leads and lags, one of them delayed by 1 to 8 weeks; first
without any doubt, then with doubt in durations, lag and efficiency, where the mean over worlds is compared. Ramps: the task in
whose days the stages run takes other weeks than capacity was ordered for, fewer or up to 8 more. Caps: room for launches that
opens in a made week, first too small for one of the two; use is compared with room in every week. Returns: caps that launches fit
only on what earlier ones gave back, and for two to four launches every order by hand.
"""

from __future__ import annotations

import resource
import time
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ProgramError
from mainstem.capacity.elicited import Elicited, exactly, joint
from mainstem.capacity.transition import Need, Resource, SurfaceMove, Transition
from mainstem.capacity.worlds import stage_begins
from mainstem.program.plan_file import parse_program
from mainstem.program.worlds import simulate
from mainstem.workspace.transition import (
    Joined,
    capacity_worlds,
    first_stages,
    join,
    outcome,
)
from mainstem.workspace.transition_file import Joining, PoolLink, SurfaceLink
from mainstem.workspace.transition_level import LevelledTransition, level_transition
from mainstem.workspace.transition_slips import delayed, late_dual_running, longer_ramp_dual_running, stretched

SURFACES = ("feed", "pages")
CASES, DOUBTED, CAPS, ORDERS, WORLDS = 200, 20, 60, 40, 2_000


def made(draw: np.random.Generator, *, doubt: bool, ramps: bool = False) -> Joined:
    """A migration of two surfaces, each of which lands after the week its capacity was ordered for.

    With ``ramps`` a port comes first, and the stages run in the days of the ramp.
    """
    text = ['[program]\nname = "made"\nstart = 2026-01-05\n[pools.gpu]\nsize = 10000']
    moves, links = [], {}
    for name in SURFACES:
        days = 5 * int(draw.integers(10, 20))
        points = [days, days + 10, days + 30] if doubt else [days]
        text.append(
            f'[workstreams.{name}]\n[tasks.{name}-{"port" if ramps else "ramp"}]\nworkstream = "{name}"\nduration = {points}'
        )
        text.append(f'[milestones.{name}-live]\nworkstream = "{name}"\nafter = ["{name}-ramp"]')
        old, new = (float(units) for units in draw.uniform(20.0, 100.0, 2))
        hold = int(draw.integers(0, 3)) + ramps
        if ramps:
            text.append(
                f'[tasks.{name}-ramp]\nworkstream = "{name}"\nafter = ["{name}-port"]\nduration = [{10 * hold}]'
            )
        moves.append(
            SurfaceMove(
                name,
                {"gpu": Need(old)},
                {"gpu": Need(new)},
                stages=((0.1, hold), (0.5, hold), (1.0, 0)),
                start=1,
                lead=int(draw.integers(0, 4)),
                lag=Elicited(1, 2, 5) if doubt else exactly(float(draw.integers(0, 6))),
                efficiency=Elicited(0.8, 1.0, 1.3) if doubt else exactly(1.0),
            )
        )
        links[name] = SurfaceLink(f"{name}-live", (f"{name}-ramp",), f"{name}-ramp" if ramps else "")
    plan = Transition(tuple(moves), (Resource("gpu", "GPU"),), weeks=104)
    return join(parse_program("\n".join(text)), plan, Joining(links, {"gpu": PoolLink("gpu")}))


def certain(draw: np.random.Generator) -> float:
    """The largest difference from the closed form, relative to it."""
    worst = 0.0
    for _ in range(CASES):
        held, weeks, at = made(draw, doubt=False), int(draw.integers(1, 9)), int(draw.integers(0, 2))
        name, one = SURFACES[at], held.capacity.surfaces[at]
        dual = [outcome(state, worlds=1).timeline.dual[name]["gpu"].p50 for state in (held, delayed(held, name, weeks))]
        paper = late_dual_running(weeks, one.old["gpu"].by_traffic, one.new["gpu"].by_traffic)
        worst = max(worst, abs(dual[1] - dual[0] - paper) / paper)
    return worst


def longer(draw: np.random.Generator) -> float:
    """The largest difference of a ramp's change in length from the closed form, over all there was."""
    worst = 0.0
    for _ in range(CASES):
        held, at = made(draw, doubt=False, ramps=True), int(draw.integers(0, 2))
        name, one = SURFACES[at], held.capacity.surfaces[at]
        planned = sum(weeks for _, weeks in one.stages)
        weeks = int(draw.integers(1 - planned, 9))
        states = (held, stretched(held, name, weeks))
        dual = [outcome(state, worlds=1).timeline.dual[name]["gpu"].p50 for state in states]
        was, now = (np.diff(stage_begins(one.stages, ramp)) for ramp in (planned, planned + weeks))
        more = [(share, int(now[at] - was[at])) for at, (share, _) in enumerate(one.stages[:-1])]
        paper = longer_ramp_dual_running(more, one.old["gpu"].by_traffic, one.new["gpu"].by_traffic)
        worst = max(worst, abs(dual[1] - dual[0] - paper) / dual[0])
    return worst


def in_doubt(draw: np.random.Generator) -> float:
    """The largest difference of the mean over worlds from the mean of the closed form, relative to it."""
    worst = 0.0
    for _ in range(DOUBTED):
        held, weeks, at = made(draw, doubt=True), int(draw.integers(1, 9)), int(draw.integers(0, 2))
        name, one = SURFACES[at], held.capacity.surfaces[at]
        means = []
        for state in (held, delayed(held, name, weeks)):
            starts = first_stages(state, simulate(state.program, worlds=WORLDS).landings)
            means.append(capacity_worlds(state, starts, WORLDS).dual[at, 0].mean())
        factor = joint(held.capacity.unknowns(), held.capacity.loadings, WORLDS, 0)[f"{name}.efficiency"]
        old, new = one.old["gpu"].by_traffic, one.new["gpu"].by_traffic * factor
        paper = float(np.mean([late_dual_running(weeks, old, float(units)) for units in new]))
        worst = max(worst, abs(means[1] - means[0] - paper) / paper)
    return worst


def capped(draw: np.random.Generator) -> tuple[int, int, float]:
    """How many caps should have changed the order, how many did, and the most that was held over a week's room."""
    should, did, over = 0, 0, 0.0
    for _ in range(CAPS):
        held = made(draw, doubt=False)
        units = {one.name: one.new["gpu"].by_traffic for one in held.capacity.surfaces}
        free = level_transition(held, worlds=1, returns=False)
        first, last = free.free_order
        small, opens = units[first] - 1.0, int(draw.integers(24, 40))
        found = level_transition(held, {"gpu": {0: small, opens: max(units.values()) + 1.0}}, worlds=1, returns=False)
        over = max(over, *(one.held - one.room for one in found.weeks))
        if units[last] <= small and free.free_lands[first] != free.free_lands[last]:
            should += 1
            did += found.order != free.free_order
    return should, did, over


def returned(draw: np.random.Generator) -> tuple[int, int, int, float]:
    """Caps that only one launch fits until it gave back: how many, held without returns, held with them, and the most over a pool.

    What is held is counted from the dates alone: both stacks from a ramp's begin until the wait after its landing.
    """
    cases, without, held_with, over = 0, 0, 0, -np.inf
    while cases < CAPS:
        held = made(draw, doubt=False)
        moves = {one.name: (one.old["gpu"].by_traffic, one.new["gpu"].by_traffic) for one in held.capacity.surfaces}
        small, large = sorted(moves, key=lambda name: moves[name][1])
        cap, gain = moves[large][1] - 1.0, moves[small][0] - moves[small][1]
        if moves[small][1] > cap or gain < 1.0:
            continue
        cases += 1
        without += _levelled(held, cap, returns=False) is not None
        found = _levelled(held, cap, returns=True)
        if found is not None:
            held_with += 1
            olds = sum(old for old, _ in moves.values())
            over = max(over, float((_by_hand(held, found) - olds - cap).max()))
    return cases, without, held_with, over


def ordered(draw: np.random.Generator) -> tuple[int, int, int, int]:
    """Pools for two to four launches: in how many some order fits, how many of those levelled, and how many of the others did."""
    fits, levelled, none, wrong = 0, 0, 0, 0
    for _ in range(ORDERS):
        names = [f"s{at}" for at in range(int(draw.integers(2, 5)))]
        old, new = draw.uniform(20.0, 100.0, (2, len(names)))
        cap, lag = float(draw.uniform(30.0, 110.0)), int(draw.integers(0, 4))
        asked = min(_asked(old[list(one)], new[list(one)]) for one in permutations(range(len(names))))
        found = _levelled(_in_a_row(names, old, new, lag), cap, returns=True)
        if asked <= cap:
            fits, levelled = fits + 1, levelled + (found is not None)
        else:
            none, wrong = none + 1, wrong + (found is not None)
    return fits, levelled, none, wrong


def _asked(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """The room that launches ask for at once, if each waits for what the one before gives back."""
    taken = np.concatenate([[0.0], np.cumsum(new - old)[:-1]])
    return float((taken + new).max())


def _in_a_row(names: list[str], old: NDArray[np.float64], new: NDArray[np.float64], lag: int) -> Joined:
    """Surfaces that nothing but their pool holds up."""
    text = ['[program]\nname = "made"\nstart = 2026-01-05\n[pools.gpu]\nsize = 10000']
    text += [
        f'[tasks.{name}-ramp]\nduration = [30]\n[milestones.{name}-live]\nafter = ["{name}-ramp"]' for name in names
    ]
    moves = tuple(
        SurfaceMove(name, {"gpu": Need(a)}, {"gpu": Need(b)}, stages=((1.0, 0),), lag=exactly(float(lag)))
        for name, a, b in zip(names, old.tolist(), new.tolist(), strict=True)
    )
    links = {name: SurfaceLink(f"{name}-live", (f"{name}-ramp",)) for name in names}
    plan = Transition(moves, (Resource("gpu", "GPU"),), weeks=104)
    return join(parse_program("\n".join(text)), plan, Joining(links, {"gpu": PoolLink("gpu")}))


def _levelled(held: Joined, cap: float, *, returns: bool) -> LevelledTransition | None:
    try:
        return level_transition(held, {"gpu": {0: cap}}, worlds=1, returns=returns)
    except ProgramError:
        return None


def _by_hand(held: Joined, found: LevelledTransition) -> NDArray[np.float64]:
    """Units of both stacks by week, until a year after the last landing."""
    bars = {one.name: one for one in found.bars}
    out = np.zeros(160)
    for one in held.capacity.surfaces:
        bar = bars[f"{one.name}-ramp"]
        begins, lands = (bar.starts - held.monday).days // 7, (bar.ends - held.monday).days // 7 + 1
        out[: lands + int(one.lag.middle)] += one.old["gpu"].by_traffic
        out[begins:] += one.new["gpu"].by_traffic
    return out


def main() -> None:
    draw, began = np.random.default_rng(7), time.process_time()
    sure = certain(draw)
    print(f"{CASES} delays without doubt: {sure:.1e} from the closed form at most ({_met(sure <= 1e-9)}: 1e-9)")
    ramps = longer(np.random.default_rng(8))
    print(f"{CASES} ramps longer or shorter: {ramps:.1e} from the closed form at most ({_met(ramps <= 1e-9)}: 1e-9)")
    mean = in_doubt(draw)
    print(f"{DOUBTED} delays in {WORLDS} worlds: the mean {mean:.1e} from the mean of it ({_met(mean <= 1e-9)}: 1e-9)")
    should, did, over = capped(draw)
    good = did == should and should > 0 and over <= 1e-9
    print(
        f"{CAPS} caps: {did} of {should} in which the later launch fits sooner are re-ordered, {max(over, 0.0):.1e} over the "
        f"room of a week at most ({_met(good)}: all, and none)"
    )
    cases, without, held_with, over = returned(np.random.default_rng(9))
    good = without == 0 and held_with == cases and over <= 1e-9
    print(
        f"{cases} caps below the larger launch, which fits what the smaller one gives back: {without} levelled without returns, "
        f"{held_with} with, {max(over, 0.0):.1e} over the pool in a week at most ({_met(good)}: none, all, and none)"
    )
    fits, levelled, none, wrong = ordered(np.random.default_rng(10))
    print(
        f"{ORDERS} pools for two to four launches: {levelled} of {fits} that some order fits are levelled "
        f"({_met(levelled == fits)}: all), and {wrong} of {none} that none fits ({_met(wrong == 0)}: none)"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{time.process_time() - began:.1f} s of CPU, {peak:.2f} GB at most")


def _met(good: bool) -> str:
    return "met" if good else "missed"


if __name__ == "__main__":
    main()
