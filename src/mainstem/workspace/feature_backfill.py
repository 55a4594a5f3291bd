"""The values of declared features for every logged impression as side files, and their values now."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mainstem.base.errors import RequestError, StoreError, did_you_mean
from mainstem.data.log import Log
from mainstem.features.catalog import Catalog
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.feature import EMPTY, KNOWN, STATES, Feature
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading
from mainstem.features.statics import Rates, Statics
from mainstem.features.timeline import Timeline
from mainstem.features.unified_state import readable, told_values
from mainstem.features.unified_tables import unified_tables
from mainstem.ranking.lesson import timeline
from mainstem.ranking.model import load_statics
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class SideFile:
    """One feature's values for every impression of the log, in the log's order.

    Attributes:
        path: A folder with ``values.parquet`` (``row``, ``time_ms``, ``as_of`` and a column with its state each) and
            ``manifest.json``.
        known: Share of the values that are known.
        cpu_s: What it took.
    """

    name: str
    path: Path
    rows: int
    known: dict[str, float]
    mean: dict[str, float]
    cpu_s: float
    wall_s: float


def backfill(workspace: Workspace, name: str, progress: Progress = lambda share: None) -> SideFile:
    """Computes a feature for every logged impression as of what its server had seen, and writes it beside the log.

    Raises:
        FeatureError: There is no such feature (``feature-017``), or it is one that has no value of its own.
        DataError: There is no log (``data-001``).
        StoreError: The disk refused it (``store-010``); nothing is left under the final name.
    """
    features, log = feature_set(workspace), open_log(workspace)
    feature = readable(features, name)
    wall, cpu = time.perf_counter(), time.process_time()
    line = _timeline(workspace, log, features.only([feature.name]))
    first = len(line.feedback) - log.impressions.height
    asked = np.arange(first, len(line.feedback))
    found = line.columns(feature.columns, asked, progress)
    frame = pl.DataFrame({"row": asked - first, "time_ms": line.feedback.time_ms[asked], "as_of": found.as_of})
    known, mean = {}, {}
    for column, values in found.found.items():
        side = _side(feature, column, values, found.empties.get(column, 0.0))
        frame = frame.with_columns(side)
        known[column] = float((side[1] == KNOWN).mean() or 0.0)  # type: ignore[arg-type]
        told = side[0].list.len() if values.dtype == object else side[0]
        mean[column] = float(told.mean() or 0.0)  # type: ignore[arg-type]
    path = _write(workspace, log, features, feature, frame)
    return SideFile(name, path, len(asked), known, mean, time.process_time() - cpu, time.perf_counter() - wall)


def _side(feature: Feature, column: str, values: np.ndarray, empty: float) -> list[pl.Series]:
    """A column's values as they are read, and what kind of value each is."""
    if values.dtype == object:
        lists = pl.Series(column, values.tolist(), dtype=pl.List(pl.Float64))
        state = np.where(lists.list.len().to_numpy() == 0, EMPTY, KNOWN)
        return [lists, pl.Series(f"{column}__state", state.astype(np.uint8))]
    state = np.where(np.isnan(values), EMPTY, KNOWN)
    told = np.where(state == EMPTY, empty, values).astype(feature.dtype)
    return [pl.Series(column, told), pl.Series(f"{column}__state", state.astype(np.uint8))]


def read_now(workspace: Workspace, name: str, user_id: int, item_id: int, surface: str) -> list[dict[str, Any]]:
    """What the server would read now, at the end of the log: each column with its value and what kind of value it is.

    Raises:
        FeatureError: There is no such feature (``feature-017``).
        RequestError: The surface is not configured (``request-001``).
    """
    features, log = feature_set(workspace), open_log(workspace)
    feature = readable(features, name)
    surfaces = tuple(workspace.settings.served())
    if surface not in surfaces:
        raise RequestError(
            f"surface {surface!r} is not configured", code="request-001", hint=did_you_mean(surface, surfaces)
        )
    tables = unified_tables(Catalog.from_tables(log.items, log.users), _statics(workspace, log))
    tables |= attribute_tables(workspace)
    state = LiveState(Plan(features.only([feature.name])), tables)
    past = FeedbackBatch.from_history(log.history)
    state.apply("feedback", Events.from_feedback(past.then(FeedbackBatch.from_frame(log.impressions, surfaces)), 0))
    reading = Reading(state.plan, tables, feature.columns)
    given = {
        "user_id": np.array([user_id]),
        "now_ms": np.array([int(log.impressions["time_ms"].max() or 0)]),  # type: ignore[arg-type]
        "surface": np.array([surfaces.index(surface)]),
        "scenario": np.array([-1]),
        "item_id": np.array([[item_id]]),
    }
    found = state.read(reading, given)
    rows: list[dict[str, Any]] = []
    for column in reading.columns:
        values = found[column.vector][..., column.place] if column.vector else found[column.name]
        rows += told_values(column, np.ravel(values), given["item_id"][0] if values.ndim > 1 else None)
    return rows + [{"name": one.name, "value": found[one.name][0], "state": STATES[KNOWN]} for one in reading.lists]


def _timeline(workspace: Workspace, log: Log, features: FeatureSet) -> Timeline:
    settings = workspace.settings
    return timeline(
        Catalog.from_tables(log.items, log.users),
        _statics(workspace, log),
        log.impressions,
        log.history,
        tuple(settings.served()),
        settings.training.feedback_delay_ms,
        features,
        attribute_tables(workspace),
    )


def _statics(workspace: Workspace, log: Log) -> Statics:
    """The learned constants of the workspace's model; without a model, those of the log's first days."""
    held = load_statics(workspace.unified_model)
    if held is not None:
        return held
    early_days = log.impressions.filter(pl.col("day") < split(workspace, log).validation_day)
    early = FeedbackBatch.from_frame(early_days, tuple(workspace.settings.served()))
    both = FeedbackBatch.from_history(log.history).then(early)
    return Statics.fit(Catalog.from_tables(log.items, log.users), both, Rates.fit(both))


def _write(workspace: Workspace, log: Log, features: FeatureSet, feature: Feature, frame: pl.DataFrame) -> Path:
    """Writes the side file whole or not at all; one of the same meaning is replaced."""
    print_ = features.fingerprints[feature.name]
    path = workspace.folder / "features" / f"{feature.name}@{feature.version}-{print_}"
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    manifest = {
        "feature": feature.name,
        "version": feature.version,
        "fingerprint": print_,
        "columns": list(feature.columns),
        "rows": frame.height,
        "log": log.manifest.sha256,
        "as_of": "log offset; events with a smaller one were seen",
    }
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(scratch / "values.parquet")
        (scratch / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        if path.exists():
            shutil.rmtree(path)
        scratch.replace(path)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise StoreError(f"the values of {feature.name!r} were not written: {error}", code="store-010") from None
    return path
