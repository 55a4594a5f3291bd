"""The whole back-fill as one function from Arrow to Arrow: for engines that bring the rows together themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from mainstem.features.backfill import Backfill, Requests
from mainstem.features.engines.arrow import arrow_of
from mainstem.features.engines.run import STATE, as_given, events_of, finished, plan_of
from mainstem.features.engines.spaces import AS_OF, ROW
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.reading import Reading
from mainstem.features.steps import Tables


def kernel_task(
    features: FeatureSet,
    tables: Tables,
    columns: Sequence[str],
    events: Mapping[str, pa.Table],
    requests: pa.Table,
    threads: int = 1,
) -> pa.Table:
    """Declared columns of past requests, each as of the log offset its server had seen.

    A bucket of the rows is enough where it holds every event of the keys it asks for, and no source drops late events: what is
    late is decided by the whole stream. ``BackfillJob`` divides rows so that neither has to be thought of.

    Args:
        features: The definitions.
        tables: Where attributes come from.
        columns: Which columns.
        events: By stream, in log order, each with its ``offset``.
        requests: The context that the definitions name, ``as_of``, and ``row`` where rows have numbers already.
        threads: Ranges of keys worked on side by side.

    Returns:
        ``row``, the columns, and for each the state of its values (0 known, 1 known to be empty).
    """
    plan = plan_of(features, columns)
    streams = {
        name: events_of(table, [source for source in plan.sources if source.of_stream == name])
        for name, table in events.items()
        if any(source.of_stream == name for source in plan.sources)
    }
    reading = Reading(plan, tables, columns)
    given, as_of = as_given(reading, requests)
    found = Backfill(plan, tables, streams, threads).values(reading, Requests(given, as_of))
    row = requests.column(ROW) if ROW in requests.column_names else arrow_of(np.arange(len(requests)))
    return pa.table({ROW: row} | finished(reading, found))


__all__ = ["AS_OF", "STATE", "kernel_task"]
