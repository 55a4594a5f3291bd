"""Outside stacks: the conformance suite on a small one, and every way an answer can be wrong."""

from __future__ import annotations

import json
import threading

import httpx2
import numpy as np
import pytest
import uvicorn
from outside_stack import OutsideStack, app_of

from mainstem.base.errors import RemoteError
from mainstem.base.request import FIRST_RULE, KEPT, SCORED_TOO_LOW, Request
from mainstem.stacks import remote as remote_module
from mainstem.stacks.remote import RemoteStack, rank_body, score_body
from mainstem.testing.remote_suite import RemoteSuite

NOW_MS = 1_650_812_741_436


@pytest.fixture(scope="module")
def outside():
    stack = OutsideStack()
    started = threading.Event()

    class Announcing(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            started.set()

    server = Announcing(uvicorn.Config(app_of(stack), port=0, access_log=False, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield stack, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


class TestSmallStack(RemoteSuite):
    user_id, surface, now_ms = 7, "feed", NOW_MS
    item_ids = (101, 102, 103)

    @pytest.fixture(autouse=True)
    def running(self, outside, request):
        request.cls.url = outside[1]


@pytest.fixture
def remote(outside):
    with RemoteStack("outside", outside[1], budget_s=5.0) as remote:
        remote.reset()
        yield remote
    outside[0].answer = None


def ask(request_id: int = 41, **changes) -> Request:
    known = {"user_id": 7, "surface": "feed", "now_ms": NOW_MS, "count": 3}
    return Request(request_id=request_id, **(known | changes))


def answering(body: bytes, status: int = 200) -> RemoteStack:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(status, content=body))
    return RemoteStack("outside", "http://outside", transport=transport)


def answer(**changes) -> bytes:
    return json.dumps({"request_id": 41, "items": [{"item_id": 1, "score": 0.5}]} | changes).encode()


def test_the_trace_holds_what_the_other_side_tells_and_nothing_else(remote):
    slate = remote.rank(ask())
    trace = slate.trace
    assert slate.item_ids.tolist() == [119, 118, 117]
    assert np.isnan(slate.propensities).all()
    assert trace.sources == ("all", "even")
    assert trace.features is None
    position = {int(item): at for at, item in enumerate(trace.item_ids)}
    codes = [int(trace.removed_by[position[item]]) for item in (119, 116, 115)]
    assert codes == [KEPT, SCORED_TOO_LOW, FIRST_RULE]
    assert trace.reason(position[115]) == "fives"
    assert trace.sources_of(position[116]) == ("all", "even")
    assert ("fives", position[115], "removed") in trace.fired
    assert trace.predictions[position[118]].tolist() == [118 / 200]


def test_a_silent_stack_has_a_trace_of_its_slate_only():
    slate = answering(answer(items=[{"item_id": 5, "score": 2.0, "propensity": 0.25}])).rank(ask())
    assert slate.trace.item_ids.tolist() == [5]
    assert slate.trace.predictions is None
    assert slate.propensities.tolist() == [0.25]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 200, "remote-003"),
        (b"<html>", 200, "remote-003"),
        (b"[]", 200, "remote-003"),
        (answer(request_id=42), 200, "remote-003"),
        (answer(request_id="41"), 200, "remote-003"),
        (answer(items=[{"item_id": 1}]), 200, "remote-003"),
        (answer(items=[{"item_id": 1, "score": "high"}]), 200, "remote-003"),
        (answer(items=[{"item_id": 2**63, "score": 1}]), 200, "remote-003"),
        (answer(items=[{"item_id": 1, "score": 1}] * 2), 200, "remote-003"),
        (answer(items=[{"item_id": one, "score": 1} for one in range(4)]), 200, "remote-003"),
        (answer(candidates=[{"item_id": 2}]), 200, "remote-003"),
        (answer(candidates=[{"item_id": 1}, {"item_id": 1}]), 200, "remote-003"),
        (answer(candidates=[{"item_id": 1, "heads": {"click": None}}]), 200, "remote-003"),
        (b'{"error": {"code": "x", "message": "no such surface"}}', 404, "remote-004"),
        (b"Internal Server Error", 500, "remote-004"),
    ],
)
def test_an_answer_outside_the_protocol_is_refused_with_a_code(body, status, code):
    with pytest.raises(RemoteError) as caught:
        answering(body, status).rank(ask())
    assert caught.value.code == code
    assert "outside" in caught.value.message


def test_an_error_answer_is_quoted():
    with pytest.raises(RemoteError, match="404: x: no such surface"):
        answering(b'{"error": {"code": "x", "message": "no such surface"}}', 404).rank(ask())


def test_nobody_there_is_one_code_and_too_late_another():
    with pytest.raises(RemoteError) as caught:
        RemoteStack("gone", "http://127.0.0.1:9", budget_s=2.0).health()
    assert caught.value.code == "remote-001"

    def late(request):
        raise httpx2.ReadTimeout("late", request=request)

    with pytest.raises(RemoteError) as caught:
        RemoteStack("slow", "http://slow", transport=httpx2.MockTransport(late)).health()
    assert (caught.value.code, caught.value.status) == ("remote-002", 504)


def test_an_answer_that_drips_is_cut_at_the_budget():
    class Drip(httpx2.SyncByteStream):
        def __iter__(self):
            while True:
                yield b" "

    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, stream=Drip()))
    with pytest.raises(RemoteError) as caught:
        RemoteStack("drip", "http://drip", budget_s=0.05, transport=transport).health()
    assert caught.value.code == "remote-002"


def test_an_endless_answer_is_cut_at_its_size(monkeypatch):
    monkeypatch.setattr(remote_module, "ANSWER_BYTES", 1_000)
    with pytest.raises(RemoteError, match="more than 1000 bytes"):
        answering(b" " * 1_001).health()


def test_a_replay_is_sent_in_bounded_chunks_and_answered_in_order(remote, outside, monkeypatch):
    monkeypatch.setattr(remote_module, "CHUNK_LINES", 3)
    outside[0].asked.clear()
    lines = [("score", score_body(ask(number, item_ids=np.array([101, 102])))) for number in range(8)]
    lines.insert(4, ("event", {"request_id": 1, "item_id": 101, "user_id": 7, "click": 1}))
    answers = list(remote.replay(lines))
    assert [one.request_id for one in answers] == list(range(8))
    assert [one.scores[0] for one in answers] == [101.0] * 4 + [111.0] * 4
    assert [len(body.splitlines()) for body in outside[0].asked] == [3, 3, 3]


def test_a_line_may_be_ready_made_json(remote):
    line = json.dumps(rank_body(ask(9))).encode()
    (answer,) = remote.replay([("rank", line)])
    assert answer.request_id == 9


@pytest.mark.parametrize("body", [b"", b'{"request_id": 1, "scores": [1]}\n', b'{"request_id": 41, "scores": []}\n'])
def test_replay_answers_that_do_not_fit_the_lines_are_refused(remote, outside, body):
    outside[0].answer = body
    with pytest.raises(RemoteError) as caught:
        remote.score(ask(item_ids=np.array([101])))
    assert caught.value.code == "remote-005"


def test_events_that_are_not_all_accounted_for_are_refused():
    with pytest.raises(RemoteError, match=r"1 \+ 0 of 2"):
        answering(b'{"accepted": 1}').feedback([{}, {}])
