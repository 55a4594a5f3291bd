"""What is written down about a slate that was served: enough to train on, to rank again, and to compute its features again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from mainstem.base.request import KEPT, Request, Rows, Slate, Trace
from mainstem.data.records import Impression, pack_ids, pack_impression, pack_viewer


def impression_of(
    request: Request, slate: Slate, arm: str = "", model: str = "", timings_ms: Mapping[str, float] | None = None
) -> Impression:
    """One request as it was served; with a trace also the predictions and features of what was shown.

    Args:
        request: What was asked.
        slate: What was answered.
        arm: The experiment arm.
        model: The version of the model that ranked it.
        timings_ms: Times around the slate, added to those of its own stages.
    """
    arrays = {"scores": slate.scores}
    # An outside stack may not tell its propensities: what is not known is not written down as a number.
    if bool((slate.propensities != 1).any()) and not bool(np.isnan(slate.propensities).any()):
        arrays["propensities"] = slate.propensities
    heads: tuple[str, ...] = ()
    names_hash = ""
    trace = slate.trace
    if trace is not None and len(slate.item_ids):
        at = _positions(slate, trace)
        if trace.predictions is not None:
            arrays["predictions"] = trace.predictions[at]
            heads = trace.heads
        if trace.features is not None:
            arrays["features"] = trace.features[at]
            names_hash = _hash_of(trace.feature_names)
    served = None if trace is None else trace.served
    recipe = {}
    if trace is not None and served is not None:
        ranked = trace.item_ids[: len(trace.values)]
        recipe = {
            "as_of": served.as_of,
            "feature_set": served.feature_set,
            "viewer_features": pack_viewer(served.viewer),
            "candidates": pack_ids(ranked),
        }
    return pack_impression(
        slate.item_ids,
        arrays,
        request_id=request.request_id,
        user_id=request.user_id,
        surface=request.surface,
        time_ms=request.now_ms,
        stack=slate.stack,
        scenario=request.scenario,
        arm=arm or None,
        heads=heads,
        feature_names_hash=names_hash,
        timings_ms=_timings(trace, timings_ms or {}),
        degraded=tuple(reason[:128] for reason in slate.degraded),
        model=model,
        **recipe,
    )


def _timings(trace: Trace | None, more: Mapping[str, float]) -> dict[str, float]:
    own = {} if trace is None else trace.timings_ms
    return {name: round(ms, 3) for name, ms in {**own, **more}.items()}


def _positions(slate: Slate, trace: Trace) -> Rows:
    """Where each item of the slate stands in the trace."""
    kept = np.flatnonzero(trace.removed_by == KEPT)
    by_id = kept[np.argsort(trace.item_ids[kept])]
    return by_id[np.searchsorted(trace.item_ids[by_id], slate.item_ids)]


@lru_cache(maxsize=64)
def _hash_of(names: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
