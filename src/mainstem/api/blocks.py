"""``/v1/users/{user}/blocks`` and ``…/hidden``: what a viewer does not want to be shown, set and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import send_json
from mainstem.api.rank import number_of
from mainstem.api.schemas import BlockAnswer, BlocksAnswer
from mainstem.api.service import Service
from mainstem.base.errors import RequestError
from mainstem.store.blocked_list import CREATOR, ITEM


class ChangeBlock:
    """``PUT`` and ``DELETE`` of one block: answers when the change is on disk and holds for the next request here.

    Args:
        service: What it changes.
        kind: ``creator`` or ``item``.
    """

    meter = "blocks"

    def __init__(self, service: Service, kind: str) -> None:
        self._service, self._kind = service, kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the same twice changes nothing the second time."""
        service, given = self._service, scope["path_params"]
        service.rates.check(scope)
        service.token.check(scope)
        user_id = number_of(service.live, given["user"], "user_id")
        block, blocking = scope["method"] == "PUT", service.live.blocking
        if self._kind == CREATOR:
            target = _creator(given["target"])
            change: Callable[[int, int], bool] = blocking.block if block else blocking.unblock
        else:
            target = number_of(service.live, given["target"], "item_id")
            change = blocking.hide if block else blocking.unhide
        # On a thread: it waits for the disk, and for another process that writes. It never waits for the lane that ranks.
        changed = await asyncio.to_thread(change, user_id, target)
        await send_json(send, BlockAnswer(user_id, self._kind, target, block, changed))


class BlocksList:
    """``GET /v1/users/{user}/blocks``: everything a viewer blocked or hid. Needs the token: it is about a person."""

    meter = "blocks"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        service = self._service
        service.rates.check(scope)
        service.token.check(scope)
        user_id = number_of(service.live, scope["path_params"]["user"], "user_id")
        held = service.live.blocking.held(user_id)
        creators = [target for kind, target in held if kind == CREATOR]
        await send_json(send, BlocksAnswer(user_id, creators, [target for kind, target in held if kind == ITEM]))


def _creator(given: str) -> int:
    if not (given.isascii() and given.isdigit() and int(given[:40]) < 2**63):
        raise RequestError(f"creator is {given[:40]!r}, must be a whole number from 0 to 2**63 - 1", code="request-012")
    return int(given)
