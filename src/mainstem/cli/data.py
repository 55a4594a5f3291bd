"""``mainstem data``: what a log is, whether it keeps its contract, and how it comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet
from mainstem.cli.terminal import NO, Terminal, table

app = typer.Typer(no_args_is_help=True, help="A log: check it, bring it in, describe it.")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A source folder or file, or a log folder.")],
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Whether a log keeps its contract: PASS, WARN or FAIL for each check, with examples. Exit code 3 on FAIL."""
    from mainstem.base.settings import read_settings
    from mainstem.data.checks import run_checks

    terminal = Terminal(as_json=as_json, quiet=quiet)
    report = run_checks(path, read_settings(workspace).data)
    terminal.answer(report.as_rows(), report.as_text())
    if report.failed:
        terminal.say(
            "\nhint: `mainstem data import` drops what can be dropped and keeps every dropped row for inspection"
        )
        raise typer.Exit(NO)


@app.command(name="import")
def bring_in(
    path: Annotated[Path | None, typer.Argument(help="A source folder or file. Default: [data] path.")] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Brings a log into the workspace; rows that are dropped are counted by reason and kept."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.log import import_into

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("data") as step:
        manifest = import_into(Workspace.open(workspace), path, step.progress)
        step.outcome = manifest.summary()
    terminal.answer(manifest.as_dict(), table(manifest.as_rows()))


@app.command()
def describe(workspace: Folder = HERE, as_json: AsJson = False) -> None:
    """What the workspace's log holds: rows, days, base rates by surface."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.log import base_rates, open_log

    log = open_log(Workspace.open(workspace))
    rows = base_rates(log)
    Terminal(as_json=as_json).answer({"manifest": log.manifest.as_dict(), "base_rates": rows}, table(rows))
