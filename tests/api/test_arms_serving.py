"""A launched surface over HTTP: arms, exposure, stand-ins, shadow, and acts that hold for the next request."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import msgspec
import numpy as np
import pytest
from launched_book import LEGACY, move, plan_of, started
from old_stacks import OldStack, apart, running
from test_serving import ids, rank
from tiny_live import AUTH, SETTINGS, Tiny, event, served, tiny

from mainstem.api.differences import stage_diff
from mainstem.api.mirror import Mirror, RemoteTarget
from mainstem.base.request import Request
from mainstem.data.records import Impression, decode_impression
from mainstem.launch.assignment import launch_of, origins_of
from mainstem.launch.plan_file import Latency
from mainstem.stacks.remote import RemoteStack
from mainstem.store.event_log import IMPRESSION
from mainstem.store.shadow_counts import ShadowCounts

USERS = range(1_000, 1_060)
FIRST = {"old-a": 120, "old-b": 130}


PATIENT = SETTINGS.replace("request_budget_ms = 400", "request_budget_ms = 30000").replace("_ms = 30\n", "_ms = 9000\n")
"""A busy machine is no reason to be late; one test is about being late."""


def reaching(folder: Path, urls: dict[str, str], settings: str = PATIENT) -> Tiny:
    """A platform with legacy stacks that it can ask."""
    whole = tiny(folder, settings)
    whole.live.remotes = {name: RemoteStack(name, url, 20.0) for name, url in urls.items()}
    return whole


@contextmanager
def both() -> Iterator[dict[str, OldStack]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(running(first)) for name, first in FIRST.items()}


def urls_of(old: dict[str, OldStack]) -> dict[str, str]:
    return {name: one.url for name, one in old.items()}


def impressions(whole: Tiny) -> list[Impression]:
    whole.live.log.flush()
    return [decode_impression(one.payload) for one in whole.live.log.read(0, 10_000, IMPRESSION)]


def until(look, good):
    for _ in range(1_000):
        if good(found := look()):
            return found
        time.sleep(0.01)
    raise AssertionError("never came")


def test_every_user_is_served_by_the_stack_of_its_arm_and_logged_with_it(tmp_path: Path) -> None:
    plan = plan_of(origins={"feed": {"old-a": 0.4, "old-b": 0.6}})
    with both() as old:
        whole = reaching(tmp_path, urls_of(old))
        started(tmp_path, plan, share=0.25)
        with served(whole) as client:
            answers = {user: rank(client, user_id=user) for user in USERS}
            other = rank(client, "groups", user_id=1_000).json()
            page = client.get("/metrics").text
        launch, carried = launch_of(plan, 2), origins_of(plan, "feed", list(USERS))
        for user, code in zip(USERS, carried.tolist(), strict=True):
            told = answers[user].json()
            arm = launch.arm_of(user)
            assert told["stack"] == ("unified" if arm == "treatment" else LEGACY[code])
            assert told.get("degraded", []) == []
            if arm != "treatment":
                assert ids(answers[user]) == [FIRST[LEGACY[code]] + at for at in range(3)]
                assert told["items"][0]["propensity"] is None
        assert other["stack"] == "unified"
    whole = tiny(tmp_path)
    try:
        found = {(one.surface, one.user_id): one for one in impressions(whole)}
    finally:
        whole.live.log.close()
    assert len(found) == len(USERS) + 1
    assert found["groups", 1_000].arm is None
    for user in USERS:
        one, arm = found["feed", user], launch.arm_of(user)
        assert one.arm == (None if arm is None else f"one.{arm}")
        assert one.stack == answers[user].json()["stack"]
        assert one.timings_ms["total"] > 0
        assert ("legacy" in one.timings_ms) == (arm != "treatment")
        assert not len(one.propensities) or arm == "treatment"
    assert 'mainstem_launch_requests_total{arm="control",launch="one",stack="old-a",surface="feed"}' in page


def test_a_rollback_holds_for_the_next_request_and_a_step_forward_keeps_who_is_in(tmp_path: Path) -> None:
    with both() as old, served(reaching(tmp_path, urls_of(old))) as client:

        def ours() -> set[int]:
            return {user for user in USERS if rank(client, user_id=user).json()["stack"] == "unified"}

        assert ours() == set(USERS)  # no launch, as today
        book = started(tmp_path)
        assert ours() == set()  # shadow
        move(book, 0.25)
        quarter = ours()
        move(book, 0.5)
        assert quarter < ours()
        move(book, 0.0, "rolled back")
        assert ours() == set()


def test_a_legacy_stack_that_nobody_can_ask_is_told_in_health(tmp_path: Path) -> None:
    started(tmp_path, plan_of(legacy=["old-a"]))
    with served(tiny(tmp_path, PATIENT)) as client:
        told = rank(client, user_id=1_000).json()
        wrong = client.get("/v1/health").json()["launches"]
    assert (told["stack"], told["degraded"][0].split(":")[2].strip()) == ("unified", "launch-121")
    assert wrong == ["old-a carries a launched surface and cannot be asked: no [remote.old-a]"]


def test_an_explanation_says_who_serves_the_viewer(tmp_path: Path) -> None:
    with both() as old, served(reaching(tmp_path, urls_of(old))) as client:

        def why(user: int) -> dict:
            return client.get("/v1/explain", params={"user": user, "item": 102, "surface": "feed"}).json()

        assert "arm" not in why(1_000)
        started(tmp_path, share=0.25)
        for user in USERS:
            arm, told = launch_of(plan_of(), 2).arm_of(user), why(user)
            assert told.get("arm", "") == (f"one.{arm}" if arm else "")
            assert any("serves this viewer" in one for one in told.get("degraded", [])) == (arm != "treatment")


def test_no_request_is_lost_when_legacy_stacks_are_killed_in_the_middle_of_traffic(tmp_path: Path) -> None:
    with apart(120) as (url_a, one), apart(130) as (url_b, two):
        whole = reaching(tmp_path, {"old-a": url_a, "old-b": url_b})
        started(tmp_path, share=0.25)
        arm_of = launch_of(plan_of(), 2).arm_of
        with served(whole) as client, ThreadPoolExecutor(3) as many:
            first = list(many.map(lambda user: rank(client, user_id=user), USERS))
            killed = threading.Timer(0.05, lambda: [process.kill() for process in (one, two)])
            killed.start()
            during = list(many.map(lambda user: rank(client, user_id=user), [*USERS] * 3))
            killed.join()
            after = list(many.map(lambda user: rank(client, user_id=user), USERS))
            page = client.get("/metrics").text
            wrong = client.get("/v1/health").json()["launches"]
        assert wrong == [f"{name} is left alone: it failed" for name in LEGACY]
        assert {one.status_code for one in (*first, *during, *after)} == {200}
        assert all(len(ids(one)) == 3 for one in (*first, *during, *after))
        stood_in = [one.json() for user, one in zip(USERS, after, strict=True) if arm_of(user) != "treatment"]
        assert {told["stack"] for told in stood_in} == {"unified"}
        assert all(told["degraded"][0].startswith("legacy: old-") for told in stood_in)
        assert 'mainstem_legacy_failed_total{stack="old-a"}' in page
        again = tiny(tmp_path)
        found = impressions(again)
        again.live.log.close()
        assert len(found) == len(first) + len(during) + len(after)
        assert all(one.arm == (f"one.{arm}" if (arm := arm_of(one.user_id)) else None) for one in found)


def test_a_late_legacy_stack_is_stood_in_for_within_the_budget(tmp_path: Path) -> None:
    settings = SETTINGS.replace("request_budget_ms = 400", "request_budget_ms = 1500")
    with both() as old, served(reached := reaching(tmp_path, urls_of(old), settings)) as client:
        gate = old["old-a"].gate = old["old-b"].gate = threading.Event()
        started(tmp_path)
        told = rank(client, user_id=1_000).json()
        assert told["stack"] == "unified"
        assert "remote-002" in told["degraded"][0]
        reached.parts.gate = threading.Event()  # and now the unified stack hangs too
        told = rank(client, user_id=1_000).json()
        reached.parts.gate.set()
        gate.set()
    assert told["stack"] == "fallback"
    assert [one.split(":")[0] for one in told["degraded"]] == ["legacy", "request"]


def test_legacy_stacks_are_told_every_outcome_also_those_of_an_outage(tmp_path: Path) -> None:
    with running(130) as b:
        with apart(120) as (url, process):
            whole = reaching(tmp_path, {"old-a": url, "old-b": b.url})
            started(tmp_path)
            with served(whole) as client:

                def write(first: int) -> None:
                    told = [event(request_id=one, user_id=1_000) for one in range(first, first + 5)]
                    assert client.post("/v1/events", json={"events": told}, headers=AUTH).json()["accepted"] == 5

                write(0)
                until(lambda: len(b.told), lambda n: n == 5)
                last = whole.live.follower.offset
                until(lambda: whole.folder.joinpath("told/old-a.json").exists(), bool)
                process.kill()
                process.wait()
                write(10)
                until(lambda: len(b.told), lambda n: n == 10)
                assert whole.live.follower.offset > last
        assert all(one["viewed"] == 1 for one in b.told.values())
        with running(120) as a:  # restarted with empty hands, and a server that was restarted too
            whole = reaching(tmp_path, {"old-a": a.url, "old-b": b.url})
            with served(whole):
                until(lambda: len(a.told), lambda n: n == 10)
        assert len(b.told) == 10


def test_the_memories_hear_of_what_others_showed(tmp_path: Path) -> None:
    with both() as old:
        whole = reaching(tmp_path, urls_of(old))
        heard: list[tuple[int, list[int]]] = []
        whole.parts.served = lambda request, rows: heard.append((request.user_id, rows.tolist()))  # type: ignore[method-assign]
        started(tmp_path, plan_of(legacy=["old-a"]))
        with served(whole) as client:
            rank(client, user_id=1_000)
            until(lambda: heard, bool)
        assert heard == [(1_000, [20, 21, 22])]


def test_shadow_asks_the_unified_stack_dry_and_counts_for_the_pilot(tmp_path: Path) -> None:
    with both() as old:
        whole = reaching(tmp_path, urls_of(old))
        whole.live.settings = msgspec.structs.replace(
            whole.live.settings, serve=msgspec.structs.replace(whole.live.settings.serve, shadow_share=1.0)
        )
        whole.near.rows = [20, 22, 23]
        heard: list[int] = []
        whole.parts.served = lambda request, rows: heard.append(len(rows))  # type: ignore[method-assign]
        targets = [RemoteTarget(one) for one in whole.live.remotes.values()]
        mirror = Mirror(targets, stage_diff, tmp_path / "shadow.jsonl", 1.0)
        started(tmp_path, plan_of(legacy=["old-a"]))
        counts = ShadowCounts(tmp_path / "shadow_counts.sqlite")
        with served(whole, mirror=mirror) as client:
            for user in range(1_000, 1_005):
                assert rank(client, user_id=user).json()["stack"] == "old-a"
            told = until(lambda: client.get("/v1/shadow").json()["latest"], lambda found: len(found) == 5)
            whole.parts.ranker_broken = True
            rank(client, user_id=1_005)
        found = counts.read("one", "feed")
        assert (found.requests, found.failed) == (6, 1)
        assert found.mean_overlap == pytest.approx(2 / 3)  # 120 and 122 of 120, 121, 122
        assert found.new_ms > 0 < found.old_ms
        assert {(one["live"], one["target"]) for one in told} == {("old-a", "unified")}
        assert heard == [3] * 6  # of what was shown; of what was only asked nobody heard
        assert counts.read("one", "pages").requests == 0


def test_a_slowed_arm_waits_off_the_lane_and_its_wait_is_logged(tmp_path: Path) -> None:
    plan = plan_of(latency=Latency(share=0.1, days=1.0, dose_ms=150.0))
    with both() as old:
        whole = reaching(tmp_path, urls_of(old))
        now_ms = whole.live.clock.now_ms()
        book = started(tmp_path, plan, share=0.05, at_ms=now_ms)
        with served(whole) as client:
            arms = {user: whole_arm(client, user) for user in range(1_000, 1_080)}
            move(book, 0.0, "rolled back", at_ms=now_ms)
            rank(client, user_id=1_000)
    again = tiny(tmp_path)
    found = {one.user_id: one for one in impressions(again)[: len(arms)]}
    again.live.log.close()
    doses = [one for one in found.values() if one.arm == "one.dose"]
    assert doses
    assert all(one.timings_ms["total"] >= one.timings_ms["held"] >= 149.0 for one in doses)
    # Nobody is matched before enough was measured: those units are in no arm.
    assert Counter(one.arm for one in found.values()).keys() <= {"one.dose", "one.control", "one.treatment", None}
    assert all("held" not in one.timings_ms for one in found.values() if one.arm != "one.dose")


def whole_arm(client: httpx2.Client, user: int) -> int:
    return rank(client, user_id=user).status_code


def test_what_was_withdrawn_or_blocked_here_is_not_shown_whoever_ranks(tmp_path: Path) -> None:
    whole = tiny(tmp_path)

    class Gone:
        name = "withdrawn"

        def removes(self, request, user, pool):
            return pool.rows == 21

    class Other(Gone):
        name = "originals"

        def removes(self, request, user, pool):
            return np.ones(len(pool.rows), np.bool_)

    from dataclasses import replace

    whole.live.stack = replace(whole.live.stack, guards={"feed": (Gone(), Other())})
    slate = replace(
        whole.live.rank(Request(1, 1, "feed", 0, 3)),
        item_ids=np.array([120, 121, 999, 122]),
        scores=np.arange(4.0),
        propensities=np.ones(4),
    )
    assert whole.live.allowed(Request(1, 1, "feed", 0, 3), slate).item_ids.tolist() == [120, 999, 122]
    whole.live.log.close()


def test_a_book_that_is_deleted_is_told_in_health_and_nobody_moves(tmp_path: Path) -> None:
    with both() as old:
        whole = reaching(tmp_path, urls_of(old))
        book = started(tmp_path, share=0.5)
        with served(whole) as client:
            before = {user: rank(client, user_id=user).json()["stack"] for user in USERS}
            assert client.get("/v1/health").json()["launches"] == []
            for one in tmp_path.glob(book.path.name + "*"):
                one.unlink()
            assert {user: rank(client, user_id=user).json()["stack"] for user in USERS} == before
            assert "is gone" in client.get("/v1/health").json()["launches"][0]


def test_a_book_that_was_never_read_makes_the_server_not_ready_and_serves_the_old_stacks(tmp_path: Path) -> None:
    with both() as old:
        whole = reaching(tmp_path, urls_of(old))
        with served(whole) as client:
            assert rank(client, user_id=1).json()["stack"] == "unified"
        whole = reaching(tmp_path, urls_of(old))
        app_folder = tmp_path / "launches.sqlite"
        from mainstem.api.app import create_app

        app_folder.write_bytes(b"no database at all" * 100)
        service = create_app(whole.live).state.service
        assert service.launched.arms.blind
        call = service.launched.call(Request(1, 1_000, "feed", 0, 3))
        assert (call.ours, call.legacy in LEGACY) == (False, True)
        whole.live.log.close()


def test_every_standing_is_told_to_anybody(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "launch-one.json").write_text('{"launch": "one", "verdict": "INCONCLUSIVE"}')
    (folder / "launch-two.json").write_text("{ torn")
    (folder / "parity.json").write_text("{}")
    with served(tiny(tmp_path), evidence=folder) as client:
        answer = client.get("/v1/launches")
    assert (answer.status_code, answer.json()) == (200, {"launches": [{"launch": "one", "verdict": "INCONCLUSIVE"}]})
