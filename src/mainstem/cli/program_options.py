"""Options that several verbs of the program desk share, and what they stand for."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mainstem.program.records import Program

Plan = Annotated[Path, typer.Argument(help="program.toml, or the folder that holds it and program/*.toml.")]
Proof = Annotated[
    Path | None, typer.Option("--evidence", help="A file of records, one JSON object a line; else the workspace's own.")
]
Since = Annotated[
    str | None, typer.Option("--since", help="A git revision of the plan's folder, or another plan's file.")
]
Day = Annotated[
    str | None, typer.Option("--today", help="The day it is asked for, YYYY-MM-DD; the plan's as_of, else today.")
]


def earlier(plan: Path, since: str) -> Program:
    """The plan of a revision, or another plan's file."""
    from mainstem.program.moved import program_at
    from mainstem.program.plan_file import read_program

    if Path(since).exists():
        return read_program(Path(since))
    return program_at(plan if plan.is_dir() else plan.parent, since)


def day_of(as_of: date | None, given: str | None) -> date:
    """The day that was given, else the plan's, else today."""
    if given is None:
        return as_of or datetime.now(UTC).date()
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is no day such as 2026-11-22") from None


def write_whole(out: Path, text: str | bytes) -> None:
    """Writes a file whole or not at all."""
    part = out.with_name(f"{out.name}.part")
    part.write_bytes(text.encode() if isinstance(text, str) else text)
    part.replace(out)
