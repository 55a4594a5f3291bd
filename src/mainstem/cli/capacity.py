"""``mainstem capacity``: what a transition holds week by week, what this machine does, and what was really saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal, table

app = typer.Typer(
    no_args_is_help=True, help="Capacity of a transition: plan, size, order, calibrate, latency, savings ledger."
)
PlanFile = Annotated[Path, typer.Argument(help="The transition, a TOML file.")]
Worlds = Annotated[int, typer.Option(min=1, help="How many worlds are drawn.")]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@app.command()
def plan(
    file: Annotated[Path | None, typer.Argument(help="The transition, a TOML file.")] = None,
    example: Annotated[bool, typer.Option("--example", help="Print an example of such a file.")] = False,
    worlds: Worlds = 10_000,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What is held week by week while both stacks run: P10, P50, P90, the peak, dual running, break-even.

    Exit code 3 when a pool is too small in more than one world of ten.
    """
    from mainstem.capacity.exports import as_builtins
    from mainstem.capacity.plan_file import EXAMPLE, read_plan
    from mainstem.capacity.timeline import timeline
    from mainstem.capacity.worlds import draw_worlds

    terminal = Terminal(as_json=as_json, quiet=quiet)
    if example or file is None:
        terminal.answer({"example": EXAMPLE}, EXAMPLE)
        return
    with terminal.step("worlds") as step:
        found = timeline(draw_worlds(read_plan(file), worlds, seed or 0))
        step.outcome = f"{worlds} worlds, seed {seed or 0}"
    terminal.answer(as_builtins(found), plan_text(found))
    if any(line.short_chance > 0.1 for line in found.resources):
        raise typer.Exit(NO)


def plan_text(found: Any) -> str:
    """The timeline in tables."""
    lines = [
        {
            "resource": f"{line.name} ({line.unit})",
            "peak P10": f"{line.peak.p10:.1f}",
            "P50": f"{line.peak.p50:.1f}",
            "P90": f"{line.peak.p90:.1f}",
            "week": line.peak_week,
            "over baseline P50": f"{line.peak_over_baseline.p50:.2f}",
            "dual unit-weeks P50": f"{line.dual.p50:.0f}",
            "pool too small": f"{line.short_chance:.1%}",
            "given back at the end P50": f"{line.at_end.p50:.1f}",
        }
        for line in found.resources
    ]
    uses = [
        {"resource": line.name} | {use: f"{held:.0f}" for use, held in line.uses.items()} for line in found.resources
    ]
    surfaces = [
        {"surface": surface}
        | {f"{name} dual P10 P50 P90": f"{b.p10:.0f} {b.p50:.0f} {b.p90:.0f}" for name, b in of.items()}
        for surface, of in found.dual.items()
    ]
    paid = (
        "not paid back in any world"
        if found.break_even is None
        else f"paid back by week {found.break_even.p10:.0f} / {found.break_even.p50:.0f} / {found.break_even.p90:.0f} "
        f"(P10 / P50 / P90), not within the weeks in {found.never:.1%} of worlds"
    )
    money = (
        f"dual running costs {found.money.p10:.0f} / {found.money.p50:.0f} / {found.money.p90:.0f} at the prices given"
    )
    return "\n\n".join((table(lines), table(surfaces), table(uses), f"{money}\n{paid}"))


@app.command()
def size(
    file: PlanFile,
    resource: Annotated[str, typer.Argument(help="Which resource's pool.")],
    under: Annotated[float, typer.Option(help="What a unit missing at the peak costs.")] = 4.0,
    over: Annotated[float, typer.Option(help="What a unit too many costs.")] = 1.0,
    step: Annotated[float, typer.Option(help="Units come in steps of this many.")] = 1.0,
    worlds: Worlds = 10_000,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """The pool size with the least expected regret, and why not another."""
    from mainstem.capacity.decide import choose_size
    from mainstem.capacity.plan_file import read_plan
    from mainstem.capacity.worlds import draw_worlds

    found = choose_size(draw_worlds(read_plan(file), worlds, seed or 0), resource, under=under, over=over, step=step)
    Terminal(as_json=as_json).answer(
        asdict(found),
        f"{found.size:g} units of {resource}: expected regret {found.regret:.2f}, enough in {found.covered:.1%} of worlds\n\n"
        + table(refused_rows(found.rejected)),
    )


@app.command()
def order(
    file: PlanFile,
    chance: Annotated[float, typer.Option(help="The chance with which each pool must hold.")] = 0.9,
    penalty: Annotated[float, typer.Option(help="What a missing unit costs, in prices of a unit.")] = 10.0,
    worlds: Worlds = 2_000,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The order and the start weeks that fit the pools with the least expected regret, and why not another."""
    from mainstem.capacity.decide import choose_start, orders
    from mainstem.capacity.plan_file import read_plan

    terminal, held = Terminal(as_json=as_json, quiet=quiet), read_plan(file)
    with terminal.step("orders") as step:
        options = {"as planned": {s.name: s.start for s in held.surfaces}}
        options |= orders(held, chance=chance, worlds=min(worlds, 400), seed=seed or 0)
        found = choose_start(held, options, worlds=worlds, seed=seed or 0, penalty=penalty, progress=step.progress)
        step.outcome = f"{len(options)} options, {worlds} worlds each"
    starts = ", ".join(f"{name} in week {week}" for name, week in found.starts.items())
    terminal.answer(
        asdict(found),
        f"{found.option}: {starts}; a pool is too small in {found.failed:.1%} of worlds\n\n"
        + table(refused_rows(found.rejected)),
    )


def refused_rows(refused: Any) -> list[dict[str, Any]]:
    """Options that were not taken, as rows."""
    return [
        {
            "not": one.option,
            "because": one.bottleneck,
            "pool failed": f"{one.failed:.1%}",
            "week": one.week if one.week >= 0 else "",
            "regret": f"{one.regret:.1f}",
            "best in": f"{one.best:.1%}",
        }
        for one in refused
    ]


@app.command()
def export(
    file: PlanFile,
    form: Annotated[str, typer.Option("--as", help="focus, openmetrics or json.")] = "focus",
    out: Annotated[Path | None, typer.Option(help="Write it here; otherwise it is printed.")] = None,
    first: Annotated[str, typer.Option(help="The first day of week 0, such as 2026-11-23.")] = "",
    worlds: Worlds = 10_000,
    seed: Seed = None,
) -> None:
    """The timeline for other tools."""
    from mainstem.base.errors import CapacityError
    from mainstem.capacity.exports import exported
    from mainstem.capacity.plan_file import read_plan
    from mainstem.capacity.timeline import timeline
    from mainstem.capacity.worlds import draw_worlds

    try:
        day = date.fromisoformat(first) if first else datetime.now(UTC).date()
    except ValueError as no:
        raise CapacityError(f"found date {first!r}", code="capacity-057", hint="write 2026-11-23") from no
    held = read_plan(file)
    text = exported(form, held, timeline(draw_worlds(held, worlds, seed or 0)), first=day)
    if out is None:
        typer.echo(text, nl=False)
        return
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    scratch.write_text(text)
    os.replace(scratch, out)
    Terminal().answer({"written": str(out)}, f"written {out}")


@app.command()
def calibrate(
    workspace: Folder = HERE,
    quick: Annotated[bool, typer.Option("--quick", help="Every second shape once: whether it runs.")] = False,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measures this machine: gathers, products, the ranker by candidates, bytes a logged row. Half a minute."""
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # a BLAS reads this once, when it is loaded
        again = subprocess.run(
            [sys.executable, "-m", "mainstem", *sys.argv[1:]], env=os.environ | ONE_THREAD, check=False
        )
        raise typer.Exit(again.returncode)
    from mainstem.capacity.calibration import save
    from mainstem.capacity.measuring import logged_row_bytes, measure, training_rate
    from mainstem.workspace.evidence_desks import calibration_measured
    from mainstem.workspace.layout import Workspace

    terminal, place = Terminal(as_json=as_json, quiet=quiet), Workspace.open(workspace)
    before, after = logged_row_bytes(206)
    single = {"bytes a logged row of 206 made features": before, "the same compressed": after}
    card = place.unified_model / "model.json"
    if card.exists():
        single["training rows a CPU second"] = training_rate(json.loads(card.read_text()))
    with terminal.step("calibrate") as step:
        found = measure(
            today=datetime.now(UTC).date(),
            seed=seed or 0,
            single=single,
            every=2 if quick else 1,
            turns=1 if quick else None,
            progress=step.progress,
        )
        target = place.folder / "capacity" / "constants.json"
        save(found, target)
        calibration_measured(place, found, target, datetime.now(UTC))
        step.outcome = f"{target}, expires {found.expires}"
    rows = [
        {
            "work": kind,
            "shapes": one.shapes,
            "held out": one.held_out,
            "error P50": f"{one.error_p50:.1%}",
            "error P90": f"{one.error_p90:.1%}",
        }
        for kind, one in found.fitted.items()
    ]
    singles = [{"measured": name, "value": f"{value:.1f}"} for name, value in found.single.items()]
    terminal.answer(msgspec.to_builtins(found), f"{found.hardware.processor}\n{table(rows)}\n\n{table(singles)}")


@app.command()
def stacks(
    workspace: Folder = HERE,
    requests: Annotated[int, typer.Option(min=20, help="Requests a surface and server.")] = 120,
    slo_ms: Annotated[float, typer.Option(help="The p99 to keep.")] = 250.0,
    keep: Annotated[Path | None, typer.Option(help="Keep trained parts here; a run that was stopped goes on.")] = None,
    trained: Annotated[
        bool, typer.Option("--trained", help="Serve the workspace's own models; no training is told.")
    ] = False,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Tells what the workspace's own stacks take from small deployments of them, then measures the whole ones.

    Content-first, interest-first and unified are trained and served with fewer users and candidates; throughput at the
    knee, memory, bytes logged and rows trained a second are told for the whole stacks and compared. Minutes of CPU, Linux
    only. Exit code 3 when the median error is above 10 % or a saving is told more than 5 points off.
    """
    from mainstem.workspace.capacity_told import tell_stacks
    from mainstem.workspace.evidence_desks import stacks_measured
    from mainstem.workspace.layout import Workspace

    terminal, place = Terminal(as_json=as_json, quiet=quiet), Workspace.open(workspace)
    with terminal.step("stacks") as step:
        seed = place.settings.seed if seed is None else seed
        found = tell_stacks(place, requests, slo_ms / 1e3, seed, step.progress, keep, not trained)
        stacks_measured(place, found, datetime.now(UTC))
        step.outcome = found.sentence
    terminal.answer(msgspec.to_builtins(found), f"{table(found.as_rows())}\n\n{table(found.saving_rows())}")
    if not found.met:
        raise typer.Exit(NO)


@app.command()
def latency(
    request_ms: Annotated[float, typer.Option(help="Worker milliseconds a request.")],
    launch_ms: Annotated[float, typer.Option(help="Worker milliseconds a batch.")] = 0.0,
    fixed_ms: Annotated[float, typer.Option(help="Milliseconds that occupy no worker.")] = 0.0,
    cv: Annotated[float, typer.Option(help="Spread of the occupancy over its mean.")] = 0.1,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Most requests a batch.")] = 1,
    slo_ms: Annotated[float, typer.Option(help="The p99 to keep.")] = 100.0,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Latency against load of a service, and the rate at which p99 breaks its objective."""
    from mainstem.capacity.load import Service, bracket, curve, knee

    service = Service(launch_ms / 1e3, request_ms / 1e3, fixed_ms / 1e3, cv, workers, batch)
    at = knee(service, slo_ms / 1e3, seed=seed or 0)
    points = curve(service, [share * at.rate for share in (0.25, 0.5, 0.75, 0.9, 0.95, 1.0)], seed=seed or 0)
    rows = [
        {
            "requests / s": f"{one.rate:.1f}",
            "p50 ms": f"{one.p50 * 1e3:.2f}",
            "p90 ms": f"{one.p90 * 1e3:.2f}",
            "p99 ms": f"{one.p99 * 1e3:.2f}",
            "busy": f"{one.utilisation:.0%}",
            "bracket of the mean ms": " to ".join(f"{x * 1e3:.2f}" for x in bracket(service, one.rate)),
        }
        for one in points
    ]
    Terminal(as_json=as_json).answer(
        {"knee": asdict(at), "curve": [asdict(one) for one in points], "ceiling": service.ceiling},
        f"{table(rows)}\n\nknee at {at.rate:.1f} requests a second, ceiling {service.ceiling:.1f}",
    )


@app.command()
def footprint(
    workspace: Folder = HERE,
    surface: Annotated[str, typer.Option(help="feed, groups, pages, or your own.")] = "feed",
    traffic: Annotated[str, typer.Option(help="Requests with a unit, such as '900 / s' or '1e8 / day'.")] = "1e8 / day",
    peak: Annotated[float, typer.Option(help="Busiest rate over the mean rate.")] = 2.0,
    cores: Annotated[int, typer.Option(help="Physical cores of a machine.")] = 32,
    memory: Annotated[str, typer.Option(help="Its memory with a unit, such as '128 GiB'.")] = "128 GB",
    as_json: AsJson = False,
) -> None:
    """What the unified stack needs for a surface, from the settings and weights that serve and measured constants.

    It is kept for the page of capacity, surface by surface.
    """
    from mainstem.capacity.hardware import Machine
    from mainstem.capacity.units import quantity
    from mainstem.workspace.capacity import surface_footprint
    from mainstem.workspace.capacity_desk import keep_footprint
    from mainstem.workspace.layout import Workspace

    place = Workspace.open(workspace)
    found = surface_footprint(
        place,
        surface,
        quantity(traffic, "rate") * 86_400.0,
        peak,
        Machine("machine", cores, quantity(memory, "bytes"), 0.0),
        today=datetime.now(UTC).date(),
    )
    keep_footprint(place, surface, found | {"traffic": traffic})
    Terminal(as_json=as_json).answer(found, table([{"what": key, "value": value} for key, value in found.items()]))


@app.command()
def ledger(
    file: Annotated[Path, typer.Argument(help="The savings ledger, one JSON object a line.")],
    head: Annotated[str, typer.Option(help="A hash it must hold, such as last week's.")] = "",
    as_json: AsJson = False,
) -> None:
    """Reads a savings ledger, checks each line and each rule again, and shows what counts."""
    from mainstem.capacity.ledger import read_ledger

    found = read_ledger(file, head=head)
    rows = [
        {
            "claim": one.name,
            "state": one.state,
            "scope": one.scope,
            "owner": one.owner,
            "promised": f"{one.promised:g}",
            "measured": f"{one.delivered:g}",
            "verified": f"{one.verified:g}",
            "unit": one.unit,
        }
        for one in found.book.claims.values()
    ]
    totals = {"verified": found.book.verified, "promised": found.book.promised}
    Terminal(as_json=as_json).answer(
        {"claims": rows, "entries": found.entries, "head": found.head} | totals,
        f"{table(rows)}\n\nverified {found.book.verified}, promised {found.book.promised}; only verified counts\n"
        f"{found.entries} entries, head {found.head}",
    )


@app.command()
def record(
    file: Annotated[Path, typer.Argument(help="The savings ledger.")],
    kind: Annotated[
        str, typer.Argument(help="idea, forecast, committed, in flight, delivered, verified, correction, …")
    ],
    claim: Annotated[str, typer.Argument(help="The claim's id.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    body: Annotated[str, typer.Option(help="What the entry says, a JSON object.")],
    day: Annotated[str, typer.Option(help="The date. Default: today.")] = "",
    workspace: Annotated[
        Path | None, typer.Option("--workspace", "-w", help="Whose evidence hears of it. Default: the folder's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Appends one entry, if the rules allow it; otherwise nothing is written.

    What is verified of a surface becomes evidence of the workspace: the one that is named, else the one the ledger lies in.
    """
    from mainstem.base.errors import CapacityError
    from mainstem.base.settings import FILE
    from mainstem.capacity.ledger import append
    from mainstem.workspace.evidence_desks import saving_measured
    from mainstem.workspace.evidence_log import held_evidence
    from mainstem.workspace.layout import Workspace

    try:
        said = json.loads(body)
    except ValueError as no:
        raise CapacityError(f"found body {body!r}: {no}", code="capacity-034", hint="give a JSON object") from no
    if not isinstance(said, dict):
        raise CapacityError(f"found body {body!r}", code="capacity-034", hint="give a JSON object")
    folder = workspace or next((one for one in file.resolve().parents[:2] if (one / FILE).is_file()), None)
    place = None if folder is None else Workspace.open(folder)
    if place is not None:
        held_evidence(place)  # records that were tampered with are found before the ledger takes an entry
    found = append(file, kind, claim, by, day or datetime.now(UTC).date().isoformat(), said)
    if place is not None:
        saving_measured(place, found, file, claim, kind, datetime.now(UTC))
    Terminal(as_json=as_json).answer(
        {"entries": found.entries, "head": found.head}, f"{kind} of {claim} written, head {found.head}"
    )
