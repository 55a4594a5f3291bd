"""The model after a new day: yesterday's weights, one pass over what came since, a new version; and whether that pays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.data.log import Log
from mainstem.evaluate.intervals import Interval, resample
from mainstem.evaluate.metrics import auc_by_user
from mainstem.features.catalog import Catalog
from mainstem.features.timeline import Timeline
from mainstem.ranking.lesson import Lesson, timeline
from mainstem.ranking.model import Model, load_model
from mainstem.ranking.rows import rows_in_memory
from mainstem.ranking.rows_on_disk import rows_on_disk
from mainstem.ranking.stability import Judged, Limits, Span, stability
from mainstem.workspace.definitions import attribute_tables, feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split
from mainstem.workspace.registry import version_of
from mainstem.workspace.training_set import RULES

if TYPE_CHECKING:
    from mainstem.ranking.warm import WarmSettings

Progress = Callable[..., None]
EVERY_DAY: Final = 0
"""Stands for all judged days together."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A version that went on from another.

    Attributes:
        days: What it learned beyond its parent.
        warm: What the card says of each of those days.
        judged_days: Test days of the workspace's split that it has learned from: figures on them say nothing any more.
    """

    version: str
    parent: str
    days: tuple[int, ...]
    warm: tuple[dict[str, Any], ...]
    judged_days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DayGain:
    """One head on one day: yesterday's weights gone on with, against weights that stand still. Both read the same fresh state.

    Attributes:
        day: As yyyymmdd; 0 for all days together.
        gain: AUC of the refreshed model less that of the frozen one, paired over users.
        entropy: By which share the refreshed one's normalised entropy is above the frozen one's; below 0 is better.
        frozen: Predicted over observed of the frozen one.
        refreshed: The same of the refreshed one.
    """

    head: str
    day: int
    rows: int
    positives: int
    auc_frozen: float | None
    auc_refreshed: float | None
    gain: Interval | None
    entropy: Span
    frozen: Span
    refreshed: Span


def refresh(
    workspace: Workspace,
    until: int | None = None,
    settings: WarmSettings | None = None,
    progress: Progress = lambda share, what="": None,
    folder: Path | None = None,
) -> Refreshed:
    """Goes on from the version that serves, day by day, over every day of the log that it has not learned.

    Args:
        workspace: Whose log and model.
        until: The last day to learn; the log's last one when not given.
        settings: How it goes on.
        progress: Told the share that is done and what is being done.
        folder: A scratch folder for features of more rows than memory holds.

    Raises:
        ModelError: There is no model (``model-002``), it learned from another log (``model-047``), or no day is new
            (``model-045``).
    """
    from mainstem.ranking.warm import continue_training

    workspace.models().adopt()
    log, model, parent = _opened(workspace)
    days = tuple(day for day in new_days(log, model.card) if until is None or day <= until)
    if not days:
        raise ModelError(
            f"the model has learned up to {learned_until(log, model.card)}, and the log has no later day to learn",
            code="model-045",
            hint="mainstem data import brings newer days in",
        )
    line, told = _line(workspace, log, model), list[dict[str, Any]]()
    for at, day in enumerate(days):
        lesson = day_lesson(line, log, model, (day,), None if folder is None else folder / str(day))
        model = continue_training(model, lesson, settings, _part(progress, at, len(days), f"{day}: "))
        told.append({"day": day} | model.card["warm"])
    identity = _learned(workspace, log, model, days)
    card = model.card | {"learned_from": identity, "warm": told, "continued": parent}
    model = replace(model, card=card)
    version = workspace.models().add(
        model.save, card, parents=(parent,) if parent else (), reason=f"learned {days[-1]}"
    )
    return Refreshed(version.id, parent, days, tuple(told), _judged_days(workspace, log, days))


def rolling(
    workspace: Workspace,
    settings: WarmSettings | None = None,
    days: Sequence[int] | None = None,
    heads: Sequence[str] = ("long_view", "click", "like"),
    progress: Progress = lambda share, what="": None,
) -> tuple[DayGain, ...]:
    """What refreshing the weights every night is worth: each new day judged before it is learned. Writes no version.

    Args:
        workspace: Whose log, and whose serving version stands still on one side.
        settings: How the other side goes on.
        days: The days to judge; every day after the first new one when not given.
        heads: Which heads are told of.
        progress: Told the share that is done.
    """
    from mainstem.ranking.warm import continue_training

    log, frozen, _ = _opened(workspace)
    line, moving, fresh = _line(workspace, log, frozen), frozen, new_days(log, frozen.card)
    said: list[tuple[int, Lesson, NDArray[np.float32], NDArray[np.float32]]] = []
    for at, day in enumerate(fresh):
        lesson = day_lesson(line, log, frozen, (day,))
        if at and (days is None or day in days):
            said.append((day, lesson, _said(frozen, lesson), _said(moving, lesson)))
        moving = continue_training(moving, lesson, settings, _part(progress, at, len(fresh), f"{day}: "))
    surfaces = tuple(workspace.settings.served())
    return tuple(gain for group in _groups(said) for gain in _gains(*group, heads, surfaces, workspace.settings.seed))


def new_days(log: Log, card: dict[str, Any]) -> tuple[int, ...]:
    """Days of the log that a model has not learned from."""
    last = learned_until(log, card)
    return tuple(day for day in log.days if day > last)


def learned_until(log: Log, card: dict[str, Any]) -> int:
    """The last day that a model has learned from; a first training learns up to the day before its validation day."""
    taught = card.get("learned_from", {})
    if "days" in taught:
        return int(taught["days"][-1])
    before = [day for day in log.days if day < int(taught.get("validation_day", 0))]
    return before[-1] if before else 0


def day_lesson(line: Timeline, log: Log, model: Model, days: Sequence[int], folder: Path | None = None) -> Lesson:
    """The impressions of some days, all to be learned from, with features by a model's own constants."""
    asked = len(line.feedback) - log.impressions.height + np.flatnonzero(
        np.isin(log.impressions["day"].to_numpy(), list(days))
    )  # fmt: skip
    train = np.ones(len(asked), np.bool_)
    rows = rows_in_memory(line.values(asked), train) if folder is None else rows_on_disk(line, asked, train, folder)
    return Lesson(line.catalog, model.statics, rows, line.feedback.take(asked), train, train, model.features)


def _opened(workspace: Workspace) -> tuple[Log, Model, str]:
    """The log, the model that serves and its version."""
    log, folder = open_log(workspace), workspace.unified_model
    model = load_model(folder, feature_set(workspace))
    taught = model.card.get("learned_from", {}).get("log", {})
    if taught.get("name", log.manifest.name) != log.manifest.name:
        raise ModelError(
            f"the model learned from the log {taught['name']!r}, the workspace now holds {log.manifest.name!r}",
            code="model-047",
            hint="train anew with `mainstem train`",
        )
    return log, model, version_of(folder)


def _line(workspace: Workspace, log: Log, model: Model) -> Timeline:
    return timeline(
        Catalog.from_tables(log.items, log.users), model.statics, log.impressions, log.history,
        tuple(workspace.settings.served()), workspace.settings.training.feedback_delay_ms, model.features,
        attribute_tables(workspace),
    )  # fmt: skip


def _learned(workspace: Workspace, log: Log, model: Model, days: tuple[int, ...]) -> dict[str, Any]:
    """What the new version learned beyond its parent, in the words of ``learned_from``."""
    rows = np.flatnonzero(np.isin(log.impressions["day"].to_numpy(), days)) + log.history.height
    before = model.card.get("learned_from", {})
    said: dict[str, Any] = {
        "feature_set": model.features.fingerprint,
        "definitions": before.get("definitions", {}),
        "inputs": before.get("inputs", {}),
        "log": {"name": log.manifest.name, "sha256": log.manifest.sha256},
        "offsets": [int(rows[0]), int(rows[-1])],
        "rows": {"train": len(rows), "validation": 0},
        "days": list(days),
        "validation_day": before.get("validation_day", 0),
        "label_rule": msgspec.to_builtins(RULES["own"]),
        "feedback_delay_ms": workspace.settings.training.feedback_delay_ms,
        "surfaces": list(workspace.settings.served()),
        "beyond": before.get("sha256", ""),
    }
    return said | {"sha256": hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()}


def _judged_days(workspace: Workspace, log: Log, days: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(day for day in split(workspace, log).test_days if day in days)


def _said(model: Model, lesson: Lesson) -> NDArray[np.float32]:
    v = lesson.values
    raw = model.network(lesson.catalog).many(v.user, v.item_row, v.item, v.cross)
    return model.calibrators().apply_many(raw, lesson.feedback.surface)[:, : len(HEADS)]


def _groups(
    said: list[tuple[int, Lesson, NDArray[np.float32], NDArray[np.float32]]],
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int8], NDArray[np.int8], NDArray[Any], NDArray[Any]]]:
    """Each day's rows, then those of all days: day, users, surfaces, outcomes, and what both models say."""
    parts = [
        (day, one.feedback.user_id, one.feedback.surface, one.feedback.outcomes, still, moving)
        for day, one, still, moving in said
    ]
    yield from parts
    if parts:
        _, *columns = zip(*parts, strict=True)
        users, surface, outcomes, still, moving = (np.concatenate(column) for column in columns)
        yield EVERY_DAY, users, surface, outcomes, still, moving


def _gains(
    day: int,
    users: NDArray[np.int64],
    surface: NDArray[np.int8],
    outcomes: NDArray[np.int8],
    still: NDArray[np.floating],
    moving: NDArray[np.floating],
    heads: Sequence[str],
    surfaces: tuple[str, ...],
    seed: int,
) -> Iterator[DayGain]:
    n = len(users)
    judged = Judged(HEADS, surfaces, outcomes, surface, users, np.full(n, day, np.int32), np.arange(n))
    cells = {
        cell.head: cell
        for cell in stability(still, moving, judged, limits=Limits(), seed=seed).cells
        if cell.surface == "all"
    }
    for name in heads:
        head, known = HEADS.index(name), outcomes[:, HEADS.index(name)] >= 0
        if name not in cells:
            continue
        ids, at = np.unique(users[known], return_inverse=True)
        label = (outcomes[known, head] == 1).astype(np.float64)
        one, two = (auc_by_user(p[known, head].astype(np.float64), label, at, len(ids)) for p in (still, moving))
        gain = None if one is None or two is None else resample([two, one], ids, seed=seed).interval([1, -1])
        cell = cells[name]
        yield DayGain(
            name, day, cell.rows, cell.positives, None if one is None else one.value(),
            None if two is None else two.value(), gain, cell.rise, cell.before, cell.after,
        )  # fmt: skip


def _part(progress: Progress, at: int, parts: int, what: str) -> Callable[[float, str], None]:
    return lambda share, told: progress((at + share) / parts, what + told)
