"""LMDB's own promises: it grows, tells what is wrong, refuses what it cannot trust, and serves other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import pytest

from mainstem.base.errors import StoreError
from mainstem.store.state import lmdb_layout, lmdb_store
from mainstem.store.state.lmdb_store import LmdbStore

SPACE = "feed@1"


def refused(code: str, call: object, *args: object, **named: object) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call(*args, **named)  # pyright: ignore[reportCallIssue]
    assert caught.value.code == code, caught.value
    assert caught.value.hint or code == "store-074"
    return caught.value


def test_a_full_map_says_so_and_keeps_what_was(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, map_bytes=1 << 16, max_map_bytes=1 << 20) as store:
        store.commit(SPACE, {b"a": b"1"}, applied=1, expect=-1)
        error = refused("store-063", store.commit, SPACE, {b"b": b"x" * 1_100_000}, applied=2, expect=1)
        assert error.status == 507
        assert (dict(store.scan(SPACE)), store.applied(SPACE)) == ({b"a": b"1"}, 1)
        store.commit(SPACE, {b"b": b"x" * 300_000}, applied=2, expect=1)
        assert store.applied(SPACE) == 2


def test_room_comes_back_when_a_namespace_is_dropped(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, map_bytes=1 << 21, max_map_bytes=1 << 21) as store:
        for at in range(20):
            store.commit(f"feed@{at}", {b"%d" % key: b"x" * 1_000 for key in range(400)}, applied=1, expect=-1)
            store.drop(f"feed@{at}")
        assert store.namespaces() == []


def test_a_full_disk_says_so_and_keeps_what_was(tmp_path: Path) -> None:
    # A limit on the size of files is the full disk that any user can make.
    code = f"""
import resource, signal
from mainstem.base.errors import StoreError
from mainstem.store.state.lmdb_store import LmdbStore
store = LmdbStore({str(tmp_path)!r})
store.commit("feed@1", {{b"a": b"1"}}, applied=1, expect=-1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
try:
    store.commit("feed@1", {{b"b": b"x" * 2_000_000}}, applied=2, expect=1)
except StoreError as error:
    print(error.code)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(store.applied("feed@1"), store.get("feed@1", [b"a", b"b"]))
store.commit("feed@1", {{b"b": b"2"}}, applied=2, expect=1)
print(store.applied("feed@1"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["store-063", "1 [b'1', None]", "2"], done.stderr


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    LmdbStore(tmp_path / "ours").close()
    for name, key, value in (("ours", lmdb_layout.FORMAT_KEY, b"2"), ("theirs", b"something", b"else")):
        with lmdb.open(str(tmp_path / name)) as env, env.begin(write=True) as txn:
            txn.put(key, value)
        for _ in range(2):
            refused("store-065", LmdbStore, tmp_path / name)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "cut") as store:
        store.commit(SPACE, {b"%d" % at: b"x" * 500 for at in range(1_000)}, applied=1, expect=-1)
    data = tmp_path / "cut" / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)
    refused("store-064", LmdbStore, tmp_path / "cut")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "data.mdb").write_bytes(b"no database" * 1_000)
    refused("store-064", LmdbStore, tmp_path / "junk")


def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path) in refused("store-060", LmdbStore, tmp_path / "file").message
    with LmdbStore(tmp_path / "state"):
        assert "already open" in refused("store-060", LmdbStore, tmp_path / "state").message
    LmdbStore(tmp_path / "state").close()


def test_a_power_cut_after_unflushed_commits_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, sys; from mainstem.store.state.lmdb_store import LmdbStore; s = LmdbStore(sys.argv[1], sync=False)\n"
        "s.commit('feed@1', {b'a': b'1'}, applied=1, expect=-1); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    with LmdbStore(tmp_path) as store:
        assert store.applied(SPACE) == 1, "a process that died takes nothing with it"
    monkeypatch.setattr(lmdb_layout, "boot_id", lambda: b"another boot")
    refused("store-064", LmdbStore, tmp_path)
    monkeypatch.undo()
    # A flushed commit takes the earlier ones to disk with it; so does an orderly end.
    with LmdbStore(tmp_path) as store:
        store.commit(SPACE, {}, applied=2, expect=1)
    monkeypatch.setattr(lmdb_layout, "boot_id", lambda: b"another boot")
    with LmdbStore(tmp_path, sync=False) as store:
        store.commit(SPACE, {}, applied=3, expect=2)
    monkeypatch.setattr(lmdb_layout, "boot_id", lambda: b"a third boot")
    with LmdbStore(tmp_path) as store:
        assert store.applied(SPACE) == 3


def test_another_process_reads_and_is_fenced(tmp_path: Path) -> None:
    code = (
        "import sys; from mainstem.store.state.lmdb_store import LmdbStore; s = LmdbStore(sys.argv[1], map_bytes=1 << 16)\n"
        "for line in sys.stdin:\n"
        "    try: print(eval(line), flush=True)\n"
        "    except Exception as error: print(error.code, flush=True)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def ask(line: str) -> str:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(line + "\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    with other, LmdbStore(tmp_path, map_bytes=1 << 16) as store:
        assert ask("s.applied('feed@1')") == "-1"
        # Grown far beyond the other process's map, which then has to take over the size.
        store.commit(SPACE, {b"%d" % at: b"x" * 1_000 for at in range(3_000)}, applied=4, expect=-1)
        assert ask("s.applied('feed@1'), s.get('feed@1', [b'7'])[0][:2]") == "(4, b'xx')"
        assert ask("s.commit('feed@1', {b'7': b'late'}, 9, 3)") == "store-062"
        store.activate(SPACE)
        assert ask("s.active()") == SPACE
        assert ask("s.commit('feed@1', {b'7': b'new'}, 9, 4)") == "None"
        assert (store.get(SPACE, [b"7"]), store.applied(SPACE)) == ([b"new"], 9)
        assert other.stdin is not None
        other.stdin.close()


def test_the_map_grows_under_readers(tmp_path: Path) -> None:
    with LmdbStore(tmp_path, map_bytes=1 << 16) as store:
        store.commit(SPACE, {b"a": b"0"}, applied=0, expect=-1)
        stop = threading.Event()
        wrong: list[object] = []

        def read() -> None:
            while not stop.wait(0.0005):
                if None in (found := store.get(SPACE, [b"a"] * 20)):
                    wrong.append(found)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for at in range(1, 12):
            store.commit(SPACE, {b"a": b"%d" % at, b"big": b"x" * (1 << (10 + at))}, applied=at, expect=at - 1)
        stop.set()
        for reader in readers:
            reader.join()
        assert not wrong
        assert store._env.info()["map_size"] > 1 << 20


def test_a_drop_that_died_is_finished_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(txn: object, most: int) -> bool:
        raise KeyboardInterrupt

    with LmdbStore(tmp_path) as store:
        store.commit(SPACE, {b"%d" % at: b"x" for at in range(6_000)}, applied=4, expect=-1)
        monkeypatch.setattr(lmdb_layout, "sweep", die)
        with pytest.raises(KeyboardInterrupt):
            store.drop(SPACE)
        assert (store.namespaces(), store.applied(SPACE)) == ([], -1)
        monkeypatch.undo()
        store.commit(SPACE, {b"1": b"new"}, applied=1, expect=-1)
        assert dict(store.scan(SPACE)) == {b"1": b"new"}
        store.drop("none")
        assert dict(store.scan(SPACE)) == {b"1": b"new"}
        assert store._env.stat()["entries"] == 4  # the format, the next number, the record and its blob


def test_a_fork_must_open_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LmdbStore(tmp_path) as store:
        monkeypatch.setattr(lmdb_store.os, "getpid", lambda: -5)
        assert "forked" in refused("store-060", store.get, SPACE, [b"a"]).message
        monkeypatch.undo()
        assert store.get(SPACE, [b"a"]) == [None]
