"""The content-first program over HTTP: the remote protocol, and what it refuses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from builder_content_first import HOUR_MS, NOW_MS, ROOT, UNTIL, ask, event, write_tiny_log
from content_first.server import listen
from content_first.stack import ContentFirst, load_stack

ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT / "legacy")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    log, model = write_tiny_log(tmp_path_factory.mktemp("wire")), tmp_path_factory.mktemp("wire-model")
    told = [
        sys.executable,
        "-m",
        "content_first",
        "train",
        "--log",
        str(log),
        "--until",
        str(UNTIL),
        "--out",
        str(model),
    ]
    subprocess.run(told, check=True, env=ENVIRONMENT, timeout=120, capture_output=True)
    return log, model


@pytest.fixture(scope="module")
def address(folders: tuple[Path, Path]) -> Iterator[str]:
    told = [
        sys.executable,
        "-m",
        "content_first",
        "serve",
        "--log",
        str(folders[0]),
        "--model",
        str(folders[1]),
        "--port",
        "0",
    ]
    with subprocess.Popen(told, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        yield line.split()[-1]
        server.terminate()


@pytest.fixture
def stack(folders: tuple[Path, Path]) -> ContentFirst:
    return load_stack(*folders)


def call(address: str, route: str, body: Any = None) -> tuple[int, bytes]:
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/v1/{route}", data=sent)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def score_line(items: list[int], user: int, now_ms: int, request: int) -> dict[str, Any]:
    plain = {"request_id": request, "user_id": user, "surface": "feed", "scenario": 1, "now_ms": now_ms}
    return {"score": plain | {"item_ids": items}}


def week(seed: int = 5, requests: int = 120) -> list[dict[str, Any]]:
    rng, lines = np.random.default_rng(seed), []
    for k in range(requests):
        items = rng.choice(np.arange(1, 61), int(rng.integers(1, 4)), replace=False).tolist()
        user, now_ms = int(rng.integers(1, 50)), NOW_MS + k * 400_000
        lines.append(score_line(items, user, now_ms, 50_000 + k))
        lines += [{"event": event(i, now_ms, user, 50_000 + k, long_view=int(rng.integers(2)))} for i in items]
    return lines


def joined(lines: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(line) for line in lines).encode()


def test_every_route_answers(address: str) -> None:
    health = json.loads(call(address, "health")[1])
    assert health["ready"] is True
    assert health["describes"] == ["candidates", "heads", "rules", "timings"]
    assert set(health) == {"stack", "version", "ready", "heads", "surfaces", "describes", "events_seen"}
    ranked = json.loads(call(address, "rank", ask())[1])
    assert set(ranked) == {"request_id", "stack", "items", "candidates", "rules", "timings_ms", "degraded"}
    assert len(ranked["items"]) == 10
    assert set(ranked["candidates"][0]) == {"item_id", "sources", "heads", "value", "removed_by"}
    record = event(9, NOW_MS) | {"event_id": "e-1"}
    assert json.loads(call(address, "events", {"events": [record, record]})[1]) == {"accepted": 1, "duplicates": 1}
    status, lines = call(address, "replay", joined([*week()[:9], {"rank": ask()}]))
    assert status == 200
    told = [json.loads(line) for line in lines.splitlines()]
    assert "scores" in told[0]
    assert "items" in told[-1]
    assert json.loads(call(address, "reset", {})[1]) == {"ready": True}
    assert json.loads(call(address, "health")[1])["events_seen"] == 0


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("rank", ask(surface="shop"), 404),
        ("replay", joined([{"score": {**score_line([1], 1, 1, 1)["score"], "surface": "shop"}}]), 404),
        ("rank", b"{", 400),
        ("rank", [1], 400),
        ("rank", ask(user="7"), 400),  # type: ignore[arg-type]
        ("rank", ask([2**63]), 400),
        ("rank", ask(now_ms=-1), 400),
        ("rank", ask(failures=["gravity"]), 400),
        ("events", {"events": [event(1, NOW_MS, click=2)]}, 400),
        ("events", {"events": {}}, 400),
        ("events", b'{"events": [{"watch_ms": NaN}]}', 400),
        ("replay", b'{"score": {}}', 400),
        ("replay", b"\xff\xfe", 400),
        ("rank", b" " * (33 * 1024 * 1024), 413),
    ],
)
def test_what_is_malformed_is_refused(address: str, route: str, body: Any, status: int) -> None:
    try:
        found, answer = call(address, route, body)
    except urllib.error.URLError:  # the server answered 413 and closed before the whole body was sent
        assert status == 413
        return
    assert found == status
    assert set(json.loads(answer)["error"]) == {"code", "message"}


def test_one_malformed_record_leaves_all_of_them_out(stack: ContentFirst) -> None:
    lines = joined([{"event": event(9, NOW_MS)}, {"event": {"item_id": "nine"}}])
    with pytest.raises(ValueError, match="item_id"):
        stack.replay(lines)
    assert stack.health()["events_seen"] == 0


def test_an_unknown_user_or_item_is_no_error(stack: ContentFirst) -> None:
    answer = stack.rank(ask(user=10**12))
    assert len(answer["items"]) == 10
    assert {s for c in answer["candidates"] for s in c["sources"]} == {"fresh_trending"}
    assert [i["item_id"] for i in stack.rank(ask([10**12], user=3))["items"]] == [10**12]
    assert stack.events({"events": [event(10**12, NOW_MS, user=10**13)]}) == {"accepted": 1, "duplicates": 0}


def test_a_replay_in_one_piece_equals_one_line_at_a_time(stack: ContentFirst) -> None:
    lines = week()
    whole = [json.loads(line) for line in stack.replay(joined(lines))]
    stack.reset()
    single = [json.loads(answer) for line in lines for answer in stack.replay(joined([line]))]
    assert whole == single
    stack.reset()
    assert [json.loads(line) for line in stack.replay(joined(lines))] == whole


def test_a_score_line_changes_nothing_and_an_event_does(stack: ContentFirst) -> None:
    asked = score_line([9, 10], 3, NOW_MS, 1)
    first, second = stack.replay(joined([asked, asked]))
    assert first == second
    assert stack.replay(joined([{"event": event(9, NOW_MS, user=3, long_view=1)}, asked])) != [first]


def test_feedback_is_not_seen_before_its_own_time(stack: ContentFirst) -> None:
    asked, later = score_line([9], 3, NOW_MS, 1), score_line([9], 3, NOW_MS + HOUR_MS, 1)
    plain = stack.replay(joined([asked, later]))
    early = stack.replay(joined([{"event": event(9, NOW_MS + HOUR_MS, user=3)}, asked, later]))
    assert early[0] == plain[0]
    assert early[1] != plain[1]


def test_a_record_of_the_log_sent_again_is_a_duplicate(stack: ContentFirst, folders: tuple[Path, Path]) -> None:
    row = pl.read_parquet(folders[0] / "impressions.parquet").row(0, named=True)
    again = event(row["item_id"], row["time_ms"], row["user_id"], row["request_id"])
    assert stack.events({"events": [again]}) == {"accepted": 0, "duplicates": 1}


def test_the_score_of_a_line_is_the_score_the_slate_is_ordered_by(stack: ContentFirst) -> None:
    items = [9, 10, 11, 14, 15]
    line = score_line(items, 999, NOW_MS, 1)
    scores = dict(zip(items, json.loads(stack.replay(joined([line]))[0])["scores"], strict=True))
    slate = stack.rank(ask(items, user=999))["items"]
    assert [i["score"] for i in slate] == [scores[i["item_id"]] for i in slate]
    assert [i["score"] for i in slate] == sorted((i["score"] for i in slate), reverse=True)


@pytest.mark.parametrize("wrong", [["--host", "0.0.0.0"], ["--model", "/nowhere"]])
def test_it_binds_loopback_only_and_says_what_is_missing(folders: tuple[Path, Path], wrong: list[str]) -> None:
    told = ["serve", "--log", str(folders[0]), "--model", str(folders[1]), "--port", "0", *wrong]
    run = subprocess.run(
        [sys.executable, "-m", "content_first", *told], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert wrong[1] in run.stderr


def test_a_small_answer_does_not_wait_for_an_acknowledgement() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as asking:
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            asking.sendall(b"x")
