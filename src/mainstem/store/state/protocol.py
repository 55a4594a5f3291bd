"""What a place for feature state promises: blobs and the offset they stand at change together, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

EMPTY: Final = -1
"""The offset of a namespace into which no event has gone."""
FORMAT: Final = 1
"""The layout of keys and records below; a store refuses to open any other."""
MAX_KEY_BYTES: Final = 400
MAX_BLOB_BYTES: Final = 4 << 20
MAX_COMMIT_BYTES: Final = 256 << 20
"""Keys and blobs of one commit; a Redis server cuts the line at 1 GiB, and holds up every reader until then."""

Changes = Mapping[bytes, bytes | None]
"""A blob for each key, or ``None`` to forget the key."""


@runtime_checkable
class StateStore(Protocol):
    """Where the state of feature sets lies, each version in a namespace of its own.

    A namespace holds blobs by key and one number, ``applied``: every event up to this log offset is in the blobs. Only
    ``commit`` moves it, in the same transaction as the blobs, so a reader never sees one without the other. One
    namespace at most is *active*: the one that serves.

    Every method raises ``StoreError``: ``store-060`` unavailable, ``store-061`` no answer in time, ``store-063`` full,
    ``store-064`` corrupt, ``store-065`` another format, ``store-068`` not a namespace's name, ``store-074`` closed.
    """

    def get(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Which blobs lie under these keys: in their order, of one moment, in one round trip; ``None`` where nothing is.

        Raises:
            StoreError: ``store-067`` a key is too long.
        """
        ...

    def applied(self, namespace: str) -> int:
        """Up to which log offset events are in the blobs; -1 for an unknown, empty or half-filled namespace."""
        ...

    def commit(self, namespace: str, changes: Changes, applied: int, expect: int) -> None:
        """Blobs and offset in one transaction, exactly once: when this returns, all of it is stored.

        A commit whose ``applied`` is stored already changes nothing, so after a failure the caller may just repeat it.
        ``commit(namespace, {}, applied=-1, expect=-1)`` makes an empty namespace.

        Args:
            namespace: Made when it is not there.
            changes: Blobs to put and keys to forget.
            applied: The offset that is true once these changes are in; above ``expect``.
            expect: The offset the changes were computed from.

        Raises:
            StoreError: ``store-062`` the stored offset is another: a second writer is at work, or this one is late.
                ``store-066`` a blob or the commit is too large. ``store-067`` a key is too long. ``store-075`` the
                offset does not ascend.
        """
        ...

    def fill(self, namespace: str, changes: Changes) -> None:
        """One part of a bulk load, before the first commit: what is too large for one transaction goes in by parts.

        Until ``commit(namespace, ..., expect=-1)`` closes the load, ``applied`` is -1 and the namespace cannot be
        activated. A loader that died begins again with ``drop``.

        Raises:
            StoreError: ``store-062`` the namespace has an offset already; sizes as ``commit``.
        """
        ...

    def scan(self, namespace: str) -> Iterator[tuple[bytes, bytes]]:
        """Every key and blob, in no promised order, all of one offset.

        Raises:
            StoreError: ``store-071`` a commit came between; begin again.
        """
        ...

    def drop(self, namespace: str) -> None:
        """Forgets a namespace; an unknown one is no error. A drop that died is finished by the next one.

        Raises:
            StoreError: ``store-070`` the namespace serves.
        """
        ...

    def activate(self, namespace: str) -> None:
        """From now on this namespace serves: one atomic switch. The old one stays until it is dropped.

        Raises:
            StoreError: ``store-069`` it is not there, or its load was never closed.
        """
        ...

    def active(self) -> str | None:
        """Which namespace serves."""
        ...

    def namespaces(self) -> list[str]:
        """Every namespace, half-filled ones too, by name."""
        ...

    def close(self) -> None:
        """Gives back files and connections; a second time does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
