"""Every verb of the command line, each a call into the workspace and one printed answer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mainstem.cli import (
    bench,
    capacity,
    data,
    dataset,
    evidence,
    export,
    features,
    launch,
    models,
    parity,
    program,
    responsible,
    surface,
    transition,
)
from mainstem.cli.options import HERE, AsJson, Folder, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal, table, why_text

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Two live ranking stacks made into one, on measured evidence. Start with `mainstem demo`.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 the answer is no.",
)
app.add_typer(data.app, name="data")
app.add_typer(dataset.app, name="dataset")
app.add_typer(features.app, name="features")
app.add_typer(parity.app, name="parity")
app.add_typer(launch.app, name="launch")
app.add_typer(models.app, name="models")
app.add_typer(surface.app, name="surface")
app.add_typer(export.app, name="export")
app.add_typer(bench.app, name="bench")
app.add_typer(capacity.app, name="capacity")
app.add_typer(program.app, name="program")
app.add_typer(transition.app, name="transition")
app.add_typer(evidence.app, name="evidence")
app.command()(export.bring)
app.command()(responsible.responsible)
app.command()(responsible.canaries)
app.command()(responsible.mitigate)
app.command(name="off-policy")(responsible.off_policy)
config = typer.Typer(no_args_is_help=True, help="What is set, and by whom.")
app.add_typer(config, name="config")

DEMO = Path("demo")


@app.command()
def demo(
    source: Annotated[Path | None, typer.Option("--data", help="Your own log instead of the real pack.")] = None,
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Where the demo works.")] = DEMO,
    made: Annotated[bool, typer.Option("--made", help="On a made world even if a real log is there.")] = False,
    plant: Annotated[
        str | None, typer.Option("--break", help="Plant a fault: feature, source, model, value, rule, or all.")
    ] = None,
    serve: Annotated[
        bool | None, typer.Option("--serve/--no-serve", help="Keep the pages up at the end. Default: on a terminal.")
    ] = None,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The whole river on one log: data, both legacy stacks, the unified one, side by side, shadow diff, migration."""
    from mainstem.cli.demo import run_break, run_demo

    terminal = Terminal(as_json=as_json, quiet=quiet)
    if plant is not None:
        run_break(terminal, workspace, plant, seed)
        return
    run_demo(terminal, workspace, source, made=made, seed=seed)
    if sys.stdout.isatty() if serve is None else serve:
        from mainstem.cli.serving import serve_workspace

        serve_workspace(workspace, None, None, with_legacy=True)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="The new workspace's folder.")]) -> None:
    """Makes a workspace for your own log: a commented mainstem.toml and what to do next."""
    from mainstem.workspace.template import make_workspace

    made = make_workspace(folder)
    Terminal().answer(
        {"workspace": str(made)},
        f"made {made}\nnext: mainstem data check YOUR_LOG\n"
        f"      mainstem data import YOUR_LOG -w {folder}\n"
        f"      mainstem train -w {folder} && mainstem compare -w {folder} && mainstem serve -w {folder}",
    )


@app.command()
def train(workspace: Folder = HERE, seed: Seed = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Trains the unified model and retrieval on the workspace's log, and both legacy programs where they are there."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.log import open_log, split
    from mainstem.workspace.retrieval import train_retrieval
    from mainstem.workspace.train import model_line, train_legacy, train_unified

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = Workspace.open(workspace)
    log = open_log(place)
    parts = split(place, log)
    seed = place.settings.seed if seed is None else seed
    with terminal.step("legacy stacks") as step:
        step.outcome = train_legacy(place, parts.validation_day, seed)
    with terminal.step("unified") as step:
        model = train_unified(place, log, parts, seed, step.progress)
        step.outcome = model_line(model)
    with terminal.step("retrieval") as step:
        judged = train_retrieval(place, log, parts, model, seed, step.progress)
        step.outcome = judged.as_line()
    terminal.answer(
        model.card | {"retrieval": judged.retrieval.card}, f"{table(judged.table.as_rows())}\n\ntrained on {parts}"
    )


@app.command()
def compare(workspace: Folder = HERE, seed: Seed = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """The three stacks side by side on held-out days. Exit code 3 when the unified one is not proven better."""
    from mainstem.workspace.compare import compare_stacks
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("side by side") as step:
        results = compare_stacks(Workspace.open(workspace), seed, step.progress)
    told = (
        f"{regime}\n{table(one.primary_table())}\n\n" + "\n".join(verdict.sentence for verdict in one.verdicts)
        for regime, one in results.items()
    )
    terminal.answer({regime: asdict(one) for regime, one in results.items()}, "\n\n".join(told))
    if any(verdict.answer != "holds" for one in results.values() for verdict in one.verdicts):
        raise typer.Exit(NO)


@app.command()
def shadow(
    workspace: Folder = HERE,
    requests: Annotated[int, typer.Option(help="How many logged requests are mirrored.")] = 300,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Where the stacks part, stage by stage, on replayed requests."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.shadow import shadow_legacy

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("shadow diff") as step:
        diffs = shadow_legacy(Workspace.open(workspace), requests, step.progress)
    terminal.answer(
        {name: asdict(diff) for name, diff in diffs.items()},
        "\n\n".join(f"{diff.sentence}\n{table(diff.as_table())}" for diff in diffs.values()),
    )


@app.command()
def explain(
    user: Annotated[str, typer.Option(help="The viewer's id.")],
    item: Annotated[str, typer.Option(help="The item's id.")],
    surface: Annotated[str, typer.Option(help="feed, groups, pages, or your own.")] = "feed",
    workspace: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Why this item is, or is not, on this viewer's slate."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.platform import explain_item

    answer = explain_item(Workspace.open(workspace), user, item, surface)
    Terminal(as_json=as_json).answer(asdict(answer), why_text(answer))


@app.command()
def serve(
    workspace: Folder = HERE,
    host: Annotated[str | None, typer.Option(help="Default: loopback.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 8400; 0 takes a free one.")] = None,
    with_legacy: Annotated[bool, typer.Option("--with-legacy", help="Start both legacy programs beside it.")] = False,
) -> None:
    """The /v1 API, the pages, and shadow mode."""
    from mainstem.cli.serving import serve_workspace

    serve_workspace(workspace, host, port, with_legacy=with_legacy)


@app.command()
def port(workspace: Folder = HERE, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """What moving both legacy programs into the engine removes: lines, models, pipelines, processes, artefacts."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.port import count_port

    rows = count_port(Workspace.open(workspace))
    Terminal(as_json=as_json, quiet=quiet).answer(rows, table(rows))


@config.command(name="show")
def show(
    workspace: Folder = HERE,
    origin: Annotated[bool, typer.Option("--origin", help="Where each value comes from.")] = False,
    as_json: AsJson = False,
) -> None:
    """Every setting with its value."""
    from mainstem.workspace.register import setting_rows

    rows = setting_rows(workspace)
    columns = ["setting", "value", "origin"] if origin else ["setting", "value"]
    Terminal(as_json=as_json).answer(rows, table(rows, columns))


@app.command()
def doctor(workspace: Folder = HERE, as_json: AsJson = False) -> None:
    """What this machine and this workspace have, and what is missing. Exit code 3 when something needed is."""
    from mainstem.workspace.doctor import examine

    rows = examine(workspace)
    Terminal(as_json=as_json).answer(rows, table(rows, ["what", "found", "state"]))
    if any(row["state"] == "missing" for row in rows):
        raise typer.Exit(NO)


@app.command()
def version() -> None:
    """The version."""
    from importlib.metadata import version as installed

    Terminal().answer(installed("mainstem"), installed("mainstem"))
