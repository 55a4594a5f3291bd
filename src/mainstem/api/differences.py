"""How one live answer differs from another stack's, stage by stage, as a line that is kept."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from mainstem.base.request import Slate
from mainstem.parity.shadow import diff_traces
from mainstem.parity.trace import StageRecord, from_slate


def stage_diff(live: Slate, other: Slate) -> dict[str, Any]:
    """The shadow diff of one request: a sentence, the stage and culprit where they part first, and every stage's numbers."""
    diff = diff_traces([(told(live), told(other))], left=live.stack, right=other.stack)
    return {
        "sentence": diff.sentence,
        "first": None if diff.first is None else {"stage": diff.first.stage, "culprit": diff.first.culprit},
        "stages": [asdict(stage) for stage in diff.stages],
        "sources": [asdict(source) for source in diff.sources],
        "slate": asdict(diff.slate) if diff.slate is not None else None,
        "slates": {"live": live.item_ids.tolist(), "other": other.item_ids.tolist()},
        "degraded": {"live": list(live.degraded), "other": list(other.degraded)},
    }


def told(slate: Slate) -> StageRecord:
    """What a slate's stack tells: an outside stack's empty stages are not told, which is not the same as empty."""
    record = from_slate(slate)
    if not record.source_names:
        record = replace(record, source_mask=None)
    if record.values is not None and np.isnan(record.values).all():
        record = replace(record, values=None)
    if not record.rule_names:
        record = replace(record, removed_by=None, demoted_by=None)
    return record
