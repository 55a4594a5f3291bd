"""The book of launches: one act from one place, one pilot, and an audit that cannot be changed unseen."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mainstem.base.errors import StoreError
from mainstem.store.launch_book import DayLook, LaunchBook, Move, Started

LOOK = DayLook(1, 2_000, 17)
STARTED = Started("one", b"{}", "abc", 1_000, {"audience": {"feed": 10}})


def book_of(folder: Path, surfaces: tuple[str, ...] = ("feed", "pages")) -> LaunchBook:
    book = LaunchBook(folder / "launches.sqlite")
    book.start(STARTED, dict.fromkeys(surfaces, (0.0, "shadow")), "ana")
    return book


def forward(book: LaunchBook, surface: str = "feed", look: DayLook | None = None) -> Move:
    at = next(one for one in book.placements("one") if one.surface == surface)
    return Move(surface, "pilot", "forward", 2_000, at.number, at.step + 1, 0.01, "ramp", "held", {"z": 1.5}, look)


def test_an_act_and_its_place_are_one(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    before = book.version()
    assert book.act("one", forward(book, look=LOOK))
    feed, pages = book.placements()
    assert (feed.surface, feed.step, feed.share, feed.state) == ("feed", 1, 0.01, "ramp")
    assert (pages.surface, pages.step, pages.share) == ("pages", 0, 0.0)
    assert book.version() > before
    assert book.looks("one", "feed") == [LOOK]
    assert [one.action for one in book.acts("one")] == ["start", "start", "forward"]
    book.check("one")


def test_nothing_is_done_twice_from_one_place(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    move = forward(book)
    with ThreadPoolExecutor(8) as many:
        done = list(many.map(lambda _: book.act("one", move), range(8)))
    assert sum(done) == 1
    assert len(book.acts("one")) == 3


def test_a_surface_is_in_one_launch_at_a_time_and_a_name_is_used_once(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    with pytest.raises(StoreError, match="found surface"):
        book.start(Started("two", b"{}", "d", 1, {}), {"feed": (0.0, "shadow")}, "ana")
    with pytest.raises(StoreError, match="name of its own"):
        book.start(STARTED, {}, "ana")
    assert book.names() == ["one"]


def test_one_pilot_has_the_seat_until_its_time_is_over(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    first = book.sit("one", "a", 0, 10_000)
    assert book.sit("one", "a", 5_000, 10_000) == first
    with pytest.raises(StoreError, match="found a in the pilot's seat"):
        book.sit("one", "b", 14_000, 10_000)
    second = book.sit("one", "b", 15_001, 10_000)
    with pytest.raises(StoreError, match="found b"):
        book.act("one", forward(book), first)
    assert book.act("one", forward(book), second)
    book.rise(second)
    assert book.sit("one", "c", 15_002, 1_000).turn == 3


def test_the_audit_cannot_be_changed_unseen(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    with contextlib.closing(sqlite3.connect(book.path)) as db:
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            db.execute("UPDATE acts SET reason = 'better' WHERE number = 1")
        with pytest.raises(sqlite3.IntegrityError, match="never removed"):
            db.execute("DELETE FROM acts")
        db.execute("DROP TRIGGER acts_stay")
        db.execute("UPDATE acts SET reason = 'better' WHERE number = 1")
        db.commit()
    with pytest.raises(StoreError, match="found act 1"):
        book.check("one")


def test_unknown_launches_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected one of: one"):
        book_of(tmp_path).started("tow")


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
import mainstem.store.launch_book as kept
point = int(sys.argv[2])
real, count = sqlite3.connect, 0
class Dying(sqlite3.Connection):
    def execute(self, *given):
        global count
        if given[0].split()[0] in ("BEGIN", "INSERT", "PRAGMA", "COMMIT") and "synchronous" not in given[0]:
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*given)
book = kept.LaunchBook(Path(sys.argv[1]))
kept.sqlite3.connect = lambda *a, **k: real(*a, factory=Dying, **k)
at = book.placements("one")[0]
book.act("one", kept.Move("feed", "pilot", "forward", 2_000, at.number, 1, 0.01, "ramp", "held", {}, kept.DayLook(1, 2_000, 17)))
"""


def test_killed_at_any_statement_an_act_is_whole_or_not_there(tmp_path: Path) -> None:
    """The place, the act and the look are always of one mind, and the act can be done afterwards exactly once."""
    died = 0
    for point in range(1, 9):
        folder = tmp_path / str(point)
        book = book_of(folder)
        ended = subprocess.run([sys.executable, "-c", KILLED, str(book.path), str(point)], env=os.environ, check=False)
        died += ended.returncode == -signal.SIGKILL
        again = LaunchBook(book.path)
        done = again.placements("one")[0].step == 1
        assert (len(again.acts("one")) == 3) == done == bool(again.looks("one", "feed"))
        again.check("one")
        if not done:
            assert again.act("one", forward(again, look=LOOK))
        assert again.placements("one")[0].step == 1
        assert len(again.acts("one")) == 3
    assert died >= 5
