"""Launches as feature flags over HTTP: the OpenFeature Remote Evaluation Protocol, answered by what serves requests.

``POST /ofrep/v1/evaluate/flags/{key}`` tells one flag, ``POST /ofrep/v1/evaluate/flags`` all of them, with an ETag. A flag is true
where the viewer would be served by the unified stack. Asking exposes nobody and logs nothing.

Source: OpenFeature Remote Evaluation Protocol (OFREP), https://github.com/open-feature/protocol.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from mainstem.api.arms import Call, Flag
from mainstem.api.bodies import header, read_body, send_bytes, send_json
from mainstem.api.rank import number_of
from mainstem.api.schemas import FlagAnswer, FlagRefusal, FlagsAnswer
from mainstem.api.service import Service
from mainstem.base.errors import RequestError, did_you_mean

OUTSIDE: Final = "outside"
"""The variant of a viewer in no arm."""
LANDED: Final = "landed"
"""The variant of everybody where a launch has landed."""


class RefusedError(Exception):
    """The protocol's own refusal, with its error code."""

    def __init__(self, code: str, details: str, status: int = 400) -> None:
        super().__init__(details)
        self.code, self.status = code, status


class EvaluateFlag:
    """The route of one flag as a plain ASGI application.

    Args:
        service: What the routes share.
    """

    meter = "flag"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        key = scope["path_params"]["key"]
        try:
            unit, named = await _asked(self._service, scope, receive)
            flags = _flags(self._service)
            if key not in flags:
                known = f"no launch under way is called {key[:80]!r}. {did_you_mean(key, flags)}".strip()
                raise RefusedError("FLAG_NOT_FOUND", known, 404)
            answer = await _evaluated(self._service, flags[key], unit, named)
        except RefusedError as refused:
            await send_json(send, FlagRefusal(refused.code, str(refused), key), refused.status)
            return
        await send_json(send, answer)


class EvaluateFlags:
    """The route of all flags as a plain ASGI application.

    Args:
        service: What the routes share.
    """

    meter = "flags"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; 304 where the client's ETag is that of the answer."""
        try:
            unit, named = await _asked(self._service, scope, receive)
        except RefusedError as refused:
            await send_json(send, FlagRefusal(refused.code, str(refused)), refused.status)
            return
        flags = _flags(self._service)
        found = [await _evaluated(self._service, flags[key], unit, named) for key in sorted(flags)]
        body = msgspec.json.encode(FlagsAnswer(found))
        tag = b'"%s"' % hashlib.blake2b(body, digest_size=16).hexdigest().encode()
        headers = [(b"etag", tag), (b"cache-control", b"no-cache")]
        if _matches(header(scope, b"if-none-match"), tag):
            await send_bytes(send, b"", b"application/json", 304, headers)
            return
        await send_bytes(send, body, b"application/json", 200, headers)


async def _asked(service: Service, scope: Scope, receive: Receive) -> tuple[int, str]:
    """The viewer's number and its name as it was given."""
    service.rates.check(scope)
    payload = await read_body(receive, service.body_limit_bytes)
    try:
        body: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RefusedError("PARSE_ERROR", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RefusedError("PARSE_ERROR", "the body is no JSON object")
    context = body.get("context", {})
    if not isinstance(context, dict):
        raise RefusedError("INVALID_CONTEXT", "context is no JSON object")
    named = context.get("targetingKey", "")
    if not isinstance(named, str):
        raise RefusedError("INVALID_CONTEXT", "context.targetingKey is no text")
    if not named:
        raise RefusedError("TARGETING_KEY_MISSING", "context.targetingKey names the viewer")
    try:
        return number_of(service.live, named, "user_id"), named
    except RequestError as error:
        raise RefusedError("INVALID_CONTEXT", f"context.targetingKey: {error.message}") from None


def _flags(service: Service) -> dict[str, Flag]:
    arms = service.launched.arms
    if arms.blind:
        raise RequestError(
            f"the book of launches was never read, so no flag can be told: {arms.trouble}",
            code="launch-131",
            status=503,
            hint="GET /v1/ready says when the book can be read",
        )
    return dict(arms.flags)


async def _evaluated(service: Service, flag: Flag, unit: int, named: str) -> FlagAnswer:
    told = {"launch": flag.launch, "surface": flag.surface}
    if flag.landed:
        return FlagAnswer(flag.key, True, "STATIC", LANDED, told)
    call = await service.launched.asked(service.launched.placed(flag.surface, unit), unit, named)
    if call is None:  # pragma: no cover - a flag's launch has the surface, or the surface has landed
        return FlagAnswer(flag.key, True, "STATIC", LANDED, told)
    return FlagAnswer(flag.key, call.ours, _reason(flag, call), call.arm or OUTSIDE, told | _more(call))


def _reason(flag: Flag, call: Call) -> str:
    """In OpenFeature's words: who moves nobody is ``STATIC``, what could not be looked up ``DEFAULT``."""
    if call.reason:
        return "DEFAULT"
    return "SPLIT" if flag.share > 0 else "STATIC"


def _more(call: Call) -> dict[str, str]:
    served = {"legacy": call.legacy} if call.legacy and not call.ours else {}
    return served | ({"degraded": call.reason} if call.reason else {})


def _matches(given: bytes | None, tag: bytes) -> bool:
    """Whether an If-None-Match names this tag; a weak tag is the same here."""
    if given is None:
        return False
    return any(one.strip().removeprefix(b"W/") in (tag, b"*") for one in given.split(b","))
