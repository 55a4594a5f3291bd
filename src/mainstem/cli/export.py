"""``mainstem export`` and ``mainstem bring``: models out of a workspace and into it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet
from mainstem.cli.terminal import Terminal, table

app = typer.Typer(no_args_is_help=True, help="The trained ranker as a file that other programs read.")


@app.command()
def onnx(
    int8: Annotated[
        bool, typer.Option("--int8", help="Widest products and items in 8 bits; refused when it loses too much.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The folder. Default: models/exported of the workspace.")] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The network and its calibration as one ONNX graph, compared with the served one on real rows."""
    from mainstem.workspace.export import export_onnx
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("export") as step:
        made = export_onnx(Workspace.open(workspace), int8=int8, out=out, progress=step.progress)
        step.outcome = f"{made.bytes:,} bytes, differs by {made.difference:.1e} on {made.rows:,} rows"
    costs = " · ".join(f"{name} {us} us" for name, us in made.cost_us.items())
    lines = [f"a request of 500 candidates: {costs} of CPU", f"{made.sha256}  {made.file}"]
    if made.losses:
        lines = [table([asdict(one) for one in made.losses]), f"{made.bytes:,} of {made.bytes_full:,} bytes", *lines]
    terminal.answer(asdict(made), "\n".join(lines))


def bring(
    file: Annotated[Path, typer.Argument(help="The declaration: a TOML or JSON file beside the model.")],
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Takes in another team's model (ONNX, scikit-learn, LightGBM, XGBoost) as a ranker: checked, calibrated, compared."""
    from mainstem.workspace.bring import bring as take
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("brought") as step:
        made = take(Workspace.open(workspace), file, step.progress)
        step.outcome = f"{made.name}: {made.format}, {made.inputs} inputs, {len(made.heads)} heads, {made.rows:,} rows"
    text = table([asdict(one) for one in made.heads])
    missing = f"\nthe same for every candidate: {', '.join(made.missing)}" if made.missing else ""
    use = f'to rank with it: [ranker] brought = "{made.name}" in mainstem.toml'
    terminal.answer(asdict(made), f"{text}{missing}\n{made.sha256}  {made.folder}\n{use}")
