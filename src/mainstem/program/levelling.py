"""When can everything run, if pools of people and GPUs are only so large? A short schedule that no pool forbids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ProgramError
from mainstem.program.critical_path import Schedule, schedule_network
from mainstem.program.levelling_kernel import search
from mainstem.program.network import Network, network_of
from mainstem.program.records import Program

SCHEDULES = 50_000
"""How many schedules are tried at most."""
STEPS = 400_000_000
"""How much work goes into them at most, in pools looked at: 0.4 to 0.8 s on one slow core, whatever the plan's size."""
_PEOPLE = 60
_TIGHT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A network in whole days with what each task holds of each pool.

    Shapes:
        days, release, fixed, frozen: n, in topological order; ``fixed`` is -1 or the day on which it did begin.
        needs: (n, pools). capacity: (time, pools). first, before, lags: links as in ``Network``. windows: (w, 2).
    """

    days: NDArray[np.int64]
    needs: NDArray[np.float64]
    capacity: NDArray[np.float64]
    first: NDArray[np.int64]
    before: NDArray[np.int64]
    lags: NDArray[np.int64]
    release: NDArray[np.int64]
    fixed: NDArray[np.int64]
    frozen: NDArray[np.bool_]
    windows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Levelled:
    """A schedule that keeps to the pools.

    ``proven`` is whether the end equals a lower bound, so that nothing can be shorter.
    """

    start: NDArray[np.int64]
    finish: NDArray[np.int64]
    end: int
    bound: int
    schedules: int

    @property
    def proven(self) -> bool:
        """Whether no schedule can be shorter."""
        return self.end == self.bound


def level_program(
    program: Program,
    *,
    sizes: dict[str, NDArray[np.float64]] | None = None,
    schedules: int = SCHEDULES,
    steps: int = STEPS,
    seed: int = 0,
) -> tuple[Network, Levelled]:
    """The plan at its medians, levelled to its pools.

    Args:
        program: The plan.
        sizes: A pool's size by working day, where it is not the same always; the last value holds on.
        schedules: How many schedules are tried at most.
        steps: How much work that may be; counted, not timed, so that the same seed ends at the same schedule.
        seed: Same seed, same schedule.
    """
    network = network_of(program)
    return network, level(pooled_of(program, network, sizes), schedules=schedules, steps=steps, seed=seed)


def pooled_of(program: Program, network: Network, sizes: dict[str, NDArray[np.float64]] | None = None) -> Pooled:
    """The plan in whole days: medians and waits are rounded up."""
    sizes = sizes or {}
    pools = sorted(program.pools)
    days = np.ceil(network.points[:, 1] - _TIGHT).astype(np.int64)
    done, begun = network.ended >= 0, network.begun >= 0
    days = np.where(done & begun, network.ended - network.begun, days).astype(np.int64)
    running = begun & ~done
    days = np.where(running, np.maximum(days, network.now - network.begun), days).astype(np.int64)
    fixed = np.where(begun, network.begun, np.where(done, np.maximum(network.ended - days, 0), -1)).astype(np.int64)
    days = np.where(done, network.ended - fixed, days).astype(np.int64)
    longest = max((len(one) for one in sizes.values()), default=0)
    last = max(network.windows.max(initial=0.0), network.earliest.max(initial=0.0), fixed.max(initial=0))
    horizon = int(days.sum() + np.maximum(network.lags, 0).sum() + last + longest) + len(days) + 2
    capacity = np.empty((horizon, len(pools)))
    for at, pool in enumerate(pools):
        given = np.asarray(sizes.get(pool, [program.pools[pool].size]), dtype=np.float64)
        capacity[: len(given), at] = given
        capacity[len(given) :, at] = given[-1]
    needs = np.zeros((len(network.names), len(pools)))
    for node, name in enumerate(network.names):
        for pool, amount in (program.tasks[name].needs if name in program.tasks else {}).items():
            needs[node, pools.index(pool)] = amount
    return Pooled(
        days=days,
        needs=needs,
        capacity=capacity,
        first=network.first,
        before=network.before,
        lags=np.ceil(network.lags).astype(np.int64),
        release=np.ceil(network.earliest).astype(np.int64),
        fixed=fixed,
        frozen=network.frozen,
        windows=network.windows.astype(np.int64),
    )


def level(pooled: Pooled, *, schedules: int = SCHEDULES, steps: int = STEPS, seed: int = 0) -> Levelled:
    """The shortest schedule found that no pool forbids, within a number of schedules and of steps.

    Raises:
        ProgramError: A task needs more than its pool ever has again (``program-010``).
    """
    short = (pooled.needs > pooled.capacity[-1] + _TIGHT).any(axis=1) & (pooled.fixed < 0) & (pooled.days > 0)
    if short.any():
        raise ProgramError(
            f"the task at place {int(np.flatnonzero(short)[0])} needs more of a pool than it has in the end",
            code="program-010",
            hint="raise the pool's last size, or split the task",
        )
    n = len(pooled.days)
    if n == 0:
        nothing = np.zeros(0, np.int64)
        return Levelled(nothing, nothing, 0, 0, 0)
    after_first, after, after_lags = _followers(pooled)
    problem = (
        pooled.days, pooled.needs, pooled.capacity, pooled.first, pooled.before, pooled.lags, pooled.release,
        pooled.fixed, pooled.frozen, pooled.windows, after_first, after, after_lags, np.arange(n),
    )  # fmt: skip
    early, late = _bounds_of_time(pooled, after_first, after, after_lags)
    bound = max(int((early + pooled.days).max()), _energy_bound(pooled))
    start, end, made, _ = search(problem, late, bound, schedules, steps, seed, _PEOPLE)
    return Levelled(start, start + pooled.days, int(end), bound, int(made))


def violations(pooled: Pooled, start: NDArray[np.int64]) -> list[str]:
    """What a schedule breaks: links, pools, releases and windows. Empty when it can be run."""
    found = []
    finish = start + pooled.days
    room = pooled.capacity.copy()
    for node, at in enumerate(start):
        room[at : finish[node]] -= pooled.needs[node]
        if pooled.fixed[node] >= 0:
            continue
        links = range(pooled.first[node], pooled.first[node + 1])
        if any(at < finish[pooled.before[link]] + pooled.lags[link] for link in links) or at < pooled.release[node]:
            found.append(f"{node} starts at {at}, before it may")
        if pooled.frozen[node] and any(opens < finish[node] <= closes for opens, closes in pooled.windows):
            found.append(f"{node} lands at {finish[node]}, in a freeze")
    facts = pooled.fixed >= 0
    if not facts.any() and (room < -1e-6).any():
        found.append(f"pool {int(np.argwhere(room < -1e-6)[0, 1])} is overdrawn")
    return found


def levelled_schedule(network: Network, levelled: Levelled) -> Schedule:
    """A levelled schedule with slack against the plan without pools, for reports."""
    free = schedule_network(network)
    slack = np.maximum(levelled.end - free.end + free.slack - (levelled.finish - free.finish), 0.0)
    return Schedule(network, levelled.start.astype(np.float64), levelled.finish.astype(np.float64), slack)


def _followers(pooled: Pooled) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    n = len(pooled.days)
    into = np.repeat(np.arange(n), np.diff(pooled.first))
    order = np.lexsort((into, pooled.before))
    counts = np.bincount(pooled.before, minlength=n)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), into[order], pooled.lags[order]


def _bounds_of_time(
    pooled: Pooled, after_first: NDArray[np.int64], after: NDArray[np.int64], after_lags: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Earliest starts and latest ends without pools."""
    n = len(pooled.days)
    early = np.zeros(n, np.int64)
    for node in range(n):
        span = slice(pooled.first[node], pooled.first[node + 1])
        ready = early[pooled.before[span]] + pooled.days[pooled.before[span]] + pooled.lags[span]
        early[node] = max(int(pooled.release[node]), int(ready.max(initial=0)))
        if pooled.fixed[node] >= 0:
            early[node] = pooled.fixed[node]
    late = np.full(n, int((early + pooled.days).max()))
    for node in range(n - 1, -1, -1):
        span = slice(after_first[node], after_first[node + 1])
        late[node] = min(
            int(late[node]),
            int((late[after[span]] - pooled.days[after[span]] - after_lags[span]).min(initial=late[node])),
        )
    return early, late


def _energy_bound(pooled: Pooled) -> int:
    """The first day by which each pool can have done all its work."""
    work = pooled.needs.T @ pooled.days
    done = np.cumsum(pooled.capacity, axis=0) >= work - 1e-6
    return int((done.argmax(axis=0) + 1)[work > 0].max(initial=0))
