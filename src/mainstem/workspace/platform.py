"""The unified stack of a workspace, made from its log and model: for a replay, and live."""

from __future__ import annotations

import hashlib
import logging
from typing import Final

import numpy as np
import polars as pl

from mainstem.base.clock import Clock, FollowingClock, SystemClock
from mainstem.base.errors import DataError, StoreError
from mainstem.control.filters import FINE
from mainstem.data.log import Log
from mainstem.data.records import IdTable
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.steps import Tables
from mainstem.features.unified_state import FeatureState
from mainstem.ranking.model import Model, load_model
from mainstem.stacks.follow import Follower
from mainstem.stacks.live import Live, OffsetClock, popular_rows
from mainstem.stacks.neutral import reading_neutral, with_neutral
from mainstem.stacks.remote import RemoteStack
from mainstem.stacks.rule_chain import ControlFiles
from mainstem.stacks.stage import Stack
from mainstem.stacks.unified import unified
from mainstem.stacks.why import Why
from mainstem.stacks.withdrawals import Withdrawals
from mainstem.store.blocked_list import BlockedList
from mainstem.store.day_counts import DayCounts
from mainstem.store.event_log import EventLog
from mainstem.store.withdrawn_items import WithdrawnItems
from mainstem.workspace.brought import with_brought
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.live_records import newest_live_ms
from mainstem.workspace.log import open_log
from mainstem.workspace.registry import version_of
from mainstem.workspace.retrieval import open_retrieval
from mainstem.workspace.students import open_taught

LOG = logging.getLogger("mainstem.platform")
_FORGOTTEN_MS: Final = 30 * 86_400_000
"""What a viewer was served is dropped at the next start when nothing was since this long."""
_STEP = 20_000
"""Events applied at once while a state is made: small enough that day windows move on."""


def state_of(
    log: Log,
    model: Model,
    surfaces: tuple[str, ...],
    until: int | None = None,
    tables: Tables | None = None,
    limit_mb: int = 0,
) -> FeatureState:
    """The behavioural state after the log's history and its impressions, all or those of days before ``until``."""
    state = FeatureState(
        Catalog.from_tables(log.items, log.users), model.statics, model.features, tables, limit_mb << 20
    )
    state.apply(FeedbackBatch.from_history(log.history))
    rows = log.impressions if until is None else log.impressions.filter(pl.col("day") < until)
    for start in range(0, rows.height, _STEP):
        state.apply(FeedbackBatch.from_frame(rows.slice(start, _STEP), surfaces))
    return state


def open_stack(
    workspace: Workspace,
    log: Log | None = None,
    until: int | None = None,
    state: FeatureState | None = None,
    files: ControlFiles | None = None,
) -> Stack:
    """The workspace's unified stack, with the state after its log.

    Args:
        workspace: Whose settings and model.
        log: Its log, when it is open already.
        until: Only what happened before this day.
        state: The state after the log, when another stack over it has made it already.
        files: What is remembered over requests; nothing when None, as in a replay.

    Raises:
        ModelError: There is no model, or one for other features (``model-001``, ``model-002``).
        DataError: There is no log (``data-001``).
        ConfigError: A surface's value asks for a legacy order nobody was taught (``value-003``).
    """
    log = open_log(workspace) if log is None else log
    model = load_model(workspace.unified_model, feature_set(workspace))
    surfaces = tuple(workspace.settings.served())
    limit_mb = workspace.settings.features.limit_mb
    state = state or state_of(log, model, surfaces, until, attribute_tables(workspace), limit_mb)
    stack = unified(
        state.catalog, model, state, workspace.settings, _end_ms(log, until), open_retrieval(workspace), files
    )
    for memory in stack.memories[1:]:
        memory.apply(FeedbackBatch.from_frame(log.impressions, surfaces))
    asking = reading_neutral(workspace.settings)
    taught = open_taught(workspace, log, until, asking)
    return with_neutral(with_brought(workspace, stack), workspace.settings, taught)


def renewed_state(workspace: Workspace, log: Log) -> FeatureState:
    """The state after the log by the definitions as the workspace's file declares them now.

    Raises:
        FeatureError: They make no sense (``feature-…``).
        ModelError: The model reads other features than they declare (``model-001``).
    """
    settings = Workspace.open(workspace.folder).settings
    now = Workspace(workspace.folder, settings)
    model = load_model(now.unified_model, feature_set(now))
    surfaces = tuple(workspace.settings.served())
    return state_of(log, model, surfaces, None, attribute_tables(now), settings.features.limit_mb)


def open_live(workspace: Workspace, clock: Clock | None = None) -> Live:
    """The workspace's platform, ready to serve: stack, durable log, outside stacks."""
    log = open_log(workspace)
    clock = clock or _clock(workspace, log)
    stack = open_stack(workspace, log, files=_control_files(workspace, clock))
    events = EventLog(workspace.live / "events.sqlite")
    surfaces = tuple(workspace.settings.served())
    return Live(
        stack,
        workspace.settings,
        clock,
        events,
        Follower(events, stack, surfaces, workspace.live / "state", _base(workspace, log)),
        _fallback(log, stack.catalog),
        ids=IdTable.read(workspace.log),
        model=version_of(workspace.unified_model),
        renewed=lambda: renewed_state(workspace, log),
        withdrawals=_withdrawals(workspace, stack, clock),
        remotes={
            name: RemoteStack(name, remote.url, workspace.settings.serve.remote_budget_ms / 1e3)
            for name, remote in workspace.settings.remote.items()
        },
    )


def explain_item(workspace: Workspace, user: str, item: str, surface: str) -> Why:
    """Why this viewer is, or is not, shown this item now. Ids may be the log's own texts.

    Raises:
        RequestError: The surface is not configured (``request-001``), or an id is not one of this log's (``data-022``).
    """
    live = open_live(workspace)
    try:
        live.follower.start()
        user_id, item_id = (int(user), int(item)) if live.ids is None else (live.ids.user(user), live.ids.item(item))
        return live.explain(live.request(0, user_id, surface), item_id)
    except ValueError:
        raise DataError(
            f"found ids {user!r} and {item!r}, expected whole numbers: this log's ids are numbers", code="data-022"
        ) from None
    finally:
        live.log.close()


def _withdrawals(workspace: Workspace, stack: Stack, clock: Clock) -> Withdrawals | None:
    if stack.withdrawn is None:
        return None
    return Withdrawals(WithdrawnItems(workspace.live / "withdrawn.sqlite"), stack.catalog, stack.withdrawn, clock)


def _control_files(workspace: Workspace, clock: Clock) -> ControlFiles:
    """What the rules remember over requests and processes."""
    kept = max(surface.rules.seen for surface in workspace.settings.served().values())
    counts = DayCounts(workspace.live / "served.sqlite", keep=kept)
    try:
        counts.forget(clock.now_ms() - _FORGOTTEN_MS)
    except StoreError as error:  # old rows harm nobody; a disk that fails is told by the first slate
        LOG.warning("viewers who left were not forgotten: %s", error)
    return ControlFiles(
        counts,
        BlockedList(workspace.live / "blocked.sqlite"),
        clock,
    )


def _base(workspace: Workspace, log: Log) -> str:
    """Names what the memories were before the first live record: another log or model makes their snapshots worthless."""
    model = hashlib.sha256((workspace.unified_model / "model.npz").read_bytes()).hexdigest()
    return f"{log.manifest.sha256[:12]}-{model[:12]}"


def _clock(workspace: Workspace, log: Log) -> Clock:
    system = SystemClock()
    if workspace.settings.serve.clock == "records":
        return FollowingClock(_newest_ms(workspace, log))
    return OffsetClock(system, _end_ms(log, None)) if workspace.settings.serve.clock == "log" else system


def _newest_ms(workspace: Workspace, log: Log) -> int:
    """The latest time of the log and of the live records after it: a server that starts again does not go back in time."""
    return max(newest_live_ms(workspace.live), _end_ms(log, None))


def _end_ms(log: Log, until: int | None) -> int:
    times = log.impressions if until is None else log.impressions.filter(pl.col("day") < until)
    return int(times["time_ms"].max() or 0) + 1_000  # type: ignore[arg-type]


def _fallback(log: Log, catalog: Catalog) -> np.ndarray:
    """Most shown items whose safety check is done: what anybody may be shown when nothing else works."""
    shown = np.bincount(
        np.maximum(catalog.item_rows(log.impressions["item_id"].to_numpy()), 0), minlength=len(catalog.items)
    )
    return popular_rows(shown, catalog.items.integrity[:-1] == FINE)
