"""Following the book of launches: an act is seen by the next look, and a book that lost something is not believed."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mainstem.base.errors import StoreError
from mainstem.store.launch_book import LaunchBook, Move, Started
from mainstem.store.launch_watch import LaunchWatch


def book_of(folder: Path) -> LaunchBook:
    book = LaunchBook(folder / "launches.sqlite")
    book.start(Started("one", b"{}", "abc", 1_000, {}), {"feed": (0.0, "shadow")}, "ana")
    return book


def forward(book: LaunchBook, share: float, at_ms: int = 2_000) -> None:
    number = book.placements("one")[0].number
    assert book.act("one", Move("feed", "ana", "forward", at_ms, number, 1, share, "ramp", "", {}))


def test_no_book_is_no_launch_and_makes_no_file(tmp_path: Path) -> None:
    watch = LaunchWatch(tmp_path / "live" / "launches.sqlite")
    assert watch.look() == ()
    assert not list(tmp_path.iterdir())


def test_the_look_after_an_act_sees_it_and_looks_without_one_answer_the_same_object(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    watch = LaunchWatch(book.path)
    first = watch.look()
    assert watch.look() is first
    for share in (0.01, 0.05, 0.5):
        forward(book, share)
        assert watch.look()[0].share == share
    seen = watch.look()
    book.rise(book.sit("one", "pilot-1", 0, 1_000))  # writes, but moves nothing
    assert watch.look() is seen
    assert watch.first_served_ms("one", "feed") == 2_000
    assert watch.first_served_ms("one", "pages") is None


def test_an_act_of_another_process_is_seen(tmp_path: Path) -> None:
    watch = LaunchWatch(book_of(tmp_path).path)
    assert watch.look()[0].share == 0
    act = (
        "import sys; from pathlib import Path; from mainstem.store.launch_book import LaunchBook, Move;"
        "book = LaunchBook(Path(sys.argv[1]));"
        "book.act('one', Move('feed', 'ana', 'forward', 3, 1, 1, 0.25, 'ramp', '', {}))"
    )
    subprocess.run([sys.executable, "-c", act, str(watch.path)], check=True)
    assert watch.look()[0].share == 0.25


def test_a_book_that_is_gone_or_lacks_an_act_is_not_believed(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    early = tmp_path / "early.sqlite"
    with contextlib.closing(sqlite3.connect(book.path)) as db:
        db.execute(f"VACUUM INTO '{early}'")
    forward(book, 0.25)
    watch = LaunchWatch(book.path)
    watch.look()
    for one in tmp_path.glob("launches.sqlite*"):
        one.unlink()
    with pytest.raises(StoreError, match="is gone") as refused:
        watch.look()
    assert refused.value.code == "launch-120"
    early.rename(book.path)
    with pytest.raises(StoreError, match="lacks acts"):
        watch.look()
    forward(book, 0.3)
    assert watch.look()[0].share == 0.3
    for one in tmp_path.glob("launches.sqlite*"):
        one.unlink()
    LaunchBook(book.path)  # somebody asks for a book, and an empty one is made
    with pytest.raises(StoreError, match="lacks acts"):
        watch.look()


def test_a_book_that_is_held_or_broken_says_so_and_is_read_again_afterwards(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    watch = LaunchWatch(book.path)
    with contextlib.closing(sqlite3.connect(book.path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError) as refused:
            watch.look()
        assert refused.value.code == "store-003"
    assert watch.look()[0].surface == "feed"
    kept = book.path.read_bytes()
    book.path.unlink()
    book.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError) as refused:
        watch.look()
    assert refused.value.code == "store-004"
    book.path.unlink()
    book.path.write_bytes(kept)
    assert watch.look()[0].surface == "feed"
