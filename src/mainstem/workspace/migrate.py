"""The migration of three surfaces in a made world, with all three stacks trained on that world's log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final

from mainstem.base.request import Ids, Request
from mainstem.data.log import read_log
from mainstem.data.world import World, WorldSettings, make_world, write_world_log
from mainstem.launch import Migration, MigrationPlan, RampStep, migrate
from mainstem.stacks.remote import RemoteStack
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.workspace.layout import LEGACY, Workspace
from mainstem.workspace.log import split
from mainstem.workspace.platform import open_stack
from mainstem.workspace.programs import serving
from mainstem.workspace.retrieval import train_retrieval
from mainstem.workspace.train import legacy_in_training, train_unified

Progress = Callable[..., None]

OLD: Final = {"feed": "content-first", "groups": "content-first", "pages": "interest-first"}
"""Which legacy stack a surface moves away from: the one that has most of its traffic."""

SMALL: Final = {"users": 2_000, "items": 3_000, "days": 5, "impressions": 30_000}
"""The world beside a demo on a real log: large enough to train on, small enough to wait for."""

STEPS: Final = (RampStep(0.05, 4.0), RampStep(0.25, 2.0), RampStep(1.0))
"""A world of some thousand users has too few in 1 % to decide anything, so the ramp begins at 5 %."""

REQUESTS_A_LOOK: Final = 80


@dataclass(frozen=True, slots=True)
class Migrated:
    """What came of the migration in the made world."""

    migration: Migration

    def summary(self) -> str:
        """One line: how far each surface came."""
        ends = ", ".join(f"{one.surface} {one.decision} at {one.share:.0%}" for one in self.migration.verdicts)
        return f"made world: {ends}"

    @property
    def sentence(self) -> str:
        """One sentence for the demo's answer."""
        moved = [one.surface for one in self.migration.verdicts if one.decision == "go"]
        held = [f"{one.surface} ({one.reason})" for one in self.migration.verdicts if one.surface not in moved]
        said = f"In a made world {len(moved)} of {len(self.migration.verdicts)} surfaces moved to 100 %"
        return said + (f"; not moved: {'; '.join(held)}." if held else ".")


def migrate_made_world(workspace: Workspace, seed: int, progress: Progress) -> Migrated:
    """Trains all three stacks on a made world's log, then moves its surfaces step by step; evidence ``migration``.

    A workspace whose own log is made moves in its own world, with the models it has.
    """
    own = read_log(workspace.log).manifest.made
    world = make_world(WorldSettings(seed=seed) if own else WorldSettings(**SMALL, seed=seed))
    place = workspace if own else _train_in(world, workspace, seed, progress)
    with ExitStack() as stack:
        serve = _serve(place, stack)
        plan = MigrationPlan(old="legacy", new="unified", steps=STEPS, requests_a_look=REQUESTS_A_LOOK, seed=seed)
        moved = migrate(world, serve, plan, lambda what, share: progress(0.5 + 0.5 * share, what))
    workspace.write_evidence("migration", asdict(moved))
    return Migrated(moved)


def _train_in(world: World, workspace: Workspace, seed: int, progress: Progress) -> Workspace:
    """A workspace inside the workspace, with the world's log and all three stacks trained on it."""
    place = Workspace(workspace.folder / "world", workspace.settings)
    write_world_log(world, place.log)
    log = read_log(place.log)
    parts = split(Workspace(place.folder, workspace.settings), log)
    with legacy_in_training(place, parts.validation_day, seed) as training:
        told = "training in a made world"
        model = train_unified(place, log, parts, seed, lambda share, what="": progress(0.4 * share, told))
        train_retrieval(place, log, parts, model, seed, lambda share, what="": progress(0.4 + 0.1 * share, told))
        for done in training.values():
            done.result()
    return place


def _serve(place: Workspace, stack: ExitStack) -> Callable[[str, str, int, int, int], Ids]:
    """Slates of either stack as of the end of the world's log; the legacy ones over HTTP."""
    models = {name: place.legacy_model(name) for name in LEGACY}
    running = stack.enter_context(serving(LEGACY, place.log, models, until=99_999_999))
    remotes = {name: stack.enter_context(RemoteStack(name, one.url, budget_s=10.0)) for name, one in running.items()}
    unified = open_stack(place)
    asked = 0

    def serve(name: str, surface: str, user_id: int, now_ms: int, count: int) -> Ids:
        nonlocal asked
        asked += 1
        request = Request(asked, user_id, surface, now_ms, count)
        return _ask(unified if name == "unified" else remotes[OLD[surface]], request)

    return serve


def _ask(stack: Stack | RemoteStack, request: Request) -> Ids:
    if isinstance(stack, RemoteStack):
        return stack.rank(request, explain=False).item_ids
    return run(stack, request, explain=False).item_ids
