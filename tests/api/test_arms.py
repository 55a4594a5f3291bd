"""Which arm a request is in: as the launch says, as it said last while the book cannot be read, and then the old stacks only."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launched_book import LEGACY, SLOWED, move, plan_of, started

from mainstem.api.arms import RETRY_S, Arms
from mainstem.base.errors import StoreError
from mainstem.launch.assignment import Launch, launch_of, origins_of, ramp
from mainstem.launch.slowed import MS_PER_DAY
from mainstem.store.launch_watch import LaunchWatch

UNITS = range(1_000, 3_000)


class Clocks:
    """Both clocks, set by hand."""

    now_ms = 2_000
    second = 0.0


def arms_of(folder: Path, clocks: Clocks | None = None, remotes=LEGACY, watch=None) -> Arms:
    clocks = clocks or Clocks()
    watch = watch or LaunchWatch(folder / "launches.sqlite")
    return Arms(watch, lambda: clocks.now_ms, remotes, monotonic=lambda: clocks.second)


def test_without_a_launch_nobody_has_a_say(tmp_path: Path) -> None:
    arms = arms_of(tmp_path)
    assert arms.of("feed", 7) is None
    assert arms.legacy() == ()
    started(tmp_path, share=0.25)
    assert arms.of("pages", 7) is None
    assert arms.of("feed", 7) is not None
    assert arms.legacy() == LEGACY


def test_every_unit_has_the_arm_and_the_stack_that_the_assignment_says(tmp_path: Path) -> None:
    plan = plan_of(origins={"feed": {"old-a": 0.3, "old-b": 0.7}})
    started(tmp_path, plan, share=0.25)
    arms, launch = arms_of(tmp_path), launch_of(plan, 2)
    carried = origins_of(plan, "feed", list(UNITS))
    for unit, code in zip(UNITS, carried, strict=True):
        call = arms.of("feed", unit)
        assert call is not None
        assert (call.arm or None) == launch.arm_of(unit)
        assert call.legacy == LEGACY[code]
        assert call.ours == (call.arm == "treatment")
        assert call.label == (f"one.{call.arm}" if call.arm else "")


def test_who_is_on_the_new_stack_stays_there_while_the_share_grows_and_leaves_at_once_after_a_rollback(
    tmp_path: Path,
) -> None:
    book, arms = started(tmp_path), arms_of(tmp_path)
    before: set[int] = set()
    for share, state in ((0.05, "ramp"), (0.25, "held"), (0.25, "paused"), (0.5, "judged"), (0.95, "holdback")):
        move(book, share, state)
        inside = {unit for unit in UNITS if (call := arms.of("feed", unit)) and call.ours}
        assert before <= inside
        assert abs(len(inside) / len(UNITS) - share) < 0.04
        before = inside
    move(book, 0.0, "rolled back")
    after = [arms.of("feed", unit) for unit in UNITS]
    assert not any(call is None or call.ours or call.arm or call.shadow for call in after)


@settings(max_examples=20)
@given(st.data())
def test_every_reader_says_at_any_time_what_the_last_act_says(data: st.DataObject) -> None:
    states = {
        "ramp": (0.05, 0.25, 0.5),
        "held": (0.25,),
        "shadow": (0.0,),
        "rolled back": (0.0,),
        "stopped": (0.0, 0.5),
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        book, readers = started(folder), [arms_of(folder) for _ in range(3)]
        for _ in range(data.draw(st.integers(1, 6))):
            state = data.draw(st.sampled_from(sorted(states)))
            share = data.draw(st.sampled_from(states[state]))
            move(book, share, state)
            on = 0.0 if state in ("rolled back", "stopped") else share  # over is over, whatever its share says
            right = Launch("one", ramp(on)) if on else None
            for unit in data.draw(st.lists(st.integers(0, 2**62), max_size=4)):
                call = data.draw(st.sampled_from(readers)).of(
                    "feed", unit
                )  # who was not asked for a while is not behind
                assert call is not None
                assert (call.arm or None) == (right.arm_of(unit) if right else None)
                assert call.shadow == (state == "shadow")


def test_shadow_serves_nobody_and_what_has_landed_is_as_if_no_launch_had_been(tmp_path: Path) -> None:
    book, arms = started(tmp_path), arms_of(tmp_path)
    call = arms.of("feed", 7)
    assert call is not None
    assert (call.ours, call.arm, call.shadow) == (False, "", True)
    move(book, 1.0, "landed")
    assert arms.of("feed", 7) is None
    assert arms.legacy() == ()


def test_a_launch_that_runs_has_the_surface_not_one_that_is_over(tmp_path: Path) -> None:
    book, arms = started(tmp_path, share=0.25), arms_of(tmp_path)
    move(book, 0.0, "stopped")
    started(tmp_path, plan_of("two"))
    move(book, 0.05, launch="two")
    assert {call.launch for unit in UNITS if (call := arms.of("feed", unit))} == {"two"}


def test_slowed_arms_are_there_for_their_days_and_gone_at_once_after_a_rollback(tmp_path: Path) -> None:
    clocks = Clocks()
    book = started(tmp_path, plan_of(latency=SLOWED), share=0.05, at_ms=2_000)
    arms = arms_of(tmp_path, clocks)

    def counted() -> Counter[str]:
        return Counter(call.arm for unit in UNITS if (call := arms.of("feed", unit)))

    assert set(counted()) == {"treatment", "control", "matched", "dose", ""}
    doses = {(call.arm, call.dose_ms) for unit in UNITS if (call := arms.of("feed", unit)) and call.dose_ms}
    assert doses == {("dose", 40.0)}
    move(book, 0.25, at_ms=2_500)
    clocks.now_ms = 2_000 + 2 * MS_PER_DAY - 1  # counted from the first step that served anybody
    assert counted()["matched"]
    clocks.now_ms += 1
    assert set(counted()) == {"treatment", "control", ""}
    clocks.now_ms = 3_000
    move(book, 0.0, "rolled back")
    assert set(counted()) == {""}


def test_a_book_that_cannot_be_read_holds_for_its_time_and_then_nobody_is_on_the_new_stack(tmp_path: Path) -> None:
    class Breakable(LaunchWatch):
        broken, asked = False, 0

        def look(self):
            self.asked += 1
            if self.broken:
                raise StoreError("found a broken disk", code="store-004")
            return super().look()

    clocks, watch = Clocks(), Breakable(tmp_path / "launches.sqlite")
    started(tmp_path, share=0.5)
    arms = arms_of(tmp_path, clocks, watch=watch)
    known = [arms.of("feed", unit) for unit in UNITS]
    assert arms.health() == []
    watch.broken = True
    assert [arms.of("feed", unit) for unit in UNITS] == known
    assert "what was last known holds" in arms.health()[0]
    clocks.second = 59.9
    assert [arms.of("feed", unit) for unit in UNITS] == known
    clocks.second = 60.0
    late = [arms.of("feed", unit) for unit in UNITS]
    assert not any(call is None or call.ours or call.arm for call in late)
    assert [call.legacy for call in late if call] == [call.legacy for call in known if call]
    assert "nobody is on the new stack" in arms.health()[0]
    assert all("a broken disk" in call.reason for call in late if call)
    assert arms.of("pages", 7) is None
    asked = watch.asked
    assert [arms.of("feed", unit) for unit in UNITS] == late
    assert watch.asked == asked  # a held file is waited for now and then, not by every request
    watch.broken = False
    clocks.second += RETRY_S
    assert [arms.of("feed", unit) for unit in UNITS] == known
    assert arms.health() == []


@pytest.mark.parametrize("remotes", [LEGACY, ()])
def test_a_book_that_was_never_read_puts_nobody_on_the_new_stack_where_there_is_another(
    tmp_path: Path, remotes
) -> None:
    (tmp_path / "launches.sqlite").write_bytes(b"no database at all" * 100)
    arms = arms_of(tmp_path, remotes=remotes)
    found = [arms.of("feed", unit) for unit in UNITS]
    assert {call.legacy for call in found if call} == set(remotes or [""])
    assert {call.ours for call in found if call} == {not remotes}
    assert all(call and call.reason and not call.label for call in found)


def test_a_plan_that_cannot_be_read_leaves_what_was_known(tmp_path: Path) -> None:
    book, arms = started(tmp_path, share=0.25), arms_of(tmp_path)
    known = [arms.of("feed", unit) for unit in UNITS]
    import sqlite3

    with sqlite3.connect(book.path) as db:
        db.execute("UPDATE launches SET plan = ?", (b'{"name": "one", "from a later version": 1}',))
        db.execute("PRAGMA user_version = 99")
    assert [arms.of("feed", unit) for unit in UNITS] == known
    assert "what was last known holds" in arms.health()[0]
