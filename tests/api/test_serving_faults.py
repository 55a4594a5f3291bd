"""What the server answers when its parts break, block or fill up; nothing acknowledged is ever lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from test_serving import ids, rank, refused
from tiny_live import AUTH, Tiny, event, served, tiny, wait_until_ready


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    whole = tiny(tmp_path_factory.mktemp("faulty"))
    with served(whole) as client:
        yield whole, client


@pytest.fixture
def broken(server):
    whole: Tiny = server[0]
    yield whole
    for source in (whole.near, whole.far):
        source.broken, source.gate = False, None
    parts = whole.parts
    parts.reader_broken = parts.ranker_broken = parts.control_broken = False
    parts.gate = None


@pytest.fixture
def client(server) -> httpx2.Client:
    return server[1]


def test_a_source_that_raises_is_left_out_and_named(client, broken):
    broken.near.broken = True
    answer = rank(client)
    assert ids(answer)
    assert "source:near" in answer.json()["degraded"][0]
    assert 'mainstem_degraded_total{part="source:near"}' in client.get("/metrics").text


def test_a_source_that_blocks_is_left_out_and_named(client, broken):
    broken.far.gate = threading.Event()
    answer = rank(client)
    broken.far.gate.set()
    assert ids(answer)
    assert "source:far" in answer.json()["degraded"][0]


def test_without_any_source_the_slate_is_empty_not_an_error(client, broken):
    broken.near.broken = broken.far.broken = True
    answer = rank(client)
    assert ids(answer) == []
    assert answer.json()["notes"] == ["empty: no source had a candidate"]


def test_a_dead_feature_store_means_default_features(client, broken):
    broken.parts.reader_broken = True
    answer = rank(client)
    assert len(ids(answer)) == 3
    assert answer.json()["stack"] == "unified"
    assert "feature store is down" in answer.json()["degraded"][0]


def test_a_broken_ranker_means_the_retrieval_order(client, broken):
    broken.parts.ranker_broken = True
    answer = rank(client)
    assert len(ids(answer)) == 3
    assert "weights do not fit" in answer.json()["degraded"][0]


def test_when_all_else_fails_the_declared_list_is_shown(client, broken):
    broken.parts.control_broken = True
    answer = rank(client)
    assert ids(answer) == [102, 104, 106]
    assert answer.json()["stack"] == "fallback"
    assert ids(rank(client, item_ids=[106, 131, 104])) == [104, 106]


def test_a_stuck_ranker_costs_one_budget_then_429_and_health_goes_on(client, broken):
    gate = broken.parts.gate = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(rank, client) for _ in range(4)]
        assert broken.parts.busy.wait(5)
        answers = [one.result() for one in waiting]
    assert [ids(one) for one in answers] == [[102, 104, 106]] * 4
    assert "not ranked within" in answers[0].json()["degraded"][0]
    full = rank(client)
    assert full.headers["retry-after"] == "1"
    refused(full, 429, "serve-003")
    assert client.get("/v1/health").status_code == 200
    assert client.get("/v1/ready").json()["reasons"] == ["the queue is full"]
    broken.parts.gate = None
    gate.set()
    wait_until_ready(client)
    assert rank(client).json()["stack"] == "unified"


def test_a_slate_that_came_too_late_is_logged_as_what_was_shown_instead(client, broken):
    from mainstem.data.records import decode_impression

    gate = broken.parts.gate = threading.Event()
    answer = rank(client, request_id=555)
    broken.parts.gate = None
    gate.set()
    wait_until_ready(client)
    rank(client)
    rank(client)
    broken.live.log.flush()
    stored = [decode_impression(row.payload) for row in broken.live.log.read(0, 10_000, "impression")]
    (record,) = [one for one in stored if one.request_id == 555]
    assert (record.stack, record.ids().tolist()) == ("fallback", ids(answer))


def test_a_defect_in_a_route_is_a_coded_503_with_the_request_in_the_log(client, monkeypatch, caplog):
    def defect(*_args):
        raise AttributeError("a defect")

    monkeypatch.setattr("mainstem.api.rank.answer_of", defect)
    answer = rank(client, request_id=4242)
    assert refused(answer, 503, "serve-001")["request_id"] == "4242"
    assert "4242" in caplog.text
    assert "a defect" in caplog.text


def test_a_memory_that_cannot_take_a_record_does_not_stop_the_others(client, broken, monkeypatch):
    def defect(feedback):
        raise ValueError("unexpected")

    monkeypatch.setattr(broken.parts, "apply", defect)
    assert client.post("/v1/events", json={"events": [event(request_id=70)]}, headers=AUTH).json()["applied"]
    monkeypatch.undo()
    client.post("/v1/events", json={"events": [event(request_id=71, item_id=100)]}, headers=AUTH)
    assert ids(rank(client))[0] == 100
    assert "mainstem_log_refused 1.0" in client.get("/metrics").text


def test_a_full_disk_refuses_the_write_with_a_code_and_writes_nothing_of_it(tmp_path):
    whole = tiny(tmp_path, max_pages=16)
    with served(whole) as client:
        for number in range(100):
            batch = [event(request_id=1000 * number + at) for at in range(40)]
            answer = client.post("/v1/events", json={"events": batch}, headers=AUTH)
            if answer.status_code != 200:
                break
        refused(answer, 507, "store-002")
        assert len(whole.live.log.read(0, 100_000, "feedback")) == 40 * number
        assert ids(rank(client))


def test_a_stop_keeps_the_state_so_that_the_next_start_replays_nothing(tmp_path):
    with served(tiny(tmp_path)) as client:
        client.post("/v1/events", json={"events": [event(item_id=102)]}, headers=AUTH)
    again = tiny(tmp_path)
    with served(again) as client:
        assert ids(rank(client))[0] == 102
        assert again.parts.applied == []


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from functools import partial
from tiny_live import tiny
from mainstem.api.app import create_app
from mainstem.api.serve import serve
from mainstem.base.settings import Serve

def build(worker, token):
    return create_app(tiny(Path({folder!r})).live, token=token, worker=worker)

if __name__ == "__main__":
    say = lambda text: print(text, flush=True)
    serve(build, Serve(port=0, workers={workers}, token="a-token"), say, say)
"""


def start(folder: Path, workers: int = 1) -> tuple[subprocess.Popen[str], str]:
    script = folder / "child.py"
    script.write_text(CHILD.format(tests=str(Path(__file__).parent), folder=str(folder), workers=workers))
    child = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def test_an_event_acknowledged_just_before_kill_9_is_there_after_the_restart(tmp_path):
    child, url = start(tmp_path)
    with httpx2.Client(base_url=url, timeout=20, trust_env=False) as client:
        wait_until_ready(client)
        ack = client.post("/v1/events", json={"events": [event(item_id=104)]}, headers=AUTH).json()
        os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    assert ack["accepted"] == 1
    child, url = start(tmp_path)
    with httpx2.Client(base_url=url, timeout=20, trust_env=False) as client:
        wait_until_ready(client)
        assert ids(rank(client))[0] == 104
        again = client.post("/v1/events", json={"events": [event(item_id=104)]}, headers=AUTH).json()
        assert (again["accepted"], again["duplicates"]) == (0, 1)
        child.terminate()
    assert child.wait(20) == 0


@pytest.mark.slow
def test_several_processes_share_a_port_a_log_and_what_they_learn(tmp_path):
    parent, url = start(tmp_path, workers=2)
    try:
        with httpx2.Client(
            base_url=url, timeout=20, trust_env=False, transport=httpx2.HTTPTransport(retries=20)
        ) as client:
            wait_until_ready(client)
            client.post("/v1/events", json={"events": [event(item_id=106)]}, headers=AUTH)
        seen = set()
        for _ in range(400):
            with httpx2.Client(base_url=url, timeout=20, trust_env=False) as fresh:
                answer = rank(fresh)
                seen.add((answer.json()["request_id"] >> 17 & 63, ids(answer)[0] == 106))
            if {(0, True), (1, True)} <= seen:
                break
        assert {(0, True), (1, True)} <= seen
    finally:
        parent.terminate()
        assert parent.wait(30) == 0
