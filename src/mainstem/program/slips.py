"""How far will a target slip? Forecasts from how targets slipped before, made with what was known at the time, and scored.

A history is the revisions of targets: on a day, an item said in which release each of its stages would land. A slip is how
many releases later it landed (in fact: how much later the last target was), counted to ``MOST``; earlier counts as 0.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from mainstem.base.errors import ProgramError
from mainstem.base.seeds import uniforms

MOST: Final = 3
"""Slips of this many releases and more count as one."""
PRIOR: Final = 20.0
"""How many made-up cases a group borrows from all groups together; said before anything was scored."""
_RELEASE = re.compile(r"^v?1\.(\d+)$")


@dataclass(frozen=True, slots=True)
class Revision:
    """What one item said on a day: release by stage."""

    on: date
    item: str
    targets: dict[str, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One target as it stood when a release had just come out."""

    item: str
    stage: str
    at: int
    target: int
    moved: bool

    @property
    def group(self) -> tuple[int, bool]:
        """What cases are alike: how far ahead, and whether the target had moved before."""
        return min(self.target - self.at, 3), self.moved


@dataclass(frozen=True, slots=True)
class Scores:
    """How good the forecasts of one method were.

    ``coverage`` is the share of outcomes between the 10 and 90 % points (ties drawn); ``crps`` is in releases, less is better.
    """

    method: str
    cases: int
    coverage: float
    crps: float


def read_keps(file: Path) -> list[Revision]:
    """The revisions in the pack ``k8s_keps``, in order of time; templates and targets that are no release are left out.

    Raises:
        ProgramError: The file lacks a column (``program-023``).
    """
    frame = pl.read_csv(file, infer_schema_length=0)
    needed = ["commit_time", "kep", "alpha", "beta", "stable"]
    if missing := [name for name in needed if name not in frame.columns]:
        raise ProgramError(f"{file} lacks the columns {missing}", code="program-023", hint="expected the pack k8s_keps")
    out = []
    for when, item, *targets in frame.sort("commit_time").select(needed).iter_rows():
        found = {stage: _RELEASE.match(text or "") for stage, text in zip(needed[2:], targets, strict=True)}
        if item != "NNNN":
            on = datetime.fromisoformat(when).date()
            out.append(Revision(on, item, {stage: int(one[1]) for stage, one in found.items() if one}))
    return out


def cases_at(history: Iterable[Revision], at: int, day: date) -> list[Case]:
    """The targets that lay ahead on the day a release came out, as they were known on that day."""
    last: dict[tuple[str, str], int] = {}
    moved: dict[tuple[str, str], bool] = defaultdict(bool)
    for one in history:
        if one.on > day:
            break
        for stage, target in one.targets.items():
            key = one.item, stage
            moved[key] |= last.get(key, target) != target
            last[key] = target
    return [Case(item, stage, at, target, moved[item, stage]) for (item, stage), target in last.items() if target > at]


def slips_known(history: Iterable[Revision], cases: Sequence[Case], day: date) -> list[int]:
    """How far each case's target had moved by a day, 0 to ``MOST``."""
    last: dict[tuple[str, str], int] = {}
    for one in history:
        if one.on > day:
            break
        last |= {(one.item, stage): target for stage, target in one.targets.items()}
    return [min(max(last.get((one.item, one.stage), one.target) - one.target, 0), MOST) for one in cases]


class SlipForecast:
    """Chances of each slip, from cases whose outcome is known, or known in part, by a release.

    The chance to slip on from k is counted only among cases whose release k later has come out, so that targets not yet due
    teach nothing about what they have not met. People write a new target down late: ``delay`` releases more must have come out
    before a target that still stands is taken to have been met. Groups borrow ``PRIOR`` cases from all together.
    """

    def __init__(self, cases: Sequence[Case], slips: Sequence[int], now: int, delay: int = 2) -> None:
        self._on: dict[tuple[object, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for case, slip in zip(cases, slips, strict=True):
            for k in range(min(slip, MOST - 1) + 1):
                if case.target + k <= now - delay:
                    for group in (case.group, None):
                        held = self._on[group, k]
                        held[0] += float(slip > k)
                        held[1] += 1.0

    def chances(self, case: Case, *, grouped: bool = True) -> np.ndarray:
        """The chance of a slip of 0, 1, … ``MOST`` releases and more."""
        left, out = 1.0, []
        for k in range(MOST):
            slipped, seen = self._on[None, k]
            pooled = (slipped + 1.0) / (seen + 2.0)
            slipped, seen = self._on[case.group, k] if grouped else (0.0, 0.0)
            goes_on = (slipped + PRIOR * pooled) / (seen + PRIOR)
            out.append(left * (1.0 - goes_on))
            left *= goes_on
        return np.array([*out, left])


def replay(
    history: Sequence[Revision], released: dict[int, date], first: int, last: int, *, delay: int = 2, seed: int = 0
) -> list[Scores]:
    """Forecasts of every target that lay ahead at each release, scored by what came, against two plain methods.

    Args:
        history: Revisions in order of time.
        released: The day on which each release came out.
        first: The first release at which forecasts are made; those before only teach.
        last: The last one; outcomes need ``MOST`` releases after each target.
        delay: See ``SlipForecast``.
        seed: Of the ties in coverage.
    """
    final = max(released)
    end = history[-1].on
    drawn: dict[str, list[tuple[np.ndarray, int, float]]] = {"grouped": [], "all alike": [], "no slip": []}
    for now in range(first, last + 1):
        day = released[now]
        taught = [case for at in released if at < now for case in cases_at(history, at, released[at])]
        model = SlipForecast(taught, slips_known(history, taught, day), now, delay)
        asked = [one for one in cases_at(history, now, day) if one.target + MOST <= final]
        came = slips_known(history, asked, end)
        ties = uniforms(seed, now, np.arange(len(asked)))
        for case, slip, tie in zip(asked, came, ties.tolist(), strict=True):
            drawn["grouped"].append((model.chances(case), slip, tie))
            drawn["all alike"].append((model.chances(case, grouped=False), slip, tie))
            drawn["no slip"].append((np.eye(MOST + 1)[0], slip, tie))
    return [_scored(method, held) for method, held in drawn.items()]


def _scored(method: str, held: list[tuple[np.ndarray, int, float]]) -> Scores:
    inside, crps = [], []
    for chances, slip, tie in held:
        below = np.cumsum(chances)
        place = (below[slip - 1] if slip else 0.0) + tie * chances[slip]
        inside.append(0.1 <= place <= 0.9)
        crps.append(float(((below[:-1] - (np.arange(MOST) >= slip)) ** 2).sum()))
    return Scores(method, len(held), float(np.mean(inside)), float(np.mean(crps)))
