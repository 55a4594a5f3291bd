"""What the unified model thinks of logged impressions, each as of its own moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import PREDICTIONS, SURFACES
from mainstem.data.log import Log
from mainstem.features.batch import DELAY_MS
from mainstem.features.catalog import Catalog
from mainstem.ranking.lesson import timeline
from mainstem.ranking.model import Model, load_model


def score_log(
    model: Model | Path,
    log: Log,
    judged: NDArray[np.bool_],
    surfaces: Sequence[str] = SURFACES,
    delay_ms: int = DELAY_MS,
    user_known_until_ms: int | None = None,
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Calibrated predictions of some impressions; the model stands still, the state goes on with the log.

    Args:
        model: A model or its folder.
        log: The log.
        judged: Which rows of ``log.impressions`` to score.
        surfaces: The names whose position is a surface's code.
        delay_ms: How long an outcome takes to be known.
        user_known_until_ms: Freezes what is known of users at this time (items stay fresh), to see what fresh memory is worth.

    Returns:
        The names of the columns, and one row an impression that was asked for.
    """
    model = load_model(model) if isinstance(model, Path) else model
    catalog = Catalog.from_tables(log.items, log.users)
    line = timeline(catalog, model.statics, log.impressions, log.history, surfaces, delay_ms)
    asked = len(line.feedback) - log.impressions.height + np.flatnonzero(judged)
    values = line.values(asked, user_known_until_ms)
    raw = model.network(catalog).many(values.user, values.item_row, values.item, values.cross)
    return PREDICTIONS, model.calibrators().apply_many(raw, line.feedback.surface[asked])
