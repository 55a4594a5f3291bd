"""The options every verb shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Same seed, same figures. Default: the workspace's.")]
Folder = Annotated[Path, typer.Option("--workspace", "-w", help="The workspace's folder.", envvar="MAINSTEM_WORKSPACE")]
HERE = Path()
