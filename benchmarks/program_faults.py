"""Twelve weeks of a program replayed day by day with thirty injected faults: is anything stale green, does each owner hear?

    .venv/bin/python benchmarks/program_faults.py

Faults: evidence that stops, that turns false, that never comes, and blockers. Ten further milestones have no fault; a word
to their owners is a false page. In time is at most one day after the promised day, or three after the blocker was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from mainstem.program.evidence import GREEN, Evidence, escalations, gate_states
from mainstem.program.plan_file import parse_program

START = date(2026, 1, 5)
DAYS, FAULTS, SOUND, FRESH = 84, 30, 10, 5
KINDS = ("stops", "red", "absent", "blocker")


@dataclass(frozen=True, slots=True)
class Heard:
    """What the replay counted."""

    false_green: int
    missed_green: int
    in_time: int
    wrong_owner: int
    false_pages: int


def replay(seed: int = 4) -> Heard:
    random = np.random.default_rng(seed)
    faults = [(KINDS[i % 4], int(random.integers(14, 70))) for i in range(FAULTS)] + [("none", 40)] * SOUND
    program = parse_program(_plan(faults))
    false_green = missed_green = wrong = 0
    heard: set[int] = set()
    pages: set[int] = set()
    for at in range(DAYS):
        today = START + timedelta(days=at)
        evidence = [one for i, (kind, day) in enumerate(faults) for one in _evidence(i, kind, day, at)]
        states = gate_states(program, evidence, today)
        for one in states:
            kind, day = faults[int(one.milestone[1:])]
            truly = {"stops": at <= day + FRESH, "red": at < day, "absent": False, "none": True}[kind]
            false_green += one.colour == GREEN and not truly
            missed_green += one.colour != GREEN and truly
        for told in escalations(program, states, today):
            i = int(told.what.split(".")[1][1:])
            kind, day = faults[i]
            wrong += told.owner != f"o{i % 5}" or told.to not in (told.owner, "chief")
            if kind == "none":
                pages.add(i)
            elif at <= (day + 3 if kind == "blocker" else day + 13):
                heard.add(i)
    return Heard(false_green, missed_green, len(heard), wrong, len(pages))


def _plan(faults: list[tuple[str, int]]) -> str:
    lines = ["[program]\nname='replay'\nstart=2026-01-05\n[owners.chief]\n[tasks.t]\nduration=[50]"]
    lines += [f"[owners.o{i}]\nescalates_to='chief'" for i in range(5)]
    for i, (kind, day) in enumerate(faults):
        due, since = START + timedelta(days=day + 12), START + timedelta(days=day)
        gates = "[]" if kind == "blocker" else f"[{{kind='parity', about='s{i}', max_age_days={FRESH}}}]"
        lines.append(f"[milestones.m{i}]\nafter=['t']\nowner='o{i % 5}'\ndue={due}\ngates={gates}")
        if kind == "blocker":
            lines.append(f"[blockers.b{i}]\nblocks=['m{i}']\nowner='o{i % 5}'\nsince={since}")
    return "\n".join(lines)


def _evidence(i: int, kind: str, day: int, at: int) -> list[Evidence]:
    last = {"stops": min(at, day), "red": at, "none": at}.get(kind)
    if last is None:
        return []
    value = 0.0 if kind == "red" and at >= day else 1.0
    at_midnight = datetime.combine(START + timedelta(days=last), time(), UTC)
    return [Evidence(id=f"e{i}", kind="parity", about=f"s{i}", value=value, at=at_midnight)]


def main() -> None:
    found = replay()
    good = found.false_green == 0 and found.in_time >= 29 and found.wrong_owner == 0
    print(
        f"{DAYS // 7} weeks, {FAULTS} faults: {found.false_green} stale or false greens, {found.missed_green} greens missed, "
        f"{found.in_time} of {FAULTS} reached their owner in time, {found.wrong_owner} to somebody else, "
        f"{found.false_pages} false pages ({'met' if good else 'missed'}: 0, at least 29)"
    )


if __name__ == "__main__":
    main()
