"""``mainstem launch report``: a launch told whole, as one file to send or to keep."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mainstem.base.errors import LaunchError
from mainstem.cli.options import HERE, Folder, Quiet
from mainstem.cli.terminal import Terminal


class Form(StrEnum):
    """What a report may be."""

    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"


def report(
    launch: Annotated[str, typer.Argument(help="The launch; the newest when left out.")] = "",
    folder: Folder = HERE,
    form: Annotated[Form, typer.Option(help="html is one file that loads nothing.")] = Form.MARKDOWN,
    out: Annotated[Path | None, typer.Option(help="The file to write; on stdout when left out.")] = None,
    quiet: Quiet = False,
) -> None:
    """Where a launch stands, as a report: every metric against its margin, the ramp, budgets, the split, and every act."""
    from mainstem.cli.launch_status import report_text
    from mainstem.workspace.launching import newest_launch, read_standing
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(quiet=quiet)
    workspace = Workspace.open(folder)
    text = report_text(read_standing(workspace, launch or newest_launch(workspace)), form.value)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_report(out, text)
    terminal.say(f"written to {out}")


def write_report(file: Path, text: str) -> None:
    """Writes a report whole or not at all.

    Raises:
        LaunchError: The disk refused it (``launch-130``).
    """
    scratch = file.with_name(f".{file.name}.tmp")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        raise LaunchError(
            f"the report was not written to {file}: {error.strerror}", code="launch-130",
            hint="name a file in a folder that is there, with --out",
        ) from None  # fmt: skip
