"""Commits forever, each blob carrying its offset, and prints the offset once it is stored. Killed by the crash test."""

from __future__ import annotations

import random
import sys

from mainstem.store.state.lmdb_store import LmdbStore


def blob(offset: int) -> bytes:
    """The blob of an offset: its number, then bytes that follow from it, some on pages of their own."""
    return offset.to_bytes(8, "big") + random.Random(offset).randbytes(offset % 9_000)


def key(offset: int) -> bytes:
    """Two hundred keys that are written over and over."""
    return b"key-%d" % (offset % 200)


def main(path: str, batch: int) -> None:
    store = LmdbStore(path, map_bytes=1 << 16)
    applied = store.applied("feed@1")
    while True:
        offsets = range(applied + 1, applied + 1 + batch)
        changes: dict[bytes, bytes | None] = {key(at): blob(at) for at in offsets}
        if applied % 5 == 0:
            changes[b"now-and-then"] = None
        else:
            changes[b"now-and-then"] = b"%d" % offsets[-1]
        store.commit("feed@1", changes, applied=offsets[-1], expect=applied)
        applied = offsets[-1]
        sys.stdout.write(f"{applied}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
