"""What arms stand on: asking a legacy stack, telling it everything, holding answers back, and counting mirrored requests."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_live import event

from mainstem.api.arms import Call
from mainstem.api.legacy import ALONE_S, FAILURES, THREADS, LegacyStacks
from mainstem.api.relay import STEP, Relay
from mainstem.api.slowed import LEAST, Slowing
from mainstem.base.errors import MainstemError, RemoteError
from mainstem.base.request import Request, Slate
from mainstem.data.records import Feedback
from mainstem.stacks.remote_protocol import EventsAnswer, Health
from mainstem.store.event_log import EventLog
from mainstem.store.shadow_counts import ShadowCount, ShadowCounts

ASK = Request(1, 1, "feed", 0, 3)


class Asked:
    """A legacy stack as the asker sees it."""

    name = "old-a"

    def __init__(self) -> None:
        self.asked, self.dead = 0, False
        self.gate: threading.Event | None = None

    def rank(self, request: Request, explain: bool = True) -> Slate:
        self.asked += 1
        if self.gate is not None:
            self.gate.wait(5)
        if self.dead:
            raise RemoteError("nobody there", code="remote-001")
        none = np.empty(0)
        return Slate(request.request_id, self.name, "feed", none.astype(np.int64), none, none, None)


def code_of(stacks: LegacyStacks, name: str = "old-a") -> str:
    """How asking goes: empty when it is answered."""
    try:
        asyncio.run(stacks.rank(name, ASK, False))
    except MainstemError as error:
        return error.code
    return ""


class TestAsking:
    def test_a_dead_stack_is_left_alone_and_tried_again_now_and_then(self) -> None:
        one, second = Asked(), [0.0]
        stacks = LegacyStacks({"old-a": one}, 0.4, lambda: second[0])  # type: ignore[dict-item]
        assert code_of(stacks) == ""
        one.dead = True
        assert [code_of(stacks) for _ in range(FAILURES)] == ["remote-001"] * FAILURES
        asked = one.asked
        assert [code_of(stacks) for _ in range(20)] == ["remote-001"] + ["launch-122"] * 19
        second[0] += ALONE_S
        assert [code_of(stacks) for _ in range(20)] == ["remote-001"] + ["launch-122"] * 19
        assert one.asked == asked + 2
        one.dead, second[0] = False, second[0] + ALONE_S
        assert [code_of(stacks) for _ in range(20)] == [""] * 20
        assert code_of(stacks, "nobody") == "launch-121"
        stacks.close()

    def test_a_hung_stack_is_late_and_takes_no_more_threads_than_there_are(self) -> None:
        one = Asked()
        one.gate = threading.Event()
        stacks = LegacyStacks({"old-a": one}, 0.05, lambda: 0.0)  # type: ignore[dict-item]

        async def many() -> list[str]:
            found = await asyncio.gather(
                *(stacks.rank("old-a", ASK, False) for _ in range(THREADS + 3)), return_exceptions=True
            )
            return sorted(one.code for one in found if isinstance(one, MainstemError))

        assert asyncio.run(many()) == ["launch-122"] * 3 + ["remote-002"] * THREADS
        one.gate.set()
        stacks.close()


class Told:
    """A legacy stack as the relay sees it."""

    def __init__(self) -> None:
        self.seen: dict[int, dict] = {}
        self.base, self.sizes = 1_000, list[int]()
        self.dead = False
        self.refuses: int | None = None

    def health(self) -> Health:
        if self.dead:
            raise RemoteError("nobody there", code="remote-001")
        return Health("old-a", True, events_seen=self.base + len(self.seen))

    def feedback(self, records: list[dict]) -> EventsAnswer:
        self.sizes.append(len(records))
        if self.dead:
            raise RemoteError("nobody there", code="remote-001")
        if any(one["request_id"] == self.refuses for one in records):
            raise RemoteError("answered 400: what is this", code="remote-004")
        fresh = {one["request_id"]: one for one in records if one["request_id"] not in self.seen}
        self.seen |= fresh
        return EventsAnswer(len(fresh), len(records) - len(fresh))


class TestTelling:
    @pytest.fixture
    def log(self, tmp_path: Path):
        with EventLog(tmp_path / "events.db") as log:
            yield log

    def relay(self, log: EventLog, told: Told, second: list[float]) -> Relay:
        newest = lambda: log.stats().last_offset  # noqa: E731
        return Relay(log, {"old-a": told}, lambda: ["old-a"], newest, log.path.parent / "told", lambda: second[0])

    def write(self, log: EventLog, first: int, last: int) -> None:
        log.append([Feedback(**event(request_id=one)) for one in range(first, last)])

    def drained(self, relay: Relay, second: list[float], rounds: int = 60) -> None:
        for _ in range(rounds):
            relay.step()
            second[0] += 1.0

    def test_everything_is_told_in_order_once_and_goes_on_after_a_restart(self, log: EventLog) -> None:
        told, second = Told(), [0.0]
        self.write(log, 0, STEP + 7)
        self.drained(self.relay(log, told, second), second)
        assert list(told.seen) == list(range(STEP + 7))
        assert told.seen[0]["viewed"] == 1
        self.write(log, STEP + 7, STEP + 9)
        again = self.relay(log, told, second)
        self.drained(again, second)
        assert list(told.seen) == list(range(STEP + 9))
        assert told.sizes == [STEP, 7, 2]
        assert again.places() == {"old-a": log.stats().last_offset}

    def test_an_outage_loses_nothing(self, log: EventLog) -> None:
        told, second = Told(), [0.0]
        relay = self.relay(log, told, second)
        self.write(log, 0, 10)
        self.drained(relay, second, 2)
        told.dead = True
        self.write(log, 10, 30)
        for _ in range(5):
            relay.step()
        assert len(told.sizes) == 2  # it waits before it tries again
        self.drained(relay, second)
        assert len(told.seen) == 10
        told.dead = False
        self.drained(relay, second)
        assert list(told.seen) == list(range(30))

    def test_a_stack_that_was_restarted_and_forgot_is_told_all_again(self, log: EventLog) -> None:
        told, second = Told(), [0.0]
        relay = self.relay(log, told, second)
        self.write(log, 0, 20)
        self.drained(relay, second)
        told.seen.clear()
        told.dead = True
        self.write(log, 20, 25)
        relay.step()
        told.dead = False
        self.drained(relay, second)
        assert list(told.seen) == list(range(25))

    def test_one_record_that_is_refused_stops_nothing_and_is_counted(self, log: EventLog) -> None:
        told, second = Told(), [0.0]
        told.refuses = 13
        relay = self.relay(log, told, second)
        self.write(log, 0, 40)
        self.drained(relay, second)
        assert list(told.seen) == [one for one in range(40) if one != 13]
        assert relay.passed_over == 1

    def test_its_thread_tells_and_ends(self, log: EventLog) -> None:
        told = Told()
        relay = self.relay(log, told, [0.0])
        self.write(log, 0, 3)
        relay.start()
        relay.wake()
        for _ in range(500):
            if len(told.seen) == 3:
                break
            time.sleep(0.01)
        relay.stop()
        assert len(told.seen) == 3


class TestHoldingBack:
    def test_the_matched_arm_becomes_as_slow_as_the_new_one_at_every_rank(self) -> None:
        slowing, draw = Slowing(), np.random.default_rng(1)
        matched, dose = Call("one", "feed", "matched", "old-a"), Call("one", "feed", "dose", "old-a", dose_ms=40.0)
        control, new = replace(matched, arm="control"), replace(matched, arm="treatment", ours=True)
        assert slowing.placed(matched).arm == ""
        assert slowing.placed(dose).arm == "dose"
        old_ms, new_ms = draw.gamma(4, 5, 3_000), draw.gamma(4, 9, 3_000)
        for a, b in zip(old_ms, new_ms, strict=True):
            slowing.took(control, a)
            slowing.took(new, b)
        assert slowing.placed(matched).arm == "matched"
        assert slowing.placed(replace(matched, legacy="old-b")).arm == ""
        served = np.array([took + slowing.hold_ms(matched, took) for took in draw.gamma(4, 5, 3_000)])
        for rank in (0.1, 0.5, 0.9, 0.95):
            assert np.quantile(served, rank) == pytest.approx(np.quantile(new_ms, rank), rel=0.08)
        assert slowing.hold_ms(dose, 17.0) == 40.0
        assert slowing.hold_ms(control, 17.0) == 0.0

    def test_what_holds_up_those_who_wait_is_allowed_for_in_the_long_run(self) -> None:
        """A loop that always wakes late, sometimes very late, and a server that grows slower meanwhile."""
        slowing, draw = Slowing(), np.random.default_rng(2)
        matched = Call("one", "feed", "matched", "old-a")
        control, new = replace(matched, arm="control"), replace(matched, arm="treatment", ours=True)
        met, goal = [], []
        for at in range(12_000):
            slower = 1 + at / 12_000
            old_ms, new_ms = slower * draw.gamma(4, 2), slower * draw.gamma(4, 5)
            slowing.took(control, old_ms)
            slowing.took(new, new_ms)
            if slowing.placed(matched).arm:
                wait = slowing.hold_ms(matched, old_ms)
                late = draw.exponential(1.5) + (40.0 if draw.random() < 0.03 else 0.0) if wait else 0.0
                slowing.held(matched, old_ms + wait + late)
                met.append(old_ms + wait + late)
                goal.append(new_ms)
        for rank in (0.1, 0.5, 0.9, 0.95):
            assert np.quantile(met, rank) == pytest.approx(np.quantile(goal, rank), rel=0.03)

    def test_who_was_faster_stays_so_however_the_new_stack_jumps(self) -> None:
        """In the first version fast requests came to wait longest, and each step then made it worse."""
        slowing, draw = Slowing(), np.random.default_rng(4)
        matched = Call("one", "feed", "matched", "old-a")
        control, new = replace(matched, arm="control"), replace(matched, arm="treatment", ours=True)
        met, goal = [], []
        for at in range(6_000):
            pace = 1.0 + 0.6 * (at // 1_500 % 2)
            old_ms, new_ms = pace * draw.normal(2.4, 0.3), pace * (9.5 + draw.exponential(0.8))
            slowing.took(control, old_ms)
            slowing.took(new, new_ms)
            if slowing.placed(matched).arm:
                total = old_ms + slowing.hold_ms(matched, old_ms) + draw.exponential(0.8)
                slowing.held(matched, total)
                met.append(total)
                goal.append(new_ms)
                fast, slow = (took + slowing.hold_ms(matched, took) for took in (1.5, 5.5))
                assert fast < slow
        at = np.sort(goal)
        below = np.searchsorted(np.sort(met), at, side="right") / len(met)
        assert np.abs(below - np.arange(1, len(at) + 1) / len(at)).max() < 0.15

    def test_nobody_is_held_back_when_the_old_stack_is_the_slower_one(self) -> None:
        slowing, matched = Slowing(), Call("one", "feed", "matched", "old-a")
        for _ in range(LEAST):
            slowing.took(replace(matched, arm="control"), 50.0)
            slowing.took(replace(matched, arm="treatment"), 20.0)
        assert slowing.hold_ms(matched, 50.0) == 0.0


class TestCounting:
    def test_sums_of_many_threads_add_up_and_nobody_makes_a_file_by_asking(self, tmp_path: Path) -> None:
        # Nobody may wait for another: on a slow disk the last of several that did waited for longer than 5 s.
        counts = ShadowCounts(tmp_path / "live" / "shadow_counts.sqlite", busy_s=0.0)
        assert counts.read("one", "feed") == ShadowCount()
        assert not list(tmp_path.iterdir())
        one = ShadowCount(3, 1, 1.5, 12.0, 8.0)
        with ThreadPoolExecutor(4) as many:
            list(many.map(lambda _: counts.add({("one", "feed"): one, ("one", "pages"): one}), range(20)))
        assert counts.read("one", "feed") == ShadowCount(60, 20, 30.0, 240.0, 160.0)
        assert counts.read("one", "feed").mean_overlap == pytest.approx(0.75)
        assert counts.read("two", "feed") == ShadowCount()
        counts.close()
        again = ShadowCounts(tmp_path / "live" / "shadow_counts.sqlite")
        counts.add({("one", "feed"): one})
        again.add({("one", "feed"): one})  # a process beside it
        assert counts.read("one", "feed") == again.read("one", "feed") == ShadowCount(66, 22, 33.0, 264.0, 176.0)
        assert one.plus(one) == ShadowCount(6, 2, 3.0, 24.0, 16.0)
        assert ShadowCount().mean_overlap == 0.0
