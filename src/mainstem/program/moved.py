"""What moved between two states of a plan, who moved it and why, and what it did to the P80 and to the peak of a pool."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from mainstem.base.errors import ProgramError
from mainstem.program.critical_path import schedule_network
from mainstem.program.levelling import pooled_of
from mainstem.program.network import calendar_of, network_of
from mainstem.program.plan_file import FILE, FOLDER, parse_program
from mainstem.program.records import TABLES, Program
from mainstem.program.worlds import WORLDS, simulate

P80 = 0.8


@dataclass(frozen=True, slots=True)
class Edit:
    """One field of one record that is not what it was; ``who`` and ``why`` are empty when no change record says so."""

    record: str
    field: str
    was: str
    now: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Move:
    """A milestone's P80 then and now, and the peak use of a pool, as dates and amounts."""

    what: str
    was: str
    now: str
    by: float
    unit: str


@dataclass(frozen=True, slots=True)
class Moved:
    """Everything that is not what it was."""

    edits: tuple[Edit, ...]
    moves: tuple[Move, ...]


def what_moved(was: Program, now: Program, *, worlds: int = WORLDS, seed: int = 0) -> Moved:
    """What moved from one state of the plan to another?

    The same worlds are drawn for both (common random numbers), so a plan that did not change does not move.
    """
    return Moved(tuple(_edits(was, now)), (*_landings(was, now, worlds, seed), *_peaks(was, now)))


def program_at(folder: Path, revision: str) -> Program:
    """The plan of a git revision, with its ``program/*.toml``.

    Raises:
        ProgramError: It is no repository, or no such revision or plan in it (``program-030``).
    """
    listed = _git(folder, "ls-tree", "-r", "--name-only", revision, "--", FILE, FOLDER).splitlines()
    names = [name for name in listed if name == FILE or (name.startswith(f"{FOLDER}/") and name.count("/") == 1)]
    names = [name for name in names if name.endswith(".toml")]
    if FILE not in names:
        raise ProgramError(
            f"revision {revision} has no {FILE} in {folder}",
            code="program-030",
            hint="mainstem program moved --since REV",
        )
    names.sort(key=lambda name: (name != FILE, name))
    texts = {f"{revision}:{name}": _git(folder, "show", f"{revision}:./{name}") for name in names}
    return parse_program(texts, lambda name: _git(folder, "show", f"{revision}:./{name}"))


def text_at(folder: Path, revision: str, name: str) -> str:
    """A file of a folder as it was in a git revision.

    Raises:
        ProgramError: No such repository, revision or file (``program-030``).
    """
    return _git(folder, "show", f"{revision}:./{name}")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise ProgramError("git is not installed", code="program-030", hint="name two files instead") from None
    except subprocess.CalledProcessError as error:
        raise ProgramError(
            f"git {words[0]} in {folder}: {error.stderr.strip()}",
            code="program-030",
            hint="name a revision that is there",
        ) from None
    return done.stdout


def _edits(was: Program, now: Program) -> list[Edit]:
    before, after = msgspec.to_builtins(was), msgspec.to_builtins(now)
    out = [
        Edit("program", key, str(before["program"].get(key, "")), str(after["program"].get(key, "")), "", "")
        for key in sorted(before["program"].keys() | after["program"].keys())
        if before["program"].get(key) != after["program"].get(key)
    ]
    for kind in TABLES:
        old, new = before.get(kind, {}), after.get(kind, {})
        for name in sorted(old.keys() | new.keys()):
            who, why = _reason(was, now, name)
            if name not in old or name not in new:
                gone = name not in new
                out.append(Edit(f"{kind}.{name}", "", "there" if gone else "", "" if gone else "there", who, why))
                continue
            out += [
                Edit(f"{kind}.{name}", key, str(old[name].get(key, "")), str(new[name].get(key, "")), who, why)
                for key in sorted(old[name].keys() | new[name].keys())
                if old[name].get(key) != new[name].get(key)
            ]
    return out


def _reason(was: Program, now: Program, name: str) -> tuple[str, str]:
    """Who and why, from the change records that were not there before."""
    said = [one for key, one in sorted(now.changes.items()) if key not in was.changes and name in one.moves]
    return ", ".join(one.owner for one in said), "; ".join(one.why for one in said)


def _landings(was: Program, now: Program, worlds: int, seed: int) -> list[Move]:
    old, new = simulate(was, worlds=worlds, seed=seed), simulate(now, worlds=worlds, seed=seed)
    calendars = calendar_of(was), calendar_of(now)
    out = []
    for name in sorted(old.landings.keys() & new.landings.keys()):
        dates = [
            calendar.ends_on(float(np.quantile(one.landings[name], P80)))
            for calendar, one in zip(calendars, (old, new), strict=True)
        ]
        if dates[0] != dates[1]:
            out.append(
                Move(f"milestones.{name} P80", str(dates[0]), str(dates[1]), float((dates[1] - dates[0]).days), "days")
            )
    return out


def peak_use(program: Program) -> dict[str, float]:
    """The most of each pool that the plan holds at once, at its medians and before levelling."""
    network = network_of(program)
    pooled = pooled_of(program, network)
    begins = np.floor(schedule_network(network).start).astype(int)
    use = np.zeros_like(pooled.capacity)
    for node, at in enumerate(begins):
        use[at : at + pooled.days[node]] += pooled.needs[node]
    return dict(zip(sorted(program.pools), use.max(axis=0, initial=0.0).tolist(), strict=True))


def _peaks(was: Program, now: Program) -> list[Move]:
    old, new = peak_use(was), peak_use(now)
    return [
        Move(f"pools.{name} peak", f"{old[name]:g}", f"{new[name]:g}", new[name] - old[name], now.pools[name].unit)
        for name in sorted(old.keys() & new.keys())
        if old[name] != new[name]
    ]
