"""What each stack answers to one and the same request, and what stands in for an answer that did not come."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
from starlette.requests import Request as Asked

from mainstem.base.errors import MainstemError, RequestError
from mainstem.base.request import Request, Slate
from mainstem.stacks.live import Live
from mainstem.web.site import Site

ORDER: Final = ("content-first", "interest-first")
"""Known outside stacks stand in this order, others after them by name; our own stands last."""


@dataclass(frozen=True, slots=True)
class StackAnswer:
    """One stack's slate, or in plain words why there is none."""

    name: str
    slate: Slate | None
    problem: str = ""
    hint: str = ""


def asked_request(site: Site, live: Live, asked: Asked) -> Request:
    """The request an address asks for; without a user, one the log knows.

    Raises:
        RequestError: The user, surface or time is malformed (``request-001``, ``request-005``, ``web-002``).
    """
    given = asked.query_params.get("user", "").strip()
    user_id = _id(given, "user", live.ids.user if live.ids else None) if given else site.catalogue.first_viewer
    surface = asked.query_params.get("surface", "") or next(iter(live.surfaces))
    at = asked.query_params.get("at", "")
    request_id = zlib.crc32(f"page/{user_id}/{surface}".encode())
    return live.request(request_id, user_id, surface, now_ms=_number(at, "at") if at else None)


def asked_item(live: Live, asked: Asked) -> int | None:
    """The item an address names, None when it names none.

    Raises:
        RequestError: It is neither a number nor a known name (``web-002``).
    """
    given = asked.query_params.get("item", "").strip()
    return _id(given, "item", live.ids.item if live.ids else None) if given else None


def _id(given: str, what: str, numbered: Callable[[str], int] | None) -> int:
    """The number an id was given as, or the one the log's table has for a text id."""
    if len(given) < 40 and given.isascii() and given.removeprefix("-").isdigit():
        found = int(given)
        if -(2**63) <= found < 2**63:
            return found
        raise RequestError(f"{what} {found} does not fit 64 bits", code="request-005")
    if numbered is not None:
        return numbered(given)
    raise RequestError(
        f"{what} is {given[:40]!r}, the ids of this log are whole numbers",
        code="web-002",
        hint=f"take a number, or one of the {what}s the page offers",
    )


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestError(f"{name} is {text[:40]!r}, must be a whole number", code="web-002")
    return int(text)


async def slates(site: Site, live: Live, request: Request) -> tuple[StackAnswer, ...]:
    """Every stack's answer to the request, asked at the same time. An outside stack that is dead is a message, not an error."""
    names = sorted(live.remotes, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    found: dict[str, StackAnswer] = {}

    async def ask(name: str) -> None:
        found[name] = await anyio.to_thread.run_sync(partial(_remote, live.remotes, name, request))

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(ask, name)
        found[live.stack.name] = await _own(site, live, request)
    return (*(found[name] for name in names), found[live.stack.name])


def _remote(remotes: Mapping[str, Any], name: str, request: Request) -> StackAnswer:
    try:
        return StackAnswer(name, remotes[name].rank(request, explain=True))
    except MainstemError as error:
        return StackAnswer(name, None, f"{error.message} ({error.code})", error.hint)


async def _own(site: Site, live: Live, request: Request) -> StackAnswer:
    try:
        return StackAnswer(live.stack.name, await site.on_live(lambda: live.dry_rank(request)))
    except MainstemError as error:
        return StackAnswer(live.stack.name, None, f"{error.message} ({error.code})", error.hint)
    except Exception as error:  # whatever a part raises, or the server's lane when it is late
        return StackAnswer(live.stack.name, None, f"{live.stack.name} gave no answer ({type(error).__name__})")
