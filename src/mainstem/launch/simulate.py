"""Does a plan keep what it promises? Its operating characteristics, simulated and integrated, each beside its target.

Without a plan of your own this is the proof of the rules themselves. With one, the looks, the spending, the metrics and their
correlation are yours; what does not depend on a plan is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mainstem.launch.characteristic import Characteristic, bad_plan, check_runs
from mainstem.launch.measured import Known
from mainstem.launch.plan_file import Plan
from mainstem.launch.planner import Measured
from mainstem.launch.simulate_evidence import dose_price, heavy_tails, latency_split, quantiles, sample_ratio
from mainstem.launch.simulate_joint import STANDARD, JointMetric, JointPlan, joint_verdicts, surfaces
from mainstem.launch.simulate_looks import Looking, costs, false_passes, naive, neutral
from mainstem.launch.simulate_own import own_plan
from mainstem.launch.simulate_returning import returning_users

Progress = Callable[[float, str], None]
Part = tuple[str, Iterable[Characteristic]]
SEED = 20_261_122


@dataclass(frozen=True, slots=True)
class Simulation:
    """What was simulated.

    Attributes:
        rows: Every figure with its target.
        cpu_s: CPU seconds.
        runs: Paths of the plain simulations; slower ones take a share of it.
        seed: Of all luck.
    """

    rows: tuple[Characteristic, ...]
    cpu_s: float
    runs: int
    seed: int

    @property
    def missed(self) -> tuple[Characteristic, ...]:
        """The figures that are not what they must be."""
        return tuple(one for one in self.rows if not one.met)


def simulate(
    plan: JointPlan | None = None, *, runs: int = 200_000, seed: int = SEED, progress: Progress | None = None
) -> Simulation:
    """Every operating characteristic of a plan, or of the rules themselves if there is none.

    Args:
        plan: Your own launch.
        runs: Paths of the plain simulations.
        seed: Same seed, same figures.
        progress: Told the share that is done and what comes next.

    Raises:
        LaunchError: Fewer than 1,000 runs (``launch-018``).
    """
    check_runs("runs", runs, 1_000)
    return _run(_own(plan, runs, seed) if plan else _standard(runs, seed), runs, seed, progress)


def _run(parts: Sequence[Part], runs: int, seed: int, progress: Progress | None) -> Simulation:
    started, rows = time.process_time(), []
    for number, (name, part) in enumerate(parts):
        if progress:
            progress(number / len(parts), name)
        rows.extend(part)
    return Simulation(tuple(rows), time.process_time() - started, runs, seed)


def simulate_plan(
    plan: Plan,
    known: Known,
    *,
    correlation: float = 0.4,
    runs: int = 200_000,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Simulation:
    """A written plan with what was measured for it: its rules, and what becomes of it on its own users.

    Args:
        plan: From ``launch.toml``.
        known: What was measured; what it does not know of is left out of the launches.
        correlation: Between any two metrics.
        runs: Paths of the rules; launches are a twentieth.
        seed: Same seed, same figures.
        progress: See ``simulate``.

    Raises:
        LaunchError: Fewer than 2,000 runs, or nothing was measured of any primary (``launch-018``).
    """
    check_runs("runs", runs, 2_000)
    ways = sorted({(one.looks, one.spending) for one in known.metrics})
    rules = [Looking(looks, spending, plan.alpha) for looks, spending in ways]
    return _run(
        [
            *((f"{one.looks} looks", false_passes(runs, seed, one)) for one in rules),
            *((f"costs of {one.looks} looks", _figures(costs(one))) for one in rules),
            ("your plan", own_plan(plan, known, runs // 20, seed + 1, correlation)),
        ],
        runs,
        seed,
        progress,
    )


def joint_plan(plan: Plan, known: Sequence[Measured] = (), correlation: float = 0.4) -> JointPlan:
    """A written plan as one that can be simulated.

    Args:
        plan: From ``launch.toml``; its metrics must share looks and spending.
        known: What was measured of them; without it every metric is as hard to show as every other.
        correlation: Between any two metrics.

    Raises:
        LaunchError: Metrics differ in looks or spending (``launch-018``).
    """
    must = plan.must_pass()
    ways = {(one.looks, one.spending) for one in must.values()}
    if len(ways) != 1:
        raise bad_plan(f"metrics with different looks or spending: {sorted(ways)}")
    ((looks, spending),) = ways
    apart = {one.name: one.margin / (one.cv * (1 - one.r2) ** 0.5) for one in known}
    least = min(apart.values(), default=1.0)
    metrics = (
        JointMetric(name, one.role == "primary", max(apart.get(name, least) / least, 1.0)) for name, one in must.items()
    )
    return JointPlan(
        tuple(metrics),
        looks,
        correlation,
        Looking(looks, spending, plan.alpha),
        power=plan.power,
        false_rollback=plan.rollback.false_rate,
        false_pause=plan.rollback.pause_rate,
    )


def _standard(runs: int, seed: int) -> list[Part]:
    looking = Looking()
    return [
        ("looks", false_passes(runs, seed)),
        ("looks without a rule", iter([naive(runs, seed + 1)])),
        ("costs", costs(looking)),
        ("neutral", neutral(runs // 2, seed + 2, looking)),
        ("returning users", returning_users(runs // 10, seed + 3)),
        ("whole launches", joint_verdicts(STANDARD, runs // 10, seed + 4)),
        ("surfaces", surfaces(runs // 10, seed + 5)),
        ("sample ratio", sample_ratio(runs // 10, seed + 6)),
        ("heavy tails", heavy_tails(runs // 10, seed + 7)),
        ("latency split", latency_split(runs // 10, seed + 8)),
        ("dose arm", dose_price(runs // 10, seed + 9)),
        ("quantiles", quantiles(max(runs // 50, 200), seed + 10)),
    ]


def _own(plan: JointPlan, runs: int, seed: int) -> list[Part]:
    looking = Looking(plan.days, plan.looking.spending, plan.looking.alpha)
    return [
        ("looks", false_passes(runs, seed, looking)),
        ("costs", _figures(costs(looking))),
        ("whole launches", joint_verdicts(plan, runs // 10, seed + 4)),
    ]


def _figures(rows: Iterable[Characteristic]) -> Iterator[Characteristic]:
    """What a plan costs is its owner's choice: error rates must hold, but no cost is called missed."""
    return (Characteristic(one.topic, one.name, one.value, one.error) for one in rows)
