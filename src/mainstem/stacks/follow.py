"""How a stack's memory keeps up with the event log: every record once, in the log's order, also after a restart."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec
import numpy as np

from mainstem.base.errors import StoreError
from mainstem.base.heads import HEADS, SURFACES
from mainstem.data.records import Feedback
from mainstem.features.feedback import FeedbackBatch
from mainstem.stacks.stage import Stack
from mainstem.store.event_log import FEEDBACK, EventLog
from mainstem.store.seal import read_from, read_segments

LOG = logging.getLogger("mainstem.follow")
STEP: Final = 5_000
"""Most records that are applied at once, so that a request never waits long for them."""


class Entry(Protocol):
    """One record of the log."""

    @property
    def offset(self) -> int:
        """Its place in the log; later records have higher ones."""
        ...

    @property
    def payload(self) -> bytes:
        """The record as it was written."""
        ...


class Readable(Protocol):
    """A log that can be followed."""

    def read(self, after_offset: int = 0, limit: int = 1_000, kind: str | None = None) -> Sequence[Entry]:
        """The records of one kind after an offset, oldest first."""
        ...


class WholeLog:
    """An event log together with its sealed segments (``store/seal.py``), so that a follower may start from the beginning.

    Args:
        log: The open log.
        sealed: The folder of its segments; it need not exist.
    """

    def __init__(self, log: EventLog, sealed: Path) -> None:
        self._log = log
        self._sealed = sealed
        self._sealed_to = max((segment.last_offset for segment in read_segments(sealed)), default=0)

    def read(self, after_offset: int = 0, limit: int = 1_000, kind: str | None = None) -> Sequence[Entry]:
        """The records of one kind after an offset, wherever they lie."""
        while after_offset < self._sealed_to:
            found = read_from(self._log.path, self._sealed, after_offset, limit)
            wanted = [entry for entry in found if kind is None or entry.kind == kind]
            if wanted or not found:
                return wanted
            after_offset = found[-1].offset
        return self._log.read(after_offset, limit, kind)


@runtime_checkable
class Kept(Protocol):
    """A memory that can be written down and read back."""

    def save(self, path: Path) -> None:
        """Writes the whole state to this file."""
        ...

    def load(self, path: Path) -> None:
        """Takes the state from this file."""
        ...


_DECODE = msgspec.json.Decoder(Feedback).decode


class _Current(msgspec.Struct, frozen=True):
    offset: int
    folder: str
    base: str = ""


class Follower:
    """Applies the log's feedback to a stack's memories by offset.

    Args:
        log: What is followed.
        stack: Whose memories see it.
        surfaces: The names whose position is a surface's code.
        keep: Folder for snapshots; None follows from the beginning at every start.
        base: Names what the memories were before the first record, such as the model's hash. A snapshot made on another base is
            left aside, and the log is replayed from its beginning.
    """

    def __init__(
        self,
        log: Readable,
        stack: Stack,
        surfaces: Sequence[str] = SURFACES,
        keep: Path | None = None,
        base: str = "",
    ) -> None:
        self._log = log
        self._stack = stack
        self._surfaces = tuple(surfaces)
        self._keep = keep
        self._base = base
        self.offset = 0
        """The last record that the memories have seen."""
        self.refused = 0
        """Records that a memory could not take in; they are passed over and counted, so that one bad record stops nothing."""

    def pending(self, limit: int = STEP) -> Sequence[Entry]:
        """Records not yet applied. Reads only the log, so any thread may ask."""
        return self._log.read(self.offset, limit, FEEDBACK)

    def apply(self, entries: Sequence[Entry]) -> int:
        """Lets the memories see these records; those seen before are skipped. Belongs to the thread that ranks.

        Returns:
            How many outcomes were applied.
        """
        fresh = [entry for entry in entries if entry.offset > self.offset]
        if not fresh:
            return 0
        self._remember([entry.payload for entry in fresh])
        self.offset = fresh[-1].offset
        return len(fresh)

    def _remember(self, payloads: list[bytes]) -> None:
        try:
            self._stack.apply(batch_of([_DECODE(payload) for payload in payloads], self._surfaces))
        except Exception:
            LOG.exception("%d records after offset %d were passed over", len(payloads), self.offset)
            self.refused += len(payloads)

    def batches(self, after: int) -> Iterator[tuple[int, FeedbackBatch]]:
        """What the memories have seen after an offset, in the same order: each part with the offset it ends at.

        Reads only the log, so any thread may ask; it ends where the memories were when the last part was read.
        """
        while after < self.offset:
            entries = [entry for entry in self._log.read(after, STEP, FEEDBACK) if entry.offset <= self.offset]
            if not entries:
                return
            after = entries[-1].offset
            yield after, batch_of([_DECODE(entry.payload) for entry in entries], self._surfaces)

    def step(self) -> int:
        """Reads and applies the next records; 0 when there are none."""
        before = self.offset
        self.apply(self.pending())
        return self.offset - before

    def catch_up(self) -> int:
        """Applies everything the log holds now; answers the offset reached."""
        while self.step():
            pass
        return self.offset

    def start(self) -> int:
        """The state of the newest snapshot, then every record after it; answers the offset reached."""
        self._restore()
        return self.catch_up()

    def save(self) -> bool:
        """Writes a snapshot with its offset, so that a start need not replay the whole log. False when a memory cannot be kept."""
        memories = [memory for memory in self._stack.memories if isinstance(memory, Kept)]
        if self._keep is None or len(memories) != len(self._stack.memories):
            return False
        name = f"at-{self.offset}"
        scratch = self._keep / f".{name}.{os.getpid()}"
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            for number, memory in enumerate(memories):
                memory.save(scratch / f"{number}.npz")
            self._publish(scratch, name)
        except OSError as error:
            shutil.rmtree(scratch, ignore_errors=True)
            raise StoreError(f"the snapshot in {self._keep} was not written: {error}", code="store-020") from error
        return True

    def _publish(self, scratch: Path, name: str) -> None:
        """Makes the snapshot the current one, in one step; then drops older ones."""
        assert self._keep is not None
        target = self._keep / name
        if target.exists():
            shutil.rmtree(scratch)
        else:
            scratch.rename(target)
        pointer = self._keep / f".current.{os.getpid()}"
        pointer.write_bytes(msgspec.json.encode(_Current(self.offset, name, self._base)))
        os.replace(pointer, self._keep / "current.json")
        for old in self._keep.glob("at-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)

    def _restore(self) -> None:
        current = self._keep / "current.json" if self._keep is not None else None
        if current is None or not current.is_file():
            return
        assert self._keep is not None
        try:
            found = msgspec.json.decode(current.read_bytes(), type=_Current)
            if found.base != self._base:
                LOG.warning("the snapshot in %s was made on another base; the log is replayed", self._keep)
                return
            for number, memory in enumerate(self._stack.memories):
                if isinstance(memory, Kept):
                    memory.load(self._keep / found.folder / f"{number}.npz")
        except (msgspec.DecodeError, OSError, ValueError) as error:
            raise StoreError(
                f"the snapshot {current} cannot be read: {error}",
                code="store-021",
                hint="delete the folder; the next start replays the log from its beginning",
            ) from error
        self.offset = found.offset


def batch_of(records: Sequence[Feedback], surfaces: Sequence[str]) -> FeedbackBatch:
    """Feedback records as one struct of arrays, in their order; what a record leaves out is unknown."""
    code = {name: at for at, name in enumerate(surfaces)}
    outcomes = [[_known(getattr(one, head, None)) for head in HEADS] for one in records]
    return FeedbackBatch(
        user_id=np.array([one.user_id for one in records], np.int64),
        item_id=np.array([one.item_id for one in records], np.int64),
        surface=np.array([code.get(one.surface, -1) for one in records], np.int8),
        scenario=np.array([one.scenario for one in records], np.int16),
        time_ms=np.array([one.time_ms for one in records], np.int64),
        outcomes=np.array(outcomes, np.int8).reshape(len(records), len(HEADS)),
        viewed=np.array([_known(one.viewed) for one in records], np.int8),
        watch_s=np.array([np.nan if one.watch_ms is None else one.watch_ms / 1e3 for one in records], np.float32),
        duration_s=np.array([(one.duration_ms or 0) / 1e3 for one in records], np.float32),
    )


def _known(value: int | None) -> int:
    return -1 if value is None else int(value)
