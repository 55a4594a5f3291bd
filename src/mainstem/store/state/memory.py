"""Feature state in this process: for tests, for one machine that rebuilds from the log, and as the model of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mainstem.store.state.protocol import EMPTY, Changes
from mainstem.store.state.rules import (
    check_changes,
    check_keys,
    check_namespace,
    check_offsets,
    closed,
    fenced,
    is_new,
    moved,
    serving,
    unknown,
)


@dataclass(slots=True)
class _Space:
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    applied: int = EMPTY
    filling: bool = False


class MemoryStore:
    """A ``StateStore`` in dictionaries behind one lock; gone with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spaces: dict[str, _Space] = {}
        self._active: str | None = None
        self._closed = False

    def get(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Which blobs lie under these keys; see ``StateStore``."""
        check_keys(keys)
        with self._lock:
            return list(map(self._space(namespace).blobs.get, keys))

    def applied(self, namespace: str) -> int:
        """Up to which log offset events are in the blobs; see ``StateStore``."""
        with self._lock:
            return self._space(namespace).applied

    def commit(self, namespace: str, changes: Changes, applied: int, expect: int) -> None:
        """Blobs and offset at once; see ``StateStore``."""
        check_changes(changes)
        check_offsets(changes, applied, expect)
        with self._lock:
            space = self._space(namespace)
            if is_new(namespace, space.applied, applied, expect):
                self._spaces[namespace] = space
                _put(space, changes)
                space.applied, space.filling = applied, False

    def fill(self, namespace: str, changes: Changes) -> None:
        """One part of a bulk load; see ``StateStore``."""
        check_changes(changes)
        with self._lock:
            space = self._space(namespace)
            if space.applied != EMPTY:
                raise fenced(namespace, space.applied, EMPTY)
            self._spaces[namespace] = space
            _put(space, changes)
            space.filling = True

    def scan(self, namespace: str) -> Iterator[tuple[bytes, bytes]]:
        """Every key and blob of one offset; see ``StateStore``."""
        with self._lock:
            space = self._space(namespace)
            before, keys = space.applied, list(space.blobs)
        for key in keys:
            with self._lock:
                space = self._space(namespace)
                if space.applied != before or key not in space.blobs:
                    raise moved(namespace, before, space.applied)
                blob = space.blobs[key]
            yield key, blob

    def drop(self, namespace: str) -> None:
        """Forgets a namespace; see ``StateStore``."""
        with self._lock:
            self._space(namespace)
            if namespace == self._active:
                raise serving(namespace)
            self._spaces.pop(namespace, None)

    def activate(self, namespace: str) -> None:
        """From now on this namespace serves; see ``StateStore``."""
        with self._lock:
            space = self._space(namespace)
            if namespace not in self._spaces:
                raise unknown(namespace, "unknown")
            if space.filling:
                raise unknown(namespace, "half filled")
            self._active = namespace

    def active(self) -> str | None:
        """Which namespace serves."""
        with self._lock:
            self._check_open()
            return self._active

    def namespaces(self) -> list[str]:
        """Every namespace, by name."""
        with self._lock:
            self._check_open()
            return sorted(self._spaces)

    def close(self) -> None:
        """Refuses what comes after."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _space(self, namespace: str) -> _Space:
        check_namespace(namespace)
        self._check_open()
        return self._spaces.get(namespace) or _Space()

    def _check_open(self) -> None:
        if self._closed:
            raise closed("in memory")


def _put(space: _Space, changes: Changes) -> None:
    for key, blob in changes.items():
        if blob is None:
            space.blobs.pop(key, None)
        else:
            space.blobs[key] = blob
