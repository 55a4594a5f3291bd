"""``mainstem launch plan`` and ``mainstem launch simulate``: what a launch needs, and whether its rules keep their word."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from mainstem.base.errors import LaunchError
from mainstem.cli.options import AsJson, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal, table

Measured = Annotated[
    Path | None, typer.Option("--measured", help="TOML with each surface's traffic and each metric's cv and r2.")
]


def plan(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="What is promised.")] = Path("launch.toml"),
    measured: Measured = None,
    units: Annotated[Path | None, typer.Option(help="Instead: a table of units to measure, .csv or .parquet.")] = None,
    daily_users: Annotated[float, typer.Option(help="With --units: different users a day of each surface.")] = 0.0,
    growth: Annotated[float, typer.Option(help="With --units: different users grow as days to this power.")] = 0.6,
    neutral: Annotated[bool, typer.Option("--neutral", help="Size it to show equality on both sides.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Users and days of every step and surface; refuses a margin that cannot be reached in time, and names one that can."""
    from mainstem.launch.measured import measure_units, read_known
    from mainstem.launch.plan_file import plan_hash, read_plan
    from mainstem.launch.planner import Wish, plan_launch

    promised = read_plan(file)
    if units is not None:
        known = measure_units(promised, units, daily_users, growth)
    else:
        known = read_known(promised, measured or file.with_name("measured.toml"))
    wish = Wish(
        promised.power,
        promised.alpha,
        neutral=neutral,
        max_days=promised.max_days,
        false_rollback=promised.rollback.false_rate,
        false_pause=promised.rollback.pause_rate,
    )
    found = plan_launch(
        known.metrics,
        known.traffic,
        [(one.share, one.hold_hours) for one in promised.steps],
        wish,
        carried={one: promised.carried(one) for one in promised.surfaces},
    )
    digest = plan_hash(promised)
    notes = [f"{name}: nothing was measured that would size it" for name in known.unplanned]
    told = msgspec.to_builtins(found) | {"plan": digest, "unplanned": list(known.unplanned)}
    text = [
        table([_need(one) for one in found.needs]),
        table([_step(one) for one in found.steps]),
        *notes,
        f"{found.days:.1f} days to the last verdict at most; plan {digest[:12]}",
    ]
    Terminal(as_json=as_json, quiet=quiet).answer(told, "\n\n".join(text))


def simulate(
    file: Annotated[
        Path | None, typer.Option("--plan", help="Your own plan. Default: the rules themselves, with their targets.")
    ] = None,
    measured: Measured = None,
    correlation: Annotated[float, typer.Option(help="With --plan: between any two metrics.")] = 0.4,
    runs: Annotated[int, typer.Option(help="Paths; slower parts take a tenth.")] = 200_000,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Error rates, power, days, rollback: simulated, each beside its target. Exit code 3 when one is missed.

    With a plan and what was measured for it (``measured.toml`` beside it), the launch is yours: its users, its ramp, its metrics.
    """
    from mainstem.launch.measured import read_known
    from mainstem.launch.plan_file import read_plan
    from mainstem.launch.simulate import SEED, joint_plan, simulate_plan
    from mainstem.launch.simulate import simulate as run

    if file is None and measured is not None:
        raise LaunchError("found --measured without --plan, expected both", code="launch-019", hint="add --plan FILE")
    promised = None if file is None else read_plan(file)
    beside = file.with_name("measured.toml") if file else None
    source = measured or (beside if beside and beside.is_file() else None)
    known = read_known(promised, source) if promised and source else None
    chance = SEED if seed is None else seed
    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("simulate") as step:
        if promised and known:
            found = simulate_plan(
                promised, known, correlation=correlation, runs=runs, seed=chance, progress=step.progress
            )
        else:
            own = None if promised is None else joint_plan(promised, (), correlation)
            found = run(own, runs=runs, seed=chance, progress=step.progress)
        step.outcome = f"{len(found.rows)} figures, {len(found.missed)} missed"
    told = {"rows": [one.as_row() | {"met": one.met, "value": one.value} for one in found.rows]} | {
        "cpu_s": found.cpu_s,
        "runs": found.runs,
        "seed": found.seed,
    }
    cost = f"{found.runs} paths, seed {found.seed}, {found.cpu_s:.1f} CPU seconds"
    terminal.answer(told, f"{table([one.as_row() for one in found.rows])}\n\n{cost}")
    if found.missed:
        raise typer.Exit(NO)


def _need(one: Any) -> dict[str, Any]:
    return {
        "surface": one.surface,
        "against": one.legacy,
        "metric": one.metric,
        "margin": f"{one.margin:.2%}",
        "users an arm": round(one.users_per_arm),
        "days": f"{one.days:.1f}",
        "reachable in time": f"{one.reachable:.2%}",
    }


def _step(one: Any) -> dict[str, Any]:
    return {
        "step": f"{one.share:.0%}",
        "hours": one.hold_hours,
        "users an arm, smallest surface and stack": round(one.users_per_arm),
        "harm found by the hourly rollback (chance .8)": f"{one.visible_harm:.2%}" if one.visible_harm < 1 else "none",
    }
