"""``mainstem features``: what is declared, whether it makes sense, its values in the past and now."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet
from mainstem.cli.terminal import Terminal, table

app = typer.Typer(
    invoke_without_command=True, help="Declared features: list and check them, back-fill one, read one now."
)


@app.callback()
def features(
    context: typer.Context,
    workspace: Folder = HERE,
    everything: Annotated[bool, typer.Option("--all", help="Also those that only other features read.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Write down the definitions as they are now (features.lock.json).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Lists every feature with its meaning, and refuses definitions that make no sense or changed silently."""
    from mainstem.workspace import definitions
    from mainstem.workspace.layout import Workspace

    if context.invoked_subcommand is not None:
        return
    terminal = Terminal(as_json=as_json)
    opened = Workspace.open(workspace)
    if accept:
        changes = definitions.accept(opened)
        told = ", ".join(f"{len(names)} {what}" for what, names in changes.items())
        terminal.answer(changes, f"accepted: {told}")
        return
    held = definitions.feature_set(opened)
    rows = [row for row in definitions.told(held) if everything or row["role"] or row["kind"] == "function"]
    own = {feature.name for feature in definitions.declared_in(opened)}
    rows += [row for row in definitions.told(held) if row["name"] in own and row not in rows]
    columns = ("name", "role", "kind", "over", "windows", "unit", "owner", "empty", "parity", "version", "about")
    terminal.answer(
        {"fingerprint": held.fingerprint, "features": rows},
        table([{name: row[name] for name in columns} for row in rows])
        + f"\n{len(held)} features declared, {len(rows)} shown; fingerprint {held.fingerprint}",
    )


@app.command()
def backfill(
    name: Annotated[str, typer.Argument(help="A declared feature.")],
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Computes a feature for every logged impression, as of what its server had seen, into a side file of the log."""
    from mainstem.workspace.feature_backfill import backfill as run
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("back-fill") as step:
        done = run(Workspace.open(workspace), name, step.progress)
        step.outcome = f"{done.rows:,} impressions, {len(done.known)} column(s)"
    rows = [
        {"column": column, "known": f"{100 * share:.1f} %", "mean": f"{done.mean[column]:.6g}"}
        for column, share in done.known.items()
    ]
    answer = {"name": done.name, "path": str(done.path), "rows": done.rows, "known": done.known, "mean": done.mean}
    answer |= {"cpu_s": round(done.cpu_s, 2), "wall_s": round(done.wall_s, 2)}
    terminal.answer(answer, table(rows) + f"\n{done.rows:,} rows in {Path(done.path).name}, {done.cpu_s:.1f} CPU-s")


@app.command()
def read(
    name: Annotated[str, typer.Argument(help="A declared feature.")],
    user: Annotated[int, typer.Option(help="Whose request it is.")],
    item: Annotated[int, typer.Option(help="The candidate.")] = -1,
    surface: Annotated[str, typer.Option(help="Where.")] = "feed",
    workspace: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """What the server would read now: the value, and whether it is known, known to be empty, or failed."""
    from mainstem.workspace.feature_backfill import read_now
    from mainstem.workspace.layout import Workspace

    rows = read_now(Workspace.open(workspace), name, user, item, surface)
    Terminal(as_json=as_json).answer(rows, table(rows))


@app.command()
def extract(
    name: Annotated[str, typer.Argument(help="The extraction's name, and that of its table of facts.")],
    text: Annotated[str, typer.Option(help="The columns that are read, such as 'title tags'.")],
    dim: Annotated[int, typer.Option(help="Values an item.")] = 64,
    encoder: Annotated[str, typer.Option(help="hashed (needs no fit) or svd (fitted once a version).")] = "hashed",
    version: Annotated[str, typer.Option(help="Yours; a changed definition needs a new one.")] = "1",
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A Parquet file with item_id and the columns. Default: the log's items."),
    ] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Vectors of items from their text and tags, as a table that definitions may name; again, only what changed."""
    from mainstem.workspace.extraction import extract as run
    from mainstem.workspace.extraction import settings_of
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    opened = Workspace.open(workspace)
    columns = text.replace(",", " ").split()
    with terminal.step("extraction") as step:
        done = run(
            opened, name, columns, dim=dim, encoder=encoder, version=version, source=source, progress=step.progress
        )
        step.outcome = f"{done.rows:,} items, {done.computed:,} computed, {done.known:,} with a vector"
    terminal.answer(asdict(done), f"{table([asdict(done)])}\n\n# mainstem.toml\n{settings_of(done)}")
