"""How a request's body is read and an answer is sent: bounded in size and time, without a framework's objects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from mainstem.base.errors import RequestError

READ_S: Final = 10.0
"""A body that takes longer to arrive is refused."""
DRAIN_BYTES: Final = 64_000_000
"""Of a body that is too large, this much is read and thrown away, so that the sender can read the refusal."""

_encode = msgspec.json.Encoder().encode


class GoneError(Exception):
    """The client hung up before its request was complete: there is nobody to answer."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises:
        RequestError: It is larger than ``limit``, whether it says so or not (``serve-004``), or too slow (``serve-005``).
        GoneError: The client hung up.
    """
    try:
        async with asyncio.timeout(READ_S):
            parts, size = await _parts(receive, limit)
    except TimeoutError:
        raise RequestError(f"the body did not arrive within {READ_S:g} s", code="serve-005", status=408) from None
    if size > limit:
        raise RequestError(
            f"the body has {size} bytes or more, at most {limit} are taken",
            code="serve-004",
            status=413,
            hint="send it in several requests, or raise [serve] body_limit_bytes",
        )
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _parts(receive: Receive, limit: int) -> tuple[list[bytes], int]:
    """What arrived and its size; what is beyond the limit is counted, not kept."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        if not message.get("more_body", False) or size > max(limit, DRAIN_BYTES):
            return parts, size


async def send_json(send: Send, answer: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Sends a record as JSON."""
    await send_bytes(send, _encode(answer), b"application/json", status, headers)


async def send_bytes(
    send: Send, body: bytes, kind: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Sends a body whole."""
    lines = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of this name (lower case)."""
    return next((value for key, value in scope["headers"] if key == name), None)
