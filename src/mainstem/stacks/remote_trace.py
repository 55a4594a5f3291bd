"""How an outside stack's answer reads as a slate and a trace of ours; what it does not tell stays empty."""

from __future__ import annotations

import math

import numpy as np

from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Request, Slate, Trace
from mainstem.stacks.remote_protocol import ConsideredItem, RankAnswer, not_in_protocol


def slate_of(name: str, request: Request, answer: RankAnswer) -> Slate:
    """The answer as a slate with its trace.

    Raises:
        RemoteError: The answer contradicts itself or the request (``remote-003``).
    """
    _consistent(name, request, answer)
    considered = answer.candidates or [ConsideredItem(item_id=item.item_id, value=item.score) for item in answer.items]
    return Slate(
        request_id=request.request_id,
        stack=name,
        surface=request.surface,
        item_ids=np.array([item.item_id for item in answer.items], np.int64),
        scores=np.array([item.score for item in answer.items], np.float64),
        propensities=np.array([_or_nan(item.propensity) for item in answer.items], np.float64),
        trace=_trace(answer, considered),
        degraded=tuple(answer.degraded),
    )


def _trace(answer: RankAnswer, considered: list[ConsideredItem]) -> Trace:
    position = {one.item_id: at for at, one in enumerate(considered)}
    sources = _in_order(name for one in considered for name in one.sources)
    heads = _in_order(name for one in considered for name in one.heads)
    shown = {item.item_id for item in answer.items}
    rules = _in_order(
        [
            *(one.rule for one in answer.rules),
            *(one.removed_by for one in considered if one.removed_by not in (None, "rank")),
        ]
    )
    return Trace(
        sources=sources,
        item_ids=np.array([one.item_id for one in considered], np.int64),
        source_mask=_masks(considered, sources),
        feature_names=(),
        features=None,
        heads=heads,
        predictions=_predictions(considered, heads),
        values=np.array([_or_nan(one.value) for one in considered], np.float64),
        rules=rules,
        removed_by=np.array([_code(one, shown, rules) for one in considered], np.int16),
        fired=tuple((one.rule, position[one.item_id], one.effect) for one in answer.rules if one.item_id in position),
        timings_ms=dict(answer.timings_ms),
        retrieved=sum(max(1, len(one.sources)) for one in considered),
    )


def _consistent(name: str, request: Request, answer: RankAnswer) -> None:
    """What cannot be both in the protocol and meant: another request's answer, items twice, numbers that are not numbers."""
    items = [item.item_id for item in answer.items]
    if answer.request_id != request.request_id:
        raise not_in_protocol(f"{name} answered request {answer.request_id}, asked was {request.request_id}")
    if len(set(items)) != len(items):
        raise not_in_protocol(f"{name} shows an item twice in request {request.request_id}")
    if len(items) > request.count:
        raise not_in_protocol(f"{name} shows {len(items)} items, asked were {request.count}")
    if not all(math.isfinite(item.score) for item in answer.items):
        raise not_in_protocol(f"{name} answers a score that is not a finite number")
    known = [one.item_id for one in answer.candidates]
    if len(set(known)) != len(known):
        raise not_in_protocol(f"{name} lists a candidate twice in request {request.request_id}")
    if known and not set(items) <= set(known):
        raise not_in_protocol(f"{name} shows items that are not among its candidates in request {request.request_id}")


def _masks(considered: list[ConsideredItem], sources: tuple[str, ...]) -> np.ndarray:
    bit = {name: 1 << at for at, name in enumerate(sources)}
    if len(sources) > 32:
        raise not_in_protocol(f"{len(sources)} sources, at most 32 can be told apart")
    return np.array([sum(bit[name] for name in set(one.sources)) for one in considered], np.uint32)


def _predictions(considered: list[ConsideredItem], heads: tuple[str, ...]) -> np.ndarray | None:
    """A candidate without a head's prediction has NaN there; a stack without heads has None."""
    if not heads:
        return None
    rows = [[one.heads.get(head, math.nan) for head in heads] for one in considered]
    return np.array(rows, np.float64).reshape(len(considered), len(heads))


def _code(one: ConsideredItem, shown: set[int], rules: tuple[str, ...]) -> int:
    if one.item_id in shown:
        return KEPT
    if one.removed_by in (None, "rank"):
        return SCORED_TOO_LOW
    return FIRST_RULE + rules.index(one.removed_by)


def _in_order(names: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))  # type: ignore[call-overload]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
