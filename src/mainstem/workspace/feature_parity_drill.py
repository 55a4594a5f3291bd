"""Plants faults in a server on the workspace's log, and shows what a verification calls each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import numpy as np

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.events import Events
from mainstem.parity.features.configuration import Asked, Configuration, arranged
from mainstem.parity.features.drill import Found, drilled
from mainstem.parity.features.faulty import FAULTS, World
from mainstem.parity.features.served import Course
from mainstem.workspace.evidence_desks import drill_measured
from mainstem.workspace.feature_parity_log import Pack, asked_of, unified
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log

Progress = Callable[[float, str], None]
EVENTS: Final = 30_000
"""Events of the log a drill is made on: those of some users, all of them."""
REQUESTS: Final = 400
LATE_SHARE: Final = 0.05
FAILED_SHARE: Final = 0.05


def silent(share: float, what: str = "") -> None:
    """Progress for nobody."""


def drill(
    workspace: Workspace, fault: str = "", seed: int | None = None, progress: Progress = silent
) -> tuple[Found, ...]:
    """Plants one fault, or every one, in the unified stack's server; written as evidence ``feature_drill``.

    Raises:
        FeatureError: No fault has this name (``parity-072``).
        DataError: There is no log (``data-001``).
    """
    if fault and fault not in FAULTS:
        raise FeatureError(f"no fault is called {fault!r}", code="parity-072", hint=did_you_mean(fault, FAULTS))
    seed = workspace.settings.seed if seed is None else seed
    world = drill_world(workspace, seed)
    names = (fault,) if fault else tuple(FAULTS)
    found = []
    for at, name in enumerate(names):
        progress(at / len(names), name)
        found.append(drilled(name, world, seed))
    progress(1.0, "done")
    workspace.write_evidence("feature_drill", {"seed": seed, "found": found})
    drill_measured(workspace, found, whole=not fault, at=datetime.now(UTC))
    return tuple(found)


def drill_world(workspace: Workspace, seed: int) -> World:
    """A part of the log: everything about some users, so that their past is whole."""
    pack = Pack.of(workspace, open_log(workspace))
    whole = unified(pack)
    configuration, kept = of_some_users(whole, seed)
    asked = few_asked(asked_of(pack, whole, len(pack.timed), seed), kept, seed)
    log = arranged(configuration.streams, seed, late_share=LATE_SHARE)
    return World(configuration, log, asked, Course(seed, restarts=1, other_process=False))


def of_some_users(configuration: Configuration, seed: int) -> tuple[Configuration, np.ndarray]:
    """The configuration with the events of some users only, and which of its events they are."""
    from dataclasses import replace

    events = configuration.streams["feedback"]
    users, sizes = np.unique(events.columns["user_id"], return_counts=True)
    order = np.random.default_rng(seed).permutation(len(users))
    chosen = users[order[np.cumsum(sizes[order]) <= EVENTS]]
    kept = np.flatnonzero(np.isin(events.columns["user_id"], chosen))
    some = events.take(kept)
    return replace(configuration, streams={"feedback": Events(np.arange(len(kept)), some.columns)}), kept


def few_asked(asked: Asked, kept: np.ndarray, seed: int) -> Asked:
    """Requests of these users, by time, whose outcomes are among the kept events."""
    mine = np.flatnonzero(np.isin(asked.own, kept))
    draw = np.random.default_rng(seed)
    at = np.sort(draw.choice(mine, min(REQUESTS, len(mine)), replace=False))
    few = asked.take(at)
    failed = draw.random(len(few)) < FAILED_SHARE
    own = np.searchsorted(kept, few.own)
    return Asked(few.request_id, few.time_ms, few.context, few.candidates, few.logged, failed, own)
