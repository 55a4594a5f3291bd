"""``mainstem transition``: one model of a migration, capacity and program at once, both ways."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Quiet, Seed
from mainstem.cli.terminal import Terminal, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainstem.capacity.calibration import Calibration
    from mainstem.workspace.transition import Joined, Outcome

app = typer.Typer(
    no_args_is_help=True,
    help="Capacity and program as one: a slip moves dual running, a pool moves launches.",
)
Migration = Annotated[Path, typer.Argument(help="The folder with program.toml, capacity.toml and transition.toml.")]
Worlds = Annotated[int, typer.Option(min=1, help="How many worlds.")]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@app.command()
def new(folder: Migration) -> None:
    """Writes the bundled migration to begin from: three surfaces, two legacy stacks. It replaces nothing."""
    from mainstem.workspace.transition_written import bundled

    made = bundled(folder)
    Terminal().answer(
        list(map(str, made)), f"made {len(made)} files in {folder}\nnext: mainstem transition run {folder}"
    )


@app.command()
def run(
    folder: Migration = Path("migration"),
    worlds: Worlds = 10_000,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From measured seconds to capacity by week, a levelled schedule, a ledger and a weekly report, into ``out``.

    A folder that is not there becomes the bundled migration. Rankers are measured on this machine unless constants that
    still hold are in it. Says what to open, and what each figure rests on.
    """
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):  # a BLAS reads this once, when it is loaded
        again = subprocess.run(
            [sys.executable, "-m", "mainstem", *sys.argv[1:]], env=os.environ | ONE_THREAD, check=False
        )
        raise typer.Exit(again.returncode)
    from mainstem.cli.transition_page import as_page, figures
    from mainstem.workspace.transition_written import bundled, write_transition, write_whole

    terminal, today = Terminal(as_json=as_json, quiet=quiet), datetime.now(UTC).date()
    if not folder.exists():
        bundled(folder)
    with terminal.step("constants") as step:
        held, joined = _joined(folder, today, seed, step.progress)
        step.outcome = f"measured {held.measured}, expires {held.expires}" if held else "none needed"
    with terminal.step("both desks") as step:
        found = write_transition(folder, joined, held, today, worlds=worlds, seed=seed or 0)
        step.outcome = f"{worlds} worlds, seed {seed or 0}"
    with terminal.step("charts") as step:
        for one in figures(joined, found.outcome, found.levelled):
            write_whole(found.folder / f"{one.table.name}.csv", one.table.as_csv())
        page = write_whole(
            found.folder / "transition.html", as_page(joined, found.outcome, found.levelled, found.rests)
        )
        step.outcome = str(page)
    opens = [page, *found.opens]
    terminal.answer(
        {"open": list(map(str, opens)), "rests": [asdict(one) for one in found.rests], **_as_values(found.outcome)},
        "\n\n".join(
            (
                _told(joined, found.outcome),
                f"levelled: {_said(found.levelled.lands)}",
                table([asdict(one) for one in found.rests]),
                "open " + "\n     ".join(map(str, opens)),
            )
        ),
    )


@app.command()
def delay(
    surface: Annotated[str, typer.Argument(help="Which surface lands later.")],
    weeks: Annotated[int, typer.Argument(min=0, help="By how many weeks.")],
    folder: Migration = HERE,
    worlds: Worlds = 10_000,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """What it costs if one surface lands later than its capacity was ordered for, over the same worlds."""
    from mainstem.workspace.transition_slips import delayed

    _compared(folder, f"{surface} {weeks} weeks later", lambda one: delayed(one, surface, weeks), worlds, seed, as_json)


@app.command()
def stretch(
    surface: Annotated[str, typer.Argument(help="Whose ramp takes longer.")],
    weeks: Annotated[int, typer.Argument(help="By how many weeks; below zero it is shorter (write -- before it).")],
    folder: Migration = HERE,
    worlds: Worlds = 10_000,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """What it costs if the stages of one surface take longer than its capacity was ordered for, over the same worlds."""
    from mainstem.workspace.transition_slips import stretched

    _compared(
        folder,
        f"{surface} ramps {weeks} weeks longer",
        lambda one: stretched(one, surface, weeks),
        worlds,
        seed,
        as_json,
    )


@app.command()
def level(
    folder: Migration = HERE,
    cap: Annotated[
        list[str] | None, typer.Option(help="Room for launches by week instead, such as serving=200@0,500@34.")
    ] = None,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="As if no launch gave anything back: all old stacks stay.")
    ] = False,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """When surfaces land if each pool has only the room that old stacks and earlier launches leave, week by week."""
    from mainstem.workspace.transition_level import level_transition

    _, joined = _joined(folder, datetime.now(UTC).date(), seed)
    found = level_transition(joined, _caps(cap or []), seed=seed or 0, returns=not keep_old)
    over = max((one.held - one.room for one in found.weeks), default=0.0)
    text = (
        f"without pools: {_said(found.free_lands)}\nlevelled:      {_said(found.lands)}\n"
        f"most held over the room of a week: {max(over, 0.0):.1f}\n\n"
        + table([one.as_row() | {"slack": f"{one.slack:g}"} for one in found.bars])
    )
    Terminal(as_json=as_json).answer(
        {
            "order": found.order,
            "free_order": found.free_order,
            "lands": {name: str(day) for name, day in found.lands.items()},
            "bars": [one.as_row() | {"slack": one.slack} for one in found.bars],
            "weeks": [asdict(one) for one in found.weeks],
        },
        text,
    )


@app.command()
def moved(
    since: Annotated[str, typer.Option("--since", help="A git revision of the folder.")],
    folder: Migration = HERE,
    worlds: Worlds = 4_000,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """What moved since a revision, and what it did to each P80, to each peak and to dual running."""
    from mainstem.workspace.transition_moved import moves_of, transition_at, what_moved_both

    today = datetime.now(UTC).date()
    held, joined = _joined(folder, today, seed)
    found = what_moved_both(transition_at(folder, since, held, today=today), joined, worlds=worlds, seed=seed or 0)
    edits, moves = [asdict(one) for one in found.program.edits], [asdict(one) for one in moves_of(found)]
    Terminal(as_json=as_json).answer({"edits": edits, "moves": moves}, f"{table(edits)}\n\n{table(moves)}")


def _joined(
    folder: Path, today: date, seed: int | None, progress: Callable[[float, str], None] | None = None
) -> tuple[Calibration | None, Joined]:
    """The migration, with constants where its work asks for them."""
    from mainstem.workspace.transition import read_transition
    from mainstem.workspace.transition_file import FILE, read_joining
    from mainstem.workspace.transition_written import CONSTANTS, constants

    needed = bool(read_joining(folder / FILE).work)
    held = constants(folder / CONSTANTS, today, seed or 0, progress) if needed else None
    return held, read_transition(folder, held, today=today)


def _compared(
    folder: Path, name: str, slip: Callable[[Joined], Joined], worlds: int, seed: int | None, as_json: bool
) -> None:
    """The plan beside one in which something slipped."""
    from mainstem.workspace.transition import outcome

    _, joined = _joined(folder, datetime.now(UTC).date(), seed)
    states = {"as planned": joined, name: slip(joined)}
    told = {name: outcome(one, worlds=worlds, seed=seed or 0) for name, one in states.items()}
    rows = [{"plan": name} | row for name, one in told.items() for row in _totals(one)]
    money = "\n".join(f"{name}: {_money(one)}" for name, one in told.items())
    answer = {name: _as_values(one) for name, one in told.items()}
    Terminal(as_json=as_json).answer(answer, f"{table(rows)}\n\n{money}")


def _caps(given: list[str]) -> dict[str, dict[int, float]]:
    """``serving=200@0,500@34`` as room by pool and week."""
    found: dict[str, dict[int, float]] = {}
    try:
        for one in given:
            pool, _, steps = one.partition("=")
            found[pool] = {
                int(week or 0): float(units) for units, _, week in (s.partition("@") for s in steps.split(","))
            }
    except ValueError:
        raise typer.BadParameter(f"{given}; write serving=200@0,500@34") from None
    return found


def _as_values(found: Outcome) -> dict[str, Any]:
    from mainstem.capacity.exports import as_builtins

    return {
        "timeline": as_builtins(found.timeline),
        "surfaces": msgspec.to_builtins(found.surfaces),
    }


def _totals(found: Outcome) -> list[dict[str, str]]:
    """Peak and dual running of each resource."""
    return [
        {
            "resource": f"{line.name} ({line.unit})",
            "peak P10": f"{line.peak.p10:.0f}",
            "P50": f"{line.peak.p50:.0f}",
            "P90": f"{line.peak.p90:.0f}",
            "dual unit-weeks P10": f"{line.dual.p10:.0f}",
            "dual P50": f"{line.dual.p50:.0f}",
            "dual P90": f"{line.dual.p90:.0f}",
            "pool too small": f"{line.short_chance:.1%}",
        }
        for line in found.timeline.resources
    ]


def _told(held: Joined, found: Outcome) -> str:
    rows = [
        {
            "surface": one.name,
            "lands P10": str(one.lands[0]),
            "P50": str(one.lands[1]),
            "P90": str(one.lands[2]),
            "waits weeks P50": f"{one.waits.p50:.0f}",
            "P90 ": f"{one.waits.p90:.0f}",
        }
        | {f"{name} dual P50": f"{band.p50:.0f}" for name, band in one.dual.items()}
        for one in found.surfaces
    ]
    paid = found.timeline.break_even
    said = (
        "not paid back within the weeks in any world"
        if paid is None
        else f"paid back by week {paid.p10:.0f} / {paid.p50:.0f} / {paid.p90:.0f} (P10 / P50 / P90), "
        f"not within the weeks in {found.timeline.never:.1%} of worlds"
    )
    return f"week 0 begins {held.monday}\n{table(_totals(found))}\n\n{table(rows)}\n{_money(found)}\n{said}"


def _money(found: Outcome) -> str:
    cost = found.timeline.money
    return f"dual running costs {cost.p10:.0f} / {cost.p50:.0f} / {cost.p90:.0f} (P10 / P50 / P90) at the prices given"


def _said(lands: dict[str, date]) -> str:
    return ", ".join(f"{name} {day}" for name, day in sorted(lands.items(), key=lambda one: (one[1], one[0])))
