"""The verbs of the program desk: a plan checked, scheduled, levelled, forecast, compared and reported on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainstem.cli.options import HERE, AsJson, Folder, Seed
from mainstem.cli.program_options import Day, Plan, Proof, day_of, earlier, write_whole
from mainstem.cli.program_report import messages, report
from mainstem.cli.terminal import NO, Terminal, table

if TYPE_CHECKING:
    from mainstem.program.records import Program

app = typer.Typer(no_args_is_help=True, help="A plan as text: when it lands, what moves it, what has been shown.")

app.command()(report)
app.command()(messages)


@app.command()
def check(plan: Plan = HERE, as_json: AsJson = False) -> None:
    """Whether the plan can be meant: ids, links, circles, quantiles, dates, pools; and the fourteen checks. 3 when one fails."""
    from mainstem.program.lint import lint
    from mainstem.program.plan_file import read_program

    found = lint(read_program(plan))
    rows = [{"nr": one.number, "found": one.sentence, "limit": one.limit, "passed": one.passed} for one in found]
    Terminal(as_json=as_json).answer([asdict(one) for one in found], table(rows))
    if any(not one.passed and one.value is not None for one in found):
        raise typer.Exit(NO)


@app.command()
def new(folder: Annotated[Path, typer.Argument(help="Where program.toml is to be.")] = HERE) -> None:
    """A plan to begin from: three surfaces of two legacy stacks, moved onto one. It replaces nothing."""
    from importlib.resources import files

    from mainstem.program.plan_file import FILE

    target = folder / FILE
    if target.exists():
        raise typer.BadParameter(f"{target} is there already")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text(files("mainstem.program").joinpath("example.toml").read_text(encoding="utf-8"), encoding="utf-8")
    Terminal().answer(str(target), f"made {target}\nnext: mainstem program forecast {folder}")


@app.command()
def tidy(plan: Plan = HERE, write: Annotated[bool, typer.Option("--write", help="Into program.toml.")] = False) -> None:
    """The plan in its canonical order, on stdout or into its file; comments are not kept."""
    from mainstem.program.plan_file import FILE, FOLDER, read_program, write_program

    text = write_program(read_program(plan))
    file = plan / FILE if plan.is_dir() else plan
    if write and any((file.parent / FOLDER).glob("*.toml")):
        Terminal().say("not written: the plan is in several files")
        raise typer.Exit(NO)
    if write:
        write_whole(file, text)
    Terminal().answer(text, str(file) if write else text)


@app.command()
def schema() -> None:
    """The JSON schema of a plan."""
    from mainstem.program.plan_file import program_schema

    Terminal(as_json=True).answer(program_schema(), "")


@app.command()
def schedule(
    plan: Plan = HERE,
    levelled: Annotated[bool, typer.Option("--level", help="Keep to the pools, people and GPUs.")] = False,
    solver: Annotated[bool, typer.Option("--solver", help="With --level: OR-Tools goes on from our schedule.")] = False,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """When each task is at the medians, and its slack; with --level so that no pool is overdrawn."""
    from mainstem.program.critical_path import schedule_network
    from mainstem.program.levelling import level_program, levelled_schedule, pooled_of
    from mainstem.program.levelling_solver import improve_with_solver
    from mainstem.program.network import calendar_of, network_of
    from mainstem.program.plan_file import read_program

    program = read_program(plan)
    if levelled or solver:
        network, found = level_program(program, seed=seed or 0)
        if solver:
            found = improve_with_solver(pooled_of(program, network), found)
        done = levelled_schedule(network, found)
        said = f"\nends after {found.end} working days; no schedule can end before {found.bound}"
    else:
        done, said = schedule_network(network_of(program)), ""
    calendar = calendar_of(program)
    rows = [
        {
            "id": name,
            "starts": str(
                (calendar.ends_on if name in program.milestones else calendar.starts_on)(float(done.start[i]))
            ),
            "ends": str(calendar.ends_on(done.finish[i])),
            "slack_days": float(done.slack[i]),
            "critical": bool(done.slack[i] <= 1e-9),
        }
        for i, name in enumerate(done.network.names)
    ]
    Terminal(as_json=as_json).answer(rows, table(rows) + said)


@app.command()
def why(
    name: Annotated[str, typer.Argument(help="A task or milestone.")], plan: Plan = HERE, as_json: AsJson = False
) -> None:
    """Why this task is, or is not, critical."""
    from mainstem.program.critical_path import schedule_network, why_critical
    from mainstem.program.network import network_of
    from mainstem.program.plan_file import read_program

    answer = why_critical(schedule_network(network_of(read_program(plan))), name)
    Terminal(as_json=as_json).answer(asdict(answer), answer.sentence)


@app.command()
def forecast(
    plan: Plan = HERE,
    worlds: Annotated[int, typer.Option(min=1, help="How many worlds.")] = 10_000,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """When each milestone lands, P10 to P90, and which tasks decide. Exit code 3 when a promised day is kept in under 80 %."""
    from mainstem.program.plan_file import read_program
    from mainstem.program.worlds import chance_by, landing_dates, simulate

    program = read_program(plan)
    found = simulate(program, worlds=worlds, seed=seed or 0)
    rows = []
    for name, dates in landing_dates(program, found).items():
        due = program.milestones[name].due if name else None
        chance = chance_by(program, found, name, due) if due else None
        quantiles = {f"P{100 * level:.0f}": str(day) for level, day in dates.items()}
        rows.append({"milestone": name or "(all)", **quantiles, "promised": due and str(due), "kept": chance})
    tasks = sorted(program.tasks, key=lambda one: (-found.critical[one], one))
    drivers = [{"task": one, "critical": found.critical[one], "crucial": found.crucial[one]} for one in tasks]
    told = f"{table(rows)}\n\n{table(drivers[:10])}"
    Terminal(as_json=as_json).answer({"milestones": rows, "tasks": drivers, "worlds": worlds}, told)
    if any(row["kept"] is not None and row["kept"] < 0.8 for row in rows):
        raise typer.Exit(NO)


@app.command()
def moved(
    since: Annotated[str, typer.Option("--since", help="A git revision of the plan's folder, or another plan's file.")],
    plan: Plan = HERE,
    until: Annotated[str | None, typer.Option("--until", help="A later revision; else the plan as it is.")] = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """What moved since a revision, by whom, why, and what it did to the P80 and to a pool's peak.

    In a workspace's folder it is kept for the page of the program.
    """
    from mainstem.program.moved import what_moved
    from mainstem.program.plan_file import read_program

    now = earlier(plan, until) if until else read_program(plan)
    found = what_moved(earlier(plan, since), now, seed=seed or 0)
    told = f"{table([asdict(one) for one in found.edits])}\n\n{table([asdict(one) for one in found.moves])}"
    _kept(plan, {"since": since, "until": until or "", **asdict(found)})
    Terminal(as_json=as_json).answer(asdict(found), told)


@app.command()
def gates(
    plan: Plan = HERE,
    evidence: Proof = None,
    workspace: Folder = HERE,
    head: Annotated[str, typer.Option(help="A hash the records must hold, such as last week's.")] = "",
    today: Day = None,
    as_json: AsJson = False,
) -> None:
    """Which milestones have been shown, and who has to hear today. Exit code 3 when a gate is not green.

    Every line of the workspace's evidence is judged again: one that was edited, moved or cut off is an error.
    """
    from mainstem.program.evidence import escalations, gate_states
    from mainstem.program.plan_file import read_program
    from mainstem.workspace.evidence_log import evidence_for
    from mainstem.workspace.layout import Workspace

    program = read_program(plan)
    day = day_of(program.program.as_of, today)
    shown = evidence_for(Workspace.open(workspace), evidence, head)
    states = gate_states(program, shown.records, day, shown.doubts)
    held = escalations(program, states, day)
    rows = [{"milestone": one.milestone, "colour": one.colour, "why": one.sentence} for one in states]
    told = f"{table(rows)}\n\n{table([{'to': one.to, 'what': one.sentence} for one in held])}"
    terminal = Terminal(as_json=as_json)
    answer = {"gates": list(map(asdict, states)), "escalations": list(map(asdict, held)), "head": shown.head}
    terminal.answer(answer, told)
    if shown.torn:
        terminal.say(f"{shown.torn} bytes behind the last record: a writer was killed; the next record puts them aside")
    if shown.head:
        terminal.say(f"{len(shown.records)} records, head {shown.head}")
    if any(one.colour != "green" for one in states):
        raise typer.Exit(NO)


@app.command()
def export(
    plan: Plan = HERE,
    to: Annotated[
        str, typer.Option(help="github, github-project, jira, jira-json, msproject, json, ical, mermaid or psplib.")
    ] = "github",
    out: Annotated[Path | None, typer.Option(help="The file; else stdout.")] = None,
) -> None:
    """The plan for another tool; what that tool has no place for is listed on stderr."""
    from mainstem.program.exchange import as_calendar, as_json, as_mermaid, items_of, losses
    from mainstem.program.formats import WRITERS
    from mainstem.program.levelling import pooled_of
    from mainstem.program.network import network_of
    from mainstem.program.plan_file import read_program
    from mainstem.program.psplib import write_rcp

    program = read_program(plan)
    whole = {
        "ical": as_calendar,
        "mermaid": as_mermaid,
        "json": lambda one: as_json(items_of(one)),
        "psplib": lambda one: write_rcp(pooled_of(one, network_of(one))),
    }
    if to not in whole and to not in WRITERS:
        raise typer.BadParameter(f"{to!r}; there are {', '.join(sorted(whole.keys() | WRITERS.keys()))}")
    text = whole[to](program) if to in whole else WRITERS[to](items_of(program))
    terminal = Terminal()
    if out is not None:
        write_whole(out, text)
    terminal.answer(text, str(out) if out is not None else text.rstrip())
    for one in losses(program):
        terminal.say(f"not carried: {one}")


@app.command(name="import")
def bring(
    file: Annotated[Path, typer.Argument(help="The other tool's file.", exists=True, dir_okay=False)],
    kind: Annotated[
        str,
        typer.Option(
            "--from", help="github, github-project, jira, jira-json, linear, msproject, taskjuggler or psplib."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The plan that is made; it must not be there yet.")] = Path("program.toml"),
    start: Annotated[str, typer.Option(help="The plan's first day, YYYY-MM-DD.")] = "",
    name: Annotated[str, typer.Option(help="What the program is called; the file's own name for it, if any.")] = "",
    days: Annotated[str, typer.Option(help="What a task without an estimate takes, such as 2,4,8.")] = "",
) -> None:
    """A plan from another tool's file; what has no place in a plan is listed on stderr.

    A row that cannot be read is named, and nothing is written.
    """
    from mainstem.program.formats import READERS
    from mainstem.program.network import network_of
    from mainstem.program.plan_file import write_program

    if kind not in READERS and kind != "psplib":
        raise typer.BadParameter(f"{kind!r}; there are {', '.join(sorted([*READERS, 'psplib']))}")
    if out.exists():
        raise typer.BadParameter(f"{out} is there already")
    program, lost = _read_foreign(file, kind, name, start, days)
    network_of(program)
    write_whole(out, write_program(program))
    terminal = Terminal()
    told = f"{out}: {len(program.tasks)} tasks, {len(program.milestones)} milestones"
    terminal.answer({"tasks": len(program.tasks)}, told)
    for one in lost:
        terminal.say(f"not carried: {one}")


def _read_foreign(file: Path, kind: str, name: str, start: str, days: str) -> tuple[Program, tuple[str, ...]]:
    """The plan of a file, and what it held beside."""
    from mainstem.program.exchange import program_of
    from mainstem.program.formats import READERS
    from mainstem.program.psplib import program_of_psplib
    from mainstem.program.reading import decode_text, with_ids

    try:
        points = [float(one) for one in days.split(",")] if days else None
    except ValueError:
        raise typer.BadParameter(f"{days!r} are no days such as 2,4,8") from None
    first = day_of(None, start or None)
    if kind == "psplib":
        return program_of_psplib(file, name or file.stem, first), ()
    found = with_ids(READERS[kind](decode_text(file.read_bytes(), str(file)), str(file), points))
    first = found.start if found.start is not None and not start else first
    return program_of(found.items, name or found.name or "imported", first, str(file)), found.lost


def _kept(plan: Path, moved: dict[str, object]) -> None:
    """Stores what moved where the plan lies in a workspace."""
    from mainstem.base.settings import FILE
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.program_desk import MOVED

    folder = plan if plan.is_dir() else plan.parent
    if (folder / FILE).is_file():
        Workspace.open(folder).write_evidence(MOVED, moved)
