"""Where two stacks part on the same requests: the first stage that differs, and the feature, source or rule behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mainstem.base.errors import DataError
from mainstem.parity.blame import suspects
from mainstem.parity.measures import (
    feature_diffs,
    head_diffs,
    names_on_one_side,
    rule_diffs,
    slate_diff,
    source_diffs,
    stage_diffs,
    value_diff,
)
from mainstem.parity.pair import PairDiff, compare
from mainstem.parity.results import Parting, ShadowDiff
from mainstem.parity.trace import STAGES, StageRecord

_EXAMPLES = 5
_KINDS: Final = {
    "features": "feature",
    "source": "source",
    "model": "head",
    "value": "value term",
    "rule": "rule",
    "slate": "slate",
}
NOT_TOLD: Final = "not told"
"""What a person reads for a stage that a side does not tell."""


def diff_traces(
    pairs: Sequence[tuple[StageRecord, StageRecord]], *, left: str = "left", right: str = "right", k: int = 20
) -> ShadowDiff:
    """Where two stacks part on the same requests, and why.

    For every request the river is walked from its head: the first stage that differs although its own inputs agree is
    where it parts, and everything after it is explained. The stage in which most requests part is named first, with the
    culprit that explains most of the difference there.

    Args:
        pairs: Both sides' account of each request; the left one is the one to be reproduced.
        left: What the left side is called.
        right: What the right side is called.
        k: How many of the best to compare in overlaps and in the order of values.

    Raises:
        DataError: A pair is of two different requests (``parity-004``), or there is none (``parity-005``).
    """
    if not pairs:
        raise DataError("no request to compare", code="parity-005", hint="mirror some requests to the shadow first")
    sides = (_as_told([one for one, _ in pairs]), _as_told([other for _, other in pairs]))
    compared = [_compare(one, other, k) for one, other in zip(*sides, strict=True)]
    partings = _partings(compared, left, right)
    first = max(partings, key=lambda one: one.requests, default=None)
    same = sum(not any(pair.differs().values()) for pair in compared)
    return ShadowDiff(
        left=left,
        right=right,
        requests=len(compared),
        same_requests=same,
        k=k,
        sentence=first.sentence if first else f"{left} and {right} agree in every stage they tell, {same} requests",
        first=first,
        partings=partings,
        stages=stage_diffs(compared),
        features=feature_diffs(compared),
        features_on_one_side=names_on_one_side(compared),
        sources=source_diffs(compared),
        heads=head_diffs(compared),
        values=value_diff(compared, k),
        rules=rule_diffs(compared),
        slate=slate_diff(compared, k),
    )


def _as_told(records: Sequence[StageRecord]) -> list[StageRecord]:
    """The records of one side, where a stage that it never names anything of is not told, rather than empty.

    A stack that names rules in some requests tells its rules: in the others none fired.
    """
    silent: dict[str, None] = {}
    if not any(record.source_names for record in records):
        silent["source_mask"] = None
    if not any(record.rule_names for record in records):
        silent |= {"removed_by": None, "demoted_by": None}
    if not any(record.values is not None and np.isfinite(record.values).any() for record in records):
        silent["values"] = None
    return [replace(record, **silent) for record in records] if silent else list(records)


def _compare(one: StageRecord, other: StageRecord, k: int) -> PairDiff:
    if one.request_id != other.request_id:
        raise DataError(
            f"request {one.request_id} is paired with request {other.request_id}, expected the same request on both sides",
            code="parity-004",
            hint="join the two sides by request_id",
        )
    return compare(one, other, k=k)


def _partings(pairs: Sequence[PairDiff], left: str, right: str) -> tuple[Parting, ...]:
    """Every stage in which some request parts, in the river's order."""
    firsts = [pair.first() for pair in pairs]
    found = []
    for stage in STAGES:
        own = [pair for pair, first in zip(pairs, firsts, strict=True) if first == stage]
        if own:
            found.append(_parting(stage, own, len(pairs), left, right))
    return tuple(found)


def _parting(stage: str, pairs: Sequence[PairDiff], requests: int, left: str, right: str) -> Parting:
    found = suspects(stage, pairs)
    earlier = STAGES[: STAGES.index(stage)]
    untold = tuple(name for name in earlier if any(pair.differs()[name] is None for pair in pairs))
    culprit = found.culprit or "unknown"
    sentence = f"{left} and {right} part in the {stage} stage in {len(pairs)} of {requests} requests: {_KINDS[stage]} {culprit!r}"
    if found.as_likely:
        sentence += f" (or {', '.join(map(repr, found.as_likely))}, which changed as much)"
    if untold:
        sentence += f"; {', '.join(untold)} {NOT_TOLD}, so the reason may lie there"
    return Parting(
        stage=stage,
        culprit=culprit,
        requests=len(pairs),
        share=len(pairs) / requests,
        sentence=sentence,
        as_likely=found.as_likely,
        not_told=untold,
        examples=tuple(pair.left.request_id for pair in pairs[:_EXAMPLES]),
    )
