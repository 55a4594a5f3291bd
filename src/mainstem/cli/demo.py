"""``mainstem demo``: the whole river on one log, told in timed lines, and one honest answer at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mainstem.cli.terminal import NO, Terminal

if TYPE_CHECKING:
    from mainstem.workspace.shadow import Found


def run_demo(terminal: Terminal, folder: Path, source: Path | None, *, made: bool, seed: int | None) -> None:
    """Runs every step, prints a timed line for each, then the answer, the address of the pages and two next commands."""
    from mainstem.workspace import story
    from mainstem.workspace.prepare import demo_workspace, log_line, prepare_log

    place = demo_workspace(folder, seed)
    seed = place.settings.seed if seed is None else seed
    terminal.say(f"mainstem demo · seed {seed} · workspace {folder}\n")
    with terminal.step("data") as step:
        manifest = prepare_log(place, source, made, seed, step.progress)
        step.outcome = log_line(manifest)
    told = story.Story(place, seed)
    for title, work in told.steps():
        with terminal.step(title) as step:
            step.outcome = work(step.progress)
    answer = told.answer()
    terminal.say()
    terminal.answer(answer.as_dict(), answer.as_text())
    terminal.say(
        f"\n  Open    mainstem serve -w {folder} --with-legacy      then http://{place.settings.serve.host}:{place.settings.serve.port}"
    )
    terminal.say(f"  Next    mainstem explain -w {folder} --user {answer.user} --item {answer.item}")
    terminal.say(f"          mainstem demo -w {folder} --break feature     plants a fault; the shadow diff names it")


def run_break(terminal: Terminal, folder: Path, kind: str, seed: int | None) -> None:
    """Plants one fault (or, with ``all``, one of each kind) in the demo's unified stack; the shadow diff must name it."""
    from dataclasses import asdict

    from mainstem.stacks.faults import KINDS
    from mainstem.workspace.layout import Workspace
    from mainstem.workspace.log import open_log
    from mainstem.workspace.platform import open_stack
    from mainstem.workspace.shadow import find_planted

    place = Workspace.open(folder)
    with terminal.step("stack") as step:
        log = open_log(place)
        stack = open_stack(place, log)
        step.outcome = f"{stack.name}, {len(stack.catalog.items):,} items"
    seed = place.settings.seed if seed is None else seed
    results = []
    for one in KINDS if kind == "all" else (kind,):
        with terminal.step(f"break {one}") as step:
            found, diff = find_planted(stack, log, one, seed)
            step.outcome = f"{diff.requests} requests through the healthy and the broken stack"
        place.write_evidence("break", diff)
        results.append(found)
    right = sum(found.right for found in results)
    told = "\n\n".join(_found(found) for found in results)
    summary = f"\n\n{right} of {len(results)} named in the right stage" if kind == "all" else ""
    terminal.answer([asdict(found) for found in results], told + summary)
    if right < len(results):
        raise SystemExit(NO)


def _found(found: Found) -> str:
    planted = " / ".join(part for part in found.planted if part)
    verdict = "● the right stage" if found.right else "■ not what was planted"
    return f"planted  {planted}: {found.story}\nfound    {found.sentence}\n         {verdict}"
