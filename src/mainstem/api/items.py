"""``DELETE`` and ``PUT /v1/items/{item}``: takes an item out of the running server, and puts it back."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import send_json
from mainstem.api.rank import number_of
from mainstem.api.schemas import ItemAnswer, WithdrawnAnswer
from mainstem.api.service import Service


class ChangeItem:
    """Both routes as a plain ASGI application: each answers when the change is on disk and holds for the next request here."""

    meter = "items"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the same twice changes nothing the second time."""
        service = self._service
        service.rates.check(scope)
        service.token.check(scope)
        item_id = number_of(service.live, scope["path_params"]["item"], "item_id")
        withdraw = scope["method"] == "DELETE"
        withdrawals = service.live.withdrawals
        # On a thread: it waits for the disk, and for another process that writes. It never waits for the lane that ranks.
        changed = await asyncio.to_thread(withdrawals.withdraw if withdraw else withdrawals.put_back, item_id)
        await send_json(send, ItemAnswer(item_id, withdraw, changed))


class WithdrawnItemsList:
    """``GET /v1/items/withdrawn``: every item that was taken out."""

    meter = "items"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        self._service.rates.check(scope)
        await send_json(send, WithdrawnAnswer(list(self._service.live.withdrawals.ids)))
