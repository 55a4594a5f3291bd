"""``mainstem surface``: what a surface values and forbids, what a change of it would move, and who changed it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet
from mainstem.cli.terminal import NO, Terminal, table

app = typer.Typer(no_args_is_help=True, help="What a surface values and must never do, and what changing that moves.")
Side = Annotated[str, typer.Argument(help="now, a TOML file, a git revision, or a change: feed.weights.like=3")]


@app.command()
def diff(
    before: Side,
    after: Side,
    requests: Annotated[int, typer.Option(help="How many logged requests are asked again.", min=1)] = 500,
    by: Annotated[list[str] | None, typer.Option(help="Also slice by this column of the users table.")] = None,
    most: Annotated[
        float | None, typer.Option(help="Exit code 3 when more than this share of the places holds another item.")
    ] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The blast radius of a change before it ships: whose slates move, by how much, and which rules fire otherwise."""
    from mainstem.evaluate.blast_radius import as_tables
    from mainstem.workspace.blast_radius import surface_diff
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("blast radius") as step:
        found = surface_diff(Workspace.open(workspace), before, after, requests, tuple(by or ()), step.progress)
        step.outcome = found.sentence
    tables = (f"{name}\n{table(rows)}" for name, rows in as_tables(found).items() if rows)
    terminal.answer(asdict(found), "\n\n".join([found.sentence, *tables]))
    replaced = found.groups[0].replaced
    if most is not None and replaced is not None and replaced.mid > most:
        raise typer.Exit(NO)
