"""Any sequence of calls leaves a store as it leaves a dictionary: the same answers and the same refusals."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from state_server import Server

from mainstem.base.errors import StoreError
from mainstem.store.state.lmdb_store import LmdbStore
from mainstem.store.state.memory import MemoryStore
from mainstem.store.state.protocol import StateStore
from mainstem.store.state.redis_store import RedisStore

NAMES = st.sampled_from(["a", "a/b", "b@2"])
CHANGES = st.dictionaries(st.binary(max_size=3), st.none() | st.binary(max_size=80), max_size=8)
OFFSETS = st.integers(-1, 6)
_numbers = itertools.count()


class Model:
    """The promises, written as plainly as they can be."""

    def __init__(self) -> None:
        self.blobs: dict[str, dict[bytes, bytes]] = {}
        self.offsets: dict[str, int] = {}
        self.serves: str | None = None

    def put(self, name: str, changes: dict[bytes, bytes | None]) -> None:
        merged = {**self.blobs.get(name, {}), **changes}
        self.blobs[name] = {key: blob for key, blob in merged.items() if blob is not None}

    def commit(self, name: str, changes: dict[bytes, bytes | None], applied: int, expect: int) -> str | None:
        if applied <= expect and not (applied == expect == -1 and not changes):
            return "store-075"
        stored = self.offsets.get(name, -1)
        if stored == applied and applied >= 0:
            return None
        if stored != expect:
            return "store-062"
        self.put(name, changes)
        self.offsets[name] = applied
        return None

    def fill(self, name: str, changes: dict[bytes, bytes | None]) -> str | None:
        if self.offsets.get(name, -1) >= 0:
            return "store-062"
        self.put(name, changes)
        self.offsets.pop(name, None)
        return None

    def drop(self, name: str) -> str | None:
        if self.serves == name:
            return "store-070"
        self.blobs.pop(name, None)
        self.offsets.pop(name, None)
        return None

    def activate(self, name: str) -> str | None:
        if name not in self.offsets:
            return "store-069"
        self.serves = name
        return None


def outcome(call: Any, *args: Any) -> str | None:
    try:
        call(*args)
    except StoreError as error:
        return error.code
    return None


class Machine(RuleBasedStateMachine):
    store: StateStore

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    @rule(name=NAMES, changes=CHANGES, applied=OFFSETS, expect=OFFSETS)
    def commit(self, name: str, changes: dict[bytes, bytes | None], applied: int, expect: int) -> None:
        args = (name, changes, applied, expect)
        assert outcome(self.store.commit, *args) == self.model.commit(*args)

    @rule(name=NAMES, changes=CHANGES, step=st.integers(1, 3))
    def commit_the_next(self, name: str, changes: dict[bytes, bytes | None], step: int) -> None:
        stored = self.model.offsets.get(name, -1)
        args = (name, changes, stored + step, stored)
        assert outcome(self.store.commit, *args) == self.model.commit(*args) is None

    @rule(name=NAMES, changes=CHANGES)
    def fill(self, name: str, changes: dict[bytes, bytes | None]) -> None:
        assert outcome(self.store.fill, name, changes) == self.model.fill(name, changes)

    @rule(name=NAMES)
    def drop(self, name: str) -> None:
        assert outcome(self.store.drop, name) == self.model.drop(name)

    @rule(name=NAMES)
    def activate(self, name: str) -> None:
        assert outcome(self.store.activate, name) == self.model.activate(name)

    @rule(name=NAMES, keys=st.lists(st.binary(max_size=3), max_size=6))
    def get(self, name: str, keys: list[bytes]) -> None:
        assert self.store.get(name, keys) == [self.model.blobs.get(name, {}).get(key) for key in keys]

    @invariant()
    def the_same(self) -> None:
        assert self.store.active() == self.model.serves
        assert self.store.namespaces() == sorted(self.model.blobs)
        for name in ("a", "a/b", "b@2"):
            assert self.store.applied(name) == self.model.offsets.get(name, -1)
            assert dict(self.store.scan(name)) == self.model.blobs.get(name, {})

    def teardown(self) -> None:
        self.store.close()


def run(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=hypothesis.settings(max_examples=25, stateful_step_count=25))


def test_memory() -> None:
    class Memory(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.store = MemoryStore()

    run(Memory)


def test_lmdb() -> None:
    class Lmdb(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = tempfile.mkdtemp()
            self.store = LmdbStore(self.folder, map_bytes=1 << 16, sync=False)

        @rule()
        def open_again(self) -> None:
            self.store.close()
            self.store = LmdbStore(self.folder, map_bytes=1 << 16, sync=False)

        def teardown(self) -> None:
            super().teardown()
            shutil.rmtree(self.folder)

    run(Lmdb)


def test_redis(server: Server) -> None:
    class Redis(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.store = RedisStore(server.url, f"model-{next(_numbers)}", timeout_s=30)

    run(Redis)


def test_the_model_itself_refuses_what_is_late() -> None:
    model = Model()
    assert model.commit("a", {b"k": b"v"}, 3, -1) is None
    assert model.commit("a", {b"k": b"w"}, 4, 2) == "store-062"
    with pytest.raises(KeyError):
        _ = model.blobs["b"]
