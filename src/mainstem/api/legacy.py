"""Asking the legacy stack that carries a viewer: on threads beside the lane, within a part of the request's budget.

A stack that does not answer is left alone for a moment, so that a dead one costs a request nothing and a hung one costs few.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from mainstem.base.errors import MainstemError, RemoteError
from mainstem.base.request import Request, Slate
from mainstem.stacks.remote import RemoteStack

PART: Final = 0.6
"""Share of a request's budget after which a legacy stack is late; the rest is the unified stack's, which then answers."""
THREADS: Final = 32
"""Requests that may wait for legacy stacks at once in one process."""
FAILURES: Final = 5
"""So many failures one after the other, and a stack is left alone."""
ALONE_S: Final = 0.5
"""How often one request still tries a stack that is left alone."""


@dataclass(slots=True)
class _State:
    """How one stack has answered lately."""

    failed: int = 0
    next_try_s: float = 0.0


class LegacyStacks:
    """Every legacy stack that may be asked, with threads of their own. Belongs to the event loop.

    Args:
        remotes: By name.
        budget_s: Of a whole request.
        monotonic: Seconds that only go forward.
    """

    def __init__(
        self, remotes: Mapping[str, RemoteStack], budget_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._remotes = dict(remotes)
        self._limit_s = budget_s * PART
        self._monotonic = monotonic
        self._states = {name: _State() for name in remotes}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="legacy")
        self._free = threading.BoundedSemaphore(THREADS)

    async def rank(self, name: str, request: Request, explain: bool) -> Slate:
        """What the stack shows.

        Raises:
            RemoteError: There is no such stack (``launch-121``), it has no thread left or is left alone (``launch-122``), it is
                late (``remote-002``), or its answer is none (``remote-…``).
        """
        remote = self._remotes.get(name)
        if remote is None:
            raise RemoteError(
                f"found no stack {name!r} to ask, expected it under [remote]",
                code="launch-121",
                hint=f"add [remote.{name}] with its url, or start the server with the legacy programs",
            )
        state = self._states[name]
        self._refuse(name, state)
        try:
            slate = await self._asked(remote, request, explain)
        except MainstemError:
            state.failed += 1
            raise
        state.failed = 0
        return slate

    def alone(self) -> list[str]:
        """Stacks that failed so often that they are left alone for now."""
        return sorted(name for name, state in self._states.items() if state.failed >= FAILURES)

    def close(self) -> None:
        """Ends the threads; what they wait for ends by its own budget."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _refuse(self, name: str, state: _State) -> None:
        if state.failed >= FAILURES:
            now = self._monotonic()
            if now < state.next_try_s:
                raise RemoteError(f"{name} failed {state.failed} times and is left alone", code="launch-122")
            state.next_try_s = now + ALONE_S
        if not self._free.acquire(blocking=False):
            raise RemoteError(f"{THREADS} requests wait for legacy stacks already", code="launch-122")

    async def _asked(self, remote: RemoteStack, request: Request, explain: bool) -> Slate:
        future = self._pool.submit(remote.rank, request, explain)
        # Also when nobody waits any more: the thread is taken until the stack has answered or its own budget is over.
        future.add_done_callback(lambda _: self._free.release())
        try:
            async with asyncio.timeout(self._limit_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise RemoteError(
                f"{remote.name} did not answer within {self._limit_s * 1e3:g} ms", code="remote-002"
            ) from None
