"""``POST /v1/events``: what became of shown items. Acknowledged when it is on disk, all of a body or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import read_body, send_json
from mainstem.api.schemas import EventsAnswer
from mainstem.api.service import Service
from mainstem.base.errors import RequestError
from mainstem.data.records import Feedback, decode_events
from mainstem.stacks.live import FUTURE_MS


class Events:
    """The route as a plain ASGI application."""

    meter = "events"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        service = self._service
        service.rates.check(scope)
        service.token.check(scope)
        records = decode_events(await read_body(receive, service.body_limit_bytes), service.live.ids)
        refuse_future(records, service.live.clock.now_ms())
        ack, applied = await service.write(records)
        service.meters.took(ack.accepted, ack.duplicates)
        await send_json(send, EventsAnswer(ack.accepted, ack.duplicates, ack.last_offset, applied))


def refuse_future(records: Sequence[Feedback], now_ms: int) -> None:
    """Lets records of the past pass.

    Raises:
        RequestError: One is of the future; nothing of the batch is taken (``request-013``).
    """
    for index, record in enumerate(records):
        if record.time_ms > now_ms + FUTURE_MS:
            raise RequestError(
                f"events[{index}].time_ms is {record.time_ms}, in the future; here it is {now_ms}. Nothing of this batch was taken",
                code="request-013",
                hint="time_ms is when the item was served, in milliseconds since 1970 UTC",
            )
