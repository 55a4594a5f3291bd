"""``mainstem parity``: are the features that are served the ones that are computed from the log?"""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal

app = typer.Typer(
    no_args_is_help=True, help="Offline features against online ones: verify, and drill with planted faults."
)


@app.command()
def verify(
    workspace: Folder = HERE,
    requests: Annotated[
        int, typer.Option(min=1, help="Logged requests that are replayed of each configuration.")
    ] = 2_000,
    stack: Annotated[str, typer.Option(help="Only this configuration, such as unified.")] = "",
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Whether every declared feature has the same bits served and recomputed. Exit code 3 when one has not.

    What a running server logged is compared as well, and so are predictions, nearest items and slates.
    """
    from mainstem.workspace.feature_parity import verify as check
    from mainstem.workspace.feature_parity_text import verified_text
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("parity") as step:
        verdict = check(Workspace.open(workspace), requests, stack, seed, step.progress)
        step.outcome = "passed" if verdict.passed else "refused"
    terminal.answer(msgspec.to_builtins(verdict), verified_text(verdict))
    if not verdict.passed:
        raise typer.Exit(NO)


@app.command()
def drill(
    workspace: Folder = HERE,
    fault: Annotated[str, typer.Option(help="One fault by its name; every one when not given.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every fault, which is also the default.")] = False,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Plants faults in the served world and shows what each is called. Exit code 3 when one is missed or misnamed."""
    from mainstem.workspace.feature_parity_drill import drill as plant
    from mainstem.workspace.feature_parity_text import drill_text
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("drill") as step:
        found = plant(Workspace.open(workspace), "" if everything else fault, seed, step.progress)
        step.outcome = f"{sum(one.right for one in found)} of {len(found)} found and named"
    terminal.answer(msgspec.to_builtins(found), drill_text(found))
    if not all(one.right for one in found):
        raise typer.Exit(NO)
