"""The user features of one request: every sum over the recent events in one product, then plain numbers.

``recent.user_side`` defines the features for many requests at once; the answers are the same.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features import define
from mainstem.features.catalog import Catalog
from mainstem.features.recent import CLICK, COLUMN, EMPTY, LIKE, SESSION_PAUSE_MS, Moments, Recent, Totals
from mainstem.features.statics import LONG_VIEW, Rates

_LV, _LV_KNOWN, _CLICK, _CLICK_KNOWN, _LIKE, _LIKE_KNOWN, _SURPRISE, _RATIO, _WATCHED, _FILLED, _TIMED, _ONE = range(12)
_LAST: Final = {k: at for at, k in enumerate(define.LAST)}
_HERE, _HERE_3, _SAME, _SESSION = range(len(_LAST), len(_LAST) + 4)
_PLACES: Final = np.arange(define.KEPT)
_PREFIXES: Final = (np.array(define.LAST)[:, None] > _PLACES).astype(np.float64)
_WINDOWS_S: Final = np.array(define.WINDOWS_S, np.float64)[:, None]
_HEAD_LIFTS: Final = slice(COLUMN[f"lift_{HEADS[0]}"], COLUMN[f"lift_{HEADS[0]}"] + len(HEADS))
_FOLLOWING: Final = slice(COLUMN["following"], COLUMN["following"] + 3)
_ACTIVITY, _SCENARIO, _SURFACE, _TRAIT = (COLUMN[f"{name}_0"] for name in ("activity", "scenario", "surface", "trait"))

Sums = list[list[float]]


def user_side_of_one(
    recent: Recent, moments: Moments, totals: Totals, catalog: Catalog, rates: Rates, strength: NDArray
) -> NDArray[np.float32]:
    """The user features of one request. ``recent`` is ``[1, 50]``; the answer ``[len(define.USER)]``."""
    slot, now_ms = int(moments.slot[0]), int(moments.now_ms[0])
    filled = recent.row[0] != EMPTY
    timed = filled & (recent.time_ms[0] >= 0) & (now_ms >= 0)
    gap_s = np.where(timed, np.maximum(now_ms - recent.time_ms[0], 0) / 1000.0, define.NEVER_S)
    here = recent.slot[0] == slot
    masks = _masks(recent, here, timed, gap_s, int(moments.surface[0]))
    sums: Sums = (masks @ _columns(recent, filled, timed).T).tolist()
    values = _outcomes(sums, rates) | _context(sums, recent, here, rates.by_scenario[slot].tolist())
    values |= _timing(sums, gap_s, timed) | _clock(now_ms, catalog, int(moments.user_row[0]))
    values |= {"streak_yes": _run(recent.long_view[0], 1), "streak_no": _run(recent.long_view[0], 0)}
    values["lifetime_count"] = math.log1p(float(totals.count[0]))
    out = np.zeros(len(define.USER), np.float32)
    out[[COLUMN[name] for name in values]] = list(values.values())
    out[_HEAD_LIFTS] = np.log((totals.good[0] + strength) / (totals.expected[0] + strength))
    _who(out, moments, catalog)
    return out


def _masks(
    recent: Recent, here: NDArray[np.bool_], timed: NDArray[np.bool_], gap_s: NDArray[np.float64], surface: int
) -> NDArray[np.float64]:
    """Which events count for what: the last 1, 3, 10, 50; this scenario's, its last 3; this surface's; this session's."""
    out = np.empty((_SESSION + 1, define.KEPT))
    out[:_HERE] = _PREFIXES
    out[_HERE] = here
    out[_HERE_3] = here & (here.cumsum() <= 3)
    out[_SAME] = recent.surface[0] == surface
    pause_s = gap_s.copy()
    pause_s[1:] -= gap_s[:-1]
    out[_SESSION] = np.logical_and.accumulate(timed & (pause_s < SESSION_PAUSE_MS / 1000.0))
    return out


def _columns(recent: Recent, filled: NDArray[np.bool_], timed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What is summed over events."""
    out = np.empty((_ONE + 1, define.KEPT))
    for good, known, column in (
        (_LV, _LV_KNOWN, recent.long_view[0]),
        (_CLICK, _CLICK_KNOWN, recent.click[0]),
        (_LIKE, _LIKE_KNOWN, recent.like[0]),
    ):
        out[good], out[known] = column == 1, column >= 0
    ratio = recent.ratio[0]
    watched = np.isfinite(ratio)
    out[_SURPRISE], out[_RATIO], out[_WATCHED] = recent.surprise[0], np.where(watched, ratio, 0.0), watched
    out[_FILLED], out[_TIMED], out[_ONE] = filled, timed, 1.0
    return out


def _outcomes(sums: Sums, rates: Rates) -> dict[str, float]:
    """How the latest events ended."""
    overall = rates.overall.tolist()
    out: dict[str, float] = {}
    for k, at in _LAST.items():
        last = sums[at]
        out[f"long_view_last_{k}"] = (last[_LV] + overall[LONG_VIEW]) / (last[_LV_KNOWN] + 1.0)
        out[f"click_last_{k}"] = (last[_CLICK] + overall[CLICK]) / (last[_CLICK_KNOWN] + 1.0)
        if k > 1:
            out[f"surprise_last_{k}"] = last[_SURPRISE] / (last[_LV_KNOWN] + 2.0)
        if k < define.KEPT:
            out[f"watch_ratio_last_{k}"] = (last[_RATIO] + 0.5) / (last[_WATCHED] + 1.0)
    everything = sums[_LAST[define.KEPT]]
    out["like_last_50"] = (everything[_LIKE] + 2.0 * overall[LIKE]) / (everything[_LIKE_KNOWN] + 2.0)
    return out


def _context(sums: Sums, recent: Recent, here: NDArray[np.bool_], base: list[float]) -> dict[str, float]:
    """How events in the scenario and on the surface of this request ended."""
    all_here, last_3, same = sums[_HERE], sums[_HERE_3], sums[_SAME]
    first = int(here.argmax())
    latest = int(recent.long_view[0, first]) if here[first] else -1
    return {
        "scenario_count": math.log1p(all_here[_ONE]),
        "scenario_long_view": (all_here[_LV] + 2.0 * base[LONG_VIEW]) / (all_here[_LV_KNOWN] + 2.0),
        "scenario_click": (all_here[_CLICK] + 2.0 * base[CLICK]) / (all_here[_CLICK_KNOWN] + 2.0),
        "scenario_long_view_last_1": float(latest == 1) if latest >= 0 else base[LONG_VIEW],
        "scenario_surprise_last_3": last_3[_SURPRISE] / (last_3[_ONE] + 2.0),
        "scenario_is_last": float(here[0]),
        "surface_count": math.log1p(same[_ONE]),
        "surface_surprise": same[_SURPRISE] / (same[_ONE] + 3.0),
        "base_long_view": math.log(base[LONG_VIEW] / (1.0 - base[LONG_VIEW])),
        "base_click": math.log(base[CLICK] / (1.0 - base[CLICK])),
    }


def _timing(sums: Sums, gap_s: NDArray[np.float64], timed: NDArray[np.bool_]) -> dict[str, float]:
    """How long ago the latest events were, and how dense they are."""
    everything, session = sums[_LAST[define.KEPT]], sums[_SESSION]
    within = ((gap_s <= _WINDOWS_S) & timed).sum(axis=1).tolist()
    return {
        "recent_count": everything[_FILLED] / define.KEPT,
        "timed_count": everything[_TIMED] / define.KEPT,
        **{f"gap_{k}": math.log1p(float(gap_s[k - 1])) for k in (1, 2, 5)},
        **{f"events_{s}_s": math.log1p(count) for s, count in zip(define.WINDOWS_S, within, strict=True)},
        "session_count": math.log1p(session[_ONE]),
        "session_surprise": session[_SURPRISE] / (session[_ONE] + 2.0),
    }


def _run(outcome: NDArray[np.int8], wanted: int) -> float:
    """How many of the latest events in a row ended so, at most 10."""
    ended = outcome[:10].tolist()
    return float(next((place for place, one in enumerate(ended) if one != wanted), len(ended)))


def _clock(now_ms: int, catalog: Catalog, user_row: int) -> dict[str, float]:
    """The user's local hour and weekday."""
    known = float(now_ms >= 0)
    local_s = (now_ms + float(catalog.users.utc_offset_ms[user_row])) / 1000.0
    day, week = 2.0 * math.pi * (local_s % 86_400) / 86_400, 2.0 * math.pi * (local_s % 604_800) / 604_800
    out = {"time_known": known}
    for name, angle in (("hour_{}", day), ("hour_{}_2", 2.0 * day), ("weekday_{}", week)):
        out[name.format("sin")], out[name.format("cos")] = math.sin(angle) * known, math.cos(angle) * known
    return out


def _who(out: NDArray[np.float32], moments: Moments, catalog: Catalog) -> None:
    """Who asks and where, as one column a value."""
    users, row, surface = catalog.users, int(moments.user_row[0]), int(moments.surface[0])
    out[_FOLLOWING] = users.counts[row]
    out[_ACTIVITY + int(users.activity[row])] = 1.0
    out[_SCENARIO + int(moments.slot[0])] = 1.0
    if 0 <= surface < define.SURFACE_SLOTS:
        out[_SURFACE + surface] = 1.0
    for slot in users.traits[row].tolist():
        if slot >= 0:
            out[_TRAIT + slot] = 1.0
