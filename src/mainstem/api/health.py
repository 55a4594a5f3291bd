"""Whether this process lives, whether it should get requests, and what it has counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import send_bytes, send_json
from mainstem.api.schemas import HealthAnswer, ReadyAnswer, ShadowAnswer
from mainstem.api.service import Service
from mainstem.store.event_log import FEEDBACK

LAG_LIMIT = 5_000
"""With more outcomes than this still to take in, a process asks not to be sent requests."""


class Health:
    """``GET /v1/health``: the event loop turns. Says nothing about readiness."""

    meter = "health"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        live = self._service.live
        wrong = self._service.launched.health()
        await send_json(send, HealthAnswer("ok", live.stack.name, sorted(live.surfaces), live.clock.now_ms(), wrong))


class Ready:
    """``GET /v1/ready``: 200 when requests should come here, else 503 with every reason."""

    meter = "ready"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        service = self._service
        reasons = list(_reasons(service))
        offset = service.live.follower.offset
        answer = ReadyAnswer(not reasons, offset, service.lag, service.lane.depth, reasons)
        await send_json(send, answer, 503 if reasons else 200)


def _reasons(service: Service) -> Iterator[str]:
    if service.failed:
        yield f"the memories could not be brought up to date: {service.failed}"
    elif not service.started:
        yield "the memories are still catching up with the event log"
    elif service.lag >= LAG_LIMIT:
        yield f"{service.lag} outcomes or more are not yet in the memories"
    if service.launched.arms.blind:
        yield "the book of launches was never read: " + service.launched.arms.trouble
    if service.lane.depth >= service.lane.limit:
        yield "the queue is full"


class Metrics:
    """``GET /metrics``: the counters in Prometheus' form."""

    meter = "metrics"

    def __init__(self, service: Service) -> None:
        self._service = service
        self._offset = 0
        self._newest_ms: int | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        service = self._service
        meters, stats, mirror = service.meters, service.live.log.stats(), service.mirror
        meters.queue.set(service.lane.depth)
        meters.lag.set(service.lag)
        meters.offset.set(service.live.follower.offset)
        meters.refused.set(service.live.follower.refused)
        meters.written.set(stats.impressions_written)
        meters.dropped.set(stats.impressions_dropped)
        if mirror is not None:
            meters.mirrored.set(mirror.mirrored)
            meters.unmirrored.set(mirror.dropped)
        service.launched.told()
        await asyncio.to_thread(self._of_features)
        page, kind = meters.page()
        await send_bytes(send, page, kind)

    def _of_features(self) -> None:
        service = self._service
        if service.evidence is not None:
            service.meters.features.read(service.evidence)
        offset = service.live.follower.offset
        if offset != self._offset:
            entries = service.live.log.read(offset - 1, 1, FEEDBACK)
            self._newest_ms = msgspec.json.decode(entries[0].payload, type=_Timed).time_ms if entries else None
            self._offset = offset
        if self._newest_ms is not None:
            service.meters.features.fresh((service.live.clock.now_ms() - self._newest_ms) / 1e3)


class _Timed(msgspec.Struct):
    time_ms: int


class Shadow:
    """``GET /v1/shadow``: how live answers differed from the other stacks' lately."""

    meter = "shadow"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        mirror = self._service.mirror
        if mirror is None:
            await send_json(send, ShadowAnswer([], 0, 0, 0, []))
            return
        names = [target.name for target in mirror.targets]
        latest = list(mirror.latest)[::-1]
        await send_json(send, ShadowAnswer(names, mirror.mirrored, mirror.dropped, mirror.failed, latest))
