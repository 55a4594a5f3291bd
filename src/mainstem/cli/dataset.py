"""``mainstem dataset``: a log as a training set, whether one is whole, and where a served item comes from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet
from mainstem.cli.terminal import NO, Terminal, table

app = typer.Typer(
    no_args_is_help=True, help="Training sets: build one, check it, describe it; lineage of a served item."
)
Place = Annotated[Path, typer.Argument(help="The training set's folder.")]


@app.command()
def build(
    rule: Annotated[
        str,
        typer.Option(
            help="What makes a success: own (the row's outcomes), content-first (30 min, last touch) or interest-first"
            " (24 h, any touch)."
        ),
    ] = "own",
    out: Annotated[Path | None, typer.Option(help="Its folder. Default: datasets/RULE of the workspace.")] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Every logged impression with the features its ranker would have read and the labels of a rule, under one hash."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.training_set import build_dataset
    from mainstem.workspace.training_set_check import described, part_rows, removed_rows

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("training set") as step:
        made = build_dataset(Workspace.open(workspace), rule, out, step.progress)
        step.outcome = made.record.summary()
    text = f"{table(part_rows(made.record))}\n\nnot taken\n{table(removed_rows(made.record))}\n\n{made.record.sha256}"
    terminal.answer(described(made.record) | {"path": str(made.folder)}, f"{text}  {made.folder}")


@app.command()
def check(folder: Place, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Whether a training set is what was written and keeps its contract. Exit code 3 when it does not."""
    from mainstem.workspace.training_set_check import check_dataset

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("training set") as step:
        found = check_dataset(folder)
        step.outcome = f"{found.rows:,} rows, {found.rules} rules" if found.whole else f"{len(found.faults)} fault(s)"
    text = f"whole: {found.sha256}" if found.whole else "\n".join(("broken:", *found.faults))
    terminal.answer(asdict(found) | {"whole": found.whole}, text)
    if not found.whole:
        raise typer.Exit(NO)


@app.command()
def describe(folder: Place, as_json: AsJson = False) -> None:
    """What a training set was made from, its parts, and which rows were left out and why."""
    from mainstem.features.dataset.record import read_record
    from mainstem.workspace.training_set_check import described, part_rows, removed_rows

    record = read_record(folder)
    facts = described(record)
    lines = [
        f"{name:18} {facts[name]}" for name in ("sha256", "log", "offsets", "features_version", "columns", "inputs")
    ]
    text = "\n".join(
        [record.summary(), *lines, "", table(part_rows(record)), "", "not taken", table(removed_rows(record))]
    )
    Terminal(as_json=as_json).answer(facts, text)


@app.command()
def lineage(
    request: Annotated[int, typer.Option(help="The request's id, of a served slate or of the imported log.")],
    item: Annotated[int, typer.Option(help="An item on its slate.")],
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Where a served item comes from: model, what it learned from, definitions, and the log's rows behind each feature."""
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.lineage import lineage as follow
    from mainstem.workspace.lineage_text import lineage_text

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("lineage") as step:
        found = follow(Workspace.open(workspace), request, item)
        step.outcome = f"{len(found.features)} features, {len(found.states)} states, {len(found.gaps)} gap(s)"
    terminal.answer(asdict(found), lineage_text(found))
