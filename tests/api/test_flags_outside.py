"""An outside flag service splits a launch's units: what it says is served and logged, and the book keeps the last word."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path

import made_flags
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launched_book import LEGACY, move, plan_of, started
from starlette.testclient import TestClient
from test_arms_serving import PATIENT, both, impressions, reaching, urls_of
from test_flags import asked
from test_serving import rank
from tiny_live import served, tiny

from mainstem.api.app import create_app
from mainstem.api.arms import Arms
from mainstem.api.outside_flags import FAILED_S, THREADS, TOLD_S, OutsideFlags
from mainstem.base.errors import LaunchError
from mainstem.launch.assignment import CONTROL, TREATMENT
from mainstem.launch.gate import Gate, Phase
from mainstem.launch.openfeature import Allotted
from mainstem.launch.served_log import ServedLog, reader_of
from mainstem.store.event_log import FEEDBACK, IMPRESSION
from mainstem.store.event_table import Stored
from mainstem.store.launch_watch import LaunchWatch

PLAN = plan_of(flags={"feed": "feed-new"})
LOCAL = PATIENT.replace("[serve]", '[serve]\nflags = "made_flags:Made"\nflags_wait_ms = 0\nflags_keep_s = 0')
ANSWERS = ("treatment", "control", "outside")


@pytest.fixture
def service():
    return made_flags.reset()


def split(users, arms) -> dict[str, str]:
    return {str(user): arms[at % len(arms)] for at, user in enumerate(users)}


@pytest.mark.parametrize("how", ["flags_wait_ms = 0", "flags_wait_ms = 9000"])
def test_who_the_flag_names_is_served_by_the_new_stack_and_logged_in_that_arm(tmp_path: Path, service, how) -> None:
    users = range(1_000, 1_024)
    service.arms = split(users, ANSWERS)
    with both() as old:
        whole = reaching(tmp_path, urls_of(old), LOCAL.replace("flags_wait_ms = 0", how))
        book = started(tmp_path, PLAN, share=0.25)
        with served(whole) as client:
            until_ready()
            for user in users:
                told, arm = rank(client, user_id=user).json(), service.arms[str(user)]
                assert (told["stack"] == "unified") == (arm == "treatment")
                assert told.get("degraded", []) == []
                flag = asked(client, str(user), "one").json()
                assert (flag["value"], flag["variant"]) == (arm == "treatment", arm)
                why = client.get("/v1/explain", params={"user": user, "item": 102, "surface": "feed"}).json()
                assert why.get("arm", "") == ("" if arm == "outside" else f"one.{arm}")
            assert client.get("/v1/health").json()["launches"] == []
            assert rank(client, "groups", user_id=users[0]).json()["stack"] == "unified"  # no launch has it
            move(book, 0.0, "rolled back")
            service.otherwise, service.arms = "treatment", {}
            assert all(rank(client, user_id=user).json()["stack"] in LEGACY for user in users)
        again = tiny(tmp_path)
        found = {one.user_id: one.arm for one in impressions(again) if one.surface == "feed"}
        first = [one.arm for one in impressions(again) if one.surface == "feed"][: len(users)]
        again.live.log.close()
    assert first == [None if arm == "outside" else f"one.{arm}" for arm in split(users, ANSWERS).values()]
    assert set(found.values()) == {None}
    assert service.ended


@settings(max_examples=20)
@given(st.data())
def test_whatever_the_flag_says_or_does_the_book_keeps_the_last_word(data: st.DataObject) -> None:
    """Random answers, failures and acts: on the new stack is only who the flag names while the book serves somebody."""
    states = {"shadow": 0.0, "ramp": 0.25, "held": 0.25, "rolled back": 0.0, "stopped": 0.5, "holdback": 0.95}
    says = [Allotted(TREATMENT), Allotted(CONTROL), Allotted(None), Allotted(None, "broken")]
    with tempfile.TemporaryDirectory() as made:
        folder, second = Path(made), [0.0]
        now = {"answer": says[0]}
        outside = OutsideFlags(lambda flag, unit: now["answer"], wait_s=0, keep_s=0, monotonic=lambda: second[0])
        book = started(folder, PLAN)
        arms = Arms(LaunchWatch(folder / "launches.sqlite"), lambda: 0, LEGACY, outside=outside)
        for _ in range(data.draw(st.integers(1, 5))):
            state = data.draw(st.sampled_from(sorted(states)))
            move(book, states[state], state)
            told = now["answer"] = data.draw(st.sampled_from(says))
            second[0] += 2 * FAILED_S
            unit = data.draw(st.integers(0, 2**62))
            first = arms.of("feed", unit)
            assert first is not None
            assert not first.ours
            call = asyncio.run(arms.asked(first, unit, str(unit)))
            assert call is not None
            on = states[state] > 0 and state != "stopped"
            assert call.ours == (on and told.arm == TREATMENT)
            assert call.arm == ((told.arm or "") if on else "")
            assert bool(call.reason) == (on and bool(told.failed))
            assert not call.flag


def test_an_act_between_the_question_and_the_answer_holds(tmp_path: Path) -> None:
    book = started(tmp_path, PLAN, share=0.25)

    def ask(flag: str, unit: str) -> Allotted:
        move(book, 0.0, "rolled back")
        return Allotted(TREATMENT)

    arms = Arms(LaunchWatch(book.path), lambda: 0, LEGACY, outside=OutsideFlags(ask, wait_s=0))
    first = arms.of("feed", 7)
    assert first is not None
    call = asyncio.run(arms.asked(first, 7, "7"))
    assert call is not None
    assert (call.ours, call.arm, call.reason) == (False, "", "")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda one: setattr(one, "broken", "no route to host"), "no route to host"),
        (lambda one: (setattr(one, "otherwise", "treatment"), setattr(one, "reason", "DEFAULT")), "its default"),
        (lambda one: (setattr(one, "otherwise", "treatment"), setattr(one, "reason", "ERROR")), "its default"),
        (lambda one: setattr(one, "otherwise", 7), "TYPE_MISMATCH"),
    ],
)
def test_a_flag_that_fails_or_defaults_exposes_nobody_and_is_told(tmp_path: Path, service, broken, told) -> None:
    broken(service)
    with both() as old, served(reaching(tmp_path, urls_of(old), LOCAL)) as client:
        until_ready()
        started(tmp_path, PLAN, share=0.5)
        answer = rank(client, user_id=1_000).json()
        assert answer["stack"] in LEGACY
        assert answer["degraded"][0].startswith("flag: feed-new: ")
        assert told in answer["degraded"][0]
        assert told in client.get("/v1/health").json()["launches"][0]
        assert asked(client, "1000", "one").json()["reason"] == "DEFAULT"
    again = tiny(tmp_path)
    assert [one.arm for one in impressions(again)] == [None]
    again.live.log.close()


def test_a_flag_that_nobody_can_be_asked_for_is_told_and_exposes_nobody(tmp_path: Path) -> None:
    with both() as old, served(reaching(tmp_path, urls_of(old))) as client:
        book = started(tmp_path, PLAN, share=0.5)
        assert "names no provider" in rank(client, user_id=1_000).json()["degraded"][0]
        assert "'feed-new'" in client.get("/v1/health").json()["launches"][0]
        move(book, 0.0, "rolled back")
        assert client.get("/v1/health").json()["launches"] == []


@pytest.mark.parametrize(
    "named", ["nowhere:x", "made_flags:gone", "made_flags", "made_flags:number", "made_flags:broken"]
)
def test_a_provider_that_is_not_there_stops_the_start_by_name(tmp_path: Path, named: str) -> None:
    whole = tiny(tmp_path, LOCAL.replace("made_flags:Made", named))
    with pytest.raises(LaunchError) as refused:
        create_app(whole.live)
    assert (refused.value.code, named in refused.value.message) == ("launch-132", True)
    whole.live.log.close()


def test_who_moves_from_one_arm_to_the_other_is_in_two_arms_and_the_evidence_is_invalid(
    tmp_path: Path, service
) -> None:
    users = range(1_000, 1_040)
    with both() as old:
        whole = reaching(tmp_path, urls_of(old), LOCAL)
        now_ms = whole.live.clock.now_ms()
        started(tmp_path, PLAN, share=0.5, at_ms=now_ms)
        service.arms = split(users, ANSWERS[:2])
        with served(whole) as client:
            until_ready()
            for user in users:
                rank(client, user_id=user)
            gates = [Gate(PLAN, "feed", one, ServedLog(reader(whole), PLAN), None, 20) for one in LEGACY]
            phase = Phase(now_ms, ((now_ms, 0.5),))
            client.get("/v1/health")  # what follows an answer is done before the next request on its connection is read
            assert whole_of(gates, whole, phase, now_ms) == (40, 0, [])
            service.arms["1000"] = "control"
            rank(client, user_id=1_000)
            client.get("/v1/health")
            units, crossed, broken = whole_of(gates, whole, phase, now_ms)
    assert (units, crossed) == (39, 1)
    assert any("exposed units in two arms" in one for one in broken)


def reader(whole):
    return reader_of(whole.folder / "events.db")


def whole_of(gates, whole, phase: Phase, now_ms: int) -> tuple[int, int, list[str]]:
    whole.live.log.flush()
    for gate in gates:
        gate._log.follow()
    hours = [gate.hour(phase, now_ms) for gate in gates]
    health = [one.health for one in hours]
    broken = [text for one in hours for text in one.invalid]
    return sum(one.units for one in health), sum(one.crossed for one in health), broken


def test_a_split_other_than_the_step_is_an_invalid_sample_ratio(tmp_path: Path, service) -> None:
    """The service was left at another step: 9 in treatment for 1 in control."""
    units = [str(one) for one in range(1_000, 1_400)]
    arms = dict(zip(units, np.where(np.arange(400) % 10, "treatment", "control").tolist(), strict=True))
    read = made_log(arms)
    log = ServedLog(read, PLAN)
    log.follow()
    gates = [Gate(PLAN, "feed", one, log, None, 200) for one in LEGACY]
    found = [one.hour(Phase(1_000, ((1_000, 0.05),)), 10_000) for one in gates]
    assert all(any("sample ratio" in text for text in one.invalid) for one in found)


def test_who_the_flag_leaves_out_is_no_missing_exposure(tmp_path: Path) -> None:
    """The platform's own line says that half of them were assigned; the flag has not."""
    arms = split(range(1_000, 1_040), ANSWERS[:2])
    log = ServedLog(made_log(arms, silent=range(2_000, 2_200)), PLAN)
    log.follow()
    told = [Gate(PLAN, "feed", one, log, None, 20).hour(Phase(1_000, ((1_000, 0.5),)), 10**6) for one in LEGACY]
    assert [one.health and one.health.unexposed for one in told] == [0, 0]
    assert [one.invalid for one in told] == [(), ()]


@pytest.mark.parametrize(("minutes", "crossed"), [(50, 0), (70, 10)])
def test_past_one_half_the_service_has_an_hour_to_follow_the_book(minutes: int, crossed: int) -> None:
    arms = split(range(1_000, 1_040), ANSWERS[:2])
    later = arms | dict.fromkeys([unit for unit, arm in arms.items() if arm == "control"][:10], "treatment")
    before, after = made_log(arms, at_ms=minutes * 60_000), made_log(later, at_ms=80 * 60_000)

    def read(after_offset: int, limit: int) -> list[Stored]:
        moved = [Stored(1_000 + one.offset, one.kind, one.payload) for one in after(0, limit)]
        return [one for one in (*before(0, limit), *moved) if one.offset > after_offset]

    log = ServedLog(read, PLAN)
    log.follow()
    told = [Gate(PLAN, "feed", one, log, None, 20).hour(Phase(0, ((0, 0.95),)), 10**8) for one in LEGACY]
    assert sum(one.health.crossed for one in told if one.health) == crossed


def made_log(arms: dict[str, str], silent: range = range(0), at_ms: int = 2_000):
    """A log in which each unit was shown one slate, and others acted without one."""

    def one(at: int, unit: str, arm: str) -> Stored:
        told = {"user_id": int(unit), "surface": "feed", "time_ms": at_ms, "item_ids": b"", "arm": f"one.{arm}"}
        return Stored(at + 1, IMPRESSION, msgspec.msgpack.encode(told))

    stored = [one(at, unit, arm) for at, (unit, arm) in enumerate(arms.items())]
    acts = [{"user_id": unit, "surface": "feed", "time_ms": 500_000} for unit in silent]
    stored += [Stored(len(arms) + at, FEEDBACK, msgspec.json.encode(told)) for at, told in enumerate(acts, 1)]

    def read(after_offset: int, limit: int) -> list[Stored]:
        return [record for record in stored if record.offset > after_offset][:limit]

    return read


class Slow:
    """A provider behind a network, held up on command."""

    def __init__(self) -> None:
        self.gate, self.asked = threading.Event(), 0

    def __call__(self, flag: str, unit: str) -> Allotted:
        self.asked += 1
        self.gate.wait(10)
        return Allotted(TREATMENT)


def test_a_hung_provider_costs_one_wait_and_a_few_threads_and_its_late_answer_is_kept() -> None:
    slow, second = Slow(), [0.0]
    outside = OutsideFlags(slow, wait_s=0.01, keep_s=60, monotonic=lambda: second[0])

    async def asked() -> None:
        both = await asyncio.gather(outside.ask("new", 1, "1"), outside.ask("new", 1, "1"))
        assert slow.asked == 1  # two requests of one unit ask once
        assert all("no answer within 10 ms" in one.failed for one in both)
        others = await asyncio.gather(*(outside.ask("new", unit, str(unit)) for unit in range(2, 2 + 2 * THREADS)))
        assert slow.asked == THREADS
        assert sum("wait for flags already" in one.failed for one in others) == THREADS + 1
        assert outside.known("new", 1) == both[0]
        slow.gate.set()
        while outside.known("new", 1) != Allotted(TREATMENT):
            await asyncio.sleep(0.001)

    asyncio.run(asked())
    assert "failed 18 times" in outside.health()[0]
    second[0] = TOLD_S + 1
    assert outside.health() == []
    assert outside.known("new", 1) is None  # the declared time is over
    outside.close()


def test_a_flag_at_another_step_than_the_book_is_told_until_it_follows(tmp_path: Path) -> None:
    """Below one half both arms are equal at any share, so no sample ratio could tell."""
    share, second = [0.05], [0.0]
    outside = OutsideFlags(
        lambda flag, unit: Allotted(TREATMENT if int(unit) % 100 < 100 * share[0] else CONTROL),
        wait_s=0,
        keep_s=0,
        monotonic=lambda: second[0],
    )
    book = started(tmp_path, PLAN, share=0.05)
    arms = Arms(LaunchWatch(book.path), lambda: 0, LEGACY, outside=outside)

    def serve(units: range) -> list[str]:
        for unit in units:
            call = arms.of("feed", unit)
            assert call is not None
            asyncio.run(arms.asked(call, unit, str(unit)))
        return arms.health()

    assert serve(range(500)) == []
    share[0] = 0.5
    second[0] = TOLD_S + 1
    assert serve(range(99)) == []  # too few to tell
    assert serve(range(500)) == [
        "feed: flag 'feed-new' gives the new stack to 50.0% of the last 500 units, the step is 0.05"
    ]
    move(book, 0.5)
    assert arms.health() == []
    share[0] = 0.25
    assert "25.0%" in serve(range(500))[0]
    move(book, 0.0, "stopped")
    assert arms.health() == []


def test_an_answer_holds_for_its_time_and_a_failure_for_a_moment() -> None:
    says, second = [Allotted(CONTROL)], [0.0]
    outside = OutsideFlags(lambda flag, unit: says[0], wait_s=0, keep_s=30, monotonic=lambda: second[0])
    asyncio.run(outside.ask("new", 1, "1"))
    says[0] = Allotted(None, "gone")
    asyncio.run(outside.ask("new", 2, "2"))
    second[0] = FAILED_S
    assert (outside.known("new", 1), outside.known("new", 2)) == (Allotted(CONTROL), None)
    assert outside.known("other", 1) is None
    second[0] = 30.0
    assert outside.known("new", 1) is None
    outside.close()


def test_text_ids_are_told_to_the_provider_as_they_were_given(tmp_path: Path, service) -> None:
    from mainstem.data.records import IdTable

    service.arms = {"ana": "treatment"}
    started(tmp_path, PLAN, share=0.5)
    whole = tiny(tmp_path, LOCAL)
    whole.live.ids = IdTable({"ana": 1, "bo": 2}, {})
    client = TestClient(create_app(whole.live))
    until_ready()
    assert [asked(client, one, "one").json()["variant"] for one in ("ana", "bo")] == ["treatment", "outside"]
    assert service.asked == ["ana", "bo"]
    whole.live.log.close()


def until_ready() -> None:
    """The SDK starts a provider in a thread of its own."""
    from openfeature import api

    from mainstem.launch.openfeature import DOMAIN

    for _ in range(1_000):
        if str(api.get_client(DOMAIN).get_provider_status()) in ("READY", "ProviderStatus.READY"):
            return
        time.sleep(0.005)
    raise AssertionError("the provider never became ready")
