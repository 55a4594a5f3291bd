"""What every store refuses alike, and when a commit is written, is there already, or comes from a late writer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mainstem.base.errors import StoreError
from mainstem.store.state.protocol import EMPTY, MAX_BLOB_BYTES, MAX_COMMIT_BYTES, MAX_KEY_BYTES, Changes

_NAME: Final = re.compile(r"[A-Za-z0-9._:@/+-]{1,200}")
_INT64_END: Final = 2**63


def check_namespace(namespace: str) -> None:
    """Is this a name every store can hold (``store-068``): braces and blanks would change where Redis puts it."""
    if not _NAME.fullmatch(namespace):
        raise StoreError(
            f"found {namespace!r} as a namespace, expected 1 to 200 of letters, digits and . _ : @ / + -",
            code="store-068",
            status=400,
            hint="use the feature set's name and version, such as feed@3",
        )


def check_keys(keys: Sequence[bytes]) -> None:
    """Is every key short enough (``store-067``)."""
    longest = max(map(len, keys), default=0)
    if longest > MAX_KEY_BYTES:
        raise StoreError(
            f"found a key of {longest} bytes, expected at most {MAX_KEY_BYTES}",
            code="store-067",
            status=400,
            hint="pack ids into a key as numbers, or key by a digest of what is long",
        )


def check_changes(changes: Changes) -> None:
    """Do keys, blobs and their sum keep the bounds (``store-066``, ``store-067``)."""
    check_keys(list(changes))
    sizes = [len(blob) for blob in changes.values() if blob is not None]
    if sizes and max(sizes) > MAX_BLOB_BYTES:
        key = max(changes, key=lambda name: len(changes[name] or b""))
        raise _too_large(f"a blob of {max(sizes)} bytes under key {key[:40]!r}", MAX_BLOB_BYTES)
    total = sum(sizes) + sum(map(len, changes))
    if total > MAX_COMMIT_BYTES:
        raise _too_large(f"a commit of {total} bytes", MAX_COMMIT_BYTES)


def is_new(namespace: str, stored: int, applied: int, expect: int) -> bool:
    """Must this commit be written: ``False`` when it is in already, ``store-062`` when it comes from a late writer."""
    if stored == applied != EMPTY:
        return False
    if stored != expect:
        raise fenced(namespace, stored, expect)
    return True


def check_offsets(changes: Changes, applied: int, expect: int) -> None:
    """Does the offset ascend (``store-075``); -1 on both sides makes an empty namespace and carries no blob."""
    makes_empty = applied == expect == EMPTY and not changes
    if makes_empty or EMPTY <= expect < applied < _INT64_END:
        return
    raise StoreError(
        f"found a commit from offset {expect} to {applied} with {len(changes)} changes, expected an ascending offset",
        code="store-075",
        status=400,
        hint="applied is the offset of the last event in the changes; bulk loads go through fill",
    )


def fenced(namespace: str, stored: int, expect: int) -> StoreError:
    """The refusal of a commit, or of a part of a load, that was computed from another offset than the stored one."""
    return StoreError(
        f"found namespace {namespace!r} at offset {stored}, expected {expect}: another writer was here; nothing written",
        code="store-062",
        status=409,
        hint="stop this writer, or read the state anew and apply the log from the stored offset",
    )


def moved(namespace: str, before: int, after: int) -> StoreError:
    """The end of a scan into which a commit fell."""
    return StoreError(
        f"namespace {namespace!r} went from offset {before} to {after} while it was scanned",
        code="store-071",
        status=409,
        hint="scan again, or stop the writer first",
    )


def unknown(namespace: str, why: str) -> StoreError:
    """The refusal to let a namespace serve that holds nothing whole."""
    return StoreError(
        f"found namespace {namespace!r} {why}, expected one that a commit has closed",
        code="store-069",
        status=404,
        hint="fill it and commit its offset first; namespaces() lists what is there",
    )


def serving(namespace: str) -> StoreError:
    """The refusal to drop the namespace that serves."""
    return StoreError(
        f"found namespace {namespace!r} serving, expected one that does not",
        code="store-070",
        status=409,
        hint="activate another namespace first",
    )


def unavailable(where: str, why: str) -> StoreError:
    """A store that cannot be reached or opened."""
    return StoreError(
        f"found the state store {where} unavailable: {why}",
        code="store-060",
        hint="see that it runs and that this process may use it; a commit may be repeated as it is",
    )


def late(where: str, timeout_s: float) -> StoreError:
    """A store that did not answer within its time."""
    return StoreError(
        f"found no answer of the state store {where} within {timeout_s:g} s",
        code="store-061",
        hint="a commit may be repeated as it is: what was stored already is not applied twice",
    )


def full(where: str, why: str) -> StoreError:
    """A store without room for a write."""
    return StoreError(
        f"found the state store {where} full: {why}; nothing of this write was stored",
        code="store-063",
        status=507,
        hint="make room, drop old namespaces, or raise the limit, then repeat the commit",
    )


def corrupt(where: str, why: str) -> StoreError:
    """A store whose content cannot be trusted."""
    return StoreError(
        f"found the state store {where} corrupt: {why}",
        code="store-064",
        hint="delete it and build the state again from the log; the log is the truth",
    )


def wrong_version(where: str, found: str, expected: str) -> StoreError:
    """A store in a layout that this program does not read."""
    return StoreError(
        f"found the state store {where} in format {found}, expected {expected}",
        code="store-065",
        hint="build the state again from the log in an empty place, or use the program that wrote it",
    )


def closed(where: str) -> StoreError:
    """A call on a store that was closed."""
    return StoreError(f"found the state store {where} closed, expected it open", code="store-074")


def _too_large(what: str, most: int) -> StoreError:
    return StoreError(
        f"found {what}, expected at most {most}; nothing written",
        code="store-066",
        status=413,
        hint="bound lists and tiles in the feature set; load by parts with fill",
    )
