"""How one request becomes one slate: the whole flow, in the order of the README's drawing."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from mainstem.base.errors import RequestError, StoreError, did_you_mean
from mainstem.base.request import (
    NOT_RANKED,
    NOTHING,
    AsServed,
    Floats,
    Found,
    Ids,
    Pool,
    Request,
    Rows,
    Selection,
    Slate,
    Trace,
)
from mainstem.control.day import DAY
from mainstem.stacks.stage import QUOTA, Source, Stack

T = TypeVar("T")
CLAIMS = 4
"""How often a slate is chosen while the viewer is served elsewhere; the last time nobody else may claim."""


@dataclass(slots=True)
class Stopwatch:
    """How long each stage took, and what had to be replaced by a fallback on the way."""

    timings_ms: dict[str, float] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)

    def stage(self, name: str, work: Callable[[], T], fallback: Callable[[], T] | None = None) -> T:
        """Runs one stage. When it fails and a fallback is declared, the fallback's answer is used and said so."""
        started = time.perf_counter_ns()
        try:
            return work()
        except Exception as error:
            if fallback is None or isinstance(error, RequestError):
                raise
            self.degraded.append(f"{name}: {type(error).__name__}: {error}"[:200])
            return fallback()
        finally:
            self.timings_ms[name] = self.timings_ms.get(name, 0.0) + (time.perf_counter_ns() - started) / 1e6


def run(stack: Stack, request: Request, *, explain: bool = True, source_budget_s: float = 0.05) -> Slate:
    """Which items this stack shows for this request, and what every stage kept and removed.

    Args:
        stack: The parts.
        request: Who asks.
        explain: Whether the trace also holds the terms of every value.
        source_budget_s: How long sources that block (those with ``blocking = True``) may take before they are left out.

    Raises:
        RequestError: The surface is not one of the stack's (``request-001``), or ``count`` is not positive (``request-002``).
    """
    _check(stack, request)
    watch = Stopwatch()
    user = watch.stage("features", lambda: stack.features.user(request))
    pool, retrieved = watch.stage("retrieve", lambda: _candidates(stack, request, user, watch, source_budget_s))
    kept, cut = within_rank_budget(stack, request, pool)
    features = watch.stage("features", lambda: stack.features.items(request, user, kept.rows))
    predictions, values = _score(stack, request, user, kept, features, watch)
    selection = _selected(stack, request, user, kept, values, watch)
    shown = kept.rows[selection.order]
    for memory in stack.memories:
        memory.served(request, shown)
    trace = Trace(
        sources=tuple(source.name for source in stack.sources),
        item_ids=_ids(stack, request, np.concatenate([kept.rows, cut.rows]) if len(cut.rows) else kept.rows),
        source_mask=np.concatenate([kept.source_mask, cut.source_mask]) if len(cut.rows) else kept.source_mask,
        feature_names=stack.features.names,
        features=features,
        heads=stack.ranker.heads,
        predictions=predictions,
        values=values,
        rules=stack.control.rules,
        removed_by=np.concatenate([selection.removed_by, np.full(len(cut.rows), NOT_RANKED, np.int16)]),
        fired=selection.fired,
        unmet=selection.unmet,
        timings_ms=watch.timings_ms,
        retrieved=retrieved,
        served=_as_served(stack, user),
        terms=stack.value.terms(request, user, kept.rows, predictions) if explain and predictions is not None else {},
    )
    return Slate(
        request_id=request.request_id,
        stack=stack.name,
        surface=request.surface,
        item_ids=trace.item_ids[selection.order],
        scores=values[selection.order],
        propensities=selection.propensities,
        trace=trace,
        degraded=tuple(watch.degraded),
    )


def guarded(stack: Stack, request: Request, rows: Rows) -> Rows:
    """The rows of a list, best first, that every guard of the surface lets through, claimed as served; ``count`` at most.

    Nothing of the viewer is read but what the guards look up themselves; one that fails does as its rule declares.
    """
    request = replace(request, failures=request.failures | {"features"})

    def choose(asked: Request) -> tuple[Rows, Rows]:
        left = rows
        for guard in stack.guards.get(asked.surface, ()):
            pool = Pool(left, np.zeros(len(left), np.uint32), np.zeros(len(left)))
            left = left[~guard.removes(asked, None, pool)]
        return left[: asked.count], left[: asked.count]

    return _claimed(stack, request, choose, Stopwatch())


def score(stack: Stack, request: Request) -> tuple[Floats, Floats]:
    """What the stack thinks of exactly these items before any rule: (values[n], predictions[n, h]). Changes no state.

    Raises:
        RequestError: The request names no items (``request-003``).
    """
    if request.item_ids is None:
        raise RequestError("scoring needs item_ids, the request has none", code="request-003")
    _check(stack, request)
    rows = stack.catalog.item_rows(request.item_ids)
    user = stack.features.user(request)
    features = stack.features.items(request, user, rows)
    predictions = stack.ranker.predict(request, user, rows, features)
    return _rounded(stack, stack.value.values(request, user, rows, predictions)), predictions


def pool_of(stack: Stack, request: Request) -> Pool:
    """What the stack's retrieval alone finds for a request, best fused score first. Changes no state."""
    _check(stack, request)
    user = stack.features.user(request)
    return _candidates(stack, request, user, Stopwatch(), 1.0)[0]


def _selected(stack: Stack, request: Request, user: Any, kept: Pool, values: Floats, watch: Stopwatch) -> Selection:
    """What control makes of the candidates, claimed as served."""

    def choose(asked: Request) -> tuple[Selection, Rows]:
        selection = watch.stage("control", lambda: stack.control.select(asked, user, kept, values))
        return selection, kept.rows[selection.order]

    return _claimed(stack, request, choose, watch)


def _claimed(stack: Stack, request: Request, choose: Callable[[Request], tuple[T, Rows]], watch: Stopwatch) -> T:
    """A choice, claimed; made again when the viewer was served something else meanwhile, at last with everybody else waiting.

    A claim that cannot be written down is a failed lookup: the choice is made as if the day could not be read, and said so.
    """
    claims = stack.claims
    for attempt in range(CLAIMS):
        if claims is None or DAY in request.failures:
            return choose(request)[0]
        try:
            with claims.alone() if attempt == CLAIMS - 1 else nullcontext():
                chosen, rows = choose(request)
                claim = partial(claims.claim, request, rows)
                if watch.stage("claim", claim):
                    return chosen
        except StoreError as error:
            watch.degraded.append(f"claim: {type(error).__name__}: {error}"[:200])
            request = replace(request, failures=request.failures | {DAY})
    return choose(replace(request, failures=request.failures | {DAY}))[0]


def _as_served(stack: Stack, user: Any) -> AsServed | None:
    """What makes the features computable again; only readers of declared features can tell."""
    tells = getattr(stack.features, "as_served", None)
    return None if tells is None else tells(user)


def _check(stack: Stack, request: Request) -> None:
    if request.surface not in stack.surfaces:
        raise RequestError(
            f"surface {request.surface!r} is not served by {stack.name}",
            code="request-001",
            status=404,
            hint=did_you_mean(request.surface, stack.surfaces),
        )
    if request.count < 1:
        raise RequestError(f"count is {request.count}, must be at least 1", code="request-002")


def _candidates(stack: Stack, request: Request, user: Any, watch: Stopwatch, budget_s: float) -> tuple[Pool, int]:
    """Everything the sources offer, merged; or exactly the items the request names."""
    if request.item_ids is not None:
        rows = stack.catalog.item_rows(request.item_ids)
        empty = np.zeros(len(rows))
        return Pool(rows=rows, source_mask=np.zeros(len(rows), np.uint32), fused=empty), len(rows)
    found = _ask_sources(stack, request, user, watch, budget_s)
    return stack.union.merge(request, found), sum(len(one.rows) for one in found)


def _ask_sources(stack: Stack, request: Request, user: Any, watch: Stopwatch, budget_s: float) -> list[Found]:
    """Asks every source: those that block go to threads first, the others are computed meanwhile."""
    waiting = {
        source.name: _POOL.submit(_ask, stack, source, request, user)
        for source in stack.sources
        if getattr(source, "blocking", False)
    }
    deadline = time.perf_counter() + budget_s
    found = []
    for source in stack.sources:
        work = (
            _result_of(waiting[source.name], deadline)
            if source.name in waiting
            else lambda source=source: _ask(stack, source, request, user)
        )
        found.append(watch.stage(f"source:{source.name}", work, fallback=lambda: NOTHING))
    return found


def _result_of(future: Future[Found], deadline: float) -> Callable[[], Found]:
    def wait() -> Found:
        try:
            return future.result(timeout=max(0.0, deadline - time.perf_counter()))
        except FutureTimeoutError:
            future.cancel()
            raise TimeoutError("did not answer within its budget") from None

    return wait


def _ask(stack: Stack, source: Source, request: Request, user: Any) -> Found:
    if f"source:{source.name}" in request.failures:
        raise ConnectionError("switched off for this request")
    limit = stack.quotas.get(request.surface, {}).get(source.name, QUOTA)
    found = source.retrieve(request, user, limit)
    return found if len(found.rows) <= limit else Found(found.rows[:limit], found.scores[:limit])


_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="source")


def within_rank_budget(stack: Stack, request: Request, pool: Pool) -> tuple[Pool, Pool]:
    """The candidates the ranker scores, and those it has no budget for."""
    n = min(len(pool.rows), stack.rank.get(request.surface, len(pool.rows)))
    head = Pool(pool.rows[:n], pool.source_mask[:n], pool.fused[:n])
    return head, Pool(pool.rows[n:], pool.source_mask[n:], pool.fused[n:])


def _score(
    stack: Stack, request: Request, user: Any, kept: Pool, features: Floats, watch: Stopwatch
) -> tuple[Floats | None, Floats]:
    """Predictions and values; without a working ranker the retrieval order stands in and the slate says so."""
    predictions = watch.stage(
        "rank",
        lambda: stack.ranker.predict(request, user, kept.rows, features),
        fallback=lambda: None,
    )
    if predictions is None:
        return None, kept.fused.astype(np.float64)
    values = watch.stage("value", lambda: stack.value.values(request, user, kept.rows, predictions))
    return predictions, _rounded(stack, values)


def _rounded(stack: Stack, values: Floats) -> Floats:
    return values if stack.decimals is None else np.round(values, stack.decimals)


def _ids(stack: Stack, request: Request, rows: Rows) -> Ids:
    """Item ids of candidates; an item the catalog does not hold keeps the id the request gave it."""
    if request.item_ids is not None:
        return np.asarray(request.item_ids, np.int64)
    return stack.catalog.items.ids[rows]
