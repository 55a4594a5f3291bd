"""A migration written out: capacity by week, a levelled schedule, a ledger, a weekly report, and what each figure rests on.

Its page with charts is drawn above, in `mainstem.cli.transition_page`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from mainstem.base.errors import CapacityError
from mainstem.capacity.calibration import Calibration, Hardware, load, save
from mainstem.capacity.exports import as_builtins
from mainstem.capacity.ledger import Ledger, append, read_ledger
from mainstem.capacity.measuring import measure
from mainstem.program.status import write_report
from mainstem.workspace.capacity_desk import SAVINGS
from mainstem.workspace.evidence_log import held_evidence
from mainstem.workspace.layout import Workspace
from mainstem.workspace.transition import Joined, Outcome, capacity_worlds, first_stages, landings_of, outcome
from mainstem.workspace.transition_level import LevelledTransition, level_transition

OUT: Final = "out"
CONSTANTS: Final = "capacity/constants.json"
DESK: Final = "capacity desk"


@dataclass(frozen=True, slots=True)
class Resting:
    """A figure, its value in words, and whether it was measured, elicited or made."""

    figure: str
    value: str
    mark: str
    source: str


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and what its figures rest on; ``opens`` is what to look at first."""

    folder: Path
    files: tuple[Path, ...]
    opens: tuple[Path, ...]
    rests: tuple[Resting, ...]
    outcome: Outcome
    levelled: LevelledTransition
    ledger: Ledger


def bundled(folder: Path) -> list[Path]:
    """Writes the bundled migration into a folder; what is there already stays as it is."""
    return _copied(files("mainstem.program").joinpath("migration"), folder)


def _copied(source: Traversable, target: Path) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    made = []
    for one in sorted(source.iterdir(), key=lambda held: held.name):
        place = target / one.name
        if one.is_dir():
            made += _copied(one, place)
        elif one.name.endswith((".toml", ".yaml")) and not place.exists():
            place.write_bytes(one.read_bytes())
            made.append(place)
    return made


def constants(
    file: Path, today: date, seed: int = 0, progress: Callable[[float, str], None] | None = None
) -> Calibration:
    """The constants in a file, or of this machine, measured now, where there are none that still hold here."""
    try:
        held = load(file)
        if today <= held.expires and held.hardware == Hardware.here() and "ranker" in held.fitted:
            return held
    except CapacityError:
        pass
    found = measure(today=today, seed=seed, kinds=("ranker",), progress=progress)
    save(found, file)
    return found


def write_transition(
    folder: Path, held: Joined, constants: Calibration | None, today: date, *, worlds: int = 10_000, seed: int = 0
) -> Written:
    """Writes the migration's timeline, schedule, ledger, report and marks into ``out`` of its folder."""
    plan = held.program
    if plan.program.as_of is None:
        plan = msgspec.structs.replace(plan, program=msgspec.structs.replace(plan.program, as_of=plan.program.start))
    drawn = landings_of(held, worlds, seed)
    found = outcome(held, worlds=worlds, seed=seed, landings=drawn)
    levelled = level_transition(held, seed=seed)
    book = _forecasts(folder / SAVINGS, held, found, today, seed)
    shown = held_evidence(Workspace.open(folder))
    report = write_report(plan, "weekly", plan.program.as_of or today, drawn, shown.records, None, "", shown.doubts)
    rests = tuple(_rests(held, constants, found))
    out = folder / OUT
    texts = {
        "timeline.json": json.dumps(as_builtins(found.timeline), indent=1, sort_keys=True, default=str),
        "schedule.json": msgspec.json.format(
            msgspec.json.encode([asdict(one) for one in levelled.bars]), indent=1
        ).decode(),
        "weekly.md": report.as_markdown(),
        "weekly.html": report.as_html(),
        "rests.json": msgspec.json.format(msgspec.json.encode(rests), indent=1).decode(),
    }
    made = tuple(write_whole(out / name, text) for name, text in texts.items())
    opens = (out / "weekly.html", folder / SAVINGS)
    return Written(out, (*made, folder / SAVINGS), opens, rests, found, levelled, book)


def write_whole(file: Path, text: str) -> Path:
    """Writes a file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
    return file


def _forecasts(file: Path, held: Joined, found: Outcome, today: date, seed: int) -> Ledger:
    """Ideas and forecasts of each surface's saving; promises are for people, and what is written stays."""
    book = read_ledger(file) if file.exists() else None
    resource = held.joining.resource
    worlds = found.timeline.worlds
    for one in held.capacity.surfaces if resource else ():
        name = f"{one.name}-{resource}"
        if book is not None and name in book.book.claims:
            continue
        alone = _alone(held, one.name)
        landings = landings_of(held, worlds, seed)
        starts = first_stages(alone, landings.landings, landings.lasted)
        drawn = capacity_worlds(alone, starts, worlds, seed, landings.lasted)
        at = [line.name for line in held.capacity.resources].index(resource)
        saved = drawn.baseline[at, -1] - drawn.held[at, -1]
        p80, p50 = np.maximum(np.quantile(saved, (0.2, 0.5)), 0.0)
        unit = held.capacity.resources[at].unit
        append(file, "idea", name, DESK, str(today), {"title": f"{one.name} on one stack", "scope": name})
        body = {"p50": float(p50), "p80": float(p80), "unit": unit}
        book = append(file, "forecast", name, DESK, str(today), body)
    return book or read_ledger(file)


def _alone(held: Joined, surface: str) -> Joined:
    """The migration of one surface; its unknowns keep their draws."""
    kept = {name: of for name, of in held.capacity.loadings.items() if name.startswith(f"{surface}.")}
    plan = replace(
        held.capacity, surfaces=tuple(one for one in held.capacity.surfaces if one.name == surface), loadings=kept
    )
    return replace(held, capacity=plan)


def _rests(held: Joined, constants: Calibration | None, found: Outcome) -> list[Resting]:
    rows: list[Resting] = []
    if constants is not None:
        fitted = constants.fitted["ranker"]
        measured = f"{constants.hardware.processor}, {constants.measured}, expires {constants.expires}"
        error = f"median error {fitted.error_p50:.1%} on {fitted.held_out} held-out shapes"
        rows.append(Resting("seconds of a ranker", error, "measured", measured))
    resource = held.joining.resource
    for one in held.capacity.surfaces:
        if one.name in held.joining.work:
            units = f"{one.old[resource].by_traffic:.0f} old, {one.new[resource].by_traffic:.0f} new"
            source = "measured seconds x made requests / made share busy"
            rows.append(Resting(f"{resource} of {one.name}", units, "measured x made", source))
    rows += [
        Resting(
            "requests, shapes, other needs, prices, pools", "transition.toml, capacity.toml", "made", "bundled example"
        ),
        Resting(
            "durations, risks, lags, growth, efficiency", "program.toml, capacity.toml", "elicited", "three points each"
        ),
    ]
    for line in found.timeline.resources:
        told = f"{line.peak.p10:.0f} / {line.peak.p50:.0f} / {line.peak.p90:.0f} {line.unit}"
        rows.append(Resting(f"peak of {line.name}, P10 / P50 / P90", told, "computed", "all of the above"))
    return rows
