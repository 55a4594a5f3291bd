"""Every store keeps the promises of the suite that outside authors run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from state_server import Server

from mainstem.store.state.lmdb_store import LmdbStore
from mainstem.store.state.memory import MemoryStore
from mainstem.store.state.redis_store import RedisStore
from mainstem.testing.state_suite import StateStoreSuite

_numbers = itertools.count()


class TestMemoryStore(StateStoreSuite):
    lasting = False

    @pytest.fixture
    def make_store(self) -> Callable[[], MemoryStore]:
        return MemoryStore


class TestLmdbStore(StateStoreSuite):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], LmdbStore]:
        # A map of 64 KiB grows many times in these tests.
        return lambda: LmdbStore(tmp_path / "state", map_bytes=1 << 16)


class TestLmdbStoreWithoutFlush(StateStoreSuite):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], LmdbStore]:
        return lambda: LmdbStore(tmp_path / "state", sync=False)


class TestRedisStore(StateStoreSuite):
    @pytest.fixture
    def make_store(self, server: Server) -> Callable[[], RedisStore]:
        prefix = f"suite-{next(_numbers)}"
        return lambda: RedisStore(server.url, prefix, timeout_s=30)
