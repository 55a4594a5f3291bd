"""One serving process: the engine's lane, the log's follower, the mirror and the meters, started and stopped together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mainstem.api.lane import Lane, LateError
from mainstem.api.launched import Launched, Served
from mainstem.api.limits import Rates, Token, new_token
from mainstem.api.meters import Meters
from mainstem.api.mirror import Mirror
from mainstem.base.clock import Clock, SystemClock
from mainstem.base.request import Request, Slate
from mainstem.data.records import Feedback
from mainstem.stacks.live import Live
from mainstem.store.event_log import Ack

LOG = logging.getLogger("mainstem.service")
POLL_S: Final = 0.25
"""How often the log is asked for what other processes wrote."""
APPLY_S: Final = 1.0
"""How long an acknowledged write waits to be visible here before it is answered anyway."""
SNAPSHOT_EVERY: Final = 50_000
"""Outcomes between two snapshots of the memories."""


class Service:
    """What the routes share.

    Args:
        live: The platform.
        mirror: Where live requests are mirrored to; None mirrors nothing.
        token: What writes need; empty makes one.
        worker: The number of this process, part of every request's name.
    """

    def __init__(self, live: Live, mirror: Mirror | None = None, token: str = "", worker: int = 0) -> None:
        serve = live.settings.serve
        self.live = live
        self.mirror = mirror
        self.secret = token or serve.token or new_token()
        self.token = Token(self.secret)
        self.rates = Rates(serve.client_rate_per_s, time.monotonic)
        self.meters = Meters()
        self.lane = Lane(serve.queue_limit)
        self.names = RequestNames(SystemClock(), worker)
        self.body_limit_bytes = serve.body_limit_bytes
        self.budget_s = serve.request_budget_ms / 1e3
        self.launched = Launched(live, self.lane, mirror, self.meters.launches, self.rank, worker)
        self.started = False
        self.evidence: Path | None = None
        """The folder whose feature evidence ``/metrics`` tells; None tells none."""
        self.failed = ""
        """Why it will never be ready."""
        self.lag = 0
        """Outcomes in the log that the memories had not seen when last asked; counted up to one step."""
        self._worker = worker
        self._wake = asyncio.Event()
        self._applied = asyncio.Condition()
        self._begun = 0
        self._done = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._snapshot_due = SNAPSHOT_EVERY

    async def start(self) -> None:
        """Starts everything; the memories catch up in the background, and until then the process is alive but not ready."""
        self.lane.start()
        if self.mirror is not None:
            self.mirror.start()
        self.launched.start()
        self._tasks = [
            asyncio.create_task(self._follow(), name="follow"),
            asyncio.create_task(self._follow_withdrawals(), name="withdrawals"),
        ]

    async def stop(self) -> None:
        """Answers what was taken, writes what waits, keeps the state."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.launched.stop()
        idle = await self.lane.stop()
        if self.mirror is not None:
            await asyncio.to_thread(self.mirror.stop)
        if idle and self.started:
            await asyncio.to_thread(self._keep)
        await asyncio.to_thread(self.live.log.close)

    async def rank(self, request: Request, explain: bool, budget_s: float = 0.0) -> Slate:
        """A slate within the request's budget, or what is left of it: the stack's own, or the declared fallback."""
        budget_s = budget_s or self.budget_s
        try:
            slate = await self.lane.run(lambda: self.live.rank(request, explain), budget_s)
        except LateError:
            slate = self.live.fallback(request, f"request: not ranked within {budget_s * 1e3:.0f} ms")
        return slate

    def shown(self, request: Request, slate: Slate, seconds: float, served: Served | None = None) -> None:
        """What follows an answer that is on its way: written down, mirrored, counted."""
        if served is not None:
            self.launched.shown(served, request)
            self.meters.ranked(slate, seconds, stages=not served.by_legacy)
            return
        self.live.remember(request, slate, timings_ms={"total": seconds * 1e3})
        if self.mirror is not None:
            self.mirror.offer(request, slate)
        self.meters.ranked(slate, seconds)

    async def write(self, records: Sequence[Feedback]) -> tuple[Ack, bool]:
        """Puts outcomes on disk; then waits a little until the memories have seen them, and says whether they have."""
        ack = await asyncio.wrap_future(self.live.log.submit(records))
        if self.mirror is not None:
            self.mirror.tell(records)
        self.launched.wake()
        return ack, await self._seen()

    async def _seen(self) -> bool:
        """Whether a pass over the log that begins after this call came to its end in time."""
        passed = self._begun + 1
        self._wake.set()
        try:
            async with asyncio.timeout(APPLY_S), self._applied:
                await self._applied.wait_for(lambda: self._done >= passed)
        except TimeoutError:
            return False
        return True

    async def _follow(self) -> None:
        """Applies what the log holds, for ever: at once after a write here, and now and then for writes elsewhere."""
        try:
            await self.lane.do(self.live.follower.start)
        except Exception as error:
            LOG.exception("the memories could not be brought up to date")
            self.failed = str(error)
            return
        self.started = True
        while True:
            try:
                await self._catch_up()
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            except Exception:
                LOG.exception("the event log could not be followed; trying again")
                await asyncio.sleep(POLL_S)

    async def _follow_withdrawals(self) -> None:
        """Takes in what other processes withdrew, for ever; at a start already while the memories catch up."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await asyncio.to_thread(self.live.follow_withdrawals)
            except Exception:
                LOG.exception("the withdrawn items could not be read; trying again")

    async def _catch_up(self) -> None:
        self._wake.clear()
        self._begun = begun = self._begun + 1
        follower = self.live.follower
        while entries := await asyncio.to_thread(follower.pending):
            self.lag = len(entries)
            await self.lane.do(lambda entries=entries: follower.apply(entries))
            self._snapshot_due -= len(entries)
        self.lag = 0
        self._done = begun
        async with self._applied:
            self._applied.notify_all()
        if self._snapshot_due <= 0:
            self._snapshot_due = SNAPSHOT_EVERY
            await self.lane.do(self._keep)

    def _keep(self) -> None:
        """Writes a snapshot; one process does it for all."""
        if self._worker:
            return
        try:
            self.live.follower.save()
        except Exception:
            LOG.exception("the state was not kept; the next start replays the log")


class RequestNames:
    """Numbers for requests without one: unique across processes and restarts, below 2**53 so that any client can hold them.

    Args:
        clock: Gives the second a name belongs to; never one that is set back at a start, or names would come again.
        worker: The number of this process, 0 to 63.
    """

    def __init__(self, clock: Clock, worker: int) -> None:
        self._clock = clock
        self._worker = worker & 63
        self._second = 0
        self._next = 0

    def next(self) -> int:
        """A new name: seconds since September 2020, process, and a running number."""
        second = max(self._second, self._clock.now_ms() // 1000 - 1_600_000_000)
        self._next = 0 if second > self._second else self._next + 1
        if self._next >= 1 << 17:
            second, self._next = second + 1, 0
        self._second = second
        return second << 23 | self._worker << 17 | self._next
