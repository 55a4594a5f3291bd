"""The server's own promises: bounded waiting, no password in any message, and what a dead, full or foreign server does."""

from __future__ import annotations

import builtins
import socket
import threading
import traceback
from collections.abc import Callable, Iterator

import pytest
import redis
from state_server import Server

from mainstem.base.errors import StoreError
from mainstem.store.state.redis_store import RedisStore

SPACE = "feed@1"


def refused(code: str, call: Callable[..., object], *args: object) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call(*args)
    assert caught.value.code == code, caught.value
    return caught.value


def open_and_read(url: str) -> None:
    with RedisStore(url) as store:
        assert url not in repr(store)
        store.get(SPACE, [b"a"])


def commit_until_refused(store: RedisStore, applied: int) -> tuple[int, str]:
    """Every blob carries the offset; returns the last one acknowledged and the code of the refusal."""
    while True:
        changes: dict[bytes, bytes | None] = {b"%d" % key: b"%d" % (applied + 1) for key in range(300)}
        try:
            store.commit(SPACE, changes, applied + 1, applied)
        except StoreError as error:
            return applied, error.code
        applied += 1


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"redis://:s3cret@127.0.0.1:{probe.getsockname()[1]}"
        store = RedisStore(url, timeout_s=0.5)
        for call in (lambda: store.get(SPACE, [b"a"]), lambda: store.commit(SPACE, {}, 1, -1), store.active):
            refused("store-060", call)


def test_a_server_that_does_not_answer_is_late(silent_port: int) -> None:
    store = RedisStore(f"redis://127.0.0.1:{silent_port}", timeout_s=0.05)
    assert "0.05 s" in refused("store-061", store.get, SPACE, [b"a"]).message


def test_no_password_leaves_in_a_message_a_repr_or_a_traceback(make_server: Callable[..., Server]) -> None:
    server = make_server("--requirepass", "right")
    address = f"127.0.0.1:{server.port}"
    urls = [f"redis://:s3cret@{address}", f"redis://me:s3cret@{address}", f"redis://{address}?password=s3cret"]
    urls += [
        f"redis://:%733cret@{address}",
        f"redis://:s3cret/x@{address}",
        "redis://:s3cret@host:s3cret",
        "http://s3cret",
    ]
    urls += [f"redis://:s3cret@{address}?socket_timeout=s3cret", "redis://:s3cret@[::1"]
    for url in urls:
        with pytest.raises(StoreError) as caught:
            open_and_read(url)
        error = caught.value
        assert error.code in ("store-060", "store-073")
        told = f"{error} {error.hint} {error.as_dict()}" + "".join(traceback.format_exception(error))
        assert "s3cret" not in told, url
    with RedisStore(f"redis://:right@{address}") as store:
        assert store.get(SPACE, [b"a"]) == [None]


@pytest.mark.parametrize("option", ["socket_timeout=900", "decode_responses=1", "protocol=3", "max_connections=1"])
def test_a_url_cannot_undo_what_the_store_relies_on(option: str) -> None:
    refused("store-073", RedisStore, f"redis://localhost?{option}")


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_waiting_for_ever_is_no_setting(timeout_s: float) -> None:
    refused("store-073", lambda: RedisStore("redis://localhost", timeout_s=timeout_s))


def test_a_missing_client_is_told_with_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without_redis(name: str, *args: object, **named: object) -> object:
        if name.startswith("redis"):
            raise ImportError(name)
        return known(name, *args, **named)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(builtins, "__import__", without_redis)
    assert "pip install" in refused("store-072", RedisStore, "redis://localhost").hint


def test_a_full_server_refuses_and_keeps_what_was(make_server: Callable[..., Server]) -> None:
    server = make_server("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    with RedisStore(server.url, timeout_s=30) as store:
        store.commit(SPACE, {b"a": b"1"}, 1, -1)
        big: dict[bytes, bytes | None] = {b"%d" % at: b"x" * 100_000 for at in range(40)}
        error = refused("store-063", store.commit, SPACE, {**big, b"a": b"2"}, 2, 1)
        assert error.status == 507
        assert (dict(store.scan(SPACE)), store.applied(SPACE)) == ({b"a": b"1"}, 1)


@pytest.mark.parametrize("limit_mb", range(10, 34, 3))
def test_memory_that_ends_inside_a_commit_leaves_all_or_nothing(
    make_server: Callable[..., Server], limit_mb: int
) -> None:
    server = make_server("--maxmemory", f"{limit_mb}mb", "--maxmemory-policy", "noeviction")
    with RedisStore(server.url, timeout_s=30) as store:
        store.commit(SPACE, {b"0": b"old"}, 1, -1)
        # Several commands inside the script: 10 MB on the wire, and as much again in the hash.
        changes: dict[bytes, bytes | None] = {b"%d" % at: b"x" * 4_000 for at in range(2_500)}
        codes: list[str] = []
        try:
            store.commit(SPACE, changes, 2, 1)
        except StoreError as failure:
            codes.append(failure.code)
        found = dict(store.scan(SPACE)), store.applied(SPACE)
        assert (codes, found) in [([], (changes, 2)), (["store-063"], ({b"0": b"old"}, 1))]


def test_an_evicted_namespace_is_empty_not_half(server: Server) -> None:
    with RedisStore(server.url, "evicted", timeout_s=30) as store, redis.Redis.from_url(server.url) as raw:
        store.commit(SPACE, {b"a": b"1"}, 5, -1)
        keys = [key for key in raw.keys("{evicted*") if SPACE.encode() in key]
        assert len(keys) == 1, "blobs and offset lie in one key"
        raw.delete(*keys)
        assert (store.get(SPACE, [b"a"]), store.applied(SPACE)) == ([None], -1)
        refused("store-062", store.commit, SPACE, {b"a": b"2"}, 6, 5)
        refused("store-069", store.activate, SPACE)


def test_a_server_of_another_format_is_refused(server: Server) -> None:
    with redis.Redis.from_url(server.url) as raw:
        raw.set("{foreign}:format", "2")
        raw.set("{foreign2:feed@1}", "text")
        raw.hset("{foreign3:feed@1}", b"applied".ljust(401, b"."), "seven")
    for _ in range(2):
        refused("store-065", RedisStore(server.url, "foreign", timeout_s=30).get, SPACE, [b"a"])
    refused("store-064", RedisStore(server.url, "foreign2", timeout_s=30).get, SPACE, [b"a"])
    refused("store-064", RedisStore(server.url, "foreign3", timeout_s=30).applied, SPACE)


def test_a_server_that_comes_back_has_what_its_log_has(make_server: Callable[..., Server]) -> None:
    server = make_server("--appendonly", "yes", "--appendfsync", "always")
    with RedisStore(server.url, timeout_s=30) as store:
        for at in range(20):
            store.commit(SPACE, {b"a": b"%d" % at, b"b": b"%d" % at}, at, at - 1)
        server.kill()
        refused("store-060", store.get, SPACE, [b"a"])
        server.start()
        assert (store.get(SPACE, [b"a", b"b"]), store.applied(SPACE)) == ([b"19", b"19"], 19)
        store.commit(SPACE, {b"a": b"20"}, 20, 19)  # the script is gone with the server's memory: it is sent again


def test_a_killed_server_has_one_offset_and_its_blobs(make_server: Callable[..., Server]) -> None:
    server = make_server("--appendonly", "yes", "--appendfsync", "no")
    for round_ in range(3):
        with RedisStore(server.url, timeout_s=30) as store:
            applied = store.applied(SPACE)
            killer = threading.Timer(0.05 + 0.02 * round_, server.process.kill)
            killer.start()
            acknowledged, code = commit_until_refused(store, applied)
            assert code in ("store-060", "store-061")
            killer.join()
            server.process.wait()
            server.start()
            applied = store.applied(SPACE)
            assert applied >= acknowledged
            assert {blob for _, blob in store.scan(SPACE)} == {b"%d" % applied}


def test_a_lost_connection_is_tried_once_more(server: Server) -> None:
    with RedisStore(server.url, "lost", timeout_s=30) as store:
        store.commit(SPACE, {b"a": b"1"}, 1, -1)
        with redis.Redis.from_url(server.url) as raw:
            raw.client_kill_filter(_type="normal", skipme=True)
        store.commit(SPACE, {b"a": b"2"}, 2, 1)
        assert (store.get(SPACE, [b"a"]), store.applied(SPACE)) == ([b"2"], 2)


def test_a_drop_that_died_cannot_serve_and_is_finished_by_the_next_one(server: Server) -> None:
    with RedisStore(server.url, "died", timeout_s=30) as store, redis.Redis.from_url(server.url) as raw:
        store.commit(SPACE, {b"a": b"1"}, 1, -1)
        raw.hset("{died}:names", SPACE, "dropping")
        refused("store-069", store.activate, SPACE)
        assert store.namespaces() == [SPACE]
        store.drop(SPACE)
        assert (store.namespaces(), store.applied(SPACE)) == ([], -1)


def test_many_keys_are_still_of_one_moment(server: Server) -> None:
    keys = [b"%d" % at for at in range(12_000)]
    with RedisStore(server.url, "chunks", timeout_s=30) as store:
        store.commit(SPACE, dict.fromkeys(keys, b"x"), 1, -1)
        assert store.get(SPACE, keys) == [b"x"] * 12_000
