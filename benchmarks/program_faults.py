"""Twelve weeks of a program replayed day by day with thirty injected faults: is anything stale green, does each owner hear?

    .venv/bin/python benchmarks/program_faults.py

Five each of: evidence that stops, that turns false, that never comes, whose file changed since; blockers; reviews of risks that
nobody holds. Each is mended after three weeks, and a word after that is a false page, as is one about the ten sound
milestones. In time is by the promised day for a gate, and within two days for a blocker or a review. Who hears is judged every
day: the owner at first, the next one up from the day the rule says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from mainstem.program.evidence import GREEN, Evidence, escalations, gate_states
from mainstem.program.plan_file import parse_program

START = date(2026, 1, 5)
DAYS, FAULTS, SOUND, FRESH, MENDED, PROMISED = 84, 30, 10, 5, 21, 12
KINDS = ("stops", "red", "absent", "doubt", "blocker", "review")
GATED = ("stops", "red", "absent", "doubt", "none")


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
    faults = [(KINDS[i % 6], int(random.integers(14, 56))) for i in range(FAULTS)] + [("none", 40)] * SOUND
    false_green = missed_green = wrong = false_pages = 0
    heard: set[int] = set()
    for at in range(DAYS):
        today = START + timedelta(days=at)
        program = parse_program(_plan(faults, at))
        evidence = [one for i, (kind, day) in enumerate(faults) for one in _evidence(i, kind, day, at)]
        doubts = {
            f"e{i}": "its file changed since"
            for i, (kind, day) in enumerate(faults)
            if kind == "doubt" and _on(day, at)
        }
        states = gate_states(program, evidence, today, doubts)
        for one in states:
            truly = _sound(*faults[int(one.milestone[1:])], at)
            false_green += one.colour == GREEN and not truly
            missed_green += one.colour != GREEN and truly
        for told in escalations(program, states, today):
            i = int(told.what.split(".")[1][1:])
            kind, day = faults[i]
            wrong += told.owner != f"o{i % 5}" or told.to != _expected(i, kind, day, at)
            false_pages += _sound(kind, day, at)
            if at <= day + (PROMISED if kind in GATED else 2):
                heard.add(i)
    return Heard(false_green, missed_green, len(heard), wrong, false_pages)


def _on(day: int, at: int) -> bool:
    """Whether a fault of that day is there and not mended."""
    return day <= at < day + MENDED


def _sound(kind: str, day: int, at: int) -> bool:
    """What is true on a day, told without the product's rules."""
    match kind:
        case "stops":
            return not day + FRESH < at < day + MENDED
        case "absent":
            return at >= day + MENDED
        case "none":
            return True
        case "review":
            return not day < at < day + MENDED
        case _:
            return not _on(day, at)


def _expected(i: int, kind: str, day: int, at: int) -> str:
    """Who has to hear on a day."""
    patience = {"blocker": 3, "review": 7}.get(kind, PROMISED)
    return "chief" if at >= day + patience else f"o{i % 5}"


def _plan(faults: list[tuple[str, int]], at: int) -> str:
    lines = ["[program]\nname='replay'\nstart=2026-01-05\n[owners.chief]\n[tasks.t]\nduration=[50]"]
    lines += [f"[owners.o{i}]\nescalates_to='chief'" for i in range(5)]
    for i, (kind, day) in enumerate(faults):
        due, since = START + timedelta(days=day + PROMISED), START + timedelta(days=day)
        gates = f"[{{kind='parity', about='s{i}', max_age_days={FRESH}}}]" if kind in GATED else "[]"
        lines.append(f"[milestones.m{i}]\nafter=['t']\nowner='o{i % 5}'\ndue={due}\ngates={gates}")
        mended = f"\nclosed={since + timedelta(days=MENDED)}" if at >= day + MENDED else ""
        if kind == "blocker":
            lines.append(f"[blockers.b{i}]\nblocks=['m{i}']\nowner='o{i % 5}'\nsince={since}{mended}")
        if kind == "review":
            about = f"owner='o{i % 5}'\nchance=0.2\ndelay=[3]\ntasks=['t']"
            lines.append(f"[risks.r{i}]\n{about}\nreview={since}{mended}")
    return "\n".join(lines)


def _evidence(i: int, kind: str, day: int, at: int) -> list[Evidence]:
    if kind not in GATED or (kind == "absent" and at < day + MENDED):
        return []
    last = day if kind == "stops" and _on(day, at) else at
    value = 0.0 if kind == "red" and _on(day, at) else 1.0
    moment = datetime.combine(START + timedelta(days=last), datetime.min.time(), UTC)
    return [Evidence(id=f"e{i}", kind="parity", about=f"s{i}", value=value, at=moment)]


def main() -> None:
    found = replay()
    good = found.false_green == 0 and found.in_time >= 29 and found.wrong_owner == 0 and found.false_pages <= DAYS // 7
    print(
        f"{DAYS // 7} weeks, {FAULTS} faults: {found.false_green} stale or false greens, {found.missed_green} greens missed, "
        f"{found.in_time} of {FAULTS} reached their owner in time, {found.wrong_owner} to somebody else, "
        f"{found.false_pages} false pages ({'met' if good else 'missed'}: no stale green, at least 29, no wrong owner, "
        "at most one false page a week)"
    )


if __name__ == "__main__":
    main()
