"""How namespaces lie in one LMDB tree: which key holds what, and the record of a namespace.

``\\0format`` the layout's number · ``\\0active`` the name that serves · ``\\0next`` the next free number · ``\\0unsynced``
the boot during which commits went without a flush · ``\\0name/...`` a namespace's record · ``\\0gone/NNNN`` a number whose
blobs are still to be swept away · ``\\1NNNNkey`` a blob of the namespace with number NNNN. Numbers are never used twice,
so a half-swept namespace cannot show up in a new one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lmdb

from mainstem.store.state.protocol import EMPTY, Changes

FORMAT_KEY: Final = b"\0format"
ACTIVE_KEY: Final = b"\0active"
NEXT_KEY: Final = b"\0next"
UNSYNCED_KEY: Final = b"\0unsynced"
NAME_PREFIX: Final = b"\0name/"
GONE_PREFIX: Final = b"\0gone/"

_RECORD: Final = struct.Struct(">Iq?")
_NUMBER: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace's record: where its blobs begin, its offset, and whether a load is still open."""

    number: int
    applied: int = EMPTY
    filling: bool = False

    @property
    def prefix(self) -> bytes:
        """What every key of its blobs begins with."""
        return blob_prefix(_NUMBER.pack(self.number))


def blob_prefix(number: bytes) -> bytes:
    """What the keys of a namespace's blobs begin with, from its packed number."""
    return b"\1" + number


def name_key(namespace: str) -> bytes:
    """Under which key a namespace's record lies."""
    return NAME_PREFIX + namespace.encode()


def find_space(txn: lmdb.Transaction, namespace: str) -> Space | None:
    """The record of a namespace, if there is one."""
    found = txn.get(name_key(namespace))
    return None if found is None else Space(*_RECORD.unpack(found))


def new_space(txn: lmdb.Transaction) -> Space:
    """A record with a number that no namespace ever had."""
    found = txn.get(NEXT_KEY)
    number = 1 if found is None else _NUMBER.unpack(found)[0]
    txn.put(NEXT_KEY, _NUMBER.pack(number + 1))
    return Space(number)


def put_space(txn: lmdb.Transaction, namespace: str, space: Space) -> None:
    """Writes a namespace's record."""
    txn.put(name_key(namespace), _RECORD.pack(space.number, space.applied, space.filling))


def put_blobs(txn: lmdb.Transaction, space: Space, changes: Changes) -> None:
    """Puts and forgets blobs; in the order of keys, which keeps the pages of the tree full."""
    prefix = space.prefix
    for key in sorted(changes):
        blob = changes[key]
        if blob is None:
            txn.delete(prefix + key)
        else:
            txn.put(prefix + key, blob)


def retire(txn: lmdb.Transaction, namespace: str, space: Space) -> None:
    """Takes a namespace off the list at once; its blobs are swept later, in small transactions."""
    txn.delete(name_key(namespace))
    txn.put(GONE_PREFIX + _NUMBER.pack(space.number), b"")


def sweep(txn: lmdb.Transaction, most: int) -> bool:
    """Deletes at most so many blobs of retired namespaces; whether there are more."""
    with txn.cursor() as cursor:
        while cursor.set_range(GONE_PREFIX) and (gone := bytes(cursor.key())).startswith(GONE_PREFIX):
            prefix = blob_prefix(gone[len(GONE_PREFIX) :])
            while cursor.set_range(prefix) and bytes(cursor.key()).startswith(prefix):
                if most == 0:
                    return True
                cursor.delete()
                most -= 1
            txn.delete(gone)
    return False


def page_of(
    txn: lmdb.Transaction, prefix: bytes, after: bytes | None, count: int, most_bytes: int
) -> list[tuple[bytes, bytes]]:
    """The next blobs with this prefix, behind a key: so many, or fewer when they are large."""
    rows: list[tuple[bytes, bytes]] = []
    with txn.cursor() as cursor:
        start = prefix if after is None else prefix + after
        if not cursor.set_range(start) or (cursor.key() == start and after is not None and not cursor.next()):
            return rows
        for found, blob in cursor:
            key = bytes(found)
            if not key.startswith(prefix):
                break
            rows.append((key[len(prefix) :], bytes(blob)))
            most_bytes -= len(blob)
            if len(rows) == count or most_bytes < 0:
                break
    return rows


def names(txn: lmdb.Transaction) -> list[str]:
    """Every namespace, by name."""
    found: list[str] = []
    with txn.cursor() as cursor:
        if cursor.set_range(NAME_PREFIX):
            for row in cursor.iternext(values=False):
                key = bytes(row)
                if not key.startswith(NAME_PREFIX):
                    break
                found.append(key[len(NAME_PREFIX) :].decode())
    return found


def boot_id() -> bytes:
    """Which boot of this machine it is: what was not flushed to disk is lost when it changes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    except OSError:
        return b"unknown"
