"""Did what the ranker reads move away from the training days? Features by day, label delay and freshness, with alarms."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.base.errors import DataError
from mainstem.data.log import Log
from mainstem.features.language.feature import Feature
from mainstem.parity.features.configuration import Asked, Configuration, arranged
from mainstem.parity.features.drift import Alarm, Delays, DriftReport, FeatureDay, Thresholds, drift
from mainstem.parity.features.everything import Everything, kinds_of
from mainstem.parity.features.meta import DAY_MS, FeatureMeta
from mainstem.parity.features.recomputed import Recomputed
from mainstem.parity.features.value_rows import Rows, metas_of
from mainstem.workspace.feature_parity_history import commit
from mainstem.workspace.feature_parity_log import Pack, unified
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split

NAME: Final = "feature_drift"
PER_DAY: Final = 400
"""Requests that are drawn of each day, unless told."""
JUMP: Final = 0.25
"""The stability index beyond chance, a day against the day before, that is customarily called a shift."""
JUMP_TIMES: Final = 2.0
"""A jump must also be so many times the feature's largest between two training days."""
SHIFT: Final = 0.2
"""And its quantiles must have gone that far, as a share of the day before's range."""
FRESHNESS_TIMES: Final = 3.0
"""How many times the training days' p99 the newest event's age may be, but at least a minute."""
UNKNOWN: Final = ("label delay: a log of outcomes says when each was shown, and not when its outcome became known",)
"""What a log without a second time cannot tell."""
LOG: Final = logging.getLogger("mainstem.features")
Ints = NDArray[np.int64]
DayOf = Callable[[Ints], Ints]


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """One threshold exceeded on one day, told in words; ``value`` and ``limit`` as in ``drift.Alarm``."""

    kind: str
    name: str
    day: str
    value: float
    limit: float
    sentence: str


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature on one day against the training days.

    ``index`` is the population stability index less what chance alone gives.
    """

    name: str
    day: str
    rows: int
    index: float
    missing_share: float
    reference_missing_share: float


@dataclass(frozen=True, slots=True)
class DelayDrift:
    """Quantiles of one delay on one day, in milliseconds; None where none is known."""

    name: str
    day: str
    rows: int
    unknown_share: float
    p50: float | None
    p90: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Drifted:
    """The whole answer: alarms strongest first, then every feature on every day after the training days.

    Attributes:
        psi_max: The largest index, and ``psi_worst`` the feature it belongs to.
        unknown: What could not be measured on this log, each with its reason.
    """

    sentence: str
    stack: str
    source: str
    reference: tuple[str, str]
    requests: int
    watched: int
    psi_max: float
    psi_worst: str
    alarms: tuple[DriftAlarm, ...]
    features: tuple[FeatureDrift, ...]
    delays: tuple[DelayDrift, ...]
    thresholds: Thresholds
    unknown: tuple[str, ...]
    commit: str
    made_at_ms: int
    seconds: float


def watch(workspace: Workspace, per_day: int = PER_DAY, seed: int | None = None) -> Drifted:
    """Compares each later day of the log with the training days, writes evidence, and logs each alarm as a warning.

    Args:
        workspace: Where the log lies.
        per_day: Requests drawn of each day.
        seed: Decides which; the workspace's own when None.

    Raises:
        DataError: There is no log (``data-001``).
    """
    log = open_log(workspace)
    pack = Pack.of(workspace, log)
    seed = workspace.settings.seed if seed is None else seed
    zone_ms = log.manifest.utc_offset_min * 60_000
    configuration = unified(pack)
    asked = sampled(pack, configuration, per_day, seed, zone_ms)
    last = training_until(workspace, log)
    found = drifted(configuration, asked, last, zone_ms, seed, source="made" if log.manifest.made else "real")
    workspace.write_evidence(NAME, found)
    warn(found)
    return found


def warn(found: Drifted) -> None:
    """One warning for each alarm."""
    for one in found.alarms:
        LOG.warning("%s: %s", one.day, one.sentence)


def sampled(pack: Pack, configuration: Configuration, per_day: int, seed: int, zone_ms: int) -> Asked:
    """Logged requests with the item each showed, as many of each day; in the order of time."""
    draw = np.random.default_rng(seed)
    day = (pack.timed.time_ms + zone_ms) // DAY_MS
    chosen = [draw.permutation(np.flatnonzero(day == one))[:per_day] for one in np.unique(day)]
    rows = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
    feedback, n = pack.timed.take(rows), len(pack.timed)
    context = {
        "user_id": feedback.user_id,
        "history_id": feedback.user_id,
        "surface": feedback.surface.astype(np.int64),
        "scenario": feedback.scenario.astype(np.int64),
    }
    size = len(rows)
    first = sum(len(one) for one in configuration.streams.values()) - n
    return Asked(
        np.arange(size), feedback.time_ms, context, feedback.item_id[:, None], np.ones(size, np.int64),
        np.zeros(size, np.bool_), first + rows,
    )  # fmt: skip


def drifted(configuration: Configuration, asked: Asked, last: int, zone_ms: int, seed: int, *, source: str) -> Drifted:
    """The answer for requests already drawn.

    Args:
        configuration: What is declared, and the log's events.
        asked: The requests.
        last: The last training day, in days since 1970 on the log's clock.
        zone_ms: How far the log's clock is before UTC.
        seed: Decides which events reach the log late.
        source: Whether the log is real or made.
    """
    began = time.perf_counter()

    def day_of(time_ms: Ints) -> Ints:
        return (time_ms + zone_ms) // DAY_MS

    columns = watched(configuration)
    names = {name for name, _ in columns}
    log = arranged(configuration.streams, seed, late_share=0.0)
    again = Recomputed(configuration, log.streams, names=names)
    as_of = np.searchsorted(log.arrival_ms, asked.time_ms, side="right")
    table = again.table(asked, as_of)
    metas = metas_of(configuration.plan, columns)
    fresh = freshness(configuration, asked)
    first = int(day_of(asked.time_ms).min())
    limits = _limits(fresh, day_of(asked.time_ms) <= last)
    report = drift(table, metas, reference=(first, last), delays=(fresh,), day_of=day_of, thresholds=limits)
    alarms = [one for one in report.alarms if one.kind != "distribution"]
    alarms += jumped(steps(table, metas, day_of), last)
    alarms.sort(key=lambda one: (-one.value / one.limit, one.name, one.day))
    report = replace(report, alarms=tuple(alarms))
    return _told(configuration.name, report, (first, last), len(asked), len(metas), source, began)


def steps(table: pa.Table, metas: Sequence[FeatureMeta], day_of: DayOf) -> list[FeatureDay]:
    """Each day against the day before it; days with few rows are passed over, as their index is mostly chance."""
    day = day_of(table["time_ms"].to_numpy())
    days, sizes = np.unique(day, return_counts=True)
    full = days[sizes * 2 >= np.median(sizes)].tolist()
    found: list[FeatureDay] = []
    for before, one in pairwise(full):
        both = table.filter(pa.array((day == before) | (day == one)))
        far = {
            meta.name for meta in metas if _shift(both[meta.name], day[(day == before) | (day == one)] == one) > SHIFT
        }
        rows = drift(both, metas, reference=(before, before), day_of=day_of).features
        found += [row for row in rows if row.feature in far]
    return found


def _shift(values: pa.ChunkedArray, now: NDArray[np.bool_]) -> float:
    """The mean distance between the quantiles of both days, as a share of the first day's range from 5 to 95 %.

    Rates of a few categories all change a little every day: each value leaves its bin, and none goes far.
    """
    numbers = values.to_numpy().astype(np.float64)
    sides = [side[np.isfinite(side)] for side in (numbers[~now], numbers[now])]
    if not all(len(side) for side in sides):
        return 0.0
    at = np.linspace(0.05, 0.95, 91)
    one, other = (np.quantile(side, at) for side in sides)
    distance, wide = float(np.abs(one - other).mean()), float(one[-1] - one[0])
    return distance / wide if wide else float("inf") if distance else 0.0


def jumped(rows: Sequence[FeatureDay], last: int) -> list[Alarm]:
    """Alarms where a feature moved from one day to the next by far more than it did between training days.

    Slow movement is no alarm: counts since ever, ages and the day of the week move by what they are.
    """
    usual: dict[str, float] = {}
    for row in rows:
        if row.day <= last:
            usual[row.feature] = max(usual.get(row.feature, 0.0), row.index - row.chance)
    found = []
    for row in rows:
        limit = max(JUMP, JUMP_TIMES * usual.get(row.feature, 0.0))
        moved = row.index - row.chance
        if row.day > last and moved > limit and row.index > row.limit:
            sentence = (
                f"{row.feature!r} jumped from one day to the next: stability index {moved:.2f} beyond chance "
                f"(alarm above {limit:.2f})"
            )
            found.append(Alarm("distribution", row.feature, row.day, moved, limit, sentence))
    return found


def watched(configuration: Configuration) -> list[tuple[str, Feature]]:
    """The columns that the ranker reads as one number each; vectors and lists are left out: they have no one distribution."""
    kinds = kinds_of(configuration.plan, configuration.tables)
    rows = Rows(Everything(configuration.plan, configuration.tables, lambda name, kind: True))
    plain = {name for name, kind in kinds.items() if not (kind.vector or kind.shape.listed)}
    return [(name, feature) for name, feature in rows.columns if feature.role and name in plain]


def training_until(workspace: Workspace, log: Log) -> int:
    """The last day a model of this log learns from, in days since 1970 on the log's clock."""
    try:
        ends = split(workspace, log).validation_day
    except DataError:
        ends = log.days[-1] + 1  # too few days to hold any back: all are training days, and none is compared
    day = str(max(day for day in log.days if day < ends))
    return (date(int(day[:4]), int(day[4:6]), int(day[6:])) - date(1970, 1, 1)).days


def freshness(configuration: Configuration, asked: Asked) -> Delays:
    """How old the newest logged event was when each request came: a gap in the log shows here first."""
    time_ms = np.concatenate([np.asarray(one.columns["time_ms"], np.int64) for one in configuration.streams.values()])
    timed = np.sort(time_ms[time_ms >= 0])
    before = np.searchsorted(timed, asked.time_ms, side="left") - 1
    age = np.full(len(asked), np.nan)
    known = before >= 0
    age[known] = asked.time_ms[known] - timed[before[known]]
    return Delays("newest event in the log", "freshness", asked.time_ms, age)


def _limits(fresh: Delays, training: NDArray[np.bool_]) -> Thresholds:
    usual = fresh.values[training & ~np.isnan(fresh.values)]
    plain = Thresholds()
    if not len(usual):
        return plain
    limit = max(plain.freshness_p99_ms, FRESHNESS_TIMES * float(np.quantile(usual, 0.99)))
    return replace(plain, freshness_p99_ms=limit)


def _told(
    stack: str, report: DriftReport, reference: tuple[int, int], requests: int, watched: int, source: str, began: float
) -> Drifted:
    features = tuple(_row(one) for one in report.features)
    worst = max(features, key=lambda one: one.index, default=None)
    return Drifted(
        sentence=_sentence(report, watched, reference),
        stack=stack,
        source=source,
        reference=(iso(reference[0]), iso(reference[1])),
        requests=requests,
        watched=watched,
        psi_max=worst.index if worst else 0.0,
        psi_worst=worst.name if worst else "",
        alarms=tuple(_alarm(one) for one in report.alarms),
        features=features,
        delays=tuple(
            DelayDrift(one.name, iso(one.day), one.rows, one.unknown_share, one.p50, one.p90, one.p99)
            for one in report.delays
        ),
        thresholds=report.thresholds,
        unknown=UNKNOWN,
        commit=commit(),
        made_at_ms=int(time.time() * 1000),
        seconds=time.perf_counter() - began,
    )


def _row(one: FeatureDay) -> FeatureDrift:
    moved = max(0.0, one.index - one.chance)
    return FeatureDrift(one.feature, iso(one.day), one.rows, moved, one.missing_share, one.reference_missing_share)


def _alarm(one: Alarm) -> DriftAlarm:
    return DriftAlarm(one.kind, one.name, iso(one.day), one.value, one.limit, one.sentence)


def _sentence(report: DriftReport, watched: int, reference: tuple[int, int]) -> str:
    since = f"the training days {iso(reference[0])} to {iso(reference[1])}"
    days = len({one.day for one in report.features})
    if not days:
        return f"Nothing to compare: no day of the log lies after {since}."
    far = report.thresholds.moved
    moved = len({one.feature for one in report.features if one.index - one.chance > far and one.index > one.limit})
    slowly = f"{moved} of {watched} features moved away from {since} over {days} days (index above {far:g})"
    if not report.alarms:
        return f"No alarm. {slowly}, none by a jump."
    first = min(one.day for one in report.alarms)
    count = len(report.alarms)
    return (
        f"{count} alarm{'' if count == 1 else 's'}, the first on {iso(first)}; strongest: "
        f"{report.alarms[0].sentence}. {slowly}."
    )


def iso(day: int) -> str:
    """A day number as a date."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()


def drift_text(found: Drifted, most: int = 5) -> str:
    """The answer as plain lines for a terminal: the sentence, the strongest alarms, what is not known."""
    lines = [f"drift: {found.sentence}"]
    lines += [f"  {one.day}: {one.sentence}" for one in found.alarms[:most]]
    left = len(found.alarms) - most
    if left > 0:
        lines.append(f"  and {left} more, in the evidence {NAME} and on the page /feature-parity")
    return "\n".join([*lines, *(f"  not known: {one}" for one in found.unknown)])
