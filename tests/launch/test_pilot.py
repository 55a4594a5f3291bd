"""The pilot over a real event log and a real book, with made users: it ships, blocks, holds, and survives being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from made_launch import START_MS, Made, plan_for

from mainstem.base.errors import StoreError
from mainstem.data.records import pack_impression
from mainstem.launch.decide import ShadowSeen
from mainstem.launch.gate import phases_of
from mainstem.launch.plan_file import Shadow
from mainstem.launch.standing import Standing
from mainstem.launch.told import ships
from mainstem.store.event_log import IMPRESSION
from mainstem.store.launch_book import LaunchBook, Move

DAYS = 4


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    running: list[Made] = []

    def make(*surfaces: str, **facts: Any) -> Made:
        plan = facts.pop("plan", None) or plan_for(*surfaces)
        running.append(Made(tmp_path / str(len(running)), plan, **facts))
        return running[-1]

    yield make
    for one in running:
        one.close()


def alike(one: Any, other: Any) -> bool:
    """The same but for the last digits of a sum: rows may be added up in another order."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == pytest.approx(other, rel=1e-9, abs=1e-12) if isinstance(one, float) else one == other


def test_a_neutral_surface_lands_and_one_that_is_harmed_goes_back(made: Any) -> None:
    run = made("feed", "pages", change={"pages": -0.5}, users=900)
    told: list[Standing] = []
    seven = np.array([7])  # every made item is this one: all is done on a large creator's items
    run.fly(14 * DAYS, run.pilot(tell=lambda standing, done: told.append(standing), large=lambda: seven))
    assert run.states() == {"feed": "landed", "pages": "rolled back"}
    assert run.actions("feed") == ["start", "forward", "forward", "forward", "land"]
    assert run.actions("pages") == ["start", "forward", "forward", "roll back"]
    run.book.check("made")
    last = told[-1]
    feed, pages = last.surfaces
    assert (last.verdict, pages.share, feed.share) == ("HARM", 0.0, 1.0)
    assert not ships(last)
    assert {one.name: one.shown for one in feed.origins[0].metrics}["clicks"] == ("not worse",)
    assert "clicks" in {one.metric for one in feed.origins[0].since}
    parts = {(one.by, one.part): one.change for one in feed.origins[0].slices if one.metric == "clicks"}
    assert parts[("creators", "large")] is not None
    assert parts[("creators", "small")] is None
    assert next(by for by, _ in parts) == "cohort"
    found = next(one for one in pages.origins[0].metrics if one.name == "clicks")
    assert found.rollback is not None
    assert found.rollback.statistic >= found.rollback.bound
    assert found.change.high < 0
    # Another pilot tells the same of what has ended.
    again = run.pilot(large=lambda: seven)
    again.once(again.sit())
    assert alike(asdict(again.standing(run.book.placements("made"), last.at_ms)), asdict(last))
    # JSON and back: pages and reports read this file.
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(last)), Standing) == last


def test_begun_anew_at_any_hour_it_does_what_it_would_have_done(made: Any) -> None:
    """A pilot that keeps nothing but the book and the log acts the same, look by look."""
    one, other = (made("feed", change={}, users=700, seed=3) for _ in range(2))
    one.fly(9 * DAYS)
    pilot = other.pilot()
    for turn in range(9 * DAYS):
        other.traffic()
        pilot = other.pilot() if turn % 5 == 0 else pilot
        if pilot.once(pilot.sit()):
            break
    acts = [[(a.at_ms, a.action, a.after, a.reason, a.evidence) for a in run.book.acts("made")] for run in (one, other)]
    assert alike(*acts)
    assert one.book.looks("made", "feed") == other.book.looks("made", "feed")


@pytest.mark.parametrize(
    ("fault", "word"), [({"lose_exposures": 0.05}, "without an exposure"), ({"tilt": 0.3}, "ratio")]
)
def test_a_broken_log_is_invalid_and_holds(made: Any, fault: dict[str, float], word: str) -> None:
    run = made("feed", change={}, users=2_000, **fault)
    run.fly(8 * DAYS)
    assert run.states() == {"feed": "held"}
    reason = run.book.placements("made")[0].reason
    assert reason.startswith("INVALID")
    assert word in reason


def test_undecided_is_held_when_the_looks_are_over(made: Any) -> None:
    plan = plan_for("feed")
    few = {name: msgspec.structs.replace(one, looks=4, margin=0.02) for name, one in plan.metrics.items()}
    run = made(change={}, users=500, seed=8, plan=msgspec.structs.replace(plan, metrics=few))
    run.fly(9 * DAYS)
    assert run.states() == {"feed": "held"}
    assert "undecided never ships" in run.book.placements("made")[0].reason
    assert run.book.placements("made")[0].share == 0.5
    # A person extends it: it goes on looking, by what alpha was kept, and still nothing undecided ships.
    place = run.book.placements("made")[0]
    assert run.book.act(
        "made", Move("feed", "ana", "resume", run.clock.now_ms(), place.number, place.step, 0.5, "judged", "more", {})
    )
    run.fly(2 * DAYS)
    assert run.states() == {"feed": "judged"}
    assert run.book.looks("made", "feed")[-1].number > 4


def test_shadow_and_risks_are_asked_before_anybody_is_served(made: Any) -> None:
    plan = msgspec.structs.replace(plan_for("feed"), shadow=Shadow(least_requests=10), risks=["calibration"])
    run = made(change={}, users=200, plan=plan)
    run.fly(6, run.pilot(shadow=lambda surface: ShadowSeen(9, 0, 0.5)))
    assert run.states() == {"feed": "shadow"}
    pilot = run.pilot(shadow=lambda surface: ShadowSeen(10, 0, 0.5), risks=lambda names: tuple(names))
    run.fly(2, pilot)
    assert run.states() == {"feed": "shadow"}
    run.fly(1, run.pilot(shadow=lambda surface: ShadowSeen(10, 0, 0.5), risks=lambda names: ()))
    assert run.states() == {"feed": "ramp"}


def test_a_person_stops_it_and_the_pilot_lets_it_be(made: Any) -> None:
    run = made("feed", change={}, users=300)
    pilot = run.fly(5)
    place = run.book.placements("made")[0]
    assert place.state == "ramp"
    assert run.book.act("made", Move("feed", "ana", "stop", 1, place.number, place.step, 0.0, "stopped", "enough", {}))
    run.fly(8, pilot)
    assert run.actions("feed")[-1] == "stop"


def test_a_decision_from_a_place_that_was_left_meanwhile_is_not_done(made: Any) -> None:
    """Between the look and the act a person stopped it: the pilot's act is refused, and nothing is undone."""
    run = made("feed", change={}, users=300)
    pilot = run.pilot()
    seat = pilot.sit()
    run.fly(3, pilot)
    run.traffic()
    real = pilot.book.act

    def late(launch: str, move: Move, given: Any = None) -> bool:
        place = run.book.placements("made")[0]
        LaunchBook.act(pilot.book, launch, Move("feed", "ana", "stop", 1, place.number, 0, 0.0, "stopped", "now", {}))
        return real(launch, move, given)

    pilot.book.act = late  # type: ignore[method-assign]
    pilot.once(seat)
    assert run.actions("feed") == ["start", "stop"]


def test_two_pilots_one_seat(made: Any) -> None:
    run = made("feed", change={}, users=50)
    run.pilot(holder="a").sit()
    with pytest.raises(StoreError, match="found a in the pilot's seat"):
        run.pilot(holder="b").sit()


def test_a_store_that_fails_in_the_middle_loses_and_repeats_nothing(made: Any) -> None:
    run = made("feed", change={}, users=300)
    pilot = run.pilot()
    seat = pilot.sit()
    run.fly(3, pilot)
    run.traffic()
    real, failed = pilot.book._write, []

    def failing() -> Any:
        if not failed:
            failed.append(1)
            raise StoreError("found a failure of the disk", code="store-004")
        return real()

    pilot.book._write = failing  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="failure of the disk"):
        pilot.once(seat)
    assert run.actions("feed") == ["start"]
    pilot.once(seat)
    pilot.once(seat)
    assert run.actions("feed") == ["start", "forward"]


FLY = """
import sys, threading
from pathlib import Path
from mainstem.base.clock import SetClock
from mainstem.launch.pilot import Outside, Pilot
from mainstem.launch.served_log import ServedLog, reader_of
from mainstem.store.launch_book import LaunchBook
from mainstem.launch.plan_file import Plan
import msgspec
folder = Path(sys.argv[1])
book = LaunchBook(folder / "launches.sqlite")
started = book.started("made")
plan = msgspec.json.decode(started.plan, type=Plan)
log = ServedLog(reader_of(folder / "events.sqlite"), plan)
class Newest:
    def now_ms(self): return log.newest_ms
print("up", flush=True)
Pilot(book, started, plan, log, Newest(), "process", Outside()).fly(threading.Event(), 0.01)
"""


def test_a_pilot_killed_by_the_system_is_followed_by_another(made: Any) -> None:
    run = made("feed", change={}, users=400, seed=9)
    folder = run.book.path.parent
    for kill in (True, True, False):
        child = subprocess.Popen([sys.executable, "-c", FLY, str(folder)], stdout=subprocess.PIPE, env=os.environ)
        assert child.stdout is not None
        child.stdout.readline()
        before = run.book.seat("made")[2]
        for _ in range(5):
            run.traffic()
        while run.book.seat("made")[2] <= before + 1:
            pass
        child.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        child.wait()
        child.stdout.close()
    run.book.check("made")
    numbers = [one.number for one in run.book.acts("made")]
    assert numbers == sorted(set(numbers))
    assert run.actions("feed").count("start") == 1
    assert run.actions("feed")[1] == "forward"
    steps = [one.after for one in run.book.acts("made")]
    assert steps == sorted(steps)


def test_phases_begin_anew_past_one_half(made: Any) -> None:
    run = made("feed", change={"feed": 0.1}, users=900, seed=4)
    run.fly(12 * DAYS)
    phases = phases_of(run.book.acts("made"), "feed")
    assert [[share for _, share in one.steps] for one in phases] == [[0.05, 0.5], [0.95]]
    assert phases[0].start_ms == START_MS + 24 * 3_600_000
    assert phases[1].promised == pytest.approx((0.05, 0.95))


def test_units_on_their_way_when_the_step_moves_are_in_no_two_arms(made: Any) -> None:
    """Control units become the new arm's past one half; answers that were under way just then still say control."""
    run = made("feed", change={"feed": 0.1}, users=900, seed=4)
    pilot = run.fly(0)
    for _ in range(12 * DAYS):
        run.traffic()
        pilot.once(pilot.sit())
        if run.states() == {"feed": "holdback"}:
            break
    assert run.states() == {"feed": "holdback"}
    moved_ms = run.book.placements("made")[0].since_ms
    late = [
        pack_impression(
            np.array([7]), {}, request_id=10**6 + user, user_id=user, surface="feed", time_ms=moved_ms + 2_000, stack="x",
            arm="made.control",
        )
        for user in range(0, 900, 30)
    ]  # fmt: skip
    run.log.append(late, IMPRESSION)
    run.fly(3, pilot)
    assert run.states() == {"feed": "holdback"}
