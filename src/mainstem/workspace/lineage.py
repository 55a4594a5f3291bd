"""Where does a served item come from: slate, model, what that learned from, definitions, and the log's rows behind each value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from mainstem.base.errors import FeatureError
from mainstem.data.log import Log
from mainstem.data.records import Impression
from mainstem.features.backfill import Requests
from mainstem.features.catalog import Catalog
from mainstem.features.dataset.entered import State, StateRead, Tracing, states_of
from mainstem.features.dataset.lineage import SHOWN, EventRow, SlateOrigin
from mainstem.features.dataset.record import FILE_NAME, read_record
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.reading import Reading
from mainstem.features.timeline import request_context
from mainstem.ranking.model import load_statics
from mainstem.workspace.definitions import attribute_tables, declared_in, feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.live_records import LiveRecords
from mainstem.workspace.log import open_log, split
from mainstem.workspace.registry import version_of
from mainstem.workspace.training_set import Offline

NOBODY_KNOWS: Final = "a stack that does not tell its place in the log"


@dataclass(frozen=True, slots=True)
class StateOrigin:
    """One state table that was read, and the events in it.

    Attributes:
        key: Whose state.
        window: How far back.
        events: How many.
        rows: The newest of them, newest first, with the table of the log and the row number there.
    """

    number: int
    source: str
    key: Mapping[str, int]
    window: str
    events: int
    first_offset: int
    last_offset: int
    rows: tuple[EventRow, ...]


@dataclass(frozen=True, slots=True)
class FeatureOrigin:
    """One feature of the item or its viewer.

    Attributes:
        values: Computed again by column, as of the request's place in the log.
        served: What was logged, by column; nothing where the impression does not hold it.
        states: Numbers of the state tables it reads.
        events: Different events behind it.
    """

    name: str
    role: str
    version: int
    fingerprint: str
    values: Mapping[str, float]
    served: Mapping[str, float]
    states: tuple[int, ...]
    events: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """One served item, back to rows.

    Attributes:
        place: From 0, the item's place on the slate.
        origin: ``live`` for a logged impression, ``log`` for a row of the imported log.
        model: What the model that ranked it says of itself.
        datasets: Training sets of the workspace from the same log and definitions: name to hash.
        agree: Logged columns that were compared with those computed again, and how many are equal in every bit.
        gaps: Links that are missing or do not fit, in words.
    """

    slate: SlateOrigin
    item_id: int
    place: int
    origin: str
    log: Mapping[str, Any]
    model: Mapping[str, Any]
    datasets: Mapping[str, str]
    features: tuple[FeatureOrigin, ...]
    states: tuple[StateOrigin, ...]
    agree: tuple[int, int]
    gaps: tuple[str, ...]


def lineage(workspace: Workspace, request_id: int, item_id: int) -> Lineage:
    """Follows a served item back to the rows of the log that entered its features.

    Raises:
        FeatureError: The request or the item on it is not known (``feature-094``).
        DataError: There is no log (``data-001``).
    """
    log = open_log(workspace)
    live = LiveRecords.read(workspace.live, tuple(workspace.settings.served()))
    served = live.impression(request_id)
    offline = _offline(workspace, log, live.feedback, model_folder(workspace, served)[0])
    slate = _of_impression(served) if served is not None else _of_row(workspace, log, offline, request_id)
    if slate is None or item_id not in slate.items:
        what = "no slate" if slate is None else f"the items {slate.items[:5]} and no item {item_id}"
        raise FeatureError(
            f"found {what} for request {request_id}",
            code="feature-094",
            hint="the live log holds what was served, impressions.parquet what was imported; look the request up there",
        )
    card, gaps = _card(workspace, served)
    gaps += _misfits(slate, offline, card, log, served is not None)
    place = slate.items.index(item_id)
    features, states, agree = _features(offline, declared_in(workspace), slate, item_id, served, place, log, live)
    return Lineage(
        slate, item_id, place, "live" if served is not None else "log",
        {"name": log.manifest.name, "sha256": log.manifest.sha256, "history": log.history.height,
         "impressions": log.impressions.height, "live": len(live.feedback)},
        card, _datasets(workspace, log, slate), features, states, agree, tuple(gaps),
    )  # fmt: skip


def _offline(workspace: Workspace, log: Log, later: FeedbackBatch, model: Path) -> Offline:
    """The imported log and what came while serving, with the constants of the model that ranked."""
    surfaces, features = tuple(workspace.settings.served()), feature_set(workspace)
    tables, statics = attribute_tables(workspace), load_statics(model)
    if statics is None:
        held = Offline.of(log, features, surfaces, split(workspace, log).validation_day, tables)
        statics = held.statics
    past, timed = FeedbackBatch.from_history(log.history), FeedbackBatch.from_frame(log.impressions, surfaces)
    catalog = Catalog.from_tables(log.items, log.users)
    return Offline(features, catalog, past, timed.then(later), surfaces, statics, 0, tables)


def _of_impression(one: Impression) -> SlateOrigin:
    context = {"scenario": one.scenario}
    return SlateOrigin(
        one.request_id, one.user_id, one.time_ms, one.as_of, tuple(one.ids().tolist()), one.stack, "", one.feature_set,
        context | {"surface": -1},
    )  # fmt: skip


def _of_row(workspace: Workspace, log: Log, offline: Offline, request_id: int) -> SlateOrigin | None:
    """A request of the imported log, as a ranker that learns from it sees it: after the declared delay of outcomes."""
    rows = log.impressions.with_row_index("row").filter(pl.col("request_id") == request_id).sort("position", "row")
    if not rows.height:
        return None
    first = int(rows["row"].min())  # type: ignore[arg-type]
    time_ms = int(rows["time_ms"][0])
    clock = np.maximum.accumulate(log.impressions["time_ms"].to_numpy())
    arrived = int(np.searchsorted(clock, time_ms - workspace.settings.training.feedback_delay_ms, side="right"))
    return SlateOrigin(
        request_id, int(rows["user_id"][0]), time_ms, len(offline.past) + min(first, arrived),
        tuple(rows["item_id"].to_list()), rows["stack"][0] or "the log does not say", "", offline.features.fingerprint,
        {"scenario": int(rows["scenario"][0])},
    )  # fmt: skip


def _card(workspace: Workspace, served: Impression | None) -> tuple[dict[str, Any], list[str]]:
    """What the model that ranked a slate says of itself, its definitions left to the features."""
    folder, gaps = model_folder(workspace, served)
    try:
        text = (folder / "model.json").read_bytes()
        card = json.loads(text)
    except (OSError, ValueError):
        return {}, [*gaps, "the workspace has no model"]
    taught = card.get("learned_from", {})
    told = {
        name: taught[name] for name in ("log", "offsets", "rows", "validation_day", "feature_set") if name in taught
    }
    if not taught:
        gaps.append("the model's card does not say what it learned from: it was trained by an older version")
    return {
        "card": hashlib.sha256(text).hexdigest(),
        "version": version_of(folder),
        "signature": card.get("signature", ""),
        "learned_from": taught.get("sha256", ""),
        "label_rule": taught.get("label_rule", {}).get("name", ""),
    } | told, gaps


def model_folder(workspace: Workspace, served: Impression | None) -> tuple[Path, list[str]]:
    """The folder of the model that ranked a slate, and what is not known of it, in words."""
    now = workspace.unified_model
    if served is None:
        return now, []
    if not served.model:
        return now, ["the impression does not name its model: told is the one that serves now"]
    held = [one.id for one in workspace.models().versions()]
    if served.model not in held:
        return now, [
            f"version {served.model} of the model is not in the workspace any more: told is the one that serves now"
        ]
    return workspace.models().path(workspace.models().get(served.model)), []


def _misfits(slate: SlateOrigin, offline: Offline, card: Mapping[str, Any], log: Log, live: bool) -> list[str]:
    found = []
    if slate.as_of < 0:
        found.append(f"it was served by {NOBODY_KNOWS}: no event can be named")
    if slate.features_version != offline.features.fingerprint:
        found.append(
            f"served with features {slate.features_version or 'unknown'}, computed again with"
            f" {offline.features.fingerprint}: the definitions have changed since"
        )
    if card and card["signature"] != offline.features.fingerprint:
        found.append(
            f"the model reads features {card['signature']}, the workspace declares {offline.features.fingerprint}"
        )
    if card.get("log") and card["log"]["sha256"] != log.manifest.sha256:
        found.append(
            f"the model learned from log {card['log']['name']} {card['log']['sha256'][:12]}, not from this one"
        )
    if not live and card.get("offsets") and card["offsets"][1] >= slate.as_of:
        found.append(
            f"the model learned from offsets up to {card['offsets'][1]:,}, the request saw those below {slate.as_of:,}:"
            " for this row the model has seen the future"
        )
    return found


def _datasets(workspace: Workspace, log: Log, slate: SlateOrigin) -> dict[str, str]:
    out = {}
    for path in sorted(Path(workspace.folder / "datasets").glob(f"*/{FILE_NAME}")):
        record = read_record(path.parent)
        if record.log.sha256 == log.manifest.sha256 and record.features_version == slate.features_version:
            out[record.name] = record.sha256
    return out


def _features(
    offline: Offline,
    own: list[Any],
    slate: SlateOrigin,
    item_id: int,
    served: Impression | None,
    place: int,
    log: Log,
    live: LiveRecords,
) -> tuple[tuple[FeatureOrigin, ...], tuple[StateOrigin, ...], tuple[int, int]]:
    """Every value computed again as of the request's place in the log, with the events that entered it."""
    if slate.as_of < 0:
        return (), (), (0, 0)
    tracing = Tracing(offline.plan, offline.tables, {"feedback": Events.from_feedback(offline.feedback, 0)})
    reading = Reading(offline.plan, offline.tables, offline.columns(own))
    context = _context(offline, slate, item_id, served, log)
    values, looks = tracing.trace(reading, Requests(context, np.array([slate.as_of])))
    logged = _logged(offline, served, place)
    rows = _Rows(log, live, offline.feedback)
    numbered = {id(look): number for number, look in enumerate(looks)}
    by_state: dict[State, list[StateRead]] = {}
    for look in looks:
        by_state.setdefault(look.state, []).append(look)
    found, compared, same = [], 0, 0
    for name in dict.fromkeys(column.feature.name for column in reading.columns):
        feature = offline.features.by_name[name]
        read = [look for state in states_of(offline.plan, offline.tables, feature) for look in by_state.get(state, ())]
        told = {column: _value(values[column], feature.when_empty) for column in feature.columns}
        was = {column: logged[column] for column in feature.columns if column in logged}
        compared += len(was)
        same += sum(np.float32(told[column]).tobytes() == np.float32(value).tobytes() for column, value in was.items())
        entered = np.unique(np.concatenate([look.offsets for look in read])) if read else np.empty(0, np.int64)
        numbers = tuple(sorted(numbered[id(look)] for look in read))
        print_ = offline.features.fingerprints[name]
        found.append(FeatureOrigin(name, feature.role, feature.version, print_, told, was, numbers, len(entered)))
    states = tuple(_state(number, look, rows) for number, look in enumerate(looks))
    return tuple(found), states, (same, compared)


def _context(offline: Offline, slate: SlateOrigin, item_id: int, served: Impression | None, log: Log) -> dict[str, Any]:
    if served is None:
        shown = log.impressions.select("request_id", "item_id")
        mine = shown.select(
            ((pl.col("request_id") == slate.request_id) & (pl.col("item_id") == item_id)).arg_max()
        ).item()
        return request_context(offline.feedback, np.array([len(offline.past) + mine]))
    surface = offline.surfaces.index(served.surface) if served.surface in offline.surfaces else -1
    return {
        "user_id": np.array([slate.user_id]),
        "now_ms": np.array([slate.time_ms]),
        "surface": np.array([surface]),
        "scenario": np.array([served.scenario]),
        "item_id": np.array([[item_id]]),
    }


def _logged(offline: Offline, served: Impression | None, place: int) -> dict[str, float]:
    """The columns that an impression holds of its viewer and of one item, where they are still the declared ones."""
    if served is None or served.feature_set != offline.features.fingerprint:
        return {}
    names = {role: offline.features.columns_of(role) for role in ("user", "item", "cross")}
    candidate, viewer = (*names["item"], *names["cross"]), served.viewer()
    out: dict[str, float] = {}
    if len(viewer) == len(names["user"]):
        out |= dict(zip(names["user"], viewer.tolist(), strict=True))
    if served.features:
        row = served.array("features")[place]
        # What is logged of an item is the viewer's side and its own, or its own alone.
        own = row[len(row) - len(candidate) :] if len(row) >= len(candidate) else row[:0]
        out |= dict(zip(candidate, own.tolist(), strict=True)) if len(own) else {}
    return out


def _value(found: Any, empty: float) -> float:
    value = float(np.ravel(found)[0])
    return empty if value != value else value


def _state(number: int, look: StateRead, rows: _Rows) -> StateOrigin:
    offsets = look.offsets
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (-1, -1)
    newest = tuple(rows.of(int(offset)) for offset in offsets[-SHOWN:][::-1])
    return StateOrigin(number, look.source, look.key, look.window, len(offsets), first, last, newest)


class _Rows:
    """Where an offset lies: which table of the log, and which row of it."""

    def __init__(self, log: Log, live: LiveRecords, feedback: FeedbackBatch) -> None:
        order = ["back", "user_id"]
        history = log.history.with_row_index("row").sort(order, descending=[True, False], maintain_order=True)
        self._history = history["row"].to_numpy()
        self._first_live = len(self._history) + log.impressions.height
        self._live, self._feedback = live, feedback

    def of(self, offset: int) -> EventRow:
        """The row of one offset."""
        time_ms = int(self._feedback.time_ms[offset])
        if offset < len(self._history):
            return EventRow("log/history.parquet", int(self._history[offset]), offset, time_ms)
        if offset < self._first_live:
            return EventRow("log/impressions.parquet", offset - len(self._history), offset, time_ms)
        return EventRow("live/events.sqlite", int(self._live.offsets[offset - self._first_live]), offset, time_ms)
