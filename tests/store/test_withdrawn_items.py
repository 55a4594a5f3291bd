"""The list of withdrawn items survives, is the same in every process, and counts its changes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from mainstem.base.errors import StoreError
from mainstem.store.withdrawn_items import WithdrawnItems

ELSEWHERE = """
import sys
from pathlib import Path
from mainstem.store.withdrawn_items import WithdrawnItems
items = WithdrawnItems(Path(sys.argv[1]))
print(items.read()[1], items.add(8, 5), items.remove(7))
"""


def test_each_change_counts_once_and_is_there_after_a_start(tmp_path):
    path = tmp_path / "live" / "withdrawn.sqlite"
    items = WithdrawnItems(path)
    assert items.read() == (0, [])
    assert [items.add(7, 1), items.add(7, 2), items.add(2**62, 3), items.remove(9)] == [True, False, True, False]
    assert items.version() == 2
    assert WithdrawnItems(path).read() == (2, [7, 2**62])
    assert items.remove(7)
    assert items.read() == (3, [2**62])


def test_another_process_sees_it_and_is_seen(tmp_path):
    items = WithdrawnItems(tmp_path / "withdrawn.sqlite")
    items.add(7, 1)
    told = subprocess.run([sys.executable, "-c", ELSEWHERE, items._path], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[0] == "[7] True True"
    assert items.read() == (3, [8])


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "withdrawn.sqlite"
    writers = [WithdrawnItems(path, busy_s=60.0) for _ in range(4)]  # a slow disk lets the last of four wait long
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: [writers[one].add(10 * one + step, 1) for step in range(5)], range(4)))
    version, ids = writers[0].read()
    assert version == len(ids) == 20


def test_a_file_that_is_held_or_broken_is_said(tmp_path):
    path = tmp_path / "withdrawn.sqlite"
    items = WithdrawnItems(path, busy_s=0.01)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError) as refused:
        items.add(1, 1)
    assert refused.value.code == "store-003"
    holder.execute("ROLLBACK")
    holder.close()
    assert items.read() == (0, [])
    path.write_bytes(b"no database" * 500)
    with pytest.raises(StoreError) as refused:
        items.read()
    assert refused.value.code == "store-004"
