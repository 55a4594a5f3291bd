"""A user's latest events, and what they say about this moment: the user side of the ranker's input."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features import define
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.statics import LONG_VIEW, Rates, scenario_slot

EMPTY = -2
"""The item row of a place in the list that no event fills."""

CLICK, LIKE = HEADS.index("click"), HEADS.index("like")
SESSION_PAUSE_MS = 30 * 60_000
COLUMN = define.columns(define.USER)
DEFAULTS = np.array(define.defaults(define.USER), np.float32)


@dataclass(frozen=True, slots=True)
class Recent:
    """Events as the features read them: ``[n]`` in a log, ``[n, 50]`` (latest first) as a user's recent list.

    ``surprise`` is the long view minus what the item and scenario led to expect (0 where unknown), ``ratio`` is
    watched / length (NaN where unknown).
    """

    row: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    click: NDArray[np.int8]
    like: NDArray[np.int8]
    long_view: NDArray[np.int8]
    slot: NDArray[np.int8]
    surface: NDArray[np.int8]
    ratio: NDArray[np.float32]
    surprise: NDArray[np.float32]

    @classmethod
    def of(cls, feedback: FeedbackBatch, rows: NDArray[np.int32], rates: Rates, lift: NDArray[np.float32]) -> Recent:
        """The events of a batch."""
        slot = scenario_slot(feedback.scenario)
        long_view = feedback.outcomes[:, LONG_VIEW]
        expected = np.clip(rates.by_scenario[slot, LONG_VIEW] * lift[rows], 0.01, 0.95)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(feedback.duration_s > 0, feedback.watch_s / feedback.duration_s, np.nan)
        return cls(
            row=rows,
            time_ms=feedback.time_ms,
            click=feedback.outcomes[:, CLICK],
            like=feedback.outcomes[:, LIKE],
            long_view=long_view,
            slot=slot.astype(np.int8),
            surface=feedback.surface,
            ratio=np.minimum(ratio, 2.0).astype(np.float32),
            surprise=np.where(long_view >= 0, long_view - expected, 0.0).astype(np.float32),
        )

    @classmethod
    def blank(cls, shape: tuple[int, ...]) -> Recent:
        """Places that no event fills."""
        return cls(
            row=np.full(shape, EMPTY, np.int32),
            time_ms=np.full(shape, -1, np.int64),
            click=np.full(shape, -1, np.int8),
            like=np.full(shape, -1, np.int8),
            long_view=np.full(shape, -1, np.int8),
            slot=np.full(shape, -1, np.int8),
            surface=np.full(shape, -2, np.int8),
            ratio=np.full(shape, np.nan, np.float32),
            surprise=np.zeros(shape, np.float32),
        )

    def at(self, index: NDArray) -> Recent:
        """The same columns at an index array."""
        return Recent(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Moments:
    """Who asks, where and when: one entry a request."""

    user_row: NDArray[np.int32]
    slot: NDArray[np.int64]
    surface: NDArray[np.int8]
    now_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Totals:
    """Lifetime sums of users or items: known outcomes, positives and what their scenarios led to expect, per head."""

    count: NDArray[np.float64]
    good: NDArray[np.float64]
    expected: NDArray[np.float64]


def user_side(
    recent: Recent, moments: Moments, totals: Totals, catalog: Catalog, rates: Rates, strength: NDArray
) -> NDArray[np.float32]:
    """The user features of each request.

    Shapes:
        ``recent`` is ``[n, 50]``, the answer ``[n, len(define.USER)]``.
    """
    out = np.zeros((len(moments.user_row), len(define.USER)), np.float32)
    _outcomes(out, recent, rates)
    _context(out, recent, moments, rates)
    _timing(out, recent, moments)
    _lifetime(out, totals, strength)
    _clock(out, moments, catalog)
    _who(out, moments, catalog, rates)
    return out


def _mean(sums: NDArray, counts: NDArray, prior: float, weight: float) -> NDArray:
    return (sums + prior * weight) / (counts + weight)


def _outcomes(out: NDArray[np.float32], recent: Recent, rates: Rates) -> None:
    """How the latest events ended."""
    for name, column, head in (("long_view", recent.long_view, LONG_VIEW), ("click", recent.click, CLICK)):
        good = np.cumsum(column == 1, axis=1, dtype=np.float32)
        known = np.cumsum(column >= 0, axis=1, dtype=np.float32)
        for k in define.LAST:
            out[:, COLUMN[f"{name}_last_{k}"]] = _mean(good[:, k - 1], known[:, k - 1], rates.overall[head], 1.0)
    likes, known = (recent.like == 1).sum(axis=1), (recent.like >= 0).sum(axis=1)
    out[:, COLUMN["like_last_50"]] = _mean(likes, known, rates.overall[LIKE], 2.0)
    known = recent.long_view >= 0
    for k in (3, 10, 50):
        surprise = recent.surprise[:, :k].sum(axis=1)
        out[:, COLUMN[f"surprise_last_{k}"]] = _mean(surprise, known[:, :k].sum(axis=1), 0.0, 2.0)
    watched = np.isfinite(recent.ratio)
    ratio = np.where(watched, recent.ratio, 0.0)
    for k in (1, 3, 10):
        out[:, COLUMN[f"watch_ratio_last_{k}"]] = _mean(ratio[:, :k].sum(axis=1), watched[:, :k].sum(axis=1), 0.5, 1.0)
    out[:, COLUMN["streak_yes"]] = _run(recent.long_view == 1)
    out[:, COLUMN["streak_no"]] = _run(recent.long_view == 0)


def _run(holds: NDArray[np.bool_]) -> NDArray:
    """How many of the latest events in a row hold, at most 10."""
    return np.logical_and.accumulate(holds[:, :10], axis=1).sum(axis=1)


def _context(out: NDArray[np.float32], recent: Recent, moments: Moments, rates: Rates) -> None:
    """How events in the scenario and on the surface of this request ended."""
    here = recent.slot == moments.slot[:, None].astype(np.int8)
    count = here.sum(axis=1)
    out[:, COLUMN["scenario_count"]] = np.log1p(count)
    for name, column, head in (("long_view", recent.long_view, LONG_VIEW), ("click", recent.click, CLICK)):
        base = rates.by_scenario[moments.slot, head]
        known = (here & (column >= 0)).sum(axis=1)
        good = (here & (column == 1)).sum(axis=1)
        out[:, COLUMN[f"scenario_{name}"]] = (good + 2.0 * base) / (known + 2.0)
    latest = here & (np.cumsum(here, axis=1) == 1)
    base = rates.by_scenario[moments.slot, LONG_VIEW]
    found = (latest & (recent.long_view >= 0)).any(axis=1)
    out[:, COLUMN["scenario_long_view_last_1"]] = np.where(found, (latest & (recent.long_view == 1)).any(axis=1), base)
    last_3 = here & (np.cumsum(here, axis=1) <= 3)
    surprise = (recent.surprise * last_3).sum(axis=1)
    out[:, COLUMN["scenario_surprise_last_3"]] = _mean(surprise, last_3.sum(axis=1), 0.0, 2.0)
    out[:, COLUMN["scenario_is_last"]] = here[:, 0]
    same = recent.surface == moments.surface[:, None]
    out[:, COLUMN["surface_count"]] = np.log1p(same.sum(axis=1))
    out[:, COLUMN["surface_surprise"]] = _mean((recent.surprise * same).sum(axis=1), same.sum(axis=1), 0.0, 3.0)


def _timing(out: NDArray[np.float32], recent: Recent, moments: Moments) -> None:
    """How long ago the latest events were, and how dense they are."""
    filled = recent.row != EMPTY
    now = moments.now_ms[:, None]
    timed = filled & (recent.time_ms >= 0) & (now >= 0)
    gap_s = np.where(timed, np.maximum(now - recent.time_ms, 0) / 1000.0, define.NEVER_S)
    out[:, COLUMN["recent_count"]] = filled.sum(axis=1) / define.KEPT
    out[:, COLUMN["timed_count"]] = timed.sum(axis=1) / define.KEPT
    for k in (1, 2, 5):
        out[:, COLUMN[f"gap_{k}"]] = np.log1p(gap_s[:, k - 1])
    for window in define.WINDOWS_S:
        out[:, COLUMN[f"events_{window}_s"]] = np.log1p((timed & (gap_s <= window)).sum(axis=1))
    pauses = np.diff(gap_s, axis=1, prepend=0.0)
    session = np.logical_and.accumulate(timed & (pauses < SESSION_PAUSE_MS / 1000.0), axis=1)
    count = session.sum(axis=1)
    out[:, COLUMN["session_count"]] = np.log1p(count)
    out[:, COLUMN["session_surprise"]] = _mean((recent.surprise * session).sum(axis=1), count, 0.0, 2.0)


def _lifetime(out: NDArray[np.float32], totals: Totals, strength: NDArray) -> None:
    out[:, COLUMN["lifetime_count"]] = np.log1p(totals.count)
    first = COLUMN[f"lift_{HEADS[0]}"]
    out[:, first : first + len(HEADS)] = np.log((totals.good + strength) / (totals.expected + strength))


def _clock(out: NDArray[np.float32], moments: Moments, catalog: Catalog) -> None:
    """The user's local hour and weekday."""
    known = moments.now_ms >= 0
    local_s = (moments.now_ms + catalog.users.utc_offset_ms[moments.user_row]) / 1000.0
    day = 2.0 * np.pi * (local_s % 86_400) / 86_400
    week = 2.0 * np.pi * (local_s % 604_800) / 604_800
    for name, angle in (("hour_{}", day), ("hour_{}_2", 2.0 * day), ("weekday_{}", week)):
        out[:, COLUMN[name.format("sin")]] = np.sin(angle) * known
        out[:, COLUMN[name.format("cos")]] = np.cos(angle) * known
    out[:, COLUMN["time_known"]] = known


def _who(out: NDArray[np.float32], moments: Moments, catalog: Catalog, rates: Rates) -> None:
    """Who asks and where, as one column a value."""
    users, each = catalog.users, np.arange(len(out))
    for name, head in (("base_long_view", LONG_VIEW), ("base_click", CLICK)):
        base = rates.by_scenario[moments.slot, head]
        out[:, COLUMN[name]] = np.log(base / (1.0 - base))
    out[:, COLUMN["following"] : COLUMN["following"] + 3] = users.counts[moments.user_row]
    out[each, COLUMN["activity_0"] + users.activity[moments.user_row]] = 1.0
    out[each, COLUMN["scenario_0"] + moments.slot] = 1.0
    surface = moments.surface.astype(np.int64)
    known = (surface >= 0) & (surface < define.SURFACE_SLOTS)
    out[each[known], COLUMN["surface_0"] + surface[known]] = 1.0
    slots = users.traits[moments.user_row].astype(np.int64)
    at, trait = np.nonzero(slots >= 0)
    out[at, COLUMN["trait_0"] + slots[at, trait]] = 1.0
