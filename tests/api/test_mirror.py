"""Shadow mode: off the hot path, bounded, told what happened, and every difference kept and readable."""

from __future__ import annotations

import threading
from dataclasses import replace

import httpx2
import msgspec
import numpy as np
import pytest
from test_serving import ids, rank
from tiny_live import AUTH, event, served, tiny

from mainstem.api.differences import stage_diff
from mainstem.api.mirror import KEPT_BYTES, WAITING, Mirror, StackTarget
from mainstem.base.request import Request
from mainstem.stacks.faults import plant


@pytest.fixture
def other(tmp_path):
    """The same stack with memories of its own and one head shifted."""
    return plant(tiny(tmp_path / "other").live.stack, "model", seed=1).stack


def mirror_of(folder, *targets, share: float = 1.0) -> Mirror:
    return Mirror(targets, stage_diff, folder / "evidence" / "shadow.jsonl", share)


def drained(mirror: Mirror, client: httpx2.Client | None = None) -> None:
    """Waits until everything handed in so far is done; what follows an answer is, once the next request is answered."""
    if client is not None:
        client.get("/v1/health")
    done = threading.Event()
    mirror._put(done.set)
    assert done.wait(10)


def test_a_live_request_leaves_its_difference_with_stage_and_culprit(tmp_path, other):
    mirror = mirror_of(tmp_path, StackTarget(other, ("feed", "groups")))
    with served(tiny(tmp_path), mirror=mirror) as client:
        rank(client, request_id=41)
        drained(mirror, client)
        answer = client.get("/v1/shadow").json()
    assert (answer["targets"], answer["mirrored"], answer["failed"]) == (["unified"], 1, 0)
    (found,) = answer["latest"]
    assert (found["request_id"], found["first"]) == (41, {"stage": "model", "culprit": "click"})
    (line,) = (tmp_path / "evidence" / "shadow.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(line) == found


def test_the_other_stack_learns_what_the_live_one_learns(tmp_path):
    whole, twin = tiny(tmp_path), tiny(tmp_path / "twin")
    mirror = mirror_of(tmp_path, StackTarget(twin.live.stack, ("feed", "groups")))
    with served(whole, mirror=mirror) as client:
        client.post("/v1/events", json={"events": [event(item_id=102)]}, headers=AUTH)
        shown = ids(rank(client))
        drained(mirror, client)
        (found,) = client.get("/v1/shadow").json()["latest"]
    assert shown[0] == 102
    assert found["slates"]["other"] == shown
    assert found["first"] is None


def test_a_dead_target_is_counted_and_the_live_answer_stands(tmp_path):
    class Dead:
        name = "dead"

        def rank(self, request):
            raise ConnectionError("nobody there")

        def tell(self, records):
            raise ConnectionError("nobody there")

    mirror = mirror_of(tmp_path, Dead())
    with served(tiny(tmp_path), mirror=mirror) as client:
        assert ids(rank(client))
        drained(mirror, client)
        answer = client.get("/v1/shadow").json()
    assert answer["failed"] == 1
    assert "nobody there" in answer["latest"][0]["failed"]


def test_a_slow_target_never_holds_a_request_up_and_what_does_not_fit_is_counted(tmp_path):
    gate = threading.Event()

    class Slow:
        name = "slow"

        def rank(self, request):
            gate.wait()
            raise TimeoutError

        def tell(self, records): ...

    whole = tiny(tmp_path)
    mirror = mirror_of(tmp_path, Slow())
    slate = whole.live.rank(Request(1, 1, "feed", 0, 3))
    for number in range(WAITING + 5):
        mirror.offer(Request(number, 1, "feed", 0, 3), slate)
    assert mirror.dropped == 5
    gate.set()
    whole.live.log.close()


def test_the_share_is_kept_and_fixed_by_the_request(tmp_path):
    whole = tiny(tmp_path)
    slate = whole.live.rank(Request(1, 1, "feed", 0, 3))
    asked = [Request(number, 1, "feed", 0, 3) for number in range(500)]
    mirror = mirror_of(tmp_path, share=0.1)
    for request in asked:
        mirror.offer(request, slate)
    assert 25 <= mirror._queue.qsize() <= 75
    nobody = mirror_of(tmp_path, share=0.0)
    for request in asked:
        nobody.offer(request, slate)
    assert nobody._queue.qsize() == 0
    whole.live.log.close()


def test_the_file_keeps_its_newer_half_when_it_grows_too_long(tmp_path, other, monkeypatch):
    monkeypatch.setattr("mainstem.api.mirror.KEPT_BYTES", 20_000)
    assert KEPT_BYTES > 20_000
    whole = tiny(tmp_path)
    mirror = mirror_of(tmp_path, StackTarget(other, ("feed",)))
    mirror.start()
    slate = whole.live.rank(Request(1, 1, "feed", 0, 3))
    for number in range(40):
        mirror.offer(Request(number, 1, "feed", 0, 3), replace(slate, request_id=number))
    drained(mirror)
    mirror.stop()
    lines = (tmp_path / "evidence" / "shadow.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(lines[-1])["request_id"] == 39
    assert sum(map(len, lines)) < 25_000
    whole.live.log.close()


def test_what_an_outside_stack_does_not_tell_is_not_a_difference(tmp_path):
    whole = tiny(tmp_path)
    live = whole.live.rank(Request(1, 1, "feed", 0, 3))
    assert live.trace is not None
    silent = replace(
        live,
        stack="silent",
        trace=replace(
            live.trace,
            sources=(),
            source_mask=np.zeros_like(live.trace.source_mask),
            feature_names=(),
            features=None,
            heads=(),
            predictions=None,
            values=np.full(len(live.trace.values), np.nan),
            rules=(),
            fired=(),
        ),
    )
    found = stage_diff(live, silent)
    assert [stage["stage"] for stage in found["stages"] if stage["told"]] == ["slate"]
    assert found["first"] is None
    whole.live.log.close()
