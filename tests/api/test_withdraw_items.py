"""An item leaves every slate at once, in every process, and stays away until it is put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_live import AUTH, NOW_MS, SETTINGS, Tiny, served, tiny

from mainstem.base.clock import SetClock
from mainstem.base.settings import parse_settings
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.filters import Gone
from mainstem.control.slate import SlateRules, SurfaceControl
from mainstem.stacks.follow import Follower
from mainstem.stacks.live import Live
from mainstem.stacks.withdrawals import Withdrawals
from mainstem.store.withdrawn_items import WithdrawnItems

SURFACES = ("feed", "groups")


def shop(folder: Path, shared: Path) -> Tiny:
    """The tiny platform with the rule and the durable list; ``shared`` is the list that several processes have."""
    whole = tiny(folder)
    withdrawn = Withdrawn(40)
    rules = dict.fromkeys(SURFACES, (Gone(withdrawn),))
    unknown = np.full(41, -1)
    control = SurfaceControl(rules, dict.fromkeys(SURFACES, SlateRules()), unknown, unknown, 1)
    stack = replace(whole.live.stack, control=control, withdrawn=withdrawn)
    whole.live = Live(
        stack,
        parse_settings(SETTINGS),
        SetClock(NOW_MS),
        whole.live.log,
        Follower(whole.live.log, stack),
        np.array([2, 4, 6, 8, 10]),
        withdrawals=Withdrawals(
            WithdrawnItems(shared / "withdrawn.sqlite"), stack.catalog, withdrawn, SetClock(NOW_MS)
        ),
    )
    return whole


@pytest.fixture
def whole(tmp_path):
    return shop(tmp_path, tmp_path)


@pytest.fixture
def client(whole):
    with served(whole) as client:
        yield client


def slate(client, **body) -> list[int]:
    answer = client.post("/v1/surfaces/feed/rank", json={"user_id": 1, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def told(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return answer.json()


def withdrawn_at(client) -> list[int]:
    return told(client.get("/v1/items/withdrawn"))["item_ids"]


def test_the_next_slate_does_not_hold_it_and_the_same_again_changes_nothing(client):
    best = slate(client)[0]
    assert told(client.delete(f"/v1/items/{best}", headers=AUTH)) == {
        "item_id": best, "withdrawn": True, "changed": True,
    }  # fmt: skip
    assert best not in slate(client)
    assert len(slate(client)) == 3
    assert slate(client, item_ids=[best, 101]) == [101]
    assert told(client.delete(f"/v1/items/{best}", headers=AUTH))["changed"] is False
    assert withdrawn_at(client) == [best]
    assert told(client.put(f"/v1/items/{best}", headers=AUTH))["changed"] is True
    assert told(client.put(f"/v1/items/{best}", headers=AUTH))["changed"] is False
    assert slate(client)[0] == best
    assert withdrawn_at(client) == []


def test_explain_and_the_trace_name_the_rule(client):
    client.delete("/v1/items/104", headers=AUTH)
    body = {"user_id": 1, "item_ids": [104, 106], "explain": True}
    trace = told(client.post("/v1/surfaces/feed/rank", json=body))["trace"]
    assert {one["item_id"]: one["removed_by"] for one in trace["candidates"]} == {104: "withdrawn", 106: "kept"}
    client.delete("/v1/items/139", headers=AUTH)  # no source has it
    for item in (104, 139):
        why = told(client.get("/v1/explain", params={"user": 1, "item": item, "surface": "feed"}))
        assert (why["outcome"], why["rule"]) == ("filtered", "withdrawn")


@pytest.mark.parametrize("method", ["DELETE", "PUT"])
def test_a_change_needs_the_token_and_an_item_of_the_catalog(client, method):
    def refused(item, headers=AUTH):
        answer = client.request(method, f"/v1/items/{item}", headers=headers)
        return answer.status_code, answer.json()["code"]

    assert refused(104, {}) == (401, "serve-006")
    assert refused(999) == (404, "request-017")
    assert refused("ann") == (400, "request-012")
    assert client.post("/v1/items/104").status_code == 405
    assert withdrawn_at(client) == []


def test_the_fallback_list_goes_without_it(client, whole):
    client.delete("/v1/items/102", headers=AUTH)
    whole.live.stack = replace(whole.live.stack, control=None)
    assert slate(client) == [104, 106, 108]


def test_the_retrieval_order_that_stands_in_for_a_broken_ranker_goes_without_it(client, whole):
    whole.parts.ranker_broken = True
    first = slate(client)[0]
    client.delete(f"/v1/items/{first}", headers=AUTH)
    assert first not in slate(client)
    assert len(slate(client)) == 3


def test_it_is_gone_after_a_restart_and_in_the_other_process(tmp_path):
    one, other = (shop(tmp_path / name, tmp_path) for name in ("one", "other"))
    with served(one) as here, served(other) as there:
        here.delete("/v1/items/104", headers=AUTH)
        for _ in range(2_000):
            if withdrawn_at(there):
                break
        assert withdrawn_at(there) == [104]
        assert slate(there, item_ids=[104, 106]) == [106]
        there.put("/v1/items/104", headers=AUTH)
        there.delete("/v1/items/106", headers=AUTH)
    with served(shop(tmp_path / "again", tmp_path)) as again:
        assert slate(again, item_ids=[104, 106]) == [104]


def test_a_platform_without_a_list_says_so(tmp_path):
    with served(tiny(tmp_path)) as client:
        for answer in (client.delete("/v1/items/104", headers=AUTH), client.get("/v1/items/withdrawn")):
            assert (answer.status_code, answer.json()["code"]) == (409, "request-018")


def test_items_the_catalog_no_longer_holds_stay_on_the_list(tmp_path):
    WithdrawnItems(tmp_path / "withdrawn.sqlite").add(12_345, 1)
    whole = shop(tmp_path, tmp_path)
    assert whole.live.withdrawals.ids == (12_345,)
    assert not len(whole.live.stack.withdrawn.rows)
    whole.live.log.close()
