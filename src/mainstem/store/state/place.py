"""Where feature state lies, in one line of text: ``memory:``, a folder for LMDB, or the URL of a Redis or Valkey server."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mainstem.store.state.memory import MemoryStore
from mainstem.store.state.protocol import StateStore

_SERVER_SCHEMES: Final = {
    "redis://": "redis://",
    "rediss://": "rediss://",
    "unix://": "unix://",
    "valkey://": "redis://",
    "valkeys://": "rediss://",
}


def open_state(where: str, *, root: Path | str = ".", prefix: str = "mainstem", timeout_s: float = 1.0) -> StateStore:
    """The store that a setting names; libraries are loaded only for the kind that is asked for.

    Args:
        where: ``memory:``; ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://`` and what follows;
            anything else is a folder, with or without ``lmdb:`` before it.
        root: What a relative folder starts from: the workspace.
        prefix: What the keys on a server begin with.
        timeout_s: How long to wait for a server.

    Raises:
        StoreError: As the stores' constructors.
    """
    if where == "memory:":
        return MemoryStore()
    for scheme, known_as in _SERVER_SCHEMES.items():
        if where.startswith(scheme):
            from mainstem.store.state.redis_store import RedisStore

            return RedisStore(known_as + where[len(scheme) :], prefix, timeout_s)
    from mainstem.store.state.lmdb_store import LmdbStore

    return LmdbStore(Path(root) / where.removeprefix("lmdb:"))
