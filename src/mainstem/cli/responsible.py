"""``mainstem responsible`` and its kin: who is served worse, who is shown, what leaks, what a log tells of another policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal, table


def responsible(
    workspace: Folder = HERE,
    by: Annotated[
        list[str] | None, typer.Option(help="A further column of the log, its items or users to slice by; repeatable.")
    ] = None,
    head: Annotated[str, typer.Option(help="Which outcome's slices are printed; --json holds all.")] = "long_view",
    legacy: Annotated[
        bool, typer.Option("--legacy/--no-legacy", help="Start both legacy programs and ask them.")
    ] = True,
    canaries: Annotated[bool, typer.Option("--canaries/--no-canaries", help="Run the leakage canaries.")] = True,
    require: Annotated[
        list[str] | None, typer.Option(help="A risk that must be met, also where too few rows tell; repeatable.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only judge the assessment that is there.")] = False,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Slices, exposure, leaks; writes the risk assessment a launch asks for. Exit code 3 when a risk is not met."""
    from mainstem.workspace.evidence_risks import assessed_risks
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.responsible import assess
    from mainstem.workspace.responsible_text import canary_rows, exposure_rows, floor_rows, risk_rows, slice_rows

    terminal, place = Terminal(as_json=as_json, quiet=quiet), Workspace.open(workspace)
    if check:
        assessment = assessed_risks(place)
        terminal.answer(msgspec.to_builtins(assessment), table(risk_rows(assessment)))
    else:
        with terminal.step("responsible") as step:
            found = assess(place, by or (), seed=seed, legacy=legacy, canaries=canaries, progress=step.progress)
            assessment = found.assessment
            unmet = len(assessment.unmet())
            step.outcome = f"{len(assessment.risks)} risks, {unmet} not met, {place.evidence('risk')}"
        parts = (
            table(slice_rows(found.slices, head)),
            table(exposure_rows(found.exposure)),
            table(floor_rows(found.floors)),
            table(canary_rows(found.canaries)),
            "\n".join(found.notes),
            table(risk_rows(assessment)),
            f"{found.cpu_s:.0f} CPU seconds of this process, {found.peak_mb:.0f} MB at its peak",
        )
        terminal.answer(msgspec.to_builtins(found), "\n\n".join(part for part in parts if part and part != "(none)"))
    if assessment.unmet() or assessment.unmet(require or ()):
        raise typer.Exit(NO)


def canaries(
    workspace: Folder = HERE,
    users: Annotated[int, typer.Option(min=50, help="About how many users are judged.")] = 2_000,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Does the model read what it is judged by? Exit code 3 when a canary does not say what it must."""
    from mainstem.workspace.canaries import run_canaries
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.responsible_text import canary_rows

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("canaries") as step:
        found = run_canaries(Workspace.open(workspace), seed, users, step.progress)
        step.outcome = f"{sum(one.passed for one in found)} of {len(found)} say what they must"
    terminal.answer(msgspec.to_builtins(found), table(canary_rows(found)))
    if not all(one.passed for one in found):
        raise typer.Exit(NO)


def off_policy(
    data_set: Annotated[str, typer.Argument(metavar="SET", help="open-bandit or coat.")] = "open-bandit",
    data: Annotated[Path | None, typer.Option(help="The folder of public sets. Default: MAINSTEM_DATA.")] = None,
    out: Annotated[Path, typer.Option(help="Where archives are unpacked.")] = Path(".bench/packs"),
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What a log tells of a policy it was not made by, beside the truth. Exit code 3 when an interval misses it."""
    from mainstem.bench.off_policy import bench_off_policy

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("off policy") as step:
        found = bench_off_policy(data_set, data, out, 7 if seed is None else seed)
        step.outcome = f"{len(found.answers)} answers, {len(found.missed)} miss the truth"
    remarks = "\n".join([*found.refusals, *found.notes])
    cost = f"{found.cpu_s:.1f} CPU seconds, {found.peak_mb:.0f} MB at its peak"
    terminal.answer(
        msgspec.to_builtins(found),
        "\n\n".join([table(found.table()), remarks, cost]),
    )
    if found.missed:
        raise typer.Exit(NO)


def mitigate(
    workspace: Folder = HERE,
    floor: Annotated[
        float, typer.Option(min=0, max=1, help="Share of places for small creators. Default: 1.5 times what they get.")
    ] = 0.0,
    surface: Annotated[str, typer.Option(help="Whose value.")] = "feed",
    requests: Annotated[int, typer.Option(min=20, help="Made requests; as many again judge the boost.")] = 400,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What an exposure floor for small creators costs in a made world; draws the front. Exit code 3 when it is not met."""
    from mainstem.report.figure import Drawn
    from mainstem.report.floor_front import floor_front_figure
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.mitigation import mitigate as measure
    from mainstem.workspace.responsible_text import mitigation_rows, mitigation_words

    terminal, place = Terminal(as_json=as_json, quiet=quiet), Workspace.open(workspace)
    with terminal.step("mitigation") as step:
        found = measure(place, floor, surface=surface, requests=requests, seed=seed, progress=step.progress)
        figure = floor_front_figure(msgspec.to_builtins(found))
        drawn = place.evidence("mitigation").with_suffix(".svg")
        drawn.write_text(Drawn().svg(figure, figure.wide, "wide"), encoding="utf-8")
        step.outcome = f"{found.share:.1%} of places reached, {found.price_share:.2%} of value given up, {drawn}"
    terminal.answer(msgspec.to_builtins(found), f"{table(mitigation_rows(found))}\n\n{mitigation_words(found)}")
    if not found.met:
        raise typer.Exit(NO)
