"""``mainstem bench``: public tables printed again, our models and other people's packages in the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mainstem.cli.options import AsJson, Quiet
from mainstem.cli.terminal import NO, Terminal

app = typer.Typer(no_args_is_help=True, help="Public tables printed again, with peers from the registry beside.")


@app.command()
def models(
    only: Annotated[
        str,
        typer.Option(
            help="Protocols by name, comma-separated: ml-1m, beauty, toys, kuairand, kuairand-official, census, small, or a "
            "set of small by its own name. Default: the first four."
        ),
    ] = "",
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Other people's packages, where installed.")] = True,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of whatever depends on a seed.")] = 5,
    data: Annotated[Path | None, typer.Option(help="The folder of public sets. Default: MAINSTEM_DATA.")] = None,
    out: Annotated[Path, typer.Option(help="Evidence as JSON; a Markdown twin and all records lie beside it.")] = Path(
        ".bench/models.json"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the records of an earlier run.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prints each protocol's table: ours, peers and published figures. Exit code 3 when a target is not met."""
    from mainstem.bench.models import Wanted, bench_models

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("models") as step:
        answer = bench_models(Wanted(only, peers, seeds, data, out, resume), step.progress)
        step.outcome = f"{len(answer.tables)} tables, {len(answer.missed)} targets not met, {answer.file}"
    told = msgspec.to_builtins(answer) | {"missed": [one.sentence for one in answer.missed]}
    terminal.answer(told, answer.markdown())
    if answer.missed:
        raise typer.Exit(NO)


@app.command()
def peers(
    only: Annotated[str, typer.Option(help="Peers by name, comma-separated. Default: all.")] = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Makes the peers' environments from their pins, one each. Exit code 3 when one could not be made."""
    from mainstem.bench.peers import ENVIRONMENTS, install, peers_here

    terminal = Terminal(as_json=as_json, quiet=quiet)
    names = [name.strip() for name in only.split(",") if name.strip()] or list(ENVIRONMENTS)
    with terminal.step("peers") as step:
        told = install(peers_here(), names, step.progress)
        step.outcome = f"{sum(one == 'ready' for one in told.values())} of {len(told)} ready"
    terminal.answer(told, "\n".join(f"{name}: {one}" for name, one in told.items()))
    if any(one != "ready" for one in told.values()):
        raise typer.Exit(NO)
