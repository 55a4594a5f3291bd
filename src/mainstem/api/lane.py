"""How requests wait for the one thread that ranks: in a bounded queue, each with a time after which it gets a fallback.

The engine has a thread of its own so that a slow part can never stop the server from saying so: while it works, the event loop
still refuses, answers fallbacks and reports.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from mainstem.base.errors import RequestError

T = TypeVar("T")


class LateError(Exception):
    """The work was not done within its budget."""


class _Job(Generic[T]):
    __slots__ = ("answer", "counted", "work")

    def __init__(self, work: Callable[[], T], answer: asyncio.Future[T], counted: bool) -> None:
        self.work = work
        self.answer = answer
        self.counted = counted


class Lane:
    """One thread, one queue.

    Args:
        limit: Requests that may wait or run; one more is refused at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.depth = 0
        """Requests waiting or running; only the event loop changes it."""
        self._queue: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Starts the thread; belongs to a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    async def stop(self, patience_s: float = 10.0) -> bool:
        """Lets the queue run empty; False when the work did not end in time."""
        self._queue.put(None)
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        await asyncio.to_thread(thread.join, patience_s)
        return not thread.is_alive()

    async def run(self, work: Callable[[], T], budget_s: float) -> T:
        """The result of a request's work.

        Raises:
            RequestError: The queue is full (``serve-003``).
            LateError: It was not done within the budget. Work that has not begun then never will.
        """
        if self.depth >= self.limit:
            raise RequestError(
                f"{self.depth} requests are waiting, at most {self.limit} may",
                code="serve-003",
                status=429,
                hint="try again after Retry-After seconds; [serve] queue_limit and workers set the capacity",
            )
        answer = self._put(work, counted=True)
        self.depth += 1
        timer = self._running().call_later(budget_s, _expire, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    async def do(self, work: Callable[[], T]) -> T:
        """The result of work that is not a request: it waits its turn but is never refused."""
        return await self._put(work, counted=False)

    def _put(self, work: Callable[[], T], counted: bool) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = self._running().create_future()
        self._queue.put(_Job(work, answer, counted))
        return answer

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._thread is None:
            raise RequestError("the server is not ready", code="serve-002", status=503, hint="GET /v1/ready says when")
        return self._loop

    def _work(self) -> None:
        loop = self._loop
        assert loop is not None
        while (job := self._queue.get()) is not None:
            if job.answer.done():
                loop.call_soon_threadsafe(self._settle, job, None, None)
            else:
                loop.call_soon_threadsafe(self._settle, job, *_outcome(job.work))

    def _settle(self, job: _Job[Any], result: Any, error: Exception | None) -> None:
        self.depth -= job.counted
        if job.answer.done():
            return
        if error is None:
            job.answer.set_result(result)
        else:
            job.answer.set_exception(error)


def _outcome(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error


def _expire(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(LateError())
