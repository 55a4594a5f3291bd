"""Whether the engine, configured as an outside stack, answers as that stack does: every difference in plain words.

Example:
    A replay goes through both; no line may come out::

        for request, answer in zip(requests, remote.replay(lines), strict=True):
            assert compare_slates(answer, run(stack, request)) == []
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from mainstem.base.request import FIRST_RULE, KEPT, Floats, Slate, Trace
from mainstem.stacks.remote_protocol import ConsideredItem, RankAnswer, ScoreAnswer

SCORE_TOLERANCE: Final = 1e-6
PROPENSITY_TOLERANCE: Final = 1e-9
_MOST: Final = 5
"""Of one kind of difference, so many are told one by one."""

Fired = set[tuple[str, int, str]]


def compare_slates(answer: RankAnswer, slate: Slate) -> list[str]:
    """What the engine's slate has that the outside answer has not, and the other way round; nothing when they are the same.

    Order, items, rules and reasons must be equal, scores and predictions to 1e-6, propensities to 1e-9 where the outside stack
    tells them. Sources, predictions, values and reasons of candidates are compared when the answer lists its candidates.
    """
    return [f"request {answer.request_id} on {slate.surface}: {what}" for what in _differences(answer, slate)]


def compare_scores(answer: ScoreAnswer, values: Floats, heads: Mapping[str, Floats]) -> list[str]:
    """Where the engine's scores before rules differ from the answer to a ``score`` line.

    Args:
        answer: What the outside stack said.
        values: The engine's values, in the order of the items asked for.
        heads: The engine's predictions by name; only those that both have are compared.
    """
    where = f"request {answer.request_id}: "
    told = {"score": np.asarray(answer.scores)} | {name: np.asarray(part) for name, part in answer.heads.items()}
    ours = {"score": values, **heads}
    return [
        where + what for name in told if name in ours for what in _apart(name, told[name], ours[name], SCORE_TOLERANCE)
    ]


def _differences(answer: RankAnswer, slate: Slate) -> Iterator[str]:
    ids = [item.item_id for item in answer.items]
    if ids != slate.item_ids.tolist():
        yield f"slate {slate.item_ids.tolist()} instead of {ids}"
    else:
        yield from _apart("score", np.array([item.score for item in answer.items]), slate.scores, SCORE_TOLERANCE)
        told = np.array([np.nan if item.propensity is None else item.propensity for item in answer.items])
        known = ~np.isnan(told)
        yield from _apart("propensity", told[known], slate.propensities[known], PROPENSITY_TOLERANCE)
    if slate.trace is not None:
        yield from _rules({(one.rule, one.item_id, one.effect) for one in answer.rules}, slate.trace)
        if answer.candidates:
            yield from _candidates(answer.candidates, slate.trace)


def _apart(name: str, told: Floats, ours: Floats, tolerance: float) -> Iterator[str]:
    if len(told) != len(ours):
        yield f"{len(ours)} of {name} instead of {len(told)}"
        return
    for at in np.flatnonzero(~(np.abs(told - ours) <= tolerance))[:_MOST].tolist():
        yield f"{name} at place {at} is {ours[at]:.12g} instead of {told[at]:.12g}"


def _rules(told: Fired, trace: Trace) -> Iterator[str]:
    ours = {(rule, int(trace.item_ids[at]), effect) for rule, at, effect in trace.fired}
    for rule, item_id, effect in sorted(ours - told)[:_MOST]:
        yield f"rule {rule} {effect} item {item_id} only here"
    for rule, item_id, effect in sorted(told - ours)[:_MOST]:
        yield f"rule {rule} {effect} item {item_id} only there"


def _candidates(told: list[ConsideredItem], trace: Trace) -> Iterator[str]:
    """Of an item that stands among our candidates twice, the place that was kept counts, or else the first."""
    kept_first = np.argsort(trace.removed_by != KEPT, kind="stable")
    place = {int(trace.item_ids[at]): int(at) for at in kept_first[::-1]}
    there = {one.item_id for one in told}
    if there != set(place):
        alone, missing = sorted(set(place) - there), sorted(there - set(place))
        yield f"candidates {alone[:_MOST]} only here ({len(alone)}), {missing[:_MOST]} only there ({len(missing)})"
        return
    apart = [what for one in told for what in _candidate(one, place[one.item_id], trace)]
    yield from apart[:_MOST]
    if len(apart) > _MOST:
        yield f"and {len(apart) - _MOST} more differences of candidates"


def _candidate(one: ConsideredItem, at: int, trace: Trace) -> Iterator[str]:
    who = f"candidate {one.item_id}"
    if set(one.sources) != set(trace.sources_of(at)):
        yield f"{who} comes from {sorted(trace.sources_of(at))} instead of {sorted(one.sources)}"
    if one.value is not None and not abs(one.value - trace.values[at]) <= SCORE_TOLERANCE:
        yield f"{who} has value {trace.values[at]:.12g} instead of {one.value:.12g}"
    if trace.predictions is not None:
        for name, column in zip(trace.heads, trace.predictions[at].tolist(), strict=True):
            if name in one.heads and not abs(one.heads[name] - column) <= SCORE_TOLERANCE:
                yield f"{who} has {name} {column:.12g} instead of {one.heads[name]:.12g}"
    code = int(trace.removed_by[at])
    reason = trace.rules[code - FIRST_RULE] if code >= FIRST_RULE else None if code == KEPT else "rank"
    if reason != one.removed_by:
        yield f"{who} is removed by {reason} instead of {one.removed_by}"
