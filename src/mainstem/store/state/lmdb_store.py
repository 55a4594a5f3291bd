"""Feature state in LMDB files on this machine: many reading processes, one writer, alive after kill -9.

LMDB never changes a page that is in use: a commit writes new pages and then one root, so a process that dies inside it
leaves the state before. The map grows by itself; ``max_map_bytes`` bounds it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar, cast

import lmdb

from mainstem.base.errors import StoreError
from mainstem.store.state import lmdb_layout as layout
from mainstem.store.state import rules
from mainstem.store.state.protocol import EMPTY, FORMAT, Changes

T = TypeVar("T")
_PAGE_BLOBS: Final = 2_000
_PAGE_BYTES: Final = 16 << 20
_SWEEP_BLOBS: Final = 5_000
_MAX_READERS: Final = 512
_LOOK_AGAIN_S: Final = 0.0005
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BROKEN: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError)


class LmdbStore:
    """A ``StateStore`` in a folder with two files. Open it once per process, and after a fork, not before.

    Args:
        path: The folder; it is made.
        map_bytes: How much address space to begin with; the file itself is only as large as what is in it.
        sync: Flush each commit to disk. Without it, a killed process still loses nothing, but after a power cut the
            folder is refused (``store-064``) and the state must come from the log again.
        max_map_bytes: Where growing ends with ``store-063``.

    Raises:
        StoreError: ``store-060`` the folder cannot be opened, or is open in this process. ``store-064``, ``store-065``.
    """

    def __init__(
        self, path: Path | str, map_bytes: int = 1 << 30, sync: bool = True, *, max_map_bytes: int = 1 << 40
    ) -> None:
        self._path = Path(path)
        self._where = f"at {self._path}"
        self._sync = sync
        self._max_map_bytes = max(map_bytes, max_map_bytes)
        self._map_bytes = map_bytes
        self._gate = _Gate()
        self._pid = os.getpid()
        self._marked = False
        self._closed = False
        with self._failures():
            self._path.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(
                str(self._path),
                map_size=map_bytes,
                sync=sync,
                metasync=sync,
                readahead=False,
                max_readers=_MAX_READERS,
                max_dbs=0,
            )
        try:
            self._check()
        except BaseException:
            self._env.close()
            raise

    def get(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Which blobs lie under these keys; see ``StateStore``."""
        rules.check_namespace(namespace)
        rules.check_keys(keys)

        def read(txn: lmdb.Transaction) -> list[bytes | None]:
            space = layout.find_space(txn, namespace)
            if space is None:
                return [None] * len(keys)
            prefix = space.prefix
            # One call after another beats Cursor.getmulti by a third: no pairs, no cursor.
            return cast(list[bytes | None], list(map(txn.get, [prefix + key for key in keys])))

        return self._read(read)

    def applied(self, namespace: str) -> int:
        """Up to which log offset events are in the blobs; see ``StateStore``."""
        rules.check_namespace(namespace)
        space = self._read(lambda txn: layout.find_space(txn, namespace))
        return EMPTY if space is None else space.applied

    def commit(self, namespace: str, changes: Changes, applied: int, expect: int) -> None:
        """Blobs and offset in one transaction; see ``StateStore``."""
        rules.check_namespace(namespace)
        rules.check_changes(changes)
        rules.check_offsets(changes, applied, expect)

        def write(txn: lmdb.Transaction) -> None:
            space = layout.find_space(txn, namespace)
            if rules.is_new(namespace, EMPTY if space is None else space.applied, applied, expect):
                space = space or layout.new_space(txn)
                layout.put_blobs(txn, space, changes)
                layout.put_space(txn, namespace, replace(space, applied=applied, filling=False))

        self._write(write)

    def fill(self, namespace: str, changes: Changes) -> None:
        """One part of a bulk load; see ``StateStore``."""
        rules.check_namespace(namespace)
        rules.check_changes(changes)

        def write(txn: lmdb.Transaction) -> None:
            space = layout.find_space(txn, namespace) or layout.new_space(txn)
            if space.applied != EMPTY:
                raise rules.fenced(namespace, space.applied, EMPTY)
            layout.put_blobs(txn, space, changes)
            layout.put_space(txn, namespace, replace(space, filling=True))

        self._write(write)

    def scan(self, namespace: str) -> Iterator[tuple[bytes, bytes]]:
        """Every key and blob of one offset; see ``StateStore``.

        Page by page: a reader that stays in one transaction would keep every page it might see from being reused.
        """
        rules.check_namespace(namespace)
        first = self._read(lambda txn: layout.find_space(txn, namespace))
        after: bytes | None = None
        while first is not None:
            rows = self._page(namespace, first, after)
            if not rows:
                return
            yield from rows
            after = rows[-1][0]

    def drop(self, namespace: str) -> None:
        """Forgets a namespace: off the list at once, its blobs in small transactions after that; see ``StateStore``."""
        rules.check_namespace(namespace)

        def write(txn: lmdb.Transaction) -> None:
            if txn.get(layout.ACTIVE_KEY) == namespace.encode():
                raise rules.serving(namespace)
            space = layout.find_space(txn, namespace)
            if space is not None:
                layout.retire(txn, namespace, space)

        self._write(write)
        while self._write(lambda txn: layout.sweep(txn, _SWEEP_BLOBS)):
            pass

    def activate(self, namespace: str) -> None:
        """From now on this namespace serves; see ``StateStore``."""
        rules.check_namespace(namespace)

        def write(txn: lmdb.Transaction) -> None:
            space = layout.find_space(txn, namespace)
            if space is None:
                raise rules.unknown(namespace, "unknown")
            if space.filling:
                raise rules.unknown(namespace, "half filled")
            txn.put(layout.ACTIVE_KEY, namespace.encode())

        self._write(write)

    def active(self) -> str | None:
        """Which namespace serves."""
        found = self._read(lambda txn: txn.get(layout.ACTIVE_KEY))
        return None if found is None else bytes(found).decode()

    def namespaces(self) -> list[str]:
        """Every namespace, by name."""
        return self._read(layout.names)

    def close(self) -> None:
        """Flushes what was not, and gives the files back."""
        if self._closed or self._pid != os.getpid():
            return
        if self._marked:
            with contextlib.suppress(StoreError):
                self._unmark()
        with self._gate.alone():
            self._closed = True
            self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _page(self, namespace: str, first: layout.Space, after: bytes | None) -> list[tuple[bytes, bytes]]:
        def read(txn: lmdb.Transaction) -> list[tuple[bytes, bytes]]:
            now = layout.find_space(txn, namespace)
            if now != first:
                raise rules.moved(namespace, first.applied, EMPTY if now is None else now.applied)
            return layout.page_of(txn, first.prefix, after, _PAGE_BLOBS, _PAGE_BYTES)

        return self._read(read)

    def _read(self, work: Callable[[lmdb.Transaction], T]) -> T:
        while True:
            try:
                with self._gate.shared(), self._failures():
                    self._check_usable()
                    with self._env.begin() as txn:
                        return work(txn)
            except lmdb.MapResizedError:
                self._adopt()

    def _write(self, work: Callable[[lmdb.Transaction], T]) -> T:
        while True:
            try:
                with self._gate.shared(), self._failures():
                    self._check_usable()
                    self._mark()
                    with self._env.begin(write=True) as txn:
                        return work(txn)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.MapResizedError:
                self._adopt()

    def _grow(self) -> None:
        """Doubles the map once nobody in this process is inside a transaction."""
        with self._gate.alone(), self._failures():
            self._check_usable()
            self._env.reader_check()
            size = self._env.info()["map_size"]
            if size >= self._max_map_bytes:
                raise rules.full(self._where, f"its map has grown to the limit of {size} bytes")
            self._env.set_mapsize(min(2 * size, self._max_map_bytes))

    def _adopt(self) -> None:
        """Takes over the size to which another process has grown the map."""
        with self._gate.alone(), self._failures():
            self._check_usable()
            self._env.set_mapsize(0)

    def _mark(self) -> None:
        """Says on disk that commits of this boot may be only in memory; or takes that back, where each is flushed."""
        if self._marked:
            return
        with self._env.begin(write=True) as txn:
            if not self._sync:
                txn.put(layout.UNSYNCED_KEY, layout.boot_id())
            elif txn.get(layout.UNSYNCED_KEY) is not None:
                txn.delete(layout.UNSYNCED_KEY)
        self._env.sync(True)
        self._marked = True

    def _unmark(self) -> None:
        with self._gate.shared(), self._failures():
            if not self._sync:
                self._env.sync(True)
                with self._env.begin(write=True) as txn:
                    txn.delete(layout.UNSYNCED_KEY)
                self._env.sync(True)

    def _check(self) -> None:
        """Is what lies in the folder whole, of this format, and from a boot whose commits are all on disk."""
        with self._failures():
            self._env.reader_check()
            info, stat = self._env.info(), self._env.stat()
            needed = (info["last_pgno"] + 1) * stat["psize"]
            size = (self._path / "data.mdb").stat().st_size
        if stat["entries"] and size < needed:
            # Reading on would end in SIGBUS, which no error can catch.
            raise rules.corrupt(self._where, f"its file has {size} bytes of {needed}")
        expected = str(FORMAT).encode()
        found, unsynced = self._read(lambda txn: (txn.get(layout.FORMAT_KEY), txn.get(layout.UNSYNCED_KEY)))
        if found is None and not stat["entries"]:
            self._write(lambda txn: txn.put(layout.FORMAT_KEY, expected, overwrite=False))
        elif found != expected:
            raise rules.wrong_version(self._where, "unknown" if found is None else repr(found), repr(expected))
        if unsynced is not None and unsynced != layout.boot_id():
            raise rules.corrupt(self._where, "the machine went down before unflushed commits were on disk")

    def _check_usable(self) -> None:
        if self._closed:
            raise rules.closed(self._where)
        if self._pid != os.getpid():
            raise rules.unavailable(self._where, "it was opened before this process was forked")

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.MapFullError, lmdb.MapResizedError):
            raise
        except (lmdb.Error, OSError) as error:
            raise _translate(error, self._where) from error


def _translate(error: Exception, where: str) -> StoreError:
    number = error.code if isinstance(error, lmdb.Error) else getattr(error, "errno", 0)
    if isinstance(error, lmdb.DiskError) or number in _FULL:
        return rules.full(where, str(error))
    if number == errno.EIO:
        # LMDB's own word for a write that the system cut short.
        return rules.full(where, f"the disk has no room or fails ({error})")
    if isinstance(error, lmdb.VersionMismatchError):
        return rules.wrong_version(where, "of another LMDB", "LMDB 0.9")
    if isinstance(error, _BROKEN):
        return rules.corrupt(where, str(error))
    return rules.unavailable(where, str(error))


class _Gate:
    """Many may be inside a transaction, or one alone may change the map: LMDB must not move it under a reader.

    Going in and out takes no lock (adding to a list is atomic), or busy readers would hand one to each other past the
    writer. Growing is rare, so the one who wants to be alone looks again and again.
    """

    def __init__(self) -> None:
        self._inside: list[None] = []
        self._open = threading.Event()
        self._open.set()
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        self._inside.append(None)
        while not self._open.is_set():  # asked after going in: whoever closed it has not yet counted, or waits for us
            self._inside.pop()
            self._open.wait()
            self._inside.append(None)
        try:
            yield
        finally:
            self._inside.pop()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._turn:
            self._open.clear()
            try:
                while self._inside:
                    time.sleep(_LOOK_AGAIN_S)
                yield
            finally:
                self._open.set()
