"""What a client is told when a request cannot be answered: one form of body, a code for each reason, and never a bare 500."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request as WebRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainstem.api.bodies import GoneError, send_json
from mainstem.api.meters import Meters
from mainstem.api.schemas import Problem
from mainstem.base.errors import MainstemError

LOG = logging.getLogger("mainstem.api")
RETRY_AFTER_S: Final = 1


async def send_problem(
    send: Send, error: MainstemError, request_id: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Sends an error as every route does."""
    problem = Problem(code=error.code, message=error.message, request_id=request_id, hint=error.hint)
    await send_json(send, problem, error.status, [*_headers(error), *headers])


def _headers(error: MainstemError) -> list[tuple[bytes, bytes]]:
    if error.status in (429, 503):
        return [(b"retry-after", b"%d" % RETRY_AFTER_S)]
    if error.status == 401:
        return [(b"www-authenticate", b"Bearer")]
    if error.status in (408, 413):
        return [(b"connection", b"close")]
    return []


class LastResort:
    """Answers what no route answered: coded errors as they are, anything else as 503 with a line in the log. Counts every answer.

    Args:
        app: Every route.
        meters: Where answers are counted.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = status or message.get("status", 0)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except GoneError:
            return
        except Exception as error:
            if status:  # too late for another answer: the connection ends
                LOG.exception("request %s to %s broke off", request_id_of(scope), scope["path"])
                raise
            await send_problem(watched, _coded(error, scope), request_id_of(scope))
        finally:
            self._count(scope, status)

    def _count(self, scope: Scope, status: int) -> None:
        name = getattr(scope.get("endpoint"), "meter", "other")
        surface = scope.get("path_params", {}).get("surface", "") if name == "rank" and status != 404 else ""
        self._meters.answered(name, surface, status or 499)


async def web_problem(request: WebRequest, error: Exception) -> Problems:
    """The answer to an address or method that no route has."""
    status = error.status_code if isinstance(error, HTTPException) else 503
    code = {404: "serve-009", 405: "serve-010"}.get(status, "serve-011")
    problem = Problem(
        code=code,
        message=f"{request.method} {request.url.path[:200]}: {getattr(error, 'detail', 'failed')}",
        request_id="-",
        hint="GET /v1/openapi.json lists every route",
    )
    return Problems(problem, status, dict(getattr(error, "headers", None) or {}))


class Problems(Response):
    """A problem as a Starlette response, for what Starlette itself refuses."""

    media_type = "application/json"

    def __init__(self, problem: Problem, status: int, headers: dict[str, str]) -> None:
        super().__init__(msgspec.json.encode(problem), status, headers)


def _coded(error: Exception, scope: Scope) -> MainstemError:
    if isinstance(error, MainstemError):
        return error
    LOG.exception("request %s to %s failed", request_id_of(scope), scope["path"], exc_info=error)
    return _unexpected()


def _unexpected() -> MainstemError:
    return MainstemError(
        "the request could not be answered",
        code="serve-001",
        status=503,
        hint="try again; the server's log has the reason under this request_id",
    )


def request_id_of(scope: Scope) -> str:
    """What this request is called in answers and logs."""
    return str(scope.get("mainstem.request_id", "-"))
