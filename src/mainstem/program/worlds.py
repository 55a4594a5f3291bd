"""When does the plan land, over ten thousand worlds in which tasks are late together and risks happen?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from mainstem.program.durations import Z90, three_points
from mainstem.program.network import Network, calendar_of, network_of
from mainstem.program.records import Program
from mainstem.program.worlds_kernel import run_worlds

WORLDS = 10_000
LEVELS = (0.1, 0.5, 0.8, 0.9)
"""The quantiles that are printed; for a day promised, P80 is the usual one."""


@dataclass(frozen=True, slots=True)
class Worlds:
    """What came out of the worlds.

    Shapes:
        ends: (worlds,) working days until everything is done. landings: milestone → (worlds,).
        critical: node → share of worlds in which it was on the critical chain.
        crucial: node → correlation of its duration with the end; what a shorter or surer duration would buy.
        lasted: task → (worlds,) working days from its start to its end, of the tasks that were asked for.
    """

    ends: NDArray[np.float64]
    landings: dict[str, NDArray[np.float64]]
    critical: dict[str, float]
    crucial: dict[str, float]
    seed: int
    lasted: dict[str, NDArray[np.float64]] = field(default_factory=lambda: dict[str, NDArray[np.float64]]())


def simulate(program: Program, *, worlds: int = WORLDS, seed: int = 0, timed: Iterable[str] = ()) -> Worlds:
    """The plan in many worlds; same seed, same worlds, whatever else the plan holds.

    Durations of one workstream share a normal factor (a Gaussian copula with the plan's ``correlation``); each duration
    passes exactly through its three elicited points. A risk happens to all its tasks at once.

    Args:
        program: The plan.
        worlds: How many.
        seed: Which.
        timed: Tasks whose days are kept for every world.
    """
    return simulate_network(program, network_of(program), worlds, seed, timed)


def simulate_network(program: Program, network: Network, worlds: int, seed: int, timed: Iterable[str] = ()) -> Worlds:
    """``simulate`` for a plan whose network is there already."""
    middle, below, above = _logs(network.points)
    risks = sorted(name for name, one in program.risks.items() if one.closed is None)
    place = {name: at for at, name in enumerate(network.names)}
    moved = [[place[task] for task in program.risks[name].tasks] for name in risks]
    points = [three_points(program.risks[name].delay, f"risks.{name}.delay") for name in risks]
    watched, kept = sorted(program.milestones), sorted(set(timed))
    correlation = program.program.correlation
    ends, seen, lasted, critical, cov, var_d, var_e = run_worlds(
        network.first, network.before, network.lags, _keys(network.names, seed), middle, below, above, network.stream,
        _keys([f"workstream {name}" for name in sorted(program.workstreams)], seed), math.sqrt(correlation),
        math.sqrt(1.0 - correlation), network.earliest, network.begun, network.ended, network.frozen, network.windows,
        network.now, _keys(risks, seed), np.array([program.risks[name].chance for name in risks], np.float64),
        np.stack(_logs(np.array(points, np.float64).reshape(-1, 3)), axis=1),
        np.concatenate([[0], np.cumsum([len(one) for one in moved])]).astype(np.int64),
        np.array([at for one in moved for at in one], np.int64), np.array([place[name] for name in watched], np.int64),
        np.array([place[name] for name in kept], np.int64), worlds,
    )  # fmt: skip
    spread = np.sqrt(var_d * var_e)
    crucial = np.divide(cov, spread, out=np.zeros_like(cov), where=spread > 1e-12)
    return Worlds(
        ends,
        dict(zip(watched, seen, strict=True)),
        dict(zip(network.names, critical.tolist(), strict=True)),
        dict(zip(network.names, crucial.tolist(), strict=True)),
        seed,
        dict(zip(kept, lasted, strict=True)),
    )


def landing_dates(program: Program, found: Worlds) -> dict[str, dict[float, date]]:
    """The dates behind the quantiles of each milestone and, under the empty name, of the whole plan."""
    calendar = calendar_of(program)
    everything = {"": found.ends} | found.landings
    return {
        name: {level: calendar.ends_on(float(np.quantile(days, level))) for level in LEVELS}
        for name, days in everything.items()
    }


def chance_by(program: Program, found: Worlds, milestone: str, day: date) -> float:
    """In what share of the worlds is the milestone reached by a day?"""
    return float((found.landings[milestone] <= calendar_of(program).through(day) + 1e-9).mean())


def _logs(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Medians, and the logarithm's slope below and above them."""
    low, middle, high = points.T
    sure = (low == high) | (middle <= 0)
    safe = np.where(sure[:, None], 1.0, points)
    below = np.log(safe[:, 1] / safe[:, 0]) / Z90
    above = np.log(safe[:, 2] / safe[:, 1]) / Z90
    return np.ascontiguousarray(middle), np.where(sure, 0.0, below), np.where(sure, 0.0, above)


def _keys(names: list[str] | tuple[str, ...], seed: int) -> NDArray[np.uint64]:
    hashed = [hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest() for name in names]
    return np.array([int.from_bytes(one, "little") for one in hashed], dtype=np.uint64)
