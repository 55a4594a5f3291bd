"""A workspace's launches: started from a plan, flown by a pilot over its live log, stopped or resumed by a person."""

from __future__ import annotations

import datetime as dt
import getpass
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.clock import Clock, SystemClock
from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.base.evidence import Evidence
from mainstem.data.log import Log
from mainstem.data.records import IdTable
from mainstem.launch.assignment import origins_of
from mainstem.launch.creators import large_creators_items
from mainstem.launch.decide import ENDED, Decision, ShadowSeen, check_ramp, state_at
from mainstem.launch.pilot import Outside, Pilot
from mainstem.launch.plan_file import Plan, check_unedited, plan_hash, read_plan
from mainstem.launch.served_log import ACTS, BEFORE, ServedLog, check_columns, covariate_columns, reader_of
from mainstem.launch.standing import LayerPart, Standing
from mainstem.launch.standing_kept import standing_of_plain
from mainstem.store.launch_book import FILE, LaunchBook, Move, Placement, Started
from mainstem.store.shadow_counts import FILE as SHADOW_FILE
from mainstem.store.shadow_counts import ShadowCounts
from mainstem.workspace.evidence_log import append_evidence
from mainstem.workspace.evidence_risks import unmet_risks
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.live_records import newest_live_ms
from mainstem.workspace.log import open_log

EVENTS: Final = "events.sqlite"


def book_of(workspace: Workspace) -> LaunchBook:
    """The workspace's book of launches."""
    return LaunchBook(workspace.live / FILE)


def launches_under_way(workspace: Workspace) -> list[str]:
    """The launches that have not ended; none where no book is, and none is made by asking."""
    if not (workspace.live / FILE).is_file():
        return []
    return sorted({place.launch for place in book_of(workspace).placements() if place.state not in ENDED})


def newest_launch(workspace: Workspace) -> str:
    """The launch that was started last.

    Raises:
        LaunchError: None was ever started (``launch-084``).
    """
    names = book_of(workspace).names() if (workspace.live / FILE).is_file() else []
    if not names:
        raise LaunchError(
            f"found no launch in {workspace.folder}, expected one that was started",
            code="launch-084",
            hint="mainstem launch start launch.toml",
        )
    return names[-1]


class NewestRecord:
    """A clock that shows the latest time in the log: for a past log that is served from where it ends.

    Args:
        log: What is followed; whoever reads the clock has followed it first.
        started_ms: When the launch was started.
    """

    def __init__(self, log: ServedLog, started_ms: int) -> None:
        self._log, self._started_ms = log, started_ms

    def now_ms(self) -> int:
        """Just after the latest record, which was served before whatever is decided now; or the start."""
        return max(self._log.newest_ms + 1, self._started_ms)


def start_launch(workspace: Workspace, file: Path, now_ms: int | None = None, actor: str = "") -> Started:
    """Puts a plan into the book: every surface at its first step, and the plan unchangeable from here on.

    Args:
        workspace: Whose surfaces.
        file: The plan.
        now_ms: The launch's own time; None is the workspace's clock.
        actor: Who starts it; empty asks the system.

    Raises:
        LaunchError: The plan cannot be flown here: no step for a verdict (``launch-082``), a column no served log has
            (``launch-081``), or a surface or legacy stack this workspace does not know (``launch-083``).
        StoreError: The name was used (``store-090``), or a surface is in another launch (``store-091``).
    """
    plan = read_plan(file)
    check_ramp(plan)
    check_columns(plan)
    _check_known(workspace, plan)
    log = open_log(workspace)
    facts = {
        "audience": audience(plan, log),
        "file": os.path.relpath(file.resolve(), workspace.folder.resolve()),
        "log": log.manifest.sha256,
        "made": log.manifest.made,
    }
    at_ms = _now(workspace) if now_ms is None else now_ms
    started = Started(plan.name, msgspec.json.encode(plan), plan_hash(plan), at_ms, facts)
    first = plan.steps[0].share
    book_of(workspace).start(
        started, {surface: (first, state_at(plan, 0)) for surface in plan.surfaces}, actor or person()
    )
    return started


def pilot_of(workspace: Workspace, launch: str, clock: Clock | None = None) -> Pilot:
    """The pilot of a launch of this workspace.

    Args:
        workspace: Whose.
        launch: Its name.
        clock: The launch's own time; None is the workspace's.

    Raises:
        StoreError: There is no such launch (``store-092``).
        LaunchError: Its plan was edited since the start (``launch-045``).
    """
    book = book_of(workspace)
    started = book.started(launch)
    plan = plan_of(started)
    _check_file(workspace, started, plan)
    ids = IdTable.read(workspace.log)
    log = ServedLog(
        reader_of(workspace.live / EVENTS), plan, None if ids is None else ids.user, since_ms=started.started_ms
    )
    if clock is None:
        system = workspace.settings.serve.clock == "system"
        clock = SystemClock() if system else NewestRecord(log, started.started_ms)
    before = _Before(workspace, plan, started.started_ms)
    counts = ShadowCounts(workspace.live / SHADOW_FILE)
    outside = Outside(
        before=before.of,
        large=before.large,
        shadow=lambda surface: _shadow(counts, launch, surface),
        risks=lambda names: tuple(one.why for one in unmet_risks(workspace, names)),
        tell=lambda standing, done: tell(workspace, standing, done),
        layers=lambda surface: _layers(workspace, launch, surface),
        gone=gone,
        made=bool(started.facts.get("made")),
    )
    return Pilot(book, started, plan, log, clock, seat_name(), outside)


def plan_of(started: Started) -> Plan:
    """The plan a launch was started under."""
    return msgspec.json.decode(started.plan, type=Plan)


def write_standing(workspace: Workspace, standing: Standing) -> Path:
    """Keeps where a launch stands as evidence ``launch-NAME``."""
    return workspace.write_evidence(f"launch-{standing.launch}", standing)


def tell(workspace: Workspace, standing: Standing, done: Sequence[Decision]) -> None:
    """Keeps a standing, and after an act puts each surface's verdict where gates of the program read it."""
    write_standing(workspace, standing)
    if done:
        at = dt.datetime.now(dt.UTC)
        append_evidence(
            workspace,
            *(
                Evidence(
                    kind="launch",
                    about=one.surface,
                    value=float(one.state in ("holdback", "landed")),
                    at=at,
                    source="mainstem launch run",
                    note=f"{standing.launch}: {one.state} at {one.share:.0%}: {one.reason}",
                )
                for one in standing.surfaces
            ),
        )


def refreshed(workspace: Workspace, launch: str) -> Standing:
    """A pass of a pilot of one's own, and the standing it told: for a launch that nobody flies."""
    pilot = pilot_of(workspace, launch)
    seat = pilot.sit()
    try:
        pilot.once(seat)
    finally:
        pilot.book.rise(seat)
    return read_standing(workspace, launch)


def write_layers(workspace: Workspace, launch: str, parts: Mapping[str, tuple[LayerPart, ...]]) -> Path:
    """Keeps what swapped layers showed, by surface, as evidence that the launch's standing takes in."""
    return workspace.write_evidence(f"layers-{launch}", parts)


def _layers(workspace: Workspace, launch: str, surface: str) -> tuple[LayerPart, ...]:
    found = workspace.read_evidence(f"layers-{launch}") or {}
    return msgspec.convert(found.get(surface, []), tuple[LayerPart, ...])


def read_standing(workspace: Workspace, launch: str) -> Standing:
    """Where a launch stood at its pilot's last pass; before any, what the book alone knows."""
    found = workspace.read_evidence(f"launch-{launch}")
    if found is None:
        pilot = pilot_of(workspace, launch)
        return pilot.standing(pilot.book.placements(launch), pilot.started.started_ms)
    try:
        return standing_of_plain(found)
    except msgspec.ValidationError as error:
        raise LaunchError(
            f"{workspace.evidence(f'launch-{launch}')} is of another version: {error}",
            code="launch-088",
            hint="mainstem launch run --once tells it anew; the book and the log hold everything",
        ) from None


def stop_launch(workspace: Workspace, launch: str, reason: str, surface: str = "", actor: str = "") -> list[Placement]:
    """Takes a launch back to the old stacks at once, from the next request on; one surface, or all that have not ended.

    Works whether or not a pilot or a server is alive.

    Raises:
        StoreError: There is no such launch (``store-092``).
        LaunchError: The launch has no such surface (``launch-083``).
    """
    return _by_hand(workspace, launch, surface, actor, "stop", lambda place: (0.0, "stopped"), reason)


def resume_launch(
    workspace: Workspace, launch: str, reason: str, surface: str = "", actor: str = ""
) -> list[Placement]:
    """Lets paused and held surfaces go on from where they stand.

    The verdict is not changed by it: what does not ship still does not. After the last planned look it extends the test, by the
    part of alpha that was kept for that.
    """
    plan = plan_of(book_of(workspace).started(launch))
    return _by_hand(
        workspace, launch, surface, actor, "resume", lambda place: (place.share, state_at(plan, place.step)), reason,
        only=("paused", "held"),
    )  # fmt: skip


def _by_hand(
    workspace: Workspace,
    launch: str,
    surface: str,
    actor: str,
    action: str,
    to: Callable[[Placement], tuple[float, str]],
    reason: str,
    only: tuple[str, ...] = (),
) -> list[Placement]:
    """A person's act on one surface or all; tried again while the pilot acts at the same moment."""
    book = book_of(workspace)
    started = book.started(launch)
    plan = plan_of(started)
    if surface and surface not in plan.surfaces:
        raise _unknown(launch, "surface", surface, plan.surfaces)
    now_ms = _now(workspace)
    for one in [surface] if surface else plan.surfaces:
        while True:
            place = next(place for place in book.placements(launch) if place.surface == one)
            if place.state in ENDED or (only and place.state not in only):
                break
            share, state = to(place)
            move = Move(one, actor or person(), action, now_ms, place.number, place.step, share, state, reason, {})
            if book.act(launch, move):
                break
    return list(book.placements(launch))


def audience(plan: Plan, log: Log) -> dict[str, dict[str, int]]:
    """How many users each legacy stack carries on each surface of a log; information is counted against it."""
    found: dict[str, dict[str, int]] = {}
    for surface in plan.surfaces:
        users = log.impressions.filter(pl.col("surface") == surface)["user_id"].unique().to_numpy().astype(np.int64)
        counts = np.bincount(origins_of(plan, surface, users), minlength=len(plan.carried(surface)))
        found[surface] = dict(zip(plan.carried(surface), counts.tolist(), strict=True))
    return found


class _Before:
    """What the log knew of a surface's users and of creators before the start; read once.

    Args:
        workspace: Whose log.
        plan: Which covariates.
        start_ms: Only what was before it counts.
    """

    def __init__(self, workspace: Workspace, plan: Plan, start_ms: int) -> None:
        self._workspace, self._start_ms = workspace, start_ms
        named = {name for one in plan.metrics.values() for name in covariate_columns(one.covariates)}
        self._columns = sorted(name.removeprefix(BEFORE) for name in named)
        self._log: Log | None = None
        self._large: NDArray[np.int64] | None = None

    def large(self) -> NDArray[np.int64] | None:
        """Items of large creators; None for a log that was never filled."""
        if self._large is None and self._workspace.log.exists():
            log = self._opened()
            shown = log.impressions.filter(pl.col("time_ms") < self._start_ms)
            self._large = large_creators_items(shown, log.items)
        return self._large

    def _opened(self) -> Log:
        self._log = self._log or open_log(self._workspace)
        return self._log

    def of(self, surface: str) -> pl.DataFrame | None:
        """One row for each user of a surface."""
        if not self._columns:
            return None
        rows = self._opened().impressions.filter((pl.col("surface") == surface) & (pl.col("time_ms") < self._start_ms))
        sums = [_sum_of(name).cast(pl.Float64).alias(f"{BEFORE}{name}") for name in self._columns]
        table = rows.group_by(pl.col("user_id").alias("unit"), maintain_order=True).agg(*sums)
        return table.with_columns(pl.lit(self._start_ms).alias("measured_ms"))


def _sum_of(column: str) -> pl.Expr:
    if column in ACTS:
        return pl.col(column).fill_null(0).sum()
    if column == "requests":
        return pl.col("request_id").n_unique()
    return pl.len() if column == "items" else pl.lit(0.0)


def seat_name() -> str:
    """This process, as the pilot's seat names it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def gone(holder: str) -> bool:
    """Whether a holder of the seat is a process of this machine that is no more."""
    host, _, number = holder.rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _buried(int(number))


def _buried(number: int) -> bool:
    """Whether a process has ended and only nobody has asked for its last word yet."""
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError, UnicodeDecodeError):
        return False


def _shadow(counts: ShadowCounts, launch: str, surface: str) -> ShadowSeen | None:
    found = counts.read(launch, surface)
    return ShadowSeen(found.requests, found.failed, found.mean_overlap) if found.requests else None


def person() -> str:
    """Who acts: the user of this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "person"


def _now(workspace: Workspace) -> int:
    """The launch's own time: of the live log's newest record where a past log is served, else the machine's."""
    if workspace.settings.serve.clock == "system":
        return SystemClock().now_ms()
    newest = newest_live_ms(workspace.live)
    return newest or int(open_log(workspace).impressions["time_ms"].max() or 0)  # type: ignore[arg-type]


def _check_known(workspace: Workspace, plan: Plan) -> None:
    served = workspace.settings.served()
    for surface in plan.surfaces:
        if surface not in served:
            raise _unknown(plan.name, "surface", surface, served)
    known = dict.fromkeys([*LEGACY, *workspace.settings.remote])
    if plan.steps[0].share == 0 and plan.shadow.least_requests and workspace.settings.serve.shadow_share == 0:
        raise LaunchError(
            f"launch {plan.name!r} waits for {plan.shadow.least_requests} mirrored requests and serve.shadow_share is 0",
            code="launch-087",
            hint="set [serve] shadow_share above 0, or [shadow] least_requests = 0 in the plan",
        )
    for legacy in plan.legacy:
        if legacy not in known:
            raise _unknown(plan.name, "legacy stack", legacy, known)


def _check_file(workspace: Workspace, started: Started, plan: Plan) -> None:
    """An edited plan is a new launch; a plan that is gone is not edited."""
    file = workspace.folder / str(started.facts.get("file", ""))
    if file.is_file():
        now = read_plan(file)
        if now.name == plan.name:
            check_unedited(plan, now)


def _unknown(launch: str, what: str, name: str, known: Mapping[str, Any] | list[str]) -> LaunchError:
    return LaunchError(
        f"launch {launch!r} names the {what} {name!r}, which is not known here",
        code="launch-083",
        hint=did_you_mean(name, known),
    )
