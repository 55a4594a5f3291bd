"""The /v1 routes over a real loopback server: answers and refusals."""

from __future__ import annotations

import httpx2
import pytest
from tiny_live import AUTH, NOW_MS, event, served, tiny

from mainstem.api.app import create_app
from mainstem.base.clock import SetClock
from mainstem.data.records import decode_impression


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def client(whole):
    with served(whole) as client:
        yield client


def rank(client: httpx2.Client, surface: str = "feed", **body) -> httpx2.Response:
    return client.post(f"/v1/surfaces/{surface}/rank", json={"user_id": 1, **body})


def ids(answer: httpx2.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def refused(answer: httpx2.Response, status: int, code: str) -> dict:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.json()["message"]
    assert "request_id" in answer.json()
    return answer.json()


def test_a_surface_answers_with_its_own_number_of_items_best_first(client):
    assert ids(rank(client)) == sorted(ids(rank(client)), reverse=True)
    assert len(ids(rank(client))) == 3
    assert len(ids(rank(client, "groups"))) == 5
    assert len(ids(rank(client, count=1))) == 1


def test_an_explained_answer_accounts_for_every_candidate(client):
    trace = rank(client, explain=True).json()["trace"]
    assert trace["retrieved"] == 20
    assert {one["removed_by"] for one in trace["candidates"]} == {"kept", "scored_too_low", "odd", "not_ranked"}


def test_a_request_without_a_name_gets_its_own(client):
    first, second = (rank(client).json()["request_id"] for _ in range(2))
    assert first != second
    assert max(first, second) < 2**53
    assert rank(client, request_id=41).json()["request_id"] == 41


def test_named_items_are_ranked_once_each_and_unknown_ones_reported(client):
    answer = rank(client, item_ids=[104, 999, "102", 104])
    assert ids(answer) == [104, 102]
    assert answer.json()["ignored_items"] == [999]


def test_no_candidates_is_an_empty_slate_with_its_reason(client):
    answer = rank(client, item_ids=[999])
    assert ids(answer) == []
    assert "holds none of the items" in answer.json()["notes"][0]
    assert ids(rank(client, item_ids=[])) == []


def test_an_unknown_viewer_is_served_as_a_new_one(client):
    answer = rank(client, user_id=77)
    assert ids(answer) == ids(rank(client))
    assert "not in the log" in answer.json()["notes"][0]


def test_an_unknown_surface_is_404_and_names_the_near_one(client):
    assert "'feed'" in refused(rank(client, "fead"), 404, "request-001")["hint"]


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        (b"{", "request-010", ""),
        (b"[" * 9_000, "request-011", ""),
        (b"\xff\xfe", "request-010", ""),
        (b'{"user_id": "\xff"}', "request-010", ""),
        (b"", "request-010", ""),
        (b'{"user_id": NaN}', "request-010", ""),
        (b'{"user_id": 1e999}', "request-011", ""),
        (b'{"user_id": null}', "request-011", "$.user_id"),
        (b'{"user_id": 1, "cuont": 3}', "request-011", "cuont"),
        (b'{"user_id": 1, "count": 501}', "request-011", "$.count"),
        (b'{"user_id": 1, "count": -1}', "request-011", "$.count"),
        (b'{"user_id": 1, "item_ids": [1, {}]}', "request-011", "$.item_ids"),
        (b'{"user_id": 9223372036854775808}', "request-012", "2**63"),
        (b'{"user_id": -5}', "request-012", "-5"),
        (b'{"user_id": 1, "item_ids": [99999999999999999999]}', "request-012", "item_id"),
        (b'{"user_id": "ann"}', "request-012", "ann"),
        (b'{"user_id": "99999999999999999999"}', "request-012", "2**63"),
        (b'{"user_id": 1, "now_ms": 1650899141436}', "request-004", "future"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(client, body, code, where):
    assert where in refused(client.post("/v1/surfaces/feed/rank", content=body), 400, code)["message"]


def test_a_body_of_50_mb_is_refused_with_and_without_a_length(client):
    body = b'{"user_id":' + b" " * 50_000_000 + b"1}"
    for content in (body, (body[at : at + 1_000_000] for at in range(0, len(body), 1_000_000))):
        refused(client.post("/v1/surfaces/feed/rank", content=content), 413, "serve-004")
    refused(client.post("/v1/events", content=body, headers=AUTH), 413, "serve-004")
    assert ids(rank(client))


def test_an_address_nobody_has_and_a_wrong_method_are_coded(client):
    refused(client.get("/v1/nothing"), 404, "serve-009")
    refused(client.get("/v1/events"), 405, "serve-010")


def test_drills_need_the_token(client):
    refused(rank(client, failures=["source:near"]), 401, "serve-006")
    body = {"user_id": 1, "failures": ["source:near"]}
    answer = client.post("/v1/surfaces/feed/rank", json=body, headers=AUTH)
    assert answer.json()["degraded"]


class TestEvents:
    def test_a_write_needs_the_token(self, client):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic a-token"}):
            refused(client.post("/v1/events", json={"events": [event()]}, headers=headers), 401, "serve-006")

    def test_an_acknowledged_click_moves_the_next_slate(self, client):
        answer = client.post("/v1/events", json={"events": [event(request_id=5, item_id=102)]}, headers=AUTH)
        assert answer.json() | {"last_offset": 0} == {"accepted": 1, "duplicates": 0, "last_offset": 0, "applied": True}
        assert ids(rank(client))[0] == 102

    def test_the_same_record_twice_is_a_duplicate(self, client):
        body = {"events": [event(request_id=6, item_id=101)]}
        first, second = (client.post("/v1/events", json=body, headers=AUTH).json() for _ in range(2))
        assert (first["accepted"], second["accepted"], second["duplicates"]) == (1, 0, 1)

    def test_one_future_record_refuses_the_whole_batch(self, client):
        batch = [event(request_id=7), event(request_id=8, time_ms=NOW_MS + 3_600_000)]
        answer = client.post("/v1/events", json={"events": batch}, headers=AUTH)
        assert "events[1].time_ms" in refused(answer, 400, "request-013")["message"]
        again = client.post("/v1/events", json={"events": batch[:1]}, headers=AUTH)
        assert again.json()["accepted"] == 1

    @pytest.mark.parametrize(
        "change", [{"click": 2}, {"clik": 1}, {"item_id": 2**63}, {"item_id": "x"}, {"time_ms": -1}]
    )
    def test_one_wrong_record_refuses_the_whole_batch(self, client, whole, change):
        before = whole.live.log.stats().accepted
        answer = client.post("/v1/events", json={"events": [event(request_id=9), event(**change)]}, headers=AUTH)
        assert answer.status_code == 400
        assert answer.json()["code"].startswith("data-02")
        assert whole.live.log.stats().accepted == before

    def test_out_of_order_records_are_taken(self, client):
        batch = [event(request_id=20 - at, time_ms=NOW_MS - 1000 * at) for at in range(3)]
        assert client.post("/v1/events", json={"events": batch}, headers=AUTH).json()["accepted"] == 3

    def test_no_records_are_no_error(self, client):
        assert client.post("/v1/events", json={"events": []}, headers=AUTH).json()["accepted"] == 0


class TestExplain:
    @pytest.mark.parametrize(
        ("item", "outcome"),
        [
            (109, "filtered"),
            (107, "not_ranked"),
            (104, "scored_too_low"),
            (119, "not_retrieved"),
            (130, "not_retrieved"),
            (9, "unknown_item"),
        ],
    )
    def test_every_fate_has_its_answer(self, client, item, outcome):
        answer = client.get("/v1/explain", params={"user": 2, "item": item, "surface": "feed"}).json()
        assert answer["outcome"] == outcome
        assert answer["sentence"]

    def test_what_is_shown_is_said_to_be_shown(self, client):
        for place, item in enumerate(ids(rank(client)), start=1):
            answer = client.get("/v1/explain", params={"user": 1, "item": item, "surface": "feed"}).json()
            assert (answer["outcome"], answer["position"]) == ("shown", place)
            assert answer["terms"]["click"] == pytest.approx(answer["value"])

    def test_a_source_says_at_which_place_it_has_an_item_it_may_not_offer(self, client):
        answer = client.get("/v1/explain", params={"user": 1, "item": 119, "surface": "feed"}).json()
        far = next(offer for offer in answer["offers"] if offer["source"] == "far")
        assert (far["rank"], far["limit"], far["reason"]) == (12, 10, "beyond its bound")
        assert answer["value"] == pytest.approx(0.19)

    def test_a_missing_or_unknown_parameter_is_refused(self, client):
        refused(client.get("/v1/explain", params={"user": 1}), 400, "request-014")
        refused(client.get("/v1/explain?user=1&item=1&surface=feed&itme=2"), 400, "request-014")
        refused(client.get("/v1/explain?user=1&item=1&surface=feed&now_ms=x"), 400, "request-014")
        refused(client.get("/v1/explain?user=1&item=1&surface=x"), 404, "request-001")


def test_metrics_count_what_happened(client):
    rank(client)
    page = client.get("/metrics").text
    assert 'mainstem_requests_total{route="rank",status="200",surface="feed"}' in page
    assert 'mainstem_stage_seconds_total{stage="rank"}' in page
    assert "mainstem_impressions_dropped 0.0" in page
    assert 'mainstem_rank_seconds_bucket{le="0.001",surface="feed"}' in page


def test_the_description_lists_every_route_and_its_examples_hold(client, whole):
    said = client.get("/v1/openapi.json").json()
    routes = {route.path.replace(":path", ""): route.methods - {"HEAD"} for route in create_app(whole.live).routes}
    assert {path: {method.upper() for method in methods} for path, methods in said["paths"].items()} == routes
    for path, methods in said["paths"].items():
        body = methods.get("post", {}).get("requestBody", {})
        if body:
            example = body["content"]["application/json"]["example"]
            answer = client.post(path.format(surface="feed", key="none"), json=example, headers=AUTH)
            assert answer.status_code == (404 if "{key}" in path else 200)
    assert _references(said) <= {f"#/components/schemas/{name}" for name in said["components"]["schemas"]}


def _references(value) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


def test_every_served_slate_is_in_the_log(client, whole):
    answer = rank(client, request_id=987_654)
    rank(client)  # what follows an answer is done before the next one on this connection is read
    whole.live.log.flush()
    stored = [decode_impression(row.payload) for row in whole.live.log.read(0, 100_000, "impression")]
    (record,) = [one for one in stored if one.request_id == 987_654]
    assert record.ids().tolist() == ids(answer)
    assert record.timings_ms["total"] > 0
    assert record.array("predictions").shape == (3, 1)
    assert record.array("features")[:, 0].tolist() == [one - 100 for one in ids(answer)]


def test_too_many_requests_of_one_client_are_refused(tmp_path):
    settings = '[serve]\nclient_rate_per_s = 1\ntoken = "a-token"\n[surfaces.feed]\n'
    with served(tiny(tmp_path, settings)) as client:
        answers = [rank(client) for _ in range(4)]
    assert [one.status_code for one in answers[:2]] == [200, 200]
    refused(answers[-1], 429, "serve-007")


def test_a_past_log_is_served_as_of_its_own_time(tmp_path):
    clock = SetClock(NOW_MS)
    with served(tiny(tmp_path, clock=clock)) as client:
        assert rank(client).json()["now_ms"] == NOW_MS
        clock.set(NOW_MS + 5)
        assert rank(client).json()["now_ms"] == NOW_MS + 5
        assert rank(client, now_ms=NOW_MS - 9).json()["now_ms"] == NOW_MS - 9
