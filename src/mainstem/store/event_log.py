"""Is a written event safe: an append-only log in SQLite that acknowledges only what a power cut cannot take back.

One writer thread commits everything that waits in one transaction (group commit), so many small writers share one
flush to disk. Impressions travel in a second lane that never blocks the request that served them: what does not fit is
counted and said, not hidden.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import msgspec

from mainstem.base.errors import StoreError
from mainstem.store.event_table import EventTable, Prepared, Stored

FEEDBACK: Final = "feedback"
IMPRESSION: Final = "impression"
_GROUP_RECORDS: Final = 5_000
_LANE_WAIT_S: Final = 0.05


class Keyed(Protocol):
    """A record that says what makes it the same as another (``None``: never the same) and how it is stored."""

    def key(self) -> str | None:
        """What makes two records the same."""
        ...

    def payload(self) -> bytes:
        """The stored bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of one append: both numbers are true on disk when this is in hand.

    Attributes:
        last_offset: Every event up to here is on disk.
    """

    accepted: int
    duplicates: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class LogStats:
    """What the log has done since it was opened, and how large it is.

    Attributes:
        refused: Records turned away because the queue was full.
        impressions_dropped: Impressions that were never written, because the lane was full or the disk was.
        commits: Transactions; ``accepted / commits`` is what group commit saves.
    """

    accepted: int
    duplicates: int
    refused: int
    impressions_written: int
    impressions_dropped: int
    pending: int
    commits: int
    last_offset: int
    file_bytes: int


@dataclass(slots=True)
class _Counts:
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    impressions_written: int = 0
    impressions_dropped: int = 0
    commits: int = 0


@dataclass(frozen=True, slots=True)
class _Ask:
    records: list[Prepared]
    answer: Future[Ack]


class _Identity(msgspec.Struct):
    request_id: int
    item_id: int | str
    event_id: str | None = None


class EventLog:
    """A durable, append-only, idempotent log in one file.

    Args:
        path: The database file; its folder is made.
        queue_records: Records that may wait for the disk before ``append`` answers 429.
        lane_records: Impressions that may wait before more are dropped (and counted).
        busy_s: How long to wait for another process that holds the file.
        max_pages: A cap on the file's size in 4 KiB pages; for quotas and for tests of a full disk.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        queue_records: int = 50_000,
        lane_records: int = 10_000,
        busy_s: float = 5.0,
        max_pages: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._queue_records = queue_records
        self._asks: deque[_Ask] = deque()
        self._lane: deque[Prepared] = deque()
        self._lane_records = lane_records
        self._waiting = 0
        self._busy = False
        self._closed = False
        self._wake = threading.Condition()
        self._counts = _Counts()
        self._table = EventTable(self.path, busy_s=busy_s, max_pages=max_pages)
        self._reader = EventTable(self.path, busy_s=busy_s)
        self._read_lock = threading.Lock()
        self._last_offset = self._table.last_offset()
        self._thread = threading.Thread(target=self._run, name="event-log-writer", daemon=True)
        self._thread.start()

    def append(self, records: Sequence[bytes | Keyed], kind: str = FEEDBACK) -> Ack:
        """Are these events safe: returns when they are on disk, or raises and has written none of them.

        Args:
            records: JSON feedback records, or records with a key; the same key twice is written once.

        Raises:
            StoreError: ``store-001`` the queue is full (429), ``store-002`` the disk is full, ``store-003`` another
                process holds the file, ``store-004`` any other failure of the disk, ``store-005`` closed,
                ``store-006`` bytes that are no record.
        """
        return self.submit(records, kind).result()

    def submit(self, records: Sequence[bytes | Keyed], kind: str = FEEDBACK) -> Future[Ack]:
        """As ``append``, but answers with a future: for event loops (``asyncio.wrap_future``)."""
        ask = _Ask([_prepare(record, kind) for record in records], Future())
        with self._wake:
            self._refuse_if_unable(len(ask.records))
            self._asks.append(ask)
            self._waiting += len(ask.records)
            self._wake.notify_all()
        return ask.answer

    def offer(self, record: bytes | Keyed, kind: str = IMPRESSION) -> bool:
        """Will this impression be logged: never waits; False when the lane was full and the record was dropped."""
        prepared = Prepared(None, kind, record if isinstance(record, bytes) else record.payload())
        with self._wake:
            if self._closed or len(self._lane) >= self._lane_records:
                self._counts.impressions_dropped += 1
                return False
            self._lane.append(prepared)
            if len(self._lane) == 1:
                self._wake.notify_all()
        return True

    def read(self, after_offset: int = 0, limit: int = 1_000, kind: str | None = None) -> list[Stored]:
        """Which events follow an offset, in order: for followers. Sealed events are read with ``store.seal``."""
        with self._read_lock:
            return self._reader.read(after_offset, limit, kind)

    def flush(self) -> None:
        """Waits until everything handed in so far, impressions too, is written or refused."""
        with self._wake:
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._asks and not self._lane and not self._busy)

    def stats(self) -> LogStats:
        """What the log has done and how large it is."""
        with self._wake:
            counts = self._counts
            return LogStats(
                accepted=counts.accepted,
                duplicates=counts.duplicates,
                refused=counts.refused,
                impressions_written=counts.impressions_written,
                impressions_dropped=counts.impressions_dropped,
                pending=self._waiting + len(self._lane),
                commits=counts.commits,
                last_offset=self._last_offset,
                file_bytes=sum(p.stat().st_size for p in self.path.parent.glob(self.path.name + "*")),
            )

    def close(self) -> None:
        """Writes what waits, then closes the file."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()
        with self._read_lock:
            self._reader.close()
        self._table.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_if_unable(self, count: int) -> None:
        if self._closed:
            raise StoreError(f"found a closed event log at {self.path}, expected an open one", code="store-005")
        if self._waiting + count > self._queue_records:
            self._counts.refused += count
            raise StoreError(
                f"found {self._waiting} records waiting for the disk, expected room for {count} more"
                f" (at most {self._queue_records})",
                code="store-001",
                status=429,
                hint="send again after a second; the same records are never written twice",
            )

    def _run(self) -> None:
        while True:
            asks, lane = self._take()
            if asks or lane:
                self._write(asks, lane)
            elif self._closed:
                return
            with self._wake:
                self._busy = False
                self._wake.notify_all()

    def _take(self) -> tuple[list[_Ask], list[Prepared]]:
        """The next group: as many asks as fit, and every impression. Impressions alone wait a little for company."""
        with self._wake:
            self._wake.wait_for(lambda: self._asks or self._lane or self._closed)
            if not self._asks and not self._closed:
                self._wake.wait(_LANE_WAIT_S)
            asks: list[_Ask] = []
            size = 0
            while self._asks and (not asks or size + len(self._asks[0].records) <= _GROUP_RECORDS):
                ask = self._asks.popleft()
                self._waiting -= len(ask.records)
                # A door whose client has gone cancels its future; such a group is not written.
                if ask.answer.set_running_or_notify_cancel():
                    size += len(ask.records)
                    asks.append(ask)
            lane = list(self._lane)
            self._lane.clear()
            self._busy = bool(asks or lane)
            return asks, lane

    def _write(self, asks: list[_Ask], lane: list[Prepared]) -> None:
        groups = [ask.records for ask in asks]
        try:
            accepted, last_offset = self._table.insert([*groups, lane])
            self._settle(asks, accepted, last_offset, len(lane), 0)
        except StoreError as error:
            self._write_without_lane(asks, len(lane), error)

    def _write_without_lane(self, asks: list[_Ask], lane_count: int, error: StoreError) -> None:
        """The transaction failed with the impressions in it: acknowledged events come first, so try without them."""
        if asks and lane_count:
            try:
                accepted, last_offset = self._table.insert([ask.records for ask in asks])
                self._settle(asks, accepted, last_offset, 0, lane_count)
                return
            except StoreError as again:
                error = again
        with self._wake:
            self._counts.impressions_dropped += lane_count
        for ask in asks:
            ask.answer.set_exception(error)

    def _settle(self, asks: list[_Ask], accepted: list[int], last_offset: int, written: int, dropped: int) -> None:
        with self._wake:
            counts = self._counts
            counts.commits += 1
            counts.impressions_written += written
            counts.impressions_dropped += dropped
            self._last_offset = last_offset
            for ask, count in zip(asks, accepted, strict=False):
                counts.accepted += count
                counts.duplicates += len(ask.records) - count
        for ask, count in zip(asks, accepted, strict=False):
            ask.answer.set_result(Ack(count, len(ask.records) - count, last_offset))


def _prepare(record: bytes | Keyed, kind: str) -> Prepared:
    if not isinstance(record, bytes):
        return Prepared(record.key(), kind, record.payload())
    try:
        found = msgspec.json.decode(record, type=_Identity)
    except msgspec.MsgspecError as error:
        raise StoreError(f"found bytes that are no feedback record: {error}", code="store-006", status=400) from error
    key = f"e:{found.event_id}" if found.event_id is not None else f"r:{found.request_id}:{found.item_id}"
    return Prepared(key, kind, record)
