"""OR-Tools' CP-SAT as a second engine for levelling: it begins from our schedule, so it is never worse, and may prove it.

An extra of the package. The solver's work is counted by a clock of its own: one worker and one seed give the same again.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mainstem.base.errors import ProgramError
from mainstem.program.levelling import Levelled, Pooled, violations

EFFORT: Final = 4.0
"""Work that the solver may do, in its deterministic units; a unit is one to two and a half seconds of one slow core."""
_SCALE: Final = 1000
"""Pools are real numbers and the solver counts in whole ones: needs are rounded up, sizes down, at this many parts of a unit."""
_NEAR: Final = 1e-3


def improve_with_solver(pooled: Pooled, found: Levelled, *, effort: float = EFFORT, seed: int = 1) -> Levelled:
    """The schedule that was found, or a shorter one that the solver found from it; the lower bound is the better of both.

    Args:
        pooled: The problem.
        found: Our schedule of it.
        effort: Work the solver may do, in its deterministic units.
        seed: Same seed, same schedule.

    Raises:
        ProgramError: OR-Tools is not installed (``program-063``).
    """
    try:
        from ortools.sat.python import cp_model  # pyright: ignore[reportMissingImports]  an extra
    except ImportError:
        raise ProgramError(
            "the second engine for levelling needs OR-Tools, which is not installed",
            code="program-063",
            hint="pip install 'mainstem[solver]', or mainstem program schedule --level without it",
        ) from None
    if found.proven or not len(pooled.days):
        return found
    model, starts = _model(cp_model, pooled, found)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = effort
    state = solver.solve(model)
    if state not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return found
    told = int(np.ceil(solver.best_objective_bound - 1e-6)) if _exact(pooled) else 0
    start = np.array([solver.value(one) for one in starts], np.int64)
    end = int((start + pooled.days).max())
    if end < found.end and not violations(pooled, start):
        found = replace(found, start=start, finish=start + pooled.days, end=end)
    return replace(found, bound=min(max(found.bound, told), found.end))


def _exact(pooled: Pooled) -> bool:
    """Whether nothing was rounded: only then is the solver's bound one of the true problem."""
    amounts = np.concatenate([pooled.needs.ravel(), pooled.capacity.ravel()]) * _SCALE
    return bool(np.allclose(amounts, np.round(amounts), rtol=0, atol=_NEAR))


def _model(cp_model: Any, pooled: Pooled, found: Levelled) -> tuple[Any, list[Any]]:
    """The problem as the solver takes it, with our schedule as its hint and its end as the latest one."""
    model = cp_model.CpModel()
    n, latest = len(pooled.days), found.end
    starts, spans = [], []
    for node in range(n):
        days = int(pooled.days[node])
        one = model.new_int_var_from_domain(_domain(cp_model, pooled, node, latest), f"s{node}")
        starts.append(one)
        spans.append(model.new_fixed_size_interval_var(one, days, f"i{node}"))
        model.add_hint(one, int(found.start[node]))
    for node in range(n):
        if pooled.fixed[node] >= 0:
            continue
        for link in range(pooled.first[node], pooled.first[node + 1]):
            before = int(pooled.before[link])
            model.add(starts[node] >= starts[before] + int(pooled.days[before] + pooled.lags[link]))
    for pool in range(pooled.needs.shape[1]):
        _hold(model, pooled, pool, spans, latest)
    end = model.new_int_var(0, latest, "end")
    model.add_max_equality(end, [one + int(days) for one, days in zip(starts, pooled.days, strict=True)])
    model.minimize(end)
    return model, starts


def _domain(cp_model: Any, pooled: Pooled, node: int, latest: int) -> Any:
    """When a task may start: what began has begun, and nothing lands in a freeze window."""
    if pooled.fixed[node] >= 0:
        return cp_model.Domain.from_values([int(pooled.fixed[node])])
    days = int(pooled.days[node])
    whole = cp_model.Domain(int(pooled.release[node]), latest - days)
    if not pooled.frozen[node] or not len(pooled.windows):
        return whole
    shut = [[int(opens) + 1 - days, int(closes) - days] for opens, closes in pooled.windows]
    return whole.intersection_with(cp_model.Domain.from_intervals(shut).complement())


def _hold(model: Any, pooled: Pooled, pool: int, spans: list[Any], latest: int) -> None:
    """One pool: what tasks hold at once, and what is not there on some days, is within the most there ever is."""
    held = [node for node in range(len(spans)) if pooled.needs[node, pool] > 0 and pooled.days[node] > 0]
    if not held:
        return
    sizes = np.floor(pooled.capacity[: max(latest, 1), pool] * _SCALE + _NEAR).astype(np.int64)
    needs = [int(np.ceil(pooled.needs[node, pool] * _SCALE - _NEAR)) for node in held]
    # What has begun may hold more than there is; that is a fact, and not for the solver to mend.
    over = np.zeros(len(sizes), np.int64)
    for node, amount in zip(held, needs, strict=True):
        if pooled.fixed[node] >= 0:
            over[pooled.fixed[node] : pooled.fixed[node] + pooled.days[node]] += amount
    sizes = np.maximum(sizes, over)
    most = int(sizes.max())
    gone, amounts = [], []
    edges = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
    for begin, until in itertools.pairwise(edges):
        if sizes[begin] < most:
            gone.append(model.new_fixed_size_interval_var(int(begin), int(until - begin), f"gone{pool}.{begin}"))
            amounts.append(int(most - sizes[begin]))
    model.add_cumulative([*(spans[node] for node in held), *gone], [*needs, *amounts], most)
