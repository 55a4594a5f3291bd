"""What the unified model thinks of logged impressions, each as of its own moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import PREDICTIONS, SURFACES
from mainstem.data.log import Log
from mainstem.features.catalog import Catalog
from mainstem.features.statics import LONG_VIEW
from mainstem.features.steps import Tables
from mainstem.features.timeline import DELAY_MS, Timeline, Values
from mainstem.ranking.lesson import timeline
from mainstem.ranking.model import Model, load_model


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model thinks of n impressions.

    Attributes:
        predictions: Calibrated, ``[n, 8]`` in the order of ``heads``.
        order: The long view's log odds plus the moment (``train_moment``): comparable across a user's requests.
    """

    heads: tuple[str, ...]
    predictions: NDArray[np.float32]
    order: NDArray[np.float32]


def score_moments(
    model: Model | Path,
    log: Log,
    judged: NDArray[np.bool_],
    surfaces: Sequence[str] = SURFACES,
    delay_ms: int = DELAY_MS,
    known_until_ms: int | NDArray[np.int64] | None = None,
    tables: Tables | None = None,
) -> Scored:
    """Calibrated predictions of some impressions and their order; the model stands still, the state goes on with the log.

    Args:
        model: A model or its folder.
        log: The log.
        judged: Which rows of ``log.impressions`` to score.
        surfaces: The names whose position is a surface's code.
        delay_ms: How long an outcome takes to be known.
        known_until_ms: Freezes all state at this time: an order made so cannot be paid for counting a user's luck within the
            judged days. A time for each judged row freezes each at its own: ``until_yesterday`` for a state renewed by night.
        tables: Further tables of facts that the model's features name.
    """
    model = load_model(model) if isinstance(model, Path) else model
    catalog = Catalog.from_tables(log.items, log.users)
    line = timeline(catalog, model.statics, log.impressions, log.history, surfaces, delay_ms, model.features, tables)
    asked = len(line.feedback) - log.impressions.height + np.flatnonzero(judged)
    values = _values(line, asked, known_until_ms)
    network = model.network(catalog)
    raw = network.many(values.user, values.item_row, values.item, values.cross)
    long_view = np.clip(raw[:, LONG_VIEW], 1e-7, 1.0 - 1e-7)
    predictions = model.calibrators().apply_many(raw, line.feedback.surface[asked])
    return Scored(PREDICTIONS, predictions, np.log(long_view / (1.0 - long_view)) + network.moment(values.user))


def until_yesterday(
    days: NDArray[np.integer], times_ms: NDArray[np.int64], judged: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The last time of the days before each judged row's own: what a state that is renewed once a day knows.

    Args:
        days: The day of every row of the log.
        times_ms: Their times.
        judged: Which rows are scored.

    Shapes: ``days[n]``, ``times_ms[n]``, ``judged[n]``; one answer for each judged row. A first day knows nothing (0).
    """
    names, own = np.unique(days[judged], return_inverse=True)
    ended = [int(times_ms[days < day].max(initial=0)) for day in names]
    return np.array(ended, np.int64)[own]


def mean_of(scored: Sequence[Scored]) -> Scored:
    """What several models (of several seeds, say) think together: the mean of their log odds, and of log(1 + seconds)."""
    heads = np.mean([_odds(one.predictions[:, :-1]) for one in scored], axis=0)
    seconds = np.mean([np.log1p(one.predictions[:, -1]) for one in scored], axis=0)
    predictions = np.concatenate([1.0 / (1.0 + np.exp(-heads)), np.expm1(seconds)[:, None]], axis=1)
    order = np.mean([one.order for one in scored], axis=0)
    return Scored(scored[0].heads, predictions.astype(np.float32), order.astype(np.float32))


def _odds(p: NDArray[np.float32]) -> NDArray[np.float64]:
    kept = np.clip(p.astype(np.float64), 1e-9, 1.0 - 1e-7)
    return np.log(kept / (1.0 - kept))


def _values(line: Timeline, asked: NDArray[np.int64], until: int | NDArray[np.int64] | None) -> Values:
    """The features of some rows, rows that know the same computed together."""
    if not isinstance(until, np.ndarray):
        return line.values(asked, until)
    names, own = np.unique(until, return_inverse=True)
    parts = [line.values(asked[own == at], int(name)) for at, name in enumerate(names)]
    back = np.argsort(np.argsort(own, kind="stable"), kind="stable")
    return Values(*(np.concatenate([getattr(part, field.name) for part in parts])[back] for field in fields(Values)))


def score_log(
    model: Model | Path,
    log: Log,
    judged: NDArray[np.bool_],
    surfaces: Sequence[str] = SURFACES,
    delay_ms: int = DELAY_MS,
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The names of the heads, and one row of calibrated predictions for each judged impression."""
    scored = score_moments(model, log, judged, surfaces, delay_ms)
    return scored.heads, scored.predictions
