"""Feature state on a Redis or Valkey server: many machines read it, a script on the server fences the one writer.

``{prefix:namespace}`` is one hash with the blobs and, in a field of its own, the offset: whatever the server does to a key
(evict it, move it to another node of a cluster), it does to both. ``{prefix}:names`` lists the namespaces,
``{prefix}:active`` names the one that serves, ``{prefix}:format`` the layout's number.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

from mainstem.base.errors import StoreError
from mainstem.store.state import redis_scripts, rules
from mainstem.store.state.protocol import EMPTY, FORMAT, MAX_KEY_BYTES, Changes

if TYPE_CHECKING:
    import redis

_MGET_KEYS: Final = 5_000
_PAGE_BLOBS: Final = 2_000
_IN_URL: Final = {"db", "username", "password"}
_READ_BYTES: Final = 1 << 18
"""What is taken from the socket at once: an answer for 500 candidates is 80 KB and more."""
_OFFSET: Final = b"applied".ljust(MAX_KEY_BYTES + 1, b".")
"""The field of the offset: longer than any key may be, so no key needs a prefix to stay apart from it."""
_FULL_WORDS: Final = ("OOM", "maxmemory", "MISCONF")
"""Out of memory, as server and client tell it; or the last snapshot was not written, so writes are refused."""


class RedisStore:
    """A ``StateStore`` on a Redis (6 or newer) or Valkey server, or on one node that owns all slots of a cluster.

    What a crash of the server takes is up to its settings (``appendfsync``); a transaction is there whole or not at all,
    so the offset after it says from where the log must be applied again.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]``, ``rediss://`` for TLS, ``unix://`` for a socket.
        prefix: What the keys of this installation begin with.
        timeout_s: How long to wait for a connection and for each answer. A lost connection is tried once more.

    Raises:
        StoreError: ``store-072`` the client library is not installed; ``store-073`` not such a URL, prefix or timeout.
    """

    def __init__(self, url: str, prefix: str = "mainstem", timeout_s: float = 1.0) -> None:
        rules.check_namespace(prefix)
        self._redis = _library()
        self._where, self._secrets = _told_apart(url)
        self._timeout_s = timeout_s
        self._prefix = prefix
        self._names, self._active, self._format = (f"{{{prefix}}}:{name}" for name in ("names", "active", "format"))
        self._checked = False
        self._closed = False
        self._client = self._connect(url)
        self._scripts = {name: self._client.register_script(text) for name, text in redis_scripts.SCRIPTS.items()}

    def get(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Which blobs lie under these keys; see ``StateStore``.

        More than 5,000 keys go as several commands in one transaction: still one round trip, still one moment.
        """
        rules.check_keys(keys)
        space = self._key(namespace)
        if not keys:
            return []
        with self._failures():
            if len(keys) <= _MGET_KEYS:
                return cast(list[bytes | None], self._client.execute_command("HMGET", space, *keys))
            pipe = self._client.pipeline(transaction=True)
            for start in range(0, len(keys), _MGET_KEYS):
                pipe.execute_command("HMGET", space, *keys[start : start + _MGET_KEYS])
            return [blob for part in pipe.execute() for blob in part]

    def applied(self, namespace: str) -> int:
        """Up to which log offset events are in the blobs; see ``StateStore``."""
        space = self._key(namespace)
        with self._failures():
            return self._offset(self._client.execute_command("HGET", space, _OFFSET))

    def commit(self, namespace: str, changes: Changes, applied: int, expect: int) -> None:
        """Blobs and offset in one script on the server; see ``StateStore``."""
        rules.check_changes(changes)
        rules.check_offsets(changes, applied, expect)
        space = self._key(namespace)
        with self._failures():
            if expect == EMPTY:
                self._register(namespace)
            stored = self._offset(self._scripts["commit"]([space], [_OFFSET, applied, expect, *_packed(changes)]))
        if stored != applied:
            raise rules.fenced(namespace, stored, expect)

    def fill(self, namespace: str, changes: Changes) -> None:
        """One part of a bulk load; see ``StateStore``."""
        rules.check_changes(changes)
        space = self._key(namespace)
        with self._failures():
            self._register(namespace)
            stored = self._offset(self._scripts["fill"]([space], [_OFFSET, *_packed(changes)]))
        if stored != EMPTY:
            raise rules.fenced(namespace, stored, EMPTY)

    def scan(self, namespace: str) -> Iterator[tuple[bytes, bytes]]:
        """Every key and blob of one offset; see ``StateStore``."""
        space = self._key(namespace)
        before: int | None = None
        cursor = 0
        while True:
            with self._failures():
                pipe = self._client.pipeline(transaction=True)
                pipe.execute_command("HGET", space, _OFFSET)
                pipe.hscan(space, cursor, count=_PAGE_BLOBS)
                found, (cursor, page) = pipe.execute()
                now = self._offset(found)
            if before is not None and now != before:
                raise rules.moved(namespace, before, now)
            before = now
            page.pop(_OFFSET, None)
            yield from page.items()
            if not cursor:
                return

    def drop(self, namespace: str) -> None:
        """Forgets a namespace: off the list of those that may serve first, then its blobs; see ``StateStore``."""
        space = self._key(namespace)
        with self._failures():
            if not self._scripts["retire"]([self._names, self._active], [namespace]):
                raise rules.serving(namespace)
            self._client.unlink(space)
            self._scripts["forget"]([self._names], [namespace])

    def activate(self, namespace: str) -> None:
        """From now on this namespace serves; see ``StateStore``."""
        space = self._key(namespace)
        with self._failures():
            if not self._client.execute_command("HEXISTS", space, _OFFSET):
                listed = self._client.execute_command("HEXISTS", self._names, namespace)
                raise rules.unknown(namespace, "half filled" if listed else "unknown")
            if not self._scripts["activate"]([self._names, self._active], [namespace]):
                raise rules.unknown(namespace, "being dropped")

    def active(self) -> str | None:
        """Which namespace serves."""
        self._check()
        with self._failures():
            found = cast(bytes | None, self._client.get(self._active))
        return None if found is None else found.decode()

    def namespaces(self) -> list[str]:
        """Every namespace, by name."""
        self._check()
        with self._failures():
            names = cast(list[bytes], self._client.execute_command("HKEYS", self._names))
        return sorted(name.decode() for name in names)

    def close(self) -> None:
        """Gives the connections back."""
        self._closed = True
        with contextlib.suppress(self._redis.exceptions.RedisError):
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RedisStore({self._where})"

    def _connect(self, url: str) -> redis.Redis:
        library = self._redis
        # A pooled connection may be dead without knowing it: one more try on a fresh one, and no waiting in between.
        again = library.retry.Retry(library.backoff.NoBackoff(), 1, (library.exceptions.ConnectionError,))
        if not self._timeout_s > 0:
            raise _wrong_settings(f"a timeout of {self._timeout_s} s, expected one above 0")
        try:
            return library.Redis.from_url(
                url,
                socket_timeout=self._timeout_s,
                socket_connect_timeout=self._timeout_s,
                socket_read_size=_READ_BYTES,
                retry=again,
                protocol=2,
                decode_responses=False,
            )
        except (ValueError, TypeError, AttributeError):
            # The text of these repeats pieces of the URL, and a password may be among them.
            pass
        raise _wrong_settings("a URL that cannot be read")

    def _key(self, namespace: str) -> str:
        """Under which key a namespace lies; in braces, so that a cluster spreads namespaces over its nodes."""
        rules.check_namespace(namespace)
        self._check()
        return f"{{{self._prefix}:{namespace}}}"

    def _check(self) -> None:
        """Is it open, and, on the first call, is what lies on the server of this format."""
        if self._closed:
            raise rules.closed(self._where)
        if self._checked:
            return
        with self._failures():
            found = self._client.get(self._format)
        if found is not None and found != str(FORMAT).encode():
            raise rules.wrong_version(self._where, repr(found), repr(str(FORMAT).encode()))
        self._checked = True

    def _register(self, namespace: str) -> None:
        self._scripts["register"]([self._names, self._format], [namespace, FORMAT])

    def _offset(self, found: Any) -> int:
        if found is None:
            return EMPTY
        try:
            return int(found)
        except ValueError:
            raise rules.corrupt(self._where, f"an offset reads {found!r}") from None

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Every failure of the client as a ``StoreError`` without a cause: causes may hold what must not be printed."""
        errors = self._redis.exceptions
        try:
            yield
            return
        except errors.TimeoutError:
            failure = rules.late(self._where, self._timeout_s)
        except errors.ResponseError as error:
            failure = self._refusal(str(error))
        except (errors.RedisError, OSError) as error:
            failure = rules.unavailable(self._where, self._clean(f"{type(error).__name__}: {error}"))
        raise failure

    def _refusal(self, text: str) -> StoreError:
        told = self._clean(text)
        if any(word in text for word in _FULL_WORDS):
            return rules.full(self._where, told)
        if text.startswith("WRONGTYPE"):
            return rules.corrupt(self._where, told)
        return rules.unavailable(self._where, told)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _packed(changes: Changes) -> list[Any]:
    """The changes as the scripts read them: how many pairs, the pairs, then the keys to forget."""
    pairs = [part for key, blob in changes.items() if blob is not None for part in (key, blob)]
    return [len(pairs), *pairs, *(key for key, blob in changes.items() if blob is None)]


def _library() -> Any:
    try:
        import redis.backoff
        import redis.exceptions
        import redis.retry
    except ImportError:
        raise StoreError(
            "found no Redis client in this installation, expected the optional package redis",
            code="store-072",
            hint="pip install 'mainstem[redis]'",
        ) from None
    return redis


def _told_apart(url: str) -> tuple[str, tuple[str, ...]]:
    """What of a URL may be printed, and every spelling of what may not."""
    try:
        parts = urllib.parse.urlsplit(url)
        where = f"at {parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
        query = urllib.parse.parse_qs(parts.query)
    except ValueError:
        raise _wrong_settings("a URL that cannot be read") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise _wrong_settings("a URL of another scheme")
    # The client lets a URL override its arguments: the timeouts and the decoding of answers are not for it to change.
    if any(name not in _IN_URL and not name.startswith("ssl_") for name in query):
        raise _wrong_settings("a URL with options other than db, username, password and ssl_...")
    secrets = {parts.password or "", urllib.parse.unquote(parts.password or ""), *query.get("password", [])} - {""}
    path = parts.path if parts.scheme == "unix" or parts.path.strip("/").isdigit() else ""
    return where + path, tuple(sorted(secrets, key=len, reverse=True))


def _wrong_settings(found: str) -> StoreError:
    return StoreError(
        f"found {found}, expected redis://, rediss:// or unix://, a host and a positive timeout",
        code="store-073",
        status=400,
        hint="write redis://:password@host:6379/0, with % codes for / : @ # ? in the password",
    )
