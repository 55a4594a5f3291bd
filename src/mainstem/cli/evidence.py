"""``mainstem evidence``: what was measured and recorded in a workspace, and a measurement of another tool added to it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet
from mainstem.cli.terminal import NO, Terminal, table

app = typer.Typer(no_args_is_help=True, help="What was measured: the records that gates of the program go by.")


@app.command(name="list")
def listed(
    workspace: Folder = HERE,
    kind: Annotated[str, typer.Option(help="Only this kind, such as parity.")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Every record, not the newest of each kind and subject.")
    ] = False,
    head: Annotated[str, typer.Option(help="A hash the records must hold, such as last week's.")] = "",
    as_json: AsJson = False,
) -> None:
    """The newest record of each kind and subject, every line judged again. Exit code 3 when one of them is in doubt."""
    from mainstem.workspace.evidence_log import held_evidence
    from mainstem.workspace.layout import Workspace

    held = held_evidence(Workspace.open(workspace), head)
    newest = {(one.kind, one.about): one for one in sorted(held.records, key=lambda one: one.at)}
    shown = [one for one in (held.records if every else newest.values()) if kind in ("", one.kind)]
    rows = [
        {
            "id": one.id,
            "kind": one.kind,
            "about": one.about,
            "value": f"{one.value:g}",
            "at": one.at.isoformat(timespec="minutes"),
            "from": "made world" if one.made else "real",
            "doubt": held.doubts.get(one.id, ""),
            "source": one.source,
        }
        for one in shown
    ]
    terminal = Terminal(as_json=as_json)
    told = [msgspec.to_builtins(one) | {"doubt": held.doubts.get(one.id, "")} for one in shown]
    terminal.answer({"records": told, "head": held.head, "torn": held.torn}, table(rows))
    terminal.say(f"{len(held.records)} records, head {held.head}")
    if held.torn:
        terminal.say(f"{held.torn} bytes behind the last record: a writer was killed; the next record puts them aside")
    if any(one.id in held.doubts for one in shown if newest[one.kind, one.about] is one):
        raise typer.Exit(NO)


@app.command()
def add(
    kind: Annotated[str, typer.Argument(help="parity, launch, slo, capacity, rollback, responsible, or your own.")],
    about: Annotated[str, typer.Argument(help="Of what: a surface, or the id of an SLO.")],
    value: Annotated[float, typer.Argument(help="What was measured; for a yes or no, 1 or 0.")],
    source: Annotated[str, typer.Option(help="The command or the tool it came from.")],
    at: Annotated[str, typer.Option(help="When, with its zone: 2026-11-22T12:00+00:00. Default: now.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="The file that holds the whole of it.", exists=True, dir_okay=False)
    ] = None,
    made: Annotated[bool, typer.Option("--made", help="It comes from a made world.")] = False,
    note: Annotated[str, typer.Option(help="What was found, in a sentence.")] = "",
    workspace: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Adds what another tool measured, such as an SLO of your monitoring. Records are never changed or replaced."""
    from mainstem.base.evidence import Evidence
    from mainstem.workspace.evidence_log import append_evidence
    from mainstem.workspace.layout import Workspace

    held = str(file.resolve()) if file else ""
    one = Evidence(kind=kind, about=about, value=value, at=_time(at), source=source, file=held, made=made, note=note)
    (done,) = append_evidence(Workspace.open(workspace), one)
    Terminal(as_json=as_json).answer(msgspec.to_builtins(done), f"{done.id}: {done.what} is {done.value:g}")


@app.command()
def slo(
    file: Annotated[Path, typer.Argument(help="An OpenSLO file whose metric sources are of the type mainstem.")],
    to_newest: Annotated[
        bool, typer.Option("--to-newest", help="The window ends at the newest answer, not now, and counts as that old.")
    ] = False,
    least: Annotated[
        int | None, typer.Option(min=1, help="How many answers are enough. Default: so many that five may be bad.")
    ] = None,
    workspace: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measures an OpenSLO file on what our server wrote down, and records it for its gates. Exit code 3 when one is missed.

    One call, for cron. What the log cannot tell is refused, and nothing is recorded.
    """
    from mainstem.workspace.evidence_slo import measure_slo, slo_measured
    from mainstem.workspace.layout import Workspace

    place, terminal = Workspace.open(workspace), Terminal(as_json=as_json, quiet=quiet)
    with terminal.step("answers") as step:
        found = measure_slo(place, file, to_newest=to_newest, least=least, progress=step.progress)
        step.outcome = f"{len(found)} objectives"
    records = slo_measured(place, file, found)
    told = [
        msgspec.to_builtins(record) | {"target": one.objective.target, "met": one.met, "budget_left": one.budget_left}
        for record, one in zip(records, found, strict=True)
    ]
    lines = [
        f"{record.id}: {record.what} is {record.value:.6g}, {'met' if one.met else 'missed'}: {one.sentence}"
        for record, one in zip(records, found, strict=True)
    ]
    terminal.answer(told, "\n".join(lines))
    if not all(one.met for one in found):
        raise typer.Exit(NO)


def _time(given: str) -> datetime:
    """The time of a measurement; one without a zone is refused."""
    if not given:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is no time such as 2026-11-22T12:00+00:00") from None
    if found.tzinfo is None:
        raise typer.BadParameter(f"{given!r} has no zone; 2026-11-22T12:00+00:00 has")
    return found
