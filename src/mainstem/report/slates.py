"""What several slates for one request have in common, and where an item stands in each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mainstem.base.request import FIRST_RULE, KEPT, NOT_RANKED, Slate, Trace
from mainstem.report.river import Reach


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one item stands in one stack.

    Args:
        rank: 1 is the top of the slate; None when it is not on it.
        outcome: Plain words: shown, the rule that removed it, scored too low, not ranked, or not retrieved.
        value: The score on the slate, or else the candidate's value; None when it did not score the item.
    """

    stack: str
    rank: int | None
    outcome: str
    value: float | None = None
    sources: tuple[str, ...] = ()
    heads: Mapping[str, float] | None = None


def standing(slate: Slate, item_id: int) -> Standing:
    """Where this item stands in this slate, read from its trace."""
    at_slate = np.flatnonzero(slate.item_ids == item_id)
    rank = int(at_slate[0]) + 1 if len(at_slate) else None
    trace = slate.trace
    if trace is None or not (trace.item_ids == item_id).any():
        return Standing(slate.stack, rank, "shown" if rank else "not retrieved")
    at = int(np.flatnonzero(trace.item_ids == item_id)[0])
    value = float(trace.values[at]) if at < len(trace.values) else math.nan
    if rank is not None:
        value = float(slate.scores[rank - 1])
    return Standing(
        stack=slate.stack,
        rank=rank,
        outcome=_outcome(trace, at),
        value=value if math.isfinite(value) else None,
        sources=trace.sources_of(at),
        heads=_heads(trace, at),
    )


def _outcome(trace: Trace, at: int) -> str:
    code = int(trace.removed_by[at])
    if code >= FIRST_RULE:
        return f"removed by {trace.rules[code - FIRST_RULE]}"
    return {KEPT: "shown", NOT_RANKED: "not ranked"}.get(code, "scored too low")


def _heads(trace: Trace, at: int) -> dict[str, float] | None:
    if trace.predictions is None or at >= len(trace.predictions):
        return None
    row = zip(trace.heads, trace.predictions[at].tolist(), strict=True)
    return {head: prediction for head, prediction in row if math.isfinite(prediction)}


def ranks(slates: Iterable[Slate]) -> dict[int, dict[str, int]]:
    """The place of every shown item in every slate it is on."""
    found: dict[int, dict[str, int]] = {}
    for slate in slates:
        for place, item_id in enumerate(slate.item_ids.tolist(), start=1):
            found.setdefault(item_id, {})[slate.stack] = place
    return found


def overlap(slates: Sequence[Slate]) -> list[dict[str, object]]:
    """How many items each pair of slates shares."""
    pairs = [(a, b) for at, a in enumerate(slates) for b in slates[at + 1 :]]
    return [
        {
            "one": a.stack,
            "other": b.stack,
            "shared": len(np.intersect1d(a.item_ids, b.item_ids)),
            "places": min(len(a.item_ids), len(b.item_ids)),
        }
        for a, b in pairs
    ]


def river(slate: Slate) -> tuple[tuple[tuple[str, int], ...], tuple[Reach, ...]]:
    """The sources and reaches of one request: how many every stage kept, and why the others are not on the slate.

    A source counts its offers that became candidates; what the union had no room for is counted, but no longer by source.
    """
    trace = slate.trace
    if trace is None:
        return (), (Reach("shown", len(slate.item_ids)),)
    sources = tuple(
        (name, int((trace.source_mask >> np.uint32(bit) & 1).sum())) for bit, name in enumerate(trace.sources)
    )
    codes = np.bincount(trace.removed_by, minlength=FIRST_RULE + len(trace.rules)).tolist()
    candidates, unranked = len(trace.item_ids), codes[NOT_RANKED]
    rules = tuple((name, codes[FIRST_RULE + at]) for at, name in enumerate(trace.rules))
    ranked = candidates - unranked
    allowed = ranked - sum(count for _, count in rules)
    shown = codes[KEPT]
    repeats = max(0, sum(count for _, count in sources) - candidates)
    offered = max(trace.retrieved, candidates + repeats)
    return sources, (
        Reach("offered", offered),
        Reach("candidates", candidates, (("duplicates", repeats), ("over the limit", offered - candidates - repeats))),
        Reach("ranked", ranked, (("over the rank budget", unranked),)),
        Reach("allowed", allowed, rules),
        Reach("shown", shown, (("scored too low", allowed - shown),)),
    )
