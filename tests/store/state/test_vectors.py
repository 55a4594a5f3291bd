"""Stored rows come back to the bit, from any store, for several tables in one call."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from state_server import Server

from mainstem.base.errors import StoreError
from mainstem.store.state.memory import MemoryStore
from mainstem.store.state.place import open_state
from mainstem.store.state.protocol import StateStore
from mainstem.store.state.vectors import Ask, VectorTable, read_tables

SPACE = "vectors@1"
_numbers = itertools.count()


@pytest.fixture(params=["memory", "lmdb", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    where: Callable[[], str] = {
        "memory": lambda: "memory:",
        "lmdb": lambda: "lmdb:state",
        "redis": lambda: request.getfixturevalue("server").url,
    }[request.param]
    with open_state(where(), root=tmp_path, prefix=f"vectors-{next(_numbers)}", timeout_s=30) as opened:
        yield opened


def test_rows_come_back_in_the_order_asked_for(store: StateStore) -> None:
    table = VectorTable(store, SPACE, 40, b"i")
    ids = np.array([-(2**63), -1, 0, 1, 2**63 - 1], np.int64)
    rows = np.random.default_rng(1).standard_normal((5, 40)).astype(np.float32)
    table.put_rows(ids, rows, applied=7, expect=-1)
    asked = np.array([1, 5, -1, 2**63 - 1, 1, 0, -(2**63)], np.int64)
    out = np.zeros((7, 40), np.float32)
    assert table.read_rows(asked, out).tolist() == [True, False, True, True, True, True, True]
    expected = np.vstack([rows[3], np.full(40, np.nan), rows[1], rows[4], rows[3], rows[2], rows[0]])
    np.testing.assert_array_equal(out, expected.astype(np.float32))
    assert store.applied(SPACE) == 7


def test_nothing_asked_and_nothing_found(store: StateStore) -> None:
    table = VectorTable(store, SPACE, 3)
    assert table.read_rows(np.empty(0, np.int64), np.empty((0, 3), np.float32)).tolist() == []
    out = np.ones((2, 3), np.float32)
    assert table.read_rows(np.array([1, 2]), out).tolist() == [False, False]
    assert np.isnan(out).all()
    assert read_tables([]) == []


@hypothesis.given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.integers(0, 30), max_size=20).flatmap(
        lambda rows: st.tuples(
            st.just(np.array(list(rows), np.int64)),
            hnp.arrays(np.float32, (len(rows), 3), elements=st.floats(width=32)),
            st.lists(st.sampled_from(list(rows)) if rows else st.integers(0, 9), max_size=30),
        )
    )
)
def test_rows_are_kept_to_the_bit(drawn: tuple[np.ndarray, np.ndarray, list[int]]) -> None:
    ids, rows, asked = drawn
    table = VectorTable(MemoryStore(), SPACE, 3)
    table.fill_rows(ids, rows)
    out = np.empty((len(asked), 3), np.float32)
    found = table.read_rows(np.array(asked, np.int64), out)
    places = {int(name): at for at, name in enumerate(ids)}
    assert found.tolist() == [name in places for name in asked]
    for at, name in enumerate(asked):
        if name in places:
            assert out[at].tobytes() == rows[places[name]].tobytes()


class Counting(MemoryStore):
    calls = 0

    def get(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        self.calls += 1
        return super().get(namespace, keys)


def test_tables_of_one_namespace_are_read_in_one_round_trip() -> None:
    store = Counting()
    users, items = VectorTable(store, SPACE, 2, b"u"), VectorTable(store, SPACE, 3, b"i")
    ids = np.arange(4)
    users.fill_rows(ids, np.ones((4, 2), np.float32))
    items.put_rows(ids, np.full((4, 3), 2, np.float32), applied=1, expect=-1)
    user, many = np.empty((1, 2), np.float32), np.empty((3, 3), np.float32)
    found = read_tables([Ask(users, np.array([2]), user), Ask(items, np.array([3, 9, 0]), many)])
    assert [mask.tolist() for mask in found] == [[True], [True, False, True]]
    assert (user.tolist(), many[[0, 2]].tolist()) == ([[1, 1]], [[2] * 3] * 2)
    assert store.calls == 1
    other = VectorTable(MemoryStore(), SPACE, 2)
    with pytest.raises(StoreError) as caught:
        read_tables([Ask(users, np.array([2]), user), Ask(other, np.array([2]), user)])
    assert caught.value.code == "store-076"


def test_rows_that_do_not_fit_are_refused() -> None:
    table = VectorTable(MemoryStore(), SPACE, 3)
    good = np.ones((2, 3), np.float32)
    for ids, rows in (
        (np.array([1]), good),
        (np.array([1.0, 2.0]), good),
        (np.array([[1, 2]]), good),
        (np.array([1, 2]), good[:, :2]),
        (np.array([1, 2]), good.astype(np.float64)),
    ):
        for call in (table.fill_rows, table.read_rows, lambda a, b: table.put_rows(a, b, 1, -1)):
            with pytest.raises(StoreError) as caught:
                call(ids, rows)
            assert caught.value.code == "store-076"
    table.fill_rows(np.array([1, 2]), good)
    with pytest.raises(StoreError) as caught:
        VectorTable(table.store, SPACE, 4).read_rows(np.array([1, 2]), np.empty((2, 4), np.float32))
    assert caught.value.code == "store-064"


def test_places_by_name(tmp_path: Path, server: Server) -> None:
    kinds = {
        "memory:": "MemoryStore",
        "state": "LmdbStore",
        f"lmdb:{tmp_path / 'other'}": "LmdbStore",
        server.url: "RedisStore",
        server.url.replace("redis:", "valkey:"): "RedisStore",
    }
    for where, kind in kinds.items():
        with open_state(where, root=tmp_path) as store:
            assert type(store).__name__ == kind
            assert store.active() is None
    assert (tmp_path / "state" / "data.mdb").exists()
    assert (tmp_path / "other" / "data.mdb").exists()
