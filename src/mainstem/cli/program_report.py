"""Reports of a plan and its communication plan, from the command line: who hears what, when, in which form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mainstem.cli.options import HERE, AsJson, Folder, Seed
from mainstem.cli.program_options import Day, Plan, Proof, Since, day_of, earlier, write_whole
from mainstem.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainstem.base.evidence import Evidence
    from mainstem.program.messages import Due
    from mainstem.program.moved import Moved
    from mainstem.program.records import Program
    from mainstem.program.sentences import Report
    from mainstem.program.worlds import Worlds

_ENDINGS = (".md", ".html", ".pdf")
_ROWS = 24


@dataclass(frozen=True, slots=True)
class _Told:
    """What every report of one call is written from."""

    program: Program
    day: date
    worlds: Worlds
    evidence: Iterable[Evidence]
    moved: Moved | None
    doubts: Mapping[str, str]

    def report(self, form: str, milestone: str = "", owner: str = "") -> Report:
        """The report of one form."""
        from mainstem.program.status import write_report

        return write_report(
            self.program, form, self.day, self.worlds, self.evidence, self.moved, milestone, self.doubts, owner
        )

    def printed(self, report: Report, form: str, ending: str) -> str | bytes:
        """A report as its file's ending asks."""
        from mainstem.program.deck import deck_html, deck_markdown
        from mainstem.program.evidence import gate_states
        from mainstem.program.pdf import as_pdf
        from mainstem.program.timeline import landings_of

        named = dict.fromkeys(one.record.partition(".")[2] for one in report.sentences())
        open_ones = [
            name for name in named if name in self.program.milestones and not self.program.milestones[name].done
        ]
        states = gate_states(self.program, self.evidence, self.day, self.doubts)
        # A picture of more rows could not be read; the sentences hold every milestone.
        rows = landings_of(self.program, self.worlds, states, open_ones if len(open_ones) <= _ROWS else [])
        if ending == ".pdf":
            return as_pdf(report, self.day, rows, slides=form == "deck")
        if form == "deck":
            return deck_html(report, rows, self.day) if ending == ".html" else deck_markdown(report, rows)
        return report.as_html() if ending == ".html" else report.as_markdown()


def report(
    plan: Plan = HERE,
    form: Annotated[str, typer.Option(help="weekly, one-pager, launch-note or deck.")] = "weekly",
    evidence: Proof = None,
    workspace: Folder = HERE,
    since: Since = None,
    milestone: Annotated[str, typer.Option(help="Which one a launch note is about.")] = "",
    owner: Annotated[str, typer.Option("--for", help="Only what this owner answers for.")] = "",
    due: Annotated[bool, typer.Option("--due", help="All that the communication plan sends out that day.")] = False,
    ending: Annotated[Literal["md", "html", "pdf"], typer.Option("--as", help="What --due writes.")] = "html",
    today: Day = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A file that ends in .md, .html or .pdf, else Markdown on stdout; with --due a folder."),
    ] = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """A report that writes itself: each sentence with its record and value, what is absent said to be absent.

    What is not done on the day of the report ends after it, also in a plan that has no as_of. With --due and no --out it
    lists what goes out; with --out it writes each into that folder, all or none.
    """
    from mainstem.program.messages import messages_between
    from mainstem.program.plan_file import read_program

    program = read_program(plan)
    day = day_of(program.program.as_of, today)
    held = [one for one in messages_between(program, day, day) if owner in ("", one.sender)] if due else []
    if out is not None and not due and out.suffix not in _ENDINGS:
        raise typer.BadParameter(f"{out} ends in none of {', '.join(_ENDINGS)}")
    if due:
        told = _told(program, plan, day, evidence, workspace, since, seed) if out is not None and held else None
        _send(held, told, out, f".{ending}", as_json=as_json)
        return
    told = _told(program, plan, day, evidence, workspace, since, seed)
    made = told.report(form, milestone, owner)
    text = told.printed(made, form, out.suffix if out is not None else ".md")
    if out is not None:
        write_whole(out, text)
    Terminal(as_json=as_json).answer(asdict(made), str(out) if out is not None else str(text).rstrip())


def messages(
    plan: Plan = HERE,
    days: Annotated[int, typer.Option(min=0, max=3650, help="How many days ahead.")] = 28,
    owner: Annotated[str, typer.Option("--for", help="Only what this owner sends.")] = "",
    today: Day = None,
    as_json: AsJson = False,
) -> None:
    """Who hears what, when and in which form, in the days ahead."""
    from mainstem.program.messages import messages_between
    from mainstem.program.plan_file import read_program

    program = read_program(plan)
    day = day_of(program.program.as_of, today)
    found = messages_between(program, day, day + timedelta(days=days))
    rows = [_row(one) for one in found if owner in ("", one.sender)]
    Terminal(as_json=as_json).answer(rows, table(rows) if rows else f"nothing goes out from {day} on for {days} days")


def _told(
    program: Program, plan: Path, day: date, evidence: Path | None, workspace: Path, since: str | None, seed: int | None
) -> _Told:
    import msgspec

    from mainstem.program.moved import what_moved
    from mainstem.program.worlds import simulate
    from mainstem.workspace.evidence_log import evidence_for
    from mainstem.workspace.layout import Workspace

    was = what_moved(earlier(plan, since), program, seed=seed or 0) if since else None
    shown = evidence_for(Workspace.open(workspace), evidence)
    if program.program.as_of is None:
        # A report of today that says a task without an end has ended last month would be of no use to anybody.
        program = msgspec.structs.replace(program, program=msgspec.structs.replace(program.program, as_of=day))
    return _Told(program, day, simulate(program, seed=seed or 0), shown.records, was, shown.doubts)


def _send(held: list[Due], told: _Told | None, out: Path | None, ending: str, *, as_json: bool) -> None:
    """Lists what goes out today, and writes it where a folder is named."""
    rows = [_row(one) for one in held]
    if told is not None and out is not None:
        made = {one.stem: told.printed(told.report(one.form, one.milestone), one.form, ending) for one in held}
        out.mkdir(parents=True, exist_ok=True)
        for row, (stem, text) in zip(rows, made.items(), strict=True):
            file = out / f"{stem}{ending}"
            write_whole(file, text)
            row["file"] = str(file)
    Terminal(as_json=as_json).answer(rows, table(rows) if rows else "nothing goes out that day")


def _row(one: Due) -> dict[str, str]:
    about = f" of {one.milestone}" if one.milestone else ""
    return {"day": str(one.day), "who": one.audience, "what": f"{one.form}{about}", "sender": one.sender or "nobody"}
