"""The interest-first program over its wire: the five routes, and what it says to bad input."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixture_interest_first import LEGACY, UNTIL, ask, event, write_folder
from interest_first.__main__ import load_stack, run_train
from interest_first.web import open_server


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("interest_first_http")
    run_train(write_folder(base / "log"), UNTIL, base / "model", 7)
    return base / "log", base / "model"


@pytest.fixture(scope="module")
def port(places: tuple[Path, Path]) -> Iterator[int]:
    server = open_server(load_stack(*places), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request(method, path, raw)
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def asked(port: int, path: str, body: Any) -> dict:
    status, answer = call(port, "POST", path, body)
    assert status == 200, answer
    return json.loads(answer)


@pytest.fixture(autouse=True)
def fresh(port: int) -> None:
    assert asked(port, "/v1/reset", {}) == {"ready": True}


def test_health_says_what_it_can_tell(port: int) -> None:
    status, body = call(port, "GET", "/v1/health")
    health = json.loads(body)
    assert status == 200
    assert health["stack"] == "interest-first"
    assert health["ready"] is True
    assert health["surfaces"] == ["feed", "groups", "pages"]
    assert set(health["describes"]) == {"candidates", "heads", "rules", "timings", "propensities"}


def test_a_rank_answer_has_the_shape_of_the_protocol(port: int) -> None:
    answer = asked(port, "/v1/rank", ask(count=5, explain=True, failures=[]))
    assert list(answer) == ["request_id", "stack", "items", "rules", "timings_ms", "degraded", "candidates"]
    assert len(answer["items"]) == 5
    assert set(answer["timings_ms"]) == {"retrieve", "rank", "control"}
    values = [one["value"] for one in answer["candidates"]]
    assert values == sorted(values, reverse=True)
    shown = {one["item_id"] for one in answer["candidates"] if one["removed_by"] is None}
    assert shown == {item["item_id"] for item in answer["items"]}
    assert "candidates" not in asked(port, "/v1/rank", ask())


def test_events_are_counted_once_and_seen_by_the_next_call(port: int) -> None:
    def score() -> list[float]:
        _, body = call(port, "POST", "/v1/replay", {"score": ask([1005])})
        return json.loads(body)["scores"]

    before = score()
    assert asked(port, "/v1/events", {"events": [event(1005), event(1005)]}) == {"accepted": 1, "duplicates": 1}
    assert score() != before
    assert json.loads(call(port, "GET", "/v1/health")[1])["events_seen"] == 1


def test_a_replay_answers_in_order_and_repeats_after_a_reset(port: int) -> None:
    lines = [{"score": ask([1005, 1006], request_id=1)}, {"event": event(1005)}, {"score": ask([1005], request_id=2)}]
    lines += [{"rank": ask(request_id=3)}, {"score": ask([1005], request_id=4)}]
    body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\n"

    def replay() -> list[dict]:
        answers = [json.loads(line) for line in call(port, "POST", "/v1/replay", body)[1].splitlines()]
        answers[2].pop("timings_ms")
        return answers

    first = replay()
    assert [answer["request_id"] for answer in first] == [1, 2, 3, 4]
    assert first[0]["scores"][0] != first[1]["scores"][0]
    asked(port, "/v1/reset", {})
    assert replay() == first


def test_a_replay_with_a_bad_line_changes_nothing(port: int) -> None:
    body = json.dumps({"event": event(1005)}).encode() + b'\n{"scroe": {}}\n'
    status, answer = call(port, "POST", "/v1/replay", body)
    assert status == 400
    assert "line 2" in json.loads(answer)["error"]["message"]
    assert json.loads(call(port, "GET", "/v1/health")[1])["events_seen"] == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/rank", b"{", 400),
        ("/v1/rank", b'{"request_id": NaN}', 400),
        ("/v1/rank", b"[" * 100_000, 400),
        ("/v1/rank", b"\xff\xfe", 400),
        ("/v1/rank", [], 400),
        ("/v1/rank", ask(user_id="7"), 400),
        ("/v1/rank", ask(user_id=True), 400),
        ("/v1/rank", ask(user_id=2**63), 400),
        ("/v1/rank", ask(now_ms=-1), 400),
        ("/v1/rank", ask(now_ms=10**30), 400),
        ("/v1/rank", ask(count=0), 400),
        ("/v1/rank", ask(failures=["power"]), 400),
        ("/v1/rank", ask([1.5]), 400),
        ("/v1/rank", ask(surface="stories"), 404),
        ("/v1/replay", {"score": ask([1], surface="stories")}, 404),
        ("/v1/replay", {"score": ask(None)}, 400),
        ("/v1/events", {"events": [event(1005, like=2)]}, 400),
        ("/v1/events", {"events": {}}, 400),
        ("/v1/events", {}, 400),
        ("/v2/rank", {}, 404),
        ("/v1/health", {}, 405),
    ],
)
def test_what_is_malformed_is_refused_in_words(port: int, path: str, body: Any, status: int) -> None:
    found, answer = call(port, "POST", path, body)
    assert found == status
    assert set(json.loads(answer)["error"]) == {"code", "message"}


def test_a_body_over_32_mb_is_413(port: int) -> None:
    status, answer = call(port, "POST", "/v1/replay", b" " * (32 * 1024 * 1024 + 1))
    assert status == 413
    assert json.loads(answer)["error"]["code"] == "too_large"
    assert call(port, "POST", "/v1/replay", b" " * 1024)[0] == 200


def test_a_chunked_body_is_read_and_a_line_serves_many_calls(port: int) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        for _ in range(3):
            line.request(
                "POST", "/v1/rank", iter([b'{"request_id": 1, "user_id": 3, ', json.dumps(ask())[1:].encode()])
            )
            answer = line.getresponse()
            assert (answer.status, json.loads(answer.read())["request_id"]) == (200, 9001)
    finally:
        line.close()


def test_the_command_serves_on_a_port_it_picks(places: tuple[Path, Path]) -> None:
    words = [sys.executable, "-m", "interest_first", "serve", "--port", "0"]
    words += ["--log", str(places[0]), "--model", str(places[1]), "--until", str(UNTIL)]
    paths = os.environ | {"PYTHONPATH": str(LEGACY)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=paths) as served:
        assert served.stdout is not None
        said = served.stdout.readline()
        assert said.startswith("listening on http://127.0.0.1:")
        status, body = call(int(said.rsplit(":", 1)[1]), "GET", "/v1/health")
        served.terminate()
    assert (status, json.loads(body)["ready"]) == (200, True)
    assert served.returncode == 0
