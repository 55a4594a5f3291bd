"""Kill -9 in the middle of commits: what is found afterwards is one offset and exactly its blobs."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crash_writer import blob, key

from mainstem.store.state.lmdb_store import LmdbStore

WRITER = Path(__file__).with_name("crash_writer.py")
SPACE = "feed@1"


def _write_until_killed(path: Path, batch: int, acknowledged: int, wait_ms: float) -> int:
    """Kills the writer so long after so many commits, wherever it then is; returns the last offset it acknowledged."""
    child = subprocess.Popen([sys.executable, str(WRITER), str(path), str(batch)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    last = -1
    for _ in range(acknowledged):
        last = int(child.stdout.readline())
    # The pipe stays open and unread: waiting on the process instead of sleeping ends early if it dies by itself.
    try:
        child.wait(wait_ms / 1e3)
        raise AssertionError("the writer ended by itself")
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split("\n")
    child.stdout.close()
    child.wait()
    return max([last, *(int(line) for line in rest[:-1])])


def _check_whole(store: LmdbStore, batch: int, acknowledged: int) -> None:
    applied = store.applied(SPACE)
    assert applied >= acknowledged, "an acknowledged commit is gone"
    assert (applied + 1) % batch == 0, "an offset inside a commit"
    found = dict(store.scan(SPACE))
    newest = {key(at): blob(at) for at in range(max(0, applied - 199), applied + 1)}
    assert {name: found[name] for name in newest} == newest
    before = applied - batch
    assert found.get(b"now-and-then") == (None if before % 5 == 0 else b"%d" % applied)
    assert set(found) - {b"now-and-then"} == set(newest)


def _kill_often(path: Path, kills: int) -> None:
    rng = random.Random(kills)
    inside = 0
    for _ in range(kills):
        acknowledged = _write_until_killed(path, 7, rng.randrange(1, 12), rng.random() * 8)
        with LmdbStore(path, map_bytes=1 << 16) as store:
            _check_whole(store, 7, acknowledged)
            inside += store.applied(SPACE) != acknowledged
            assert store._env.reader_check() == 0


def test_offset_and_blobs_agree_after_a_few_kills(tmp_path: Path) -> None:
    _kill_often(tmp_path / "state", 4)


@pytest.mark.slow
def test_offset_and_blobs_agree_over_fifty_kills(tmp_path: Path) -> None:
    _kill_often(tmp_path / "state", 50)
