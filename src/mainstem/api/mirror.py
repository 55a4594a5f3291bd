"""Shadow mode: a share of live requests is asked of the other stacks too, off the hot path, and the differences are kept."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, Final, Protocol

import msgspec

from mainstem.base.request import Request, Slate
from mainstem.data.records import Feedback
from mainstem.stacks.follow import batch_of
from mainstem.stacks.remote import RemoteStack
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack

LOG = logging.getLogger("mainstem.mirror")
WAITING: Final = 256
"""Requests that may wait to be mirrored; more are dropped and counted."""
KEPT_BYTES: Final = 8_000_000
"""The file of differences is cut to its newer half above this."""
LATEST: Final = 50
_GOLDEN: Final = 0x9E3779B97F4A7C15

Diff = Callable[[Slate, Slate], dict[str, Any]]
"""Compares the live slate with another stack's, stage by stage."""


class Target(Protocol):
    """A stack that live requests are mirrored to."""

    name: str

    def rank(self, request: Request) -> Slate:
        """What it would have shown."""
        ...

    def tell(self, records: Sequence[Feedback]) -> None:
        """Lets it see what happened, as the live stack does."""
        ...


class RemoteTarget:
    """An outside stack. It is told what happened by the relay, from the log (``api/relay.py``)."""

    def __init__(self, remote: RemoteStack) -> None:
        self.name = remote.name
        self._remote = remote

    def rank(self, request: Request) -> Slate:
        """Asked over HTTP."""
        return self._remote.rank(request)

    def tell(self, records: Sequence[Feedback]) -> None:
        """Nothing: the relay tells it."""


class StackTarget:
    """Another stack of the engine in this process. It must not share memories with the live one."""

    def __init__(self, stack: Stack, surfaces: Sequence[str]) -> None:
        self.name = stack.name
        self._stack = stack
        self._surfaces = tuple(surfaces)

    def rank(self, request: Request) -> Slate:
        """Run on the mirror's own thread."""
        return run(self._stack, request)

    def tell(self, records: Sequence[Feedback]) -> None:
        """Applied to its own memories."""
        self._stack.apply(batch_of(records, self._surfaces))


class Mirror:
    """One thread with a bounded queue.

    Args:
        targets: Whom to ask.
        diff: How two slates are compared.
        file: Where each difference becomes a line of JSON.
        share: Share of requests that are mirrored, 0 to 1, chosen by the request's name.
    """

    def __init__(self, targets: Sequence[Target], diff: Diff, file: Path, share: float) -> None:
        self.targets = tuple(targets)
        self.mirrored = 0
        self.dropped = 0
        self.failed = 0
        self.latest: deque[dict[str, Any]] = deque(maxlen=LATEST)
        self._diff = diff
        self._file = file
        self._share = share
        self._queue: Queue[Callable[[], None] | None] = Queue(WAITING)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finishes the request it is at and leaves the others."""
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                break
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(10.0)

    def offer(self, request: Request, slate: Slate) -> None:
        """Mirrors this request when it is of the share and was answered by the stack itself. Never waits."""
        if slate.trace is not None and of_share(request.request_id, self._share):
            self._put(lambda: self._compare(request, slate))

    def keep(self, request: Request, slate: Slate, other: Slate) -> None:
        """Keeps how a served slate differs from one that was asked elsewhere. Never waits."""
        self._put(lambda: self._keep(_heading(request, slate, other.stack) | self._diff(slate, other)))

    def tell(self, records: Sequence[Feedback]) -> None:
        """Lets the other stacks see what happened, so that they answer from the same state. Never waits."""
        self._put(lambda: self._tell(records))

    def _put(self, work: Callable[[], None]) -> None:
        try:
            self._queue.put_nowait(work)
        except Full:
            self.dropped += 1

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:
                self.failed += 1
                LOG.exception("a mirrored request failed")

    def _tell(self, records: Sequence[Feedback]) -> None:
        for target in self.targets:
            self._try(target, lambda target=target: target.tell(records))

    def _compare(self, request: Request, slate: Slate) -> None:
        for target in self.targets:
            other = self._try(target, lambda target=target: target.rank(request))
            if other is not None:
                self._keep(_heading(request, slate, target.name) | self._diff(slate, other))
        self.mirrored += 1

    def _try(self, target: Target, ask: Callable[[], Any]) -> Any:
        """The answer; None, counted and noted, when the target gives none."""
        try:
            return ask()
        except Exception as error:
            self.failed += 1
            self.latest.append({"target": target.name, "failed": f"{type(error).__name__}: {error}"[:300]})
            return None

    def _keep(self, found: Mapping[str, Any]) -> None:
        line = msgspec.json.encode(found)
        self.latest.append(msgspec.json.decode(line))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as out:
            out.write(line + b"\n")
            size = out.tell()
        if size > KEPT_BYTES:
            _keep_newer_half(self._file)


def of_share(request_id: int, share: float) -> bool:
    """Whether a request is of a share of all, chosen by its name."""
    return (request_id * _GOLDEN & 0xFFFFFFFFFFFFFFFF) >> 32 < share * 2**32


def _heading(request: Request, slate: Slate, target: str) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "user_id": request.user_id,
        "surface": request.surface,
        "now_ms": request.now_ms,
        "live": slate.stack,
        "target": target,
    }


def _keep_newer_half(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    scratch = file.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_bytes(b"".join(lines[len(lines) // 2 :]))
    scratch.replace(file)
