"""``POST /v1/surfaces/{surface}/rank``: one request in, one slate out. The lean path: bytes, records, the engine, bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import numpy as np
from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import read_body, send_json
from mainstem.api.schemas import Candidate, GivenId, Item, RankAnswer, RankBody, TraceAnswer
from mainstem.api.service import Service
from mainstem.base.errors import RequestError
from mainstem.base.request import Ids, Request, Slate, Trace
from mainstem.stacks.live import Live

_decode = msgspec.json.Decoder(RankBody).decode
_NO_FAILURES: frozenset[str] = frozenset()


class RankSurface:
    """The route as a plain ASGI application.

    Args:
        service: What the routes share.
    """

    meter = "rank"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        service = self._service
        service.rates.check(scope)
        payload = await read_body(receive, service.body_limit_bytes)
        started = time.perf_counter()
        body = decode_body(payload)
        if body.failures:
            service.token.check(scope)
        request, ignored = self._request(scope["path_params"]["surface"], body)
        scope["mainstem.request_id"] = request.request_id
        call = service.launched.call(request)
        if call is not None and call.flag:
            call = await service.launched.asked(call, request.user_id, str(body.user_id))
        if call is None:
            served, slate = None, await service.rank(request, body.explain)
        else:
            served = await service.launched.rank(call, request, body.explain, started)
            slate = served.slate
        await send_json(send, answer_of(service.live, request, slate, ignored, body.explain))
        service.shown(request, slate, time.perf_counter() - started, served)

    def _request(self, surface: str, body: RankBody) -> tuple[Request, list[int | str]]:
        live = self._service.live
        item_ids, ignored = _known_items(live, body.item_ids)
        request = live.request(
            self._service.names.next() if body.request_id is None else body.request_id,
            number_of(live, body.user_id, "user_id"),
            surface,
            count=body.count,
            now_ms=body.now_ms,
            scenario=body.scenario,
            item_ids=item_ids,
            failures=frozenset(body.failures) if body.failures else _NO_FAILURES,
        )
        return request, ignored


def decode_body(payload: bytes) -> RankBody:
    """The body as a record.

    Raises:
        RequestError: It is not JSON (``request-010``), or a field is wrong; the message has its path (``request-011``).
    """
    try:
        return _decode(payload)
    except msgspec.ValidationError as error:
        raise RequestError(str(error), code="request-011", hint="GET /v1/openapi.json has every field") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not JSON: {error}", code="request-010") from None


def number_of(live: Live, given: GivenId, what: str) -> int:
    """The number of an id.

    Raises:
        RequestError: It is negative, beyond 2**63, or a text where the log's ids are numbers (``request-012``).
    """
    if isinstance(given, str):
        if live.ids is not None:
            return live.ids.user(given) if what == "user_id" else live.ids.item(given)
        if not (given.isascii() and given.isdigit() and len(given) < 40):
            raise RequestError(f"{what} is the text {given[:40]!r}, but this log's ids are numbers", code="request-012")
        given = int(given)
    if not 0 <= given < 2**63:
        raise RequestError(f"{what} is {given}, must be from 0 to 2**63 - 1", code="request-012")
    return given


def _known_items(live: Live, given: Sequence[GivenId] | None) -> tuple[Ids | None, list[int | str]]:
    """The items the catalog holds, each once, and those it does not."""
    if given is None:
        return None, []
    named = dict.fromkeys(given)
    ids = np.array([number_of(live, one, "item_id") for one in named], np.int64)
    known = live.stack.catalog.item_rows(ids) >= 0
    ignored = [one for one, here in zip(named, known.tolist(), strict=True) if not here]
    _, first = np.unique(ids, return_index=True)
    once = np.zeros(len(ids), bool)
    once[first] = True
    return ids[known & once], ignored


def answer_of(live: Live, request: Request, slate: Slate, ignored: list[int | str], explain: bool) -> RankAnswer:
    """The slate as it goes over the wire."""
    columns = zip(slate.item_ids.tolist(), slate.scores.tolist(), slate.propensities.tolist(), strict=True)
    return RankAnswer(
        request_id=request.request_id,
        surface=request.surface,
        stack=slate.stack,
        now_ms=request.now_ms,
        items=[Item(item_id, score, propensity) for item_id, score, propensity in columns],
        degraded=list(slate.degraded),
        ignored_items=ignored,
        notes=_notes(live, request, slate),
        trace=_trace(slate.trace) if explain and slate.trace is not None else None,
    )


def _notes(live: Live, request: Request, slate: Slate) -> list[str]:
    notes = []
    if live.stack.catalog.user_rows(np.array([request.user_id], np.int64))[0] < 0:
        notes.append("the viewer is not in the log and was served as a new one")
    if not len(slate.item_ids):
        notes.append(_why_empty(request, slate))
    return notes


def _why_empty(request: Request, slate: Slate) -> str:
    trace = slate.trace
    if trace is None or len(trace.item_ids):
        return "empty: the rules removed every candidate"
    if request.item_ids is not None:
        return "empty: the catalog holds none of the items that were named"
    return "empty: no source had a candidate"


def _trace(trace: Trace) -> TraceAnswer:
    values = trace.values.tolist()
    candidates = [
        Candidate(
            item_id=item_id,
            sources=list(trace.sources_of(at)),
            value=values[at] if at < len(values) else None,
            removed_by=trace.reason(at),
        )
        for at, item_id in enumerate(trace.item_ids.tolist())
    ]
    return TraceAnswer(retrieved=trace.retrieved, candidates=candidates, timings_ms=trace.timings_ms)
