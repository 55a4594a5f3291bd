"""Scheduling problems of the PSPLIB library, read and written: ``.rcp`` (Patterson) and ``.sm``."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from mainstem.base.errors import ProgramError
from mainstem.program.levelling import Pooled
from mainstem.program.plan_file import convert_program
from mainstem.program.records import Program


def read_psplib(file: Path) -> Pooled:
    """The problem in a ``.rcp`` or ``.sm`` file.

    Raises:
        ProgramError: A row is not as the format has it (``program-020``).
    """
    text = file.read_text(encoding="utf-8")
    try:
        days, needs, follow, sizes = _sm(text) if file.suffix == ".sm" else _rcp(text)
        return _pooled(days, needs, follow, sizes)
    except (ValueError, IndexError, StopIteration) as error:
        raise ProgramError(
            f"{file} is no PSPLIB problem: {error or 'it ends too early'}",
            code="program-020",
            hint="expected .rcp or .sm",
        ) from None


def program_of_psplib(file: Path, name: str, start: date) -> Program:
    """A plan of a problem: activities ``a001``, pools ``r1``; an activity without days is a milestone.

    Raises:
        ProgramError: The file is no problem (``program-020``), or what ``convert_program`` raises.
    """
    pooled = read_psplib(file)
    ids = [f"a{at:0{len(str(len(pooled.days)))}d}" for at in range(1, len(pooled.days) + 1)]
    tables: dict[str, dict[str, Any]] = {"tasks": {}, "milestones": {}}
    for node, one in enumerate(ids):
        after = [ids[link] for link in pooled.before[pooled.first[node] : pooled.first[node + 1]]]
        needs = {f"r{pool}": float(amount) for pool, amount in enumerate(pooled.needs[node], 1) if amount}
        if pooled.days[node]:
            tables["tasks"][one] = {"duration": [float(pooled.days[node])], "after": after, "needs": needs}
        else:
            tables["milestones"][one] = {"after": after}
    pools = {f"r{pool}": {"size": float(size)} for pool, size in enumerate(pooled.capacity[0], 1)}
    return convert_program({"program": {"name": name, "start": start}, "pools": pools} | tables, str(file))


def write_rcp(pooled: Pooled) -> str:
    """A problem in Patterson's format; what the format has no place for (waits, releases, windows) must not be there.

    Raises:
        ProgramError: The problem has such (``program-021``).
    """
    constant = (pooled.capacity == pooled.capacity[0]).all()
    if pooled.lags.any() or pooled.release.any() or (pooled.fixed >= 0).any() or pooled.frozen.any() or not constant:
        raise ProgramError(
            "the plan has waits, dates, windows or pools that change, which PSPLIB has no place for",
            code="program-021",
            hint="write it as MS Project XML or JSON: mainstem program export",
        )
    n = len(pooled.days)
    follow: list[list[int]] = [[] for _ in range(n)]
    for node in range(n):
        for link in range(pooled.first[node], pooled.first[node + 1]):
            follow[pooled.before[link]].append(node + 1)
    lines = [f"{n} {pooled.needs.shape[1]}", " ".join(f"{size:g}" for size in pooled.capacity[0])]
    for node in range(n):
        row = [pooled.days[node], *(f"{one:g}" for one in pooled.needs[node]), len(follow[node]), *follow[node]]
        lines.append(" ".join(map(str, row)))
    return "\n".join(lines) + "\n"


def _rcp(text: str) -> tuple[list[int], list[list[int]], list[list[int]], list[int]]:
    numbers = iter(int(one) for one in text.split())
    n, pools = next(numbers), next(numbers)
    sizes = [next(numbers) for _ in range(pools)]
    days, needs, follow = [], [], []
    for _ in range(n):
        days.append(next(numbers))
        needs.append([next(numbers) for _ in range(pools)])
        follow.append([next(numbers) - 1 for _ in range(next(numbers))])
    return days, needs, follow, sizes


def _sm(text: str) -> tuple[list[int], list[list[int]], list[list[int]], list[int]]:
    def rows(title: str) -> list[list[int]]:
        part = text.split(title, 1)[1].split("****", 1)[0]
        return [[int(one) for one in line.split()] for line in part.splitlines() if re.match(r"^\s*\d[\d\s]*$", line)]

    follow = [[one - 1 for one in row[3:]] for row in rows("PRECEDENCE RELATIONS:")]
    work = rows("REQUESTS/DURATIONS:")
    return [row[2] for row in work], [row[3:] for row in work], follow, rows("RESOURCEAVAILABILITIES:")[0]


def _pooled(days: list[int], needs: list[list[int]], follow: list[list[int]], sizes: list[int]) -> Pooled:
    n = len(days)
    before: list[list[int]] = [[] for _ in range(n)]
    for node, held in enumerate(follow):
        for one in held:
            if not node < one < n:
                raise ValueError(f"activity {node + 1} is followed by {one + 1} of {n}")
            before[one].append(node)
    links = np.array([one for held in before for one in held], dtype=np.int64)
    nothing = np.zeros(n, np.int64)
    return Pooled(
        days=np.array(days, np.int64),
        needs=np.array(needs, np.float64).reshape(n, -1),
        capacity=np.tile(np.array(sizes, np.float64), (sum(days) + 2, 1)),
        first=np.concatenate([[0], np.cumsum([len(held) for held in before])]).astype(np.int64),
        before=links,
        lags=np.zeros(len(links), np.int64),
        release=nothing,
        fixed=nothing - 1,
        frozen=np.zeros(n, np.bool_),
        windows=np.zeros((0, 2), np.int64),
    )
