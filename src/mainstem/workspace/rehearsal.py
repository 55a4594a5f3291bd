"""A whole migration rehearsed: made users, real processes, real HTTP, a real log, and a pilot that is killed on the way.

A server of its own serves three surfaces; both legacy programs answer for the old arms; the pilot beside the server takes the
launch from shadow to holdback. One surface's new stack is broken in one layer on purpose. The server and its pilot are killed
without warning and started again; what is shown at the end is what the book, the log and the evidence hold.
"""

from __future__ import annotations

import datetime as dt
import shutil
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mainstem.base.errors import LaunchError, did_you_mean
from mainstem.base.evidence import Evidence
from mainstem.base.heads import SURFACES
from mainstem.base.seeds import uniforms
from mainstem.base.settings import FILE as SETTINGS
from mainstem.data.log import read_log
from mainstem.data.records import decode_impression
from mainstem.data.world import World
from mainstem.launch.decide import ENDED, HOUR_MS
from mainstem.launch.gate import SETTLES_MS
from mainstem.launch.plan_file import FILE as PLAN
from mainstem.launch.plan_file import read_plan
from mainstem.launch.standing import Standing
from mainstem.stacks.retrieving import QUOTAS
from mainstem.store.launch_book import LaunchBook, Placement
from mainstem.workspace.evidence_log import append_evidence
from mainstem.workspace.launching import book_of, refreshed, start_launch, write_layers
from mainstem.workspace.layer_arms import LayersTold, layers_of
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.live_records import LiveRecords
from mainstem.workspace.made_traffic import MadeTraffic
from mainstem.workspace.made_world import world_of
from mainstem.workspace.programs import serving
from mainstem.workspace.server_process import ServerProcess
from mainstem.workspace.value_edit import edited

NAME: Final = "rehearsal"
EVER: Final = 99_999_999
TICK_MS: Final = 3 * HOUR_MS
"""Made time between two looks of the pilot."""
WAIT_S: Final = 120.0
"""How long the pilot may take for one look, a start included."""

FAULTS: Final[Mapping[str, tuple[tuple[str, ...], object]]] = {
    "value": (("value",), "0.001 * click + 20 * hate"),
    "control": (("rules", "exploration_share"), 1.0),
    "retrieval": (("sources",), {name: offers if name == "fresh" else 0 for name, offers in QUOTAS.items()}),
}
"""How a layer of the new stack is broken: which setting of the surface, and what it is set to.

Retrieval offers only what is new. Few candidates (12) were tried first: the new stack then shows ten of its best dozen, and was
truly no worse than a legacy one.
"""

NO_HARM: Final = " Even so broken the new stack was shown to be no worse than the legacy one: break another layer."

PLAN_TEXT: Final = """
name = "rehearsal"
surfaces = ["feed", "groups", "pages"]
legacy = ["content-first", "interest-first"]
max_days = 14

[origins.feed]
content-first = 1.0
[origins.groups]
content-first = 0.5
interest-first = 0.5
[origins.pages]
interest-first = 1.0

[shadow]
least_requests = 50

[metrics.long_views]
role = "primary"
kind = "ratio"
column = "long_view"
per = "requests"
margin = 0.10
covariates = ["before_long_view / before_requests"]
looks = 14
first_look_day = 2

[metrics.clicks]
role = "primary"
kind = "ratio"
column = "click"
per = "requests"
margin = 0.10
covariates = ["before_click / before_requests"]
looks = 14
first_look_day = 2

[metrics.watch]
role = "guardrail"
kind = "ratio"
column = "watch_ms"
per = "requests"
margin = 0.15
looks = 14
first_look_day = 2

[metrics.latency]
role = "diagnostic"
kind = "ratio"
column = "latency_ms"
per = "requests"
direction = "down"
looks = 14
first_look_day = 2

[[steps]]
share = 0.0
hold_hours = 6
[[steps]]
share = 0.05
hold_hours = 12
[[steps]]
share = 0.5
hold_hours = 48
[[steps]]
share = 0.95
hold_hours = 12
"""


@dataclass(frozen=True, slots=True)
class Script:
    """What is rehearsed.

    Args:
        harmed: The surface whose new stack is broken; empty breaks none.
        layer: Which layer of it, a key of ``FAULTS``.
        kills: How often server and pilot are killed without warning.
        visits: Requests a surface gets in a made day.
        most_days: Made days after which it ends whatever has become of it.
        seed: Of who comes when.
    """

    harmed: str = "feed"
    layer: str = "value"
    kills: int = 3
    visits: int = 1_500
    most_days: int = 12
    seed: int = 7

    def __post_init__(self) -> None:
        if self.harmed and self.layer not in FAULTS:
            raise LaunchError(
                f"found the layer {self.layer!r} to break, expected one of {', '.join(FAULTS)}",
                code="launch-085",
                hint=did_you_mean(self.layer, FAULTS),
            )


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it.

    Attributes:
        folder: The workspace in which it can be looked at.
        killed: How often server and pilot were killed.
        requests, days: How much made traffic there was.
        blamed: The layers that were named for the broken surface; None where none was broken.
        after_rollback: Requests of the broken surface after it was rolled back, and how many of them the new stack still answered.
    """

    standing: Standing
    folder: Path
    script: Script
    killed: int
    requests: int
    days: float
    blamed: LayersTold | None = None
    after_rollback: tuple[int, int] = (0, 0)

    @property
    def as_expected(self) -> bool:
        """Whether the broken surface did not pass, its layer was named, and every other surface landed."""
        named = self.blamed is None or self.script.layer in self.blamed.blame.layer.split(" and ")
        return (
            named
            and not self.after_rollback[1]
            and all(
                one.state in ("rolled back", "paused") if one.surface == self.script.harmed else one.state == "landed"
                for one in self.standing.surfaces
            )
        )

    @property
    def sentence(self) -> str:
        """One sentence: who landed, who was stopped, and where the fault was put."""
        passed = any(one.surface == self.script.harmed and one.state == "landed" for one in self.standing.surfaces)
        ended = ", ".join(f"{one.surface} {one.state} ({one.reason})" for one in self.standing.surfaces)
        where = f"; {self.script.harmed} was broken in its {self.script.layer}" if self.script.harmed else ""
        named = f", and found: {self.blamed.sentence}" if self.blamed else ""
        after = (
            f"; after the rollback the new stack answered {self.after_rollback[1]} of {self.after_rollback[0]} requests"
        )
        return f"In a made world: {ended}{where}{named}{after if self.after_rollback[0] else ''}.{NO_HARM if passed else ''}"


def rehearse(workspace: Workspace, script: Script, progress: Callable[..., None]) -> Rehearsed:
    """Takes three surfaces of a made world from shadow to holdback, over real processes.

    Args:
        workspace: A made world is taken as it is; beside a real log one is made and trained on first.
        script: What is rehearsed.
        progress: Told how much is done, 0 to 1, and what.

    Raises:
        LaunchError: The script names no layer that can be broken (``launch-085``), or the pilot did not look (``launch-086``).
        RemoteError: A program did not start.
    """
    world, place = world_of(workspace, script.seed, lambda share, what: progress(0.3 * share, what))
    return rehearse_in(world, place, script, progress)


def rehearse_in(world: World, place: Workspace, script: Script, progress: Callable[..., None]) -> Rehearsed:
    """The same in a world whose log and models a workspace has already."""
    stage = _stage(place, script)
    with ExitStack() as stack:
        models = {name: place.legacy_model(name) for name in LEGACY}
        running = stack.enter_context(serving(LEGACY, place.log, models, until=EVER))
        _write_settings(place, stage, script, {name: one.url for name, one in running.items()})
        stage = Workspace.open(stage.folder)
        start_launch(stage, stage.folder / PLAN, actor="rehearsal")
        server = stack.enter_context(ServerProcess(stage.folder))
        traffic = stack.enter_context(
            MadeTraffic(world, server, tuple(stage.settings.served()), script.visits, script.seed)
        )
        killed = _live_through(stage, world, server, traffic, script, progress)
    book_of(stage).check(NAME)
    blamed = _blamed(place, stage, world, script, progress) if script.harmed else None
    after = _after_rollback(stage, script.harmed) if script.harmed else (0, 0)
    standing = refreshed(stage, NAME)
    return Rehearsed(standing, stage.folder, script, killed, traffic.requests, traffic.days, blamed, after)


def _after_rollback(stage: Workspace, surface: str) -> tuple[int, int]:
    """Who answered a surface after it was taken back, out of the log itself; kept as the evidence that a rollback works."""
    acts = [one for one in book_of(stage).acts(NAME) if one.surface == surface and one.action == "roll back"]
    if not acts:
        return 0, 0
    shown = LiveRecords.read(stage.live, tuple(stage.settings.served())).impressions.values()
    stacks = [
        one.stack
        for one in map(decode_impression, shown)
        if one.surface == surface and one.time_ms > acts[-1].at_ms + SETTLES_MS
    ]
    ours = stacks.count("unified")
    append_evidence(
        stage,
        Evidence(
            kind="rollback", about=surface, value=float(bool(stacks) and not ours), at=dt.datetime.now(dt.UTC), made=True,
            source="mainstem launch rehearse", note=f"{ours} of {len(stacks)} requests after it were the new stack's",
        ),
    )  # fmt: skip
    return len(stacks), ours


def _blamed(
    place: Workspace, stage: Workspace, world: World, script: Script, progress: Callable[..., None]
) -> LayersTold:
    """Which layer of the broken surface's new stack did it, from arms in which layers are swapped one by one."""
    legacy = next(iter(read_plan(stage.folder / PLAN).carried(script.harmed)))
    told = layers_of(
        stage, world, script.harmed, legacy, script.seed, lambda share, what: progress(0.9 + 0.1 * share, what)
    )
    write_layers(stage, NAME, {script.harmed: told.parts})
    return told


def _live_through(
    stage: Workspace,
    world: World,
    server: ServerProcess,
    traffic: MadeTraffic,
    script: Script,
    progress: Callable[..., None],
) -> int:
    """Traffic, then a look, until every surface has ended or the days are over; how often it was killed."""
    book, killed = book_of(stage), 0
    at_ms = int(read_log(stage.log).impressions["time_ms"].max() or 0)  # type: ignore[arg-type]
    ticks = script.most_days * 24 * HOUR_MS // TICK_MS
    kill_at = _kill_ticks(script)
    for tick in range(ticks):
        newest_ms = traffic.play(at_ms, TICK_MS)
        at_ms += TICK_MS
        if tick in kill_at:
            server.kill()
            killed += 1
            server.start()
        _looked(book, newest_ms)
        places = book.placements(NAME)
        told = ", ".join(f"{one.surface} {one.state} {one.share:.0%}" for one in places)
        progress(0.3 + 0.6 * _share_done(stage, places), told)
        if all(one.state in ENDED or one.state == "paused" for one in places):
            break
    return killed


def _kill_ticks(script: Script) -> set[int]:
    """When it is killed: in the first made days, in which every kind of act is done; the seed says when."""
    first = 3 * 24 * HOUR_MS // TICK_MS
    lot = uniforms(script.seed, np.arange(first))
    return {int(one) for one in np.argsort(lot)[: script.kills]}


def _share_done(stage: Workspace, places: tuple[Placement, ...]) -> float:
    steps = len(read_plan(stage.folder / PLAN).steps)
    done = [1.0 if one.state in ENDED else one.step / steps for one in places]
    return sum(done) / len(done)


def _looked(book: LaunchBook, newest_ms: int) -> None:
    """Waits until the pilot has seen everything up to a time, so that made time does not run away from it."""
    until = time.monotonic() + WAIT_S
    while book.seat(NAME)[2] < newest_ms:
        if all(one.state in ENDED for one in book.placements(NAME)):
            return
        if time.monotonic() > until:
            raise LaunchError(
                f"found no look of the pilot at {newest_ms} ms within {WAIT_S:g} s",
                code="launch-086",
                hint="what the server said is in rehearsal/server.log",
            )
        time.sleep(0.02)


def _stage(place: Workspace, script: Script) -> Workspace:
    """A workspace of its own beside the made one: same log and models, nothing served yet."""
    folder = place.folder / NAME
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("log", "models"):
        (folder / name).symlink_to((place.folder / name).resolve(), target_is_directory=True)
    (folder / PLAN).write_text(PLAN_TEXT.lstrip(), encoding="utf-8")
    return Workspace(folder, place.settings)


def _write_settings(place: Workspace, stage: Workspace, script: Script, urls: Mapping[str, str]) -> None:
    """The made workspace's settings, played through by its records, with the legacy programs and the planted fault."""
    text = place.file.read_text(encoding="utf-8") if place.file.is_file() else ""
    text = _with_surfaces(text)
    changes: list[tuple[tuple[str, ...], object]] = [
        (("serve", "clock"), "records"),
        (("serve", "pilot_every_s"), 0.5),
        (("serve", "shadow_share"), 0.5),
        # A busy machine must not look like a broken stack: made users wait.
        (("serve", "request_budget_ms"), 20_000),
        (("serve", "remote_budget_ms"), 20_000),
        *((("remote", name, "url"), url) for name, url in urls.items()),
    ]
    if script.harmed:
        path, value = FAULTS[script.layer]
        changes.append((("surfaces", script.harmed, *path), value))
    for path, value in changes:
        text = edited(text, path, value)
    (stage.folder / SETTINGS).write_text(text, encoding="utf-8")


def _with_surfaces(text: str) -> str:
    """The settings with the three surfaces of a made world written out where they are not: naming one ends the built-in ones."""
    named = tomllib.loads(text).get("surfaces", {})
    heir = 'extends = "base"\n' if "base" in named else ""
    missing = [f"[surfaces.{name}]\n{heir}" for name in SURFACES if name not in named]
    return "\n".join([text if text.endswith("\n") or not text else f"{text}\n", *missing])
