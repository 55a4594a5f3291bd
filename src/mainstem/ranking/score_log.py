"""What the unified model thinks of logged impressions, each as of its own moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import PREDICTIONS, SURFACES
from mainstem.data.log import Log
from mainstem.features.catalog import Catalog
from mainstem.features.statics import LONG_VIEW
from mainstem.features.steps import Tables
from mainstem.features.timeline import DELAY_MS
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
    known_until_ms: int | None = None,
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
            judged days.
        tables: Further tables of facts that the model's features name.
    """
    model = load_model(model) if isinstance(model, Path) else model
    catalog = Catalog.from_tables(log.items, log.users)
    line = timeline(catalog, model.statics, log.impressions, log.history, surfaces, delay_ms, model.features, tables)
    asked = len(line.feedback) - log.impressions.height + np.flatnonzero(judged)
    values = line.values(asked, known_until_ms)
    network = model.network(catalog)
    raw = network.many(values.user, values.item_row, values.item, values.cross)
    long_view = np.clip(raw[:, LONG_VIEW], 1e-7, 1.0 - 1e-7)
    predictions = model.calibrators().apply_many(raw, line.feedback.surface[asked])
    return Scored(PREDICTIONS, predictions, np.log(long_view / (1.0 - long_view)) + network.moment(values.user))


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
