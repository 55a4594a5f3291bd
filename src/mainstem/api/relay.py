"""Telling the legacy stacks everything that happened, whoever served it: they answer from the same history, or the comparison lies.

The durable log is the queue. Each stack has a place in it that is kept on disk and moves only when the stack has acknowledged, so
an outage, a restart or another process's write loses nothing; what is sent twice the other side knows.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from mainstem.base.errors import MainstemError, RemoteError
from mainstem.stacks.follow import Entry, Readable
from mainstem.stacks.remote_protocol import EventsAnswer, Health
from mainstem.store.event_log import FEEDBACK

LOG = logging.getLogger("mainstem.relay")
STEP: Final = 500
"""Most records in one message."""
REFUSALS: Final = 3
"""So often a single record is sent to a stack that says it is ready and refuses it, before it is passed over."""
POLL_S: Final = 0.25
REFUSED: Final = "remote-004"
"""The code of an answer that is an error, as opposed to none."""
LONGEST_S: Final = 30.0
"""A stack that does not answer is tried again after twice the time each time, at most this."""


class Hears(Protocol):
    """A stack that can be told."""

    def health(self) -> Health:
        """What it says it is."""
        ...

    def feedback(self, records: list[dict[str, Any]]) -> EventsAnswer:
        """Sends outcomes."""
        ...


class _Place(msgspec.Struct, frozen=True):
    """Up to where a stack was told.

    Attributes:
        told: How many records were new to it.
        base: How many it knew before the first of them; -1 before it was asked.
    """

    offset: int = 0
    told: int = 0
    base: int = -1


@dataclass(slots=True)
class _Line:
    """One stack's place and patience.

    Attributes:
        greeted: Whether it was asked what it knows since it failed last.
        failed: How often it failed one after the other.
        size: How many records are sent at once: fewer after a refusal, until the one that is refused is found.
    """

    place: _Place
    greeted: bool = False
    failed: int = 0
    next_s: float = 0.0
    size: int = STEP


class Relay:
    """One thread that tells every stack that needs to know.

    Args:
        log: The event log.
        stacks: By name.
        wanted: Names of those that are to be told now.
        newest: Offset of the newest outcome: up to there is read.
        folder: Where each place is kept.
        monotonic: Seconds that only go forward.
    """

    def __init__(
        self,
        log: Readable,
        stacks: Mapping[str, Hears],
        wanted: Callable[[], Iterable[str]],
        newest: Callable[[], int],
        folder: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._stacks, self._wanted, self._newest = log, dict(stacks), wanted, newest
        self._folder, self._monotonic = folder, monotonic
        self.passed_over = 0
        """Records that a stack refused, each by itself, and will not be sent again."""
        self._lines: dict[str, _Line] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._work, name="relay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the message it is at; what is not told yet is told after the next start."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def wake(self) -> None:
        """There is something to tell."""
        self._wake.set()

    def places(self) -> dict[str, int]:
        """Up to which offset each stack was told."""
        return {name: line.place.offset for name, line in dict(self._lines).items()}

    def _work(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                more = self.step()
            except Exception:
                LOG.exception("outcomes could not be passed on; trying again")
                more = False
            if not more:
                self._wake.wait(POLL_S)

    def step(self) -> bool:
        """Tells each stack that is wanted its next records; True when one may have more to hear."""
        more = False
        for name in self._wanted():
            stack = self._stacks.get(name)
            if stack is None or self._stopping:
                continue
            line = self._lines.setdefault(name, _Line(self._read(name)))
            if self._monotonic() >= line.next_s:
                more |= self._tell(name, stack, line)
        return more

    def _tell(self, name: str, stack: Hears, line: _Line) -> bool:
        if line.place.offset >= self._newest():
            return False
        entries = self._log.read(line.place.offset, line.size, FEEDBACK)
        if not entries:
            return False
        try:
            if not line.greeted:
                line.greeted = self._greet(name, stack, line)
                return True
            # Outcomes leave out what has its default; stacks read an absent `viewed` differently.
            answer = stack.feedback([{"viewed": 1, **msgspec.json.decode(one.payload)} for one in entries])
        except MainstemError as error:
            self._failed(name, line, entries, error)
            return False
        line.failed, line.size = 0, min(line.size * 2, STEP)
        self._move(name, line, entries[-1].offset, answer.accepted)
        return True

    def _failed(self, name: str, line: _Line, entries: Sequence[Entry], error: MainstemError) -> None:
        """Waits longer each time; a message that was refused is sent in halves, and at last the one record is passed over."""
        line.failed, line.greeted = line.failed + 1, False
        line.next_s = self._monotonic() + min(POLL_S * 2.0 ** min(line.failed, 10), LONGEST_S)
        LOG.warning("%s was not told %d outcomes and will be again: %s", name, len(entries), error)
        if error.code != REFUSED:
            return
        if len(entries) > 1:
            line.size, line.failed, line.next_s = max(1, len(entries) // 2), 0, 0.0
        elif line.failed >= REFUSALS:
            LOG.error("%s refuses the outcome at offset %d; it is passed over", name, entries[0].offset)
            self.passed_over += 1
            line.failed, line.next_s = 0, 0.0
            self._move(name, line, entries[0].offset, 0)

    def _move(self, name: str, line: _Line, offset: int, told: int) -> None:
        line.place = _Place(offset, line.place.told + told, line.place.base)
        self._write(name, line.place)

    def _greet(self, name: str, stack: Hears, line: _Line) -> bool:
        """A stack that has seen fewer outcomes than it was told has forgotten them, as after a restart: it is told all again."""
        health = stack.health()
        if not health.ready:
            raise RemoteError(f"{name} is not ready", code="launch-122")
        known = health.events_seen - line.place.base
        if line.place.base < 0 or known < line.place.told:
            if line.place.told:
                LOG.warning("%s forgot outcomes: it knows %d of %d; all are told again", name, known, line.place.told)
            line.place = _Place(base=health.events_seen)
        return True

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, name: str) -> _Place:
        try:
            return msgspec.json.decode(self._file(name).read_bytes(), type=_Place)
        except (OSError, msgspec.DecodeError):
            return _Place()  # everything is told again, which the other side knows

    def _write(self, name: str, place: _Place) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            scratch = self._folder / f".{name}.{os.getpid()}"
            scratch.write_bytes(msgspec.json.encode(place))
            scratch.replace(self._file(name))
        except OSError as error:
            LOG.warning("how far %s was told was not kept: %s", name, error)
