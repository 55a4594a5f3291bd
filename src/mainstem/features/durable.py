"""Feature state that outlives its process: what a batch touched goes to a store with the log's offset, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import numpy as np

from mainstem.base.errors import StoreError
from mainstem.features.live import Applied, LiveState, state_fingerprint
from mainstem.store.state.protocol import MAX_COMMIT_BYTES, StateStore

_HEAD: Final = b"head"
_ARENA, _FOLD = b"a", b"f"
_ORDER: Final = "<i8"
_PART_BYTES: Final = MAX_COMMIT_BYTES // 8


class DurableState:
    """A live state with a store behind it: exactly once, because blobs and offset change together.

    Args:
        live: The state; it must note what it touches (``LiveState(track=True)``).
        store: Where it lies: in memory, LMDB, Redis or Valkey.
        namespace: Under which name; by default that of the state's definitions, so that other definitions never mix.
    """

    def __init__(self, live: LiveState, store: StateStore, namespace: str = "") -> None:
        self.live, self.store = live, store
        self.namespace = namespace or f"features@{state_fingerprint(live.plan)}"
        self._stored = store.applied(self.namespace)
        self._waiting: set[bytes] = set()

    def load(self) -> int:
        """Takes everything the store holds; answers the offset up to which events are in (-1: none).

        Raises:
            StoreError: The store cannot be read, or holds something else (``store-064``).
        """
        self._stored = self.store.applied(self.namespace)
        if self._stored < 0:
            return self._stored
        folds: dict[int, tuple[list[bytes], list[bytes]]] = {}
        arenas = list(self.live.arenas.values())
        for key, blob in self.store.scan(self.namespace):
            if key == _HEAD:
                self._take_head(blob)
            elif key[:1] == _FOLD:
                keys, states = folds.setdefault(key[1], ([], []))
                keys.append(key[2:])
                states.append(blob)
            else:
                arenas[key[1]].put_blob(key[2], np.frombuffer(key[3:], _ORDER).tolist(), blob)
        for at, fold in enumerate(self.live.folds.values()):
            keys, states = folds.get(at, ([], []))
            words = np.frombuffer(b"".join(keys), _ORDER).astype(np.int64)
            state = np.frombuffer(b"".join(states), "<f8").reshape(len(states), -1)
            fold.restore({"keys": words.reshape(len(keys), -1), "state": state})
        for arena in arenas:
            arena.dirty_rows()  # what was just read is not to be written again
        self.live.applied = self._stored
        return self._stored

    def flush(self) -> int:
        """Writes what was touched since the last time, with the offset; answers how many keys.

        Raises:
            StoreError: It was not written; nothing is lost, and the next call writes it too. ``store-062``: somebody else
                writes this namespace.
        """
        if self.live.applied == self._stored and not self._waiting:
            return 0
        self._waiting |= set(self._touched())
        changes: dict[bytes, bytes | None] = {key: self._blob(key) for key in self._waiting}
        changes[_HEAD] = self._head()
        if self._stored < 0 and sum(len(blob or b"") for blob in changes.values()) > _PART_BYTES:
            self._fill(changes)
            changes = {_HEAD: changes[_HEAD]}
        self.store.commit(self.namespace, changes, self.live.applied, self._stored)
        written, self._stored = len(self._waiting), self.live.applied
        self._waiting.clear()
        return written

    def serve(self) -> None:
        """Makes this the namespace that serves: one atomic switch, after which the old one may be dropped."""
        self.store.activate(self.namespace)

    def _touched(self) -> Iterator[bytes]:
        for at, arena in enumerate(self.live.arenas.values()):
            for row in arena.dirty_rows():
                width = arena.shapes[int(row[0])].key_width
                yield _ARENA + bytes((at, int(row[0]))) + row[1 : 1 + width].astype(_ORDER).tobytes()
        for at, name in enumerate(self.live.folds):
            for key in self.live.touched_by(name):
                yield _FOLD + bytes((at,)) + key.astype(_ORDER).tobytes()

    def _blob(self, key: bytes) -> bytes | None:
        if key[:1] == _FOLD:
            fold = list(self.live.folds.values())[key[1]]
            words = np.frombuffer(key[2:], _ORDER).astype(np.int64)
            return fold.read(words[None])[0].astype("<f8").tobytes()
        arena = list(self.live.arenas.values())[key[1]]
        return arena.blob(key[2], np.frombuffer(key[3:], _ORDER).tolist())

    def _fill(self, changes: dict[bytes, bytes | None]) -> None:
        """Writes the first load in parts, each small enough for one transaction."""
        self.store.drop(self.namespace)
        part: dict[bytes, bytes | None] = {}
        size = 0
        for key, blob in changes.items():
            part[key] = blob
            size += len(key) + len(blob or b"")
            if size > _PART_BYTES:
                self.store.fill(self.namespace, part)
                part, size = {}, 0
        if part:
            self.store.fill(self.namespace, part)

    def _head(self) -> bytes:
        counted = [getattr(self.live.counted, name) for name in Applied.__slots__]
        return json.dumps({"watermarks": self.live.watermarks, "counted": counted}).encode()

    def _take_head(self, blob: bytes) -> None:
        try:
            head = json.loads(blob)
            self.live.watermarks = {name: int(mark) for name, mark in head["watermarks"].items()}
            self.live.counted = Applied(*head["counted"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"the head of the stored state {self.namespace!r} cannot be read: {error}",
                code="store-064",
                hint="delete the stored state; the next start replays the log",
            ) from error
