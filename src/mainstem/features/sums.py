"""What feedback adds up to for items, creators and categories: the item side of the ranker's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.features import define
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.recent import CLICK, Recent
from mainstem.features.statics import LONG_VIEW, STRENGTH, Rates, scenario_slot

Sums = NDArray[np.float64]

N: Final = len(HEADS)
COUNT, GOOD, EXPECTED, WATCHED, RATIO = 0, slice(1, 1 + N), slice(1 + N, 1 + 2 * N), 1 + 2 * N, 2 + 2 * N
WIDTH: Final = 3 + 2 * N
"""Columns of an event's contribution: count, positives and expected per head, events with a watch ratio, their ratios."""

FEW: Final = (COUNT, 1 + LONG_VIEW, 1 + N + LONG_VIEW, 1 + CLICK, 1 + N + CLICK)
"""The columns kept per surface, creator and category."""

WINDOW: Final = FEW[:3]
"""The columns kept per time bucket."""

BUCKET_MS: Final = 6 * 3_600_000
BUCKETS: Final = 12
COLUMN = define.columns(define.ITEM)
LASTING: Final = slice(0, COLUMN["lift_72h"] + 1)
ON_SURFACE: Final = slice(COLUMN["surface_count"], COLUMN["surface_click_lift"] + 1)
CREATOR: Final = slice(COLUMN["creator_count"], COLUMN["creator_click_lift"] + 1)
CATEGORY: Final = slice(COLUMN["category_lift"], COLUMN["category_click_lift"] + 1)
"""Columns that belong together; of a category there is no count."""
AGE: Final = COLUMN["age"]


@dataclass(frozen=True, slots=True)
class ItemSums:
    """The sums behind the item features of n candidates.

    Shapes:
        ``item`` is ``[n, 17]``; ``surface``, ``creator`` and ``category`` are ``[n, 5]``; the windows are ``[n, 3]``.
    """

    item: Sums
    surface: Sums
    creator: Sums
    category: Sums
    day: Sums
    three_days: Sums


def contributions(feedback: FeedbackBatch, events: Recent, rates: Rates) -> Sums:
    """What each event adds to the sums of its user: ``[n, 17]``; expected is what the scenario's rates led to expect."""
    known = feedback.outcomes >= 0
    watched = np.isfinite(events.ratio)
    out = np.empty((len(feedback), WIDTH))
    out[:, COUNT] = 1.0
    out[:, GOOD] = feedback.outcomes == 1
    out[:, EXPECTED] = rates.by_scenario[scenario_slot(feedback.scenario)] * known
    out[:, WATCHED] = watched
    out[:, RATIO] = np.where(watched, events.ratio, 0.0)
    return out


def for_items(adds: Sums, before: Sums) -> Sums:
    """What each event adds to the sums of its item: expected also counts how this user's earlier events ended.

    An item shown to people who view everything long has to be viewed longer to stand out.

    Args:
        adds: ``contributions`` of the events.
        before: The sums of each event's user over all events before it.
    """
    lift = (before[:, GOOD] + STRENGTH) / (before[:, EXPECTED] + STRENGTH)
    out = adds.copy()
    out[:, EXPECTED] = np.minimum(adds[:, EXPECTED] * lift, 0.95)
    return out


def item_side(
    sums: ItemSums, rows: NDArray[np.int32], now_ms: NDArray[np.int64], catalog: Catalog
) -> NDArray[np.float32]:
    """The item features of candidates.

    Shapes:
        ``rows`` is ``[n]``, ``now_ms`` is ``[n]`` or ``[1]``, the answer ``[n, len(define.ITEM)]``.
    """
    out = np.empty((len(rows), len(define.ITEM)), np.float32)
    out[:, LASTING] = lasting(sums.item, sums.day, sums.three_days)
    for at, few in ((ON_SURFACE, sums.surface), (CREATOR, sums.creator), (CATEGORY, sums.category)):
        out[:, at] = counted(few)[:, at.start - at.stop :]
    out[:, AGE] = age(catalog.items.created_ms[rows], now_ms)
    return out


def lasting(item: Sums, day: Sums, three_days: Sums) -> NDArray[np.float32]:
    """What the sums of an item say wherever it is shown. Shapes: ``[n, 17]`` and twice ``[n, 3]`` to ``[n, 13]``."""
    out = np.empty((len(item), LASTING.stop), np.float32)
    out[:, :N] = np.log((item[:, GOOD] + STRENGTH) / (item[:, EXPECTED] + STRENGTH))
    out[:, COLUMN["count"]] = np.log1p(item[:, COUNT])
    out[:, COLUMN["watch_ratio"]] = (item[:, RATIO] + 2.0) / (item[:, WATCHED] + 4.0)
    for name, window in (("24h", day), ("72h", three_days)):
        out[:, COLUMN[f"count_{name}"]] = np.log1p(window[:, 0])
        out[:, COLUMN[f"lift_{name}"]] = _lift(window, 1)
    return out


def counted(few: Sums) -> NDArray[np.float32]:
    """What the few sums of a surface, creator or category say: count, long views, clicks. Shapes: ``[n, 5]`` to ``[n, 3]``."""
    out = np.empty((len(few), 3), np.float32)
    out[:, 0] = np.log1p(few[:, 0])
    out[:, 1] = _lift(few, 1)
    out[:, 2] = _lift(few, 3)
    return out


def age(created_ms: NDArray[np.int64], now_ms: NDArray[np.int64]) -> NDArray[np.float64]:
    """How long ago items were uploaded, as the feature. Shapes: ``[n]`` and ``[n]`` or ``[1]``."""
    days = np.maximum(now_ms - created_ms, 0) / 86_400_000.0
    return np.where((created_ms >= 0) & (now_ms >= 0), np.log1p(days), define.ITEM[AGE].default)


def _lift(sums: Sums, column: int) -> Sums:
    strength = STRENGTH[LONG_VIEW]
    return np.log((sums[:, column] + strength) / (sums[:, column + 1] + strength))


def surface_key(surface: NDArray[np.int8]) -> NDArray[np.int64]:
    """The surface slot of sums kept per item and surface; slot 0 is an unknown surface."""
    wide = surface.astype(np.int64)
    return np.where((wide < 0) | (wide >= define.SURFACE_SLOTS - 1), 0, wide + 1)
