"""Serving a surface that a launch has: the new stack for its arm, the legacy stack that carries the viewer for everybody else.

A legacy stack that is dead or late is replaced by the unified one; the answer says so, and the viewer stays in the arm that was
drawn. Every answer is logged with its arm, stack and whole time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from mainstem.api.arms import Arms, Call
from mainstem.api.lane import Lane
from mainstem.api.launch_meters import LaunchMeters
from mainstem.api.legacy import LegacyStacks
from mainstem.api.mirror import Mirror
from mainstem.api.outside_flags import OutsideFlags
from mainstem.api.relay import Relay
from mainstem.api.shadowing import Shadowing
from mainstem.api.slowed import Slowing
from mainstem.base.errors import MainstemError
from mainstem.base.request import Request, Slate
from mainstem.launch.slowed import SLOWED
from mainstem.stacks.follow import WholeLog
from mainstem.stacks.live import Live
from mainstem.store.launch_book import FILE
from mainstem.store.launch_watch import LaunchWatch
from mainstem.store.shadow_counts import FILE as SHADOW_FILE
from mainstem.store.shadow_counts import ShadowCounts

LOG = logging.getLogger("mainstem.launched")
UNHEARD: Final = 256
"""Served slates that may wait to be told to the unified stack's memories; more are dropped and counted."""
HEARD: Final = "heard"
"""The name of the tasks that tell the memories."""
STAGES: Final = 16
"""Stages of a legacy stack whose time is written down."""
KEEP_S: Final = 1.0
"""How often counts are put on disk."""

Ours = Callable[[Request, bool, float], Awaitable[Slate]]
"""The unified stack's answer within so many seconds, or its fallback."""


@dataclass(frozen=True, slots=True)
class Served:
    """How a request of a launched surface was served.

    Attributes:
        by_legacy: Whether the legacy stack answered.
        timings_ms: ``total`` until the answer was ready to be sent; ``legacy`` and ``held`` where they apply.
    """

    call: Call
    slate: Slate
    by_legacy: bool
    timings_ms: dict[str, float]


class Launched:
    """Everything a serving process does for launches. Belongs to the event loop.

    Args:
        live: The platform; the book of launches lies beside its log.
        lane: The thread that owns the unified stack.
        mirror: Keeps differences of mirrored requests; None keeps none.
        meters: Where answers are counted.
        ours: Asks the unified stack.
        worker: The number of this process; the first one passes outcomes on to the legacy stacks.
    """

    def __init__(
        self, live: Live, lane: Lane, mirror: Mirror | None, meters: LaunchMeters, ours: Ours, worker: int
    ) -> None:
        folder, serve = live.log.path.parent, live.settings.serve
        self._flags = OutsideFlags.of(serve)
        self.arms = Arms(LaunchWatch(folder / FILE), live.clock.now_ms, live.remotes, outside=self._flags)
        self._live, self._lane, self._mirror, self._meters, self._ours = live, lane, mirror, meters, ours
        self._budget_s = serve.request_budget_ms / 1e3
        self._stacks = LegacyStacks(live.remotes, self._budget_s)
        self._slowing = Slowing()
        self._shadow = Shadowing(live, lane, mirror, ShadowCounts(folder / SHADOW_FILE), self._budget_s)
        self._telling: set[asyncio.Task[None]] = set()
        self._unheard = 0
        self._wanted: tuple[str, ...] = ()
        self._keeping: asyncio.Task[None] | None = None
        self.relay = self._relay_of(worker)

    def _relay_of(self, worker: int) -> Relay | None:
        live = self._live
        if worker or not live.remotes:
            return None
        folder = live.log.path.parent
        log = WholeLog(live.log, folder / "sealed")
        return Relay(log, live.remotes, lambda: self._wanted, lambda: live.follower.offset, folder / "told")

    def start(self) -> None:
        """Starts passing outcomes on, and keeping counts; belongs to a running event loop."""
        self._want()
        if self.relay is not None:
            self.relay.start()
        self._keeping = asyncio.create_task(self._keep(), name="launched")

    async def stop(self) -> None:
        """Ends what waits; must come before the lane ends."""
        if self._keeping is not None:
            self._keeping.cancel()
        if self._telling:
            await asyncio.wait(self._telling, timeout=5.0)
        await self._shadow.stop()
        if self.relay is not None:
            await asyncio.to_thread(self.relay.stop)
        self._stacks.close()
        if self._flags is not None:
            await asyncio.to_thread(self._flags.close)

    def call(self, request: Request) -> Call | None:
        """How a request is served; None where no launch has a say."""
        return self.placed(request.surface, request.user_id)

    def placed(self, surface: str, unit: int) -> Call | None:
        """The same for a surface and a unit, who need not be asking for anything."""
        call = self.arms.of(surface, unit)
        return self._slowing.placed(call) if call is not None and call.arm in SLOWED else call

    async def asked(self, call: Call | None, unit: int, named: str) -> Call | None:
        """The call itself; where an outside flag splits the surface's units, the call once the flag was asked.

        Args:
            call: From ``call`` or ``placed``.
            unit: Whose.
            named: The unit as it was given, which the flag's provider knows it by.
        """
        return call if call is None or not call.flag else await self.arms.asked(call, unit, named)

    async def rank(self, call: Call, request: Request, explain: bool, started: float) -> Served:
        """The answer of whoever the launch says, or of who stands in for it.

        Args:
            call: From ``call``.
            request: What is asked.
            explain: Whether the answer tells its candidates.
            started: When the request was there, by ``time.perf_counter``.

        Raises:
            RequestError: The request is wrong, or too many wait (``serve-003``).
        """
        slate, by_legacy, timings = await self._answered(call, request, explain, started)
        took_ms = (time.perf_counter() - started) * 1e3
        if by_legacy or (call.ours and slate.stack == self._live.stack.name):
            self._slowing.took(call, took_ms)
        if by_legacy and call.arm in SLOWED:
            timings["held"] = await self._hold(call, took_ms)
        if call.reason:
            slate = replace(slate, degraded=(call.reason, *slate.degraded))
        timings["total"] = (time.perf_counter() - started) * 1e3
        return Served(call, slate, by_legacy, timings)

    async def _hold(self, call: Call, took_ms: float) -> float:
        """Holds an answer back; answers for how long."""
        wanted_ms, started = self._slowing.hold_ms(call, took_ms), time.perf_counter()
        if wanted_ms > 0:
            await asyncio.sleep(wanted_ms / 1e3)
        held_ms = (time.perf_counter() - started) * 1e3 if wanted_ms > 0 else 0.0
        self._slowing.held(call, took_ms + held_ms)
        return held_ms

    async def _answered(
        self, call: Call, request: Request, explain: bool, started: float
    ) -> tuple[Slate, bool, dict[str, float]]:
        if call.ours:
            return await self._ours(request, explain, self._left(started)), False, {}
        try:
            asked = time.perf_counter()
            told = await self._stacks.rank(call.legacy, request, explain or self._shadow.wants(call, request))
            spent_ms = (time.perf_counter() - asked) * 1e3
        except MainstemError as error:
            self._meters.stood_in(call.legacy)
            slate = await self._ours(request, explain, self._left(started))
            why = f"legacy: {call.legacy}: {error.code}: {error}"[:200]
            return replace(slate, degraded=(why, *slate.degraded)), False, {}
        slate = replace(self._live.allowed(request, told), degraded=tuple(f"legacy: {one}" for one in told.degraded))
        return slate, True, {"legacy": spent_ms} | _stages(told)

    def shown(self, served: Served, request: Request) -> None:
        """What follows an answer that is on its way: written down, heard by the memories, mirrored, counted."""
        call, slate = served.call, served.slate
        # What an outside stack tells of its stages is in its own words, which are no record of ours.
        logged = replace(slate, trace=None) if served.by_legacy else slate
        self._live.remember(request, logged, call.label, served.timings_ms)
        self._meters.served(call, slate)
        if not served.by_legacy:
            if self._mirror is not None:
                self._mirror.offer(request, slate)
            return
        self._tell(request, slate)
        if self._shadow.wants(call, request):
            self._shadow.offer(call, request, slate, served.timings_ms["total"])

    def health(self) -> list[str]:
        """What is wrong with what launches need, in words; empty when nothing is."""
        missing = [name for name in self.arms.legacy() if name not in self._live.remotes]
        lacking = [f"{name} carries a launched surface and cannot be asked: no [remote.{name}]" for name in missing]
        return [*self.arms.health(), *lacking, *(f"{name} is left alone: it failed" for name in self._stacks.alone())]

    def wake(self) -> None:
        """Outcomes were written."""
        if self.relay is not None:
            self.relay.wake()

    def told(self) -> None:
        """Puts what is known here into the meters."""
        self._meters.gauges(self._unheard, self._shadow.dropped, self.relay)

    def _left(self, started: float) -> float:
        """What is left of the request's budget; a little always is, so that a fallback comes from where it always does."""
        return max(self._budget_s - (time.perf_counter() - started), 0.01)

    def _tell(self, request: Request, slate: Slate) -> None:
        """Lets the unified stack's memories hear what a legacy stack has shown."""
        if len(self._telling) >= UNHEARD:
            self._unheard += 1
            return
        task = asyncio.create_task(self._heard(request, slate), name=HEARD)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _heard(self, request: Request, slate: Slate) -> None:
        try:
            await self._lane.do(lambda: self._live.heard(request, slate))
        except Exception:
            self._unheard += 1
            LOG.exception("request %d was served and the memories did not hear of it", request.request_id)

    def _want(self) -> None:
        """Whom outcomes are passed on to: who carries a surface, and whom live requests are mirrored to."""
        mirrored = () if self._mirror is None else (target.name for target in self._mirror.targets)
        self._wanted = tuple(sorted({*self.arms.legacy(), *mirrored} & set(self._live.remotes)))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            self._want()
            await self._shadow.keep()


def _stages(slate: Slate) -> dict[str, float]:
    """The times of another stack's own stages, a few of them."""
    told = {} if slate.trace is None else slate.trace.timings_ms
    return {f"legacy:{name[:32]}": ms for name, ms in list(told.items())[:STAGES]}
