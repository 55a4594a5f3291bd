"""``mainstem launch start | run | status | audit | stop | resume``: a launch that is under way."""

from __future__ import annotations

import logging
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from mainstem.cli.options import HERE, AsJson, Folder, Quiet, Seed
from mainstem.cli.terminal import NO, Terminal, table

if TYPE_CHECKING:
    from mainstem.launch.standing import Standing

Name = Annotated[str, typer.Argument(help="The launch; the newest when left out.")]
Surface = Annotated[str, typer.Option("--surface", help="Only this surface.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the audit.")]


def start(
    plan: Annotated[Path, typer.Argument(help="What is promised.")] = Path("launch.toml"),
    folder: Folder = HERE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Starts a launch: every surface at its first step, the plan fixed by its hash."""
    from mainstem.workspace.launching import start_launch
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    started = start_launch(Workspace.open(folder), plan)
    told = {"launch": started.name, "plan": started.plan_hash, "started_ms": started.started_ms, **started.facts}
    terminal.answer(
        told,
        f"{started.name} started, plan {started.plan_hash[:12]}; an edit of it is a new launch\n"
        f"next: mainstem serve -w {folder} --with-legacy    (the pilot runs inside; alone: mainstem launch run -w {folder})",
    )


def run(
    launch: Name = "",
    folder: Folder = HERE,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two passes.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="One pass, then end.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Flies a launch until every surface has ended or it is told to stop. Killed at any point, the next one goes on."""
    from mainstem.cli.launch_status import status_text
    from mainstem.workspace.launching import newest_launch, pilot_of, read_standing
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    workspace = Workspace.open(folder)
    name = launch or newest_launch(workspace)
    pilot = pilot_of(workspace, name)
    if once:
        seat = pilot.sit()
        pilot.once(seat)
        pilot.book.rise(seat)
    else:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        terminal.say(f"flying {name} as {pilot.holder}  (end with Ctrl-C; the launch stays where it is)")
        pilot.fly(stop, every)
    standing = read_standing(workspace, name)
    terminal.answer(plain(standing), status_text(standing))


def status(launch: Name = "", folder: Folder = HERE, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Where a launch stands. Exit code 3 when its verdict does not ship."""
    from mainstem.cli.launch_status import status_text
    from mainstem.launch.told import ships
    from mainstem.workspace.launching import newest_launch, read_standing
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    workspace = Workspace.open(folder)
    standing = read_standing(workspace, launch or newest_launch(workspace))
    terminal.answer(plain(standing), status_text(standing))
    if not ships(standing):
        raise typer.Exit(NO)


def audit(launch: Name = "", folder: Folder = HERE, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Every act of a launch: when, who, from where to where, and why. Fails when an entry was changed."""
    from mainstem.workspace.launching import book_of, newest_launch
    from mainstem.workspace.layout import Workspace

    terminal = Terminal(as_json=as_json, quiet=quiet)
    workspace = Workspace.open(folder)
    name, book = launch or newest_launch(workspace), book_of(workspace)
    book.started(name)
    book.check(name)
    acts = book.acts(name)
    rows = [
        {
            "no": one.number,
            "when": datetime.fromtimestamp(one.at_ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M"),
            "surface": one.surface,
            "who": one.actor,
            "act": one.action,
            "from": f"{one.before:.0%}",
            "to": f"{one.after:.0%}",
            "why": one.reason,
        }
        for one in acts
    ]
    terminal.answer([msgspec.to_builtins(one) for one in acts], f"{table(rows)}\n{len(acts)} acts, none changed")


def stop(
    launch: Name = "",
    folder: Folder = HERE,
    surface: Surface = "",
    reason: Reason = "stopped by hand",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Takes a launch back to the old stacks at once, from the next request on."""
    _by_hand("stop", launch, folder, surface, reason, Terminal(as_json=as_json, quiet=quiet))


def resume(
    launch: Name = "",
    folder: Folder = HERE,
    surface: Surface = "",
    reason: Reason = "resumed by hand",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Lets paused and held surfaces go on; after the last planned look this extends the test. The verdict stays what it is."""
    _by_hand("resume", launch, folder, surface, reason, Terminal(as_json=as_json, quiet=quiet))


def rehearse(
    folder: Folder = HERE,
    harm: Annotated[str, typer.Option("--break", help="SURFACE=LAYER whose new stack is broken; none: no one.")] = (
        "feed=value"
    ),
    kills: Annotated[int, typer.Option(min=0, max=20, help="How often server and pilot are killed on the way.")] = 3,
    visits: Annotated[int, typer.Option(min=10, help="Requests a surface gets in a made day.")] = 1_500,
    seed: Seed = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Rehearses a whole migration with made users over real processes. Exit code 3 when it does not go as it must."""
    from mainstem.cli.launch_status import status_text
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.rehearsal import Script
    from mainstem.workspace.rehearsal import rehearse as play

    terminal = Terminal(as_json=as_json, quiet=quiet)
    workspace = Workspace.open(folder)
    surface, _, layer = ("", "", "value") if harm == "none" else harm.partition("=")
    script = Script(surface, layer or "value", kills, visits, seed=workspace.settings.seed if seed is None else seed)
    with terminal.step("rehearsal") as step:
        found = play(workspace, script, step.progress)
        step.outcome = f"{found.requests:,} requests in {found.days:.1f} made days, killed {found.killed} times"
    told = plain(found.standing) | {"as_expected": found.as_expected, "killed": found.killed}
    told["blamed"] = found.blamed.blame.layer if found.blamed else None
    ended = "as it must" if found.as_expected else "NOT as it must"
    look = f"mainstem serve -w {found.folder}"
    terminal.answer(told, f"{status_text(found.standing)}\n\n{found.sentence}\nended {ended}; look at it: {look}")
    if not found.as_expected:
        raise typer.Exit(NO)


def _by_hand(action: str, launch: str, folder: Path, surface: str, reason: str, terminal: Terminal) -> None:
    from mainstem.workspace.launching import newest_launch, resume_launch, stop_launch
    from mainstem.workspace.layout import Workspace

    workspace = Workspace.open(folder)
    do = stop_launch if action == "stop" else resume_launch
    places = do(workspace, launch or newest_launch(workspace), reason, surface)
    rows = [
        {"surface": one.surface, "state": one.state, "share": f"{one.share:.0%}", "why": one.reason} for one in places
    ]
    terminal.answer(rows, table(rows))


def plain(standing: Standing) -> dict[str, Any]:
    """A standing for JSON, which has no infinity."""
    from mainstem.report.launch_rows import finite

    return finite(msgspec.to_builtins(standing))


VERBS = (start, run, status, audit, stop, resume, rehearse)
