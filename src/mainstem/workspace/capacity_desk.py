"""How the capacity of a workspace stands: weeks of the transition, footprints, the savings ledger, and measured constants.

It reads ``capacity.toml`` (as ``mainstem capacity plan --example`` shows one), ``savings.jsonl``, ``capacity/constants.json`` and
the evidence ``footprint`` of the workspace. Each part stands alone: what is missing or broken is told in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from mainstem.base.errors import CapacityError
from mainstem.capacity.calibration import Calibration, load
from mainstem.capacity.ledger import Ledger, read_ledger
from mainstem.capacity.plan_file import read_plan
from mainstem.capacity.timeline import Band, Timeline, timeline
from mainstem.capacity.worlds import draw_worlds, pools
from mainstem.workspace.capacity_told import Stacks
from mainstem.workspace.layout import Workspace

PLAN: Final = "capacity.toml"
STACKS: Final = "capacity_stacks"
"""The evidence of ``mainstem capacity stacks``."""
SAVINGS: Final = "savings.jsonl"
FOOTPRINT: Final = "footprint"
WORLDS: Final = 1_000
"""For a page; ``mainstem capacity plan`` draws more."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WeekLine:
    """One resource in one week: units held, what the old stacks alone would have held, and the pool (None without a limit)."""

    week: int
    p10: float
    p50: float
    p90: float
    baseline: float
    pool: float | None


@dataclass(frozen=True, slots=True)
class ResourceWeeks:
    """One resource through the transition, and how often its pool is too small."""

    name: str
    unit: str
    weeks: tuple[WeekLine, ...]
    peak: Band
    peak_week: int
    dual: Band
    at_end: Band
    short_chance: float


@dataclass(frozen=True, slots=True)
class CapacityPicture:
    """All that a page of capacity shows; a part is None where nothing was made, and ``problems`` says what cannot be read."""

    today: date
    resources: tuple[ResourceWeeks, ...] | None
    surfaces: tuple[str, ...]
    break_even: Band | None
    never: float
    worlds: int
    footprint: dict[str, dict[str, Any]] | None
    ledger: Ledger | None
    calibration: Calibration | None
    stacks: Stacks | None
    problems: dict[str, str]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show and nothing to say."""
        parts = (self.resources, self.footprint, self.ledger, self.calibration, self.stacks)
        return not self.problems and all(one is None for one in parts)


def capacity_picture(
    workspace: Workspace, today: date | None = None, *, worlds: int = WORLDS, seed: int = 0
) -> CapacityPicture:
    """The capacity of a workspace as it stands.

    Args:
        workspace: Whose.
        today: The day on which constants may have expired; None takes the system's in UTC.
        worlds: How many are drawn.
        seed: Which.

    Raises:
        DataError: The evidence of footprints cannot be read (``data-070``).
    """
    problems: dict[str, str] = {}

    def part(name: str, read: Callable[[Path], T]) -> T | None:
        file = workspace.folder / name
        if not file.is_file():
            return None
        try:
            return read(file)
        except CapacityError as error:
            problems[name] = f"{error.message} ({error.code})"
            return None

    planned = part(PLAN, lambda file: _planned(file, worlds, seed))
    found, resources, surfaces = planned if planned else (None, None, ())
    return CapacityPicture(
        today=today or datetime.now(UTC).date(),
        resources=resources,
        surfaces=surfaces,
        break_even=found.break_even if found else None,
        never=found.never if found else 0.0,
        worlds=worlds,
        footprint=workspace.read_evidence(FOOTPRINT),
        ledger=part(SAVINGS, read_ledger),
        calibration=part("capacity/constants.json", load),
        stacks=_stacks(workspace, problems),
        problems=problems,
    )


def _stacks(workspace: Workspace, problems: dict[str, str]) -> Stacks | None:
    """What the workspace's own stacks were told to take, and took."""
    held = workspace.read_evidence(STACKS)
    if held is None:
        return None
    try:
        return msgspec.convert(held, Stacks)
    except msgspec.ValidationError as error:
        problems[f"evidence/{STACKS}.json"] = f"{error}; mainstem capacity stacks makes it again"
        return None


def keep_footprint(workspace: Workspace, surface: str, found: Mapping[str, Any]) -> None:
    """Keeps what a surface needs beside what the others need, as evidence ``footprint``."""
    workspace.write_evidence(FOOTPRINT, (workspace.read_evidence(FOOTPRINT) or {}) | {surface: dict(found)})


def _planned(file: Path, worlds: int, seed: int) -> tuple[Timeline, tuple[ResourceWeeks, ...], tuple[str, ...]]:
    """The timeline of a plan, and its weeks."""
    plan = read_plan(file)
    found, limits = timeline(draw_worlds(plan, worlds, seed)), pools(plan)
    lines = tuple(
        ResourceWeeks(
            one.name,
            one.unit,
            tuple(_week(week, one.held[week], one.baseline[week], limits[at, week]) for week in range(plan.weeks)),
            one.peak,
            one.peak_week,
            one.dual,
            one.at_end,
            one.short_chance,
        )
        for at, one in enumerate(found.resources)
    )
    return found, lines, tuple(one.name for one in plan.surfaces)


def _week(week: int, held: Any, baseline: Any, pool: float) -> WeekLine:
    p10, p50, p90 = (float(one) for one in held)
    return WeekLine(week, p10, p50, p90, float(baseline[1]), float(pool) if np.isfinite(pool) else None)
