"""``GET /v1/explain``: why one viewer is, or is not, shown one item."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from mainstem.api.arms import Call
from mainstem.api.bodies import send_json
from mainstem.api.lane import LateError
from mainstem.api.rank import number_of
from mainstem.api.schemas import ExplainAnswer
from mainstem.api.service import Service
from mainstem.base.errors import RequestError, did_you_mean
from mainstem.base.request import Request
from mainstem.stacks.why import Why

PATIENCE = 8
"""An explanation may take this many request budgets: it asks every source without a bound."""
NEEDED = ("user", "item", "surface")
KNOWN = (*NEEDED, "now_ms", "request_id", "count")


class Explain:
    """The route as a plain ASGI application."""

    meter = "explain"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        service = self._service
        service.rates.check(scope)
        asked = parameters(scope)
        request, item_id = self._request(asked)
        try:
            why = await service.lane.run(lambda: service.live.explain(request, item_id), PATIENCE * service.budget_s)
        except LateError:
            raise RequestError(
                f"the explanation was not ready within {PATIENCE * service.budget_s:g} s", code="serve-008", status=503
            ) from None
        call = await service.launched.asked(service.launched.call(request), request.user_id, asked["user"])
        why = _of_launch(why, call)
        await send_json(send, msgspec.convert(_finite(dataclasses.asdict(why)), ExplainAnswer))

    def _request(self, asked: dict[str, str]) -> tuple[Request, int]:
        live = self._service.live
        request = live.request(
            _number(asked, "request_id") or 0,
            number_of(live, asked["user"], "user_id"),
            asked["surface"],
            count=_number(asked, "count") or 0,
            now_ms=_number(asked, "now_ms"),
        )
        return request, number_of(live, asked["item"], "item_id")


def _of_launch(why: Why, call: Call | None) -> Why:
    """The answer with the viewer's arm; where another stack serves the viewer, it says that this is what ours would do."""
    if call is None:
        return why
    if call.ours:
        return dataclasses.replace(why, arm=call.label)
    told = f"launch: {call.launch} has {call.surface}, and {call.legacy} serves this viewer there; this is what ours would do"
    return dataclasses.replace(why, arm=call.label, degraded=(told, *why.degraded))


def parameters(scope: Scope) -> dict[str, str]:
    """The parameters of the address.

    Raises:
        RequestError: One is missing or unknown (``request-014``).
    """
    given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    for name in NEEDED:
        if not given.get(name):
            raise RequestError(
                f"the parameter {name!r} is missing",
                code="request-014",
                hint="/v1/explain?user=7&item=99&surface=feed",
            )
    for name in given:
        if name not in KNOWN:
            raise RequestError(f"unknown parameter {name[:40]!r}", code="request-014", hint=did_you_mean(name, KNOWN))
    return given


def _number(asked: dict[str, str], name: str) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63):
        raise RequestError(f"{name} is {text[:40]!r}, must be a whole number", code="request-014")
    return int(text)


def _finite(value: Any) -> Any:
    """The same with null for numbers JSON has no form for; tuples become lists."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {
            key: _finite(inner)
            for key, inner in value.items()
            if not isinstance(inner, float) or _finite(inner) is not None
        }
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
