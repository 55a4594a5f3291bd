"""Launches as feature flags over HTTP: what OFREP says, and never anything else than what is served."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launched_book import move, plan_of, started
from starlette.testclient import TestClient
from test_arms_serving import both, reaching, urls_of
from test_serving import rank
from tiny_live import SETTINGS, served, tiny

from mainstem.api.app import create_app
from mainstem.base.request import Request
from mainstem.launch.assignment import launch_of

ALL = "/ofrep/v1/evaluate/flags"


def asked(client: httpx2.Client | TestClient, user: object, key: str = "", **more) -> httpx2.Response:
    body = {"context": {"targetingKey": user}}
    return client.post(f"{ALL}/{key}" if key else ALL, json=body, **more)


def test_a_flag_says_who_is_served_by_the_new_stack_as_requests_are(tmp_path: Path) -> None:
    with both() as old, served(reaching(tmp_path, urls_of(old))) as client:
        book = started(tmp_path)
        for share, state in ((0.0, "shadow"), (0.25, "ramp"), (0.5, "judged"), (0.0, "rolled back")):
            if state != "shadow":
                move(book, share, state)
            launch = launch_of(plan_of(), {0.25: 2, 0.5: 3}.get(share, 0))
            for user in range(1_000, 1_020):
                told = asked(client, str(user), "one").json()
                stack = rank(client, user_id=user).json()["stack"]
                assert told["value"] == (stack == "unified")
                assert told["key"] == "one"
                assert told["variant"] == ((launch.arm_of(user) if share else None) or "outside")
                assert told["reason"] == ("SPLIT" if share else "STATIC")
                assert told["metadata"] == {"launch": "one", "surface": "feed"} | (
                    {} if told["value"] else {"legacy": stack}
                )
        tag = asked(client, "1000").headers["etag"]
        assert asked(client, "1000", headers={"If-None-Match": tag}).status_code == 304
        move(book, 1.0, "landed")
        told = asked(client, "1000", "one").json()
        assert (told["value"], told["reason"], told["variant"]) == (True, "STATIC", "landed")
        assert rank(client, user_id=1_000).json()["stack"] == "unified"


@settings(max_examples=15)
@given(st.data())
def test_a_flag_never_disagrees_with_what_a_request_of_that_moment_would_be_served(data: st.DataObject) -> None:
    states = {"ramp": 0.25, "held": 0.05, "judged": 0.5, "rolled back": 0.0, "stopped": 0.5, "holdback": 0.95}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        whole = tiny(folder)
        app = create_app(whole.live)
        client, launched = TestClient(app), app.state.service.launched
        book = started(folder, plan_of(surfaces=["feed", "groups"]))
        for _ in range(data.draw(st.integers(1, 4))):
            state = data.draw(st.sampled_from(sorted(states)))
            move(book, states[state], state, surface=data.draw(st.sampled_from(["feed", "groups"])))
            for user in data.draw(st.lists(st.integers(0, 2**62), min_size=1, max_size=3)):
                for one in asked(client, str(user)).json()["flags"]:
                    call = launched.call(Request(1, user, one["metadata"]["surface"], 0, 3))
                    assert (one["value"], one["variant"]) == (call.ours, call.arm or "outside")
                    assert asked(client, str(user), one["key"]).json() == one
        whole.live.log.close()


def test_flags_are_named_by_launch_and_surface_and_by_the_launch_alone_where_it_has_one(tmp_path: Path) -> None:
    book = started(tmp_path, plan_of("three", surfaces=["feed", "groups"]))
    whole = tiny(tmp_path)
    client = TestClient(create_app(whole.live))
    assert [one["key"] for one in asked(client, "7").json()["flags"]] == ["three.feed", "three.groups"]
    assert asked(client, "7", "three").status_code == 404
    move(book, 0.0, "stopped")
    started(tmp_path, plan_of("next"))
    assert [one["key"] for one in asked(client, "7").json()["flags"]] == ["next", "next.feed", "three.groups"]
    assert asked(client, "7", "three.feed").json()["errorCode"] == "FLAG_NOT_FOUND"  # it has the surface no longer
    whole.live.log.close()


def test_nothing_changed_is_304_and_any_act_another_tag(tmp_path: Path) -> None:
    whole = tiny(tmp_path)
    client = TestClient(create_app(whole.live))
    none = asked(client, "7")
    assert none.json() == {"flags": []}
    book = started(tmp_path)
    first = asked(client, "7")
    tag = first.headers["etag"]
    for given_tag in (tag, f'"other", W/{tag}', "*"):
        same = asked(client, "7", headers={"If-None-Match": given_tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert asked(client, "7", headers={"If-None-Match": none.headers["etag"]}).status_code == 200
    move(book, 0.25)
    assert asked(client, "7", headers={"If-None-Match": tag}).status_code == 200
    whole.live.log.close()


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    folder = tmp_path_factory.mktemp("still")
    started(folder, share=0.25)
    whole = tiny(folder)
    yield TestClient(create_app(whole.live))
    whole.live.log.close()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"\xff\xfe", "PARSE_ERROR"),
        (b"[" * 50_00, "PARSE_ERROR"),
        (b"[1]", "PARSE_ERROR"),
        (b"", "PARSE_ERROR"),
        (b"{}", "TARGETING_KEY_MISSING"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING"),
        (b'{"context": 7}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "ana"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "-1"}}', "INVALID_CONTEXT"),
    ],
)
@pytest.mark.parametrize("key", ["", "/one"])
def test_what_cannot_be_evaluated_is_refused_in_the_protocols_words(still: TestClient, body, code, key) -> None:
    answer = still.post(f"{ALL}{key}", content=body)
    told = answer.json()
    assert (answer.status_code, told["errorCode"], told.get("key", "")) == (400, code, key.removeprefix("/"))
    assert told["errorDetails"]


def test_an_unknown_flag_is_404_and_near_names_are_told(still: TestClient) -> None:
    answer = asked(still, "7", "one.fed")
    assert answer.status_code == 404
    assert answer.json()["errorCode"] == "FLAG_NOT_FOUND"
    assert "one.feed" in answer.json()["errorDetails"]
    assert still.get(f"{ALL}/one").status_code == 405


def test_size_and_rate_are_limited_as_for_other_requests(tmp_path: Path) -> None:
    settings = SETTINGS.replace("queue_limit", "client_rate_per_s = 1\nqueue_limit")
    whole = tiny(tmp_path, settings)
    client = TestClient(create_app(whole.live))
    large = client.post(ALL, json={"context": {"targetingKey": "7", "more": "x" * 30_000}})
    assert (large.status_code, large.json()["code"]) == (413, "serve-004")
    answers = [asked(client, "7") for _ in range(3)]
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "serve-007")
    assert answers[-1].headers["retry-after"]
    whole.live.log.close()


def test_while_the_book_was_never_read_no_flag_is_told(tmp_path: Path) -> None:
    (tmp_path / "launches.sqlite").write_bytes(b"no database at all" * 100)
    whole = tiny(tmp_path)
    answer = asked(TestClient(create_app(whole.live)), "7")
    assert (answer.status_code, answer.json()["code"]) == (503, "launch-131")
    whole.live.log.close()
