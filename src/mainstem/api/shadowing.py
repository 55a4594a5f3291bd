"""Before anybody is served: a share of a launched surface's requests is asked of the unified stack too, once their answer is out.

It is asked on the lane, which owns the stack, and nothing remembers that it was. Where the two part goes to the mirror's file; how
many were asked, failed and agreed goes to the counts that a pilot gates on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import numpy as np

from mainstem.api.arms import Call
from mainstem.api.lane import Lane
from mainstem.api.mirror import Mirror, of_share
from mainstem.base.errors import StoreError
from mainstem.base.request import Request, Slate
from mainstem.stacks.live import Live
from mainstem.store.shadow_counts import ShadowCount, ShadowCounts

LOG = logging.getLogger("mainstem.shadow")
WAITING: Final = 16
"""Requests that may wait to be asked of the unified stack; more are dropped and counted."""


class Shadowing:
    """Belongs to the event loop.

    Args:
        live: Whose stack is asked.
        lane: Its thread.
        mirror: Keeps each difference; None keeps none.
        counts: Where sums are kept.
        budget_s: A slate that takes longer has failed.
    """

    def __init__(self, live: Live, lane: Lane, mirror: Mirror | None, counts: ShadowCounts, budget_s: float) -> None:
        self._live, self._lane, self._mirror, self._counts = live, lane, mirror, counts
        self._budget_ms = budget_s * 1e3
        self._share = live.settings.serve.shadow_share
        self._waiting: set[asyncio.Task[None]] = set()
        self._sums: dict[tuple[str, str], ShadowCount] = {}
        self.dropped = 0

    def wants(self, call: Call, request: Request) -> bool:
        """Whether this request is one of the share."""
        return call.shadow and of_share(request.request_id, self._share)

    def offer(self, call: Call, request: Request, slate: Slate, old_ms: float) -> None:
        """Asks the unified stack for what the legacy stack has just shown. Never waits."""
        if len(self._waiting) >= WAITING:
            self.dropped += 1
            return
        task = asyncio.create_task(self._ask(call, request, slate, old_ms))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def keep(self) -> None:
        """Adds what was counted since to the durable sums; what cannot be written is written with the next."""
        if not self._sums:
            return
        sums, self._sums = self._sums, {}
        try:
            await asyncio.to_thread(self._counts.add, sums)
        except StoreError as error:
            LOG.warning("counts of mirrored requests wait for the disk: %s", error)
            for key, one in sums.items():
                self._sums[key] = one.plus(self._sums.get(key, ShadowCount()))

    async def stop(self) -> None:
        """Waits for what was asked, and keeps it."""
        if self._waiting:
            await asyncio.wait(self._waiting, timeout=5.0)
        await self.keep()
        await asyncio.to_thread(self._counts.close)

    async def _ask(self, call: Call, request: Request, slate: Slate, old_ms: float) -> None:
        try:
            own, ms = await self._lane.do(lambda: self._timed(request))
        except Exception:
            LOG.exception("the unified stack failed mirrored request %d", request.request_id)
            self._count(call, ShadowCount(1, 1))
            return
        if own.degraded or ms > self._budget_ms or (len(slate.item_ids) and not len(own.item_ids)):
            self._count(call, ShadowCount(1, 1))
        else:
            self._count(call, ShadowCount(1, 0, overlap_of(slate, own), ms, old_ms))
        if self._mirror is not None:
            self._mirror.keep(request, slate, own)

    def _timed(self, request: Request) -> tuple[Slate, float]:
        started = time.perf_counter()
        slate = self._live.dry_rank(request)
        return slate, (time.perf_counter() - started) * 1e3

    def _count(self, call: Call, one: ShadowCount) -> None:
        key = (call.launch, call.surface)
        self._sums[key] = self._sums.get(key, ShadowCount()).plus(one)


def overlap_of(one: Slate, other: Slate) -> float:
    """Share of the longer slate's items that both show; 1 when both are empty."""
    longer = max(len(one.item_ids), len(other.item_ids))
    return len(np.intersect1d(one.item_ids, other.item_ids)) / longer if longer else 1.0
