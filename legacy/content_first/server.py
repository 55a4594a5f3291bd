"""The stack behind HTTP: five routes, one process, loopback only."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from content_first.stack import ContentFirst
from content_first.wire import WireError, parse

LARGEST_BODY_BYTES = 32 * 1024 * 1024
Answer = Callable[[Request], Awaitable[Response]]


class TooLargeError(WireError):
    """The body is over the limit."""

    status, code = 413, "too_large"


class NotReadyError(WireError):
    """Nothing is loaded yet."""

    status, code = 503, "not_ready"


def build_app(stack: ContentFirst | None) -> Starlette:
    """The web app around one stack; without one every route says 503."""

    def ready() -> ContentFirst:
        if stack is None:
            raise NotReadyError("the stack is still loading")
        return stack

    async def health(request: Request) -> Response:
        return JSONResponse(ready().health())

    async def rank(request: Request) -> Response:
        return JSONResponse(ready().rank(parse(await _body(request))))

    async def events(request: Request) -> Response:
        return JSONResponse(ready().events(parse(await _body(request))))

    async def replay(request: Request) -> Response:
        lines = ready().replay(await _body(request))
        return Response("".join(line + "\n" for line in lines), media_type="application/x-ndjson")

    async def reset(request: Request) -> Response:
        return JSONResponse(ready().reset())

    posts = {"rank": rank, "events": events, "replay": replay, "reset": reset}
    routes = [Route("/v1/health", health), *(Route(f"/v1/{name}", do, methods=["POST"]) for name, do in posts.items())]
    return Starlette(routes=routes, exception_handlers={WireError: _refuse})


async def _refuse(request: Request, wrong: Exception) -> Response:
    status, code = getattr(wrong, "status", 400), getattr(wrong, "code", "malformed")
    return JSONResponse({"error": {"code": code, "message": str(wrong)}}, status_code=status)


async def _body(request: Request) -> bytes:
    """The whole body, given up as soon as it is known to be too large."""
    told = request.headers.get("content-length", "0")
    if told.isdigit() and int(told) > LARGEST_BODY_BYTES:
        raise TooLargeError(f"{told} bytes; the limit is {LARGEST_BODY_BYTES}")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            raise TooLargeError(f"more than {LARGEST_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def listen(host: str, port: int) -> socket.socket:
    """Takes the address. Small answers go out at once: left alone, each would wait 40 ms for the asker's acknowledgement."""
    listener = socket.create_server((host, port), backlog=256)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
    return listener


def serve(stack: ContentFirst, host: str, port: int) -> None:
    """Listens until it is stopped. Port 0 picks a free one; the address is printed once connections are taken."""
    listener = listen(host, port)
    print(f"listening on http://{host}:{listener.getsockname()[1]}", flush=True)
    settings: dict[str, Any] = {"log_level": "warning", "access_log": False, "lifespan": "off"}
    uvicorn.Server(uvicorn.Config(build_app(stack), **settings)).run(sockets=[listener])
