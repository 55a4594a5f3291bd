"""A viewer's blocks over HTTP: they hold at once, for them alone, and need the token."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_live import AUTH, NOW_MS, SETTINGS, served, tiny

from mainstem.base.clock import SetClock
from mainstem.base.settings import parse_settings
from mainstem.stacks.follow import Follower
from mainstem.stacks.live import Live

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stacks"))
from made_rules import made_stack


@pytest.fixture
def client(tmp_path):
    whole = tiny(tmp_path / "tiny")
    made = made_stack(tmp_path, "seen = 0\nexploration_share = 0")
    stack = replace(made, surfaces=("feed", "groups"))
    whole.live = Live(
        stack,
        parse_settings(SETTINGS),
        SetClock(NOW_MS),
        whole.live.log,
        Follower(whole.live.log, stack),
        np.arange(60),
    )
    with served(whole) as client:
        yield client


def slate(client, user: int) -> list[int]:
    answer = client.post("/v1/surfaces/feed/rank", json={"user_id": user, "count": 6})
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


def test_a_block_and_a_hidden_item_hold_for_one_viewer_until_taken_back(client):
    assert {1, 2} <= set(slate(client, 1))
    answer = client.put("/v1/users/1/blocks/501", headers=AUTH).json()
    assert answer == {"user_id": 1, "kind": "creator", "target": 501, "blocked": True, "changed": True}
    assert not client.put("/v1/users/1/blocks/501", headers=AUTH).json()["changed"]
    client.put("/v1/users/1/hidden/2", headers=AUTH)
    assert not {1, 2, 11} & set(slate(client, 1))
    assert {1, 2} <= set(slate(client, 2))
    held = client.get("/v1/users/1/blocks", headers=AUTH).json()
    assert held == {"user_id": 1, "creators": [501], "items": [2]}
    client.delete("/v1/users/1/blocks/501", headers=AUTH)
    client.delete("/v1/users/1/hidden/2", headers=AUTH)
    assert {1, 2} <= set(slate(client, 1))


def test_blocks_need_the_token_and_numbers(client):
    assert client.put("/v1/users/1/blocks/501").status_code == 401
    assert client.get("/v1/users/1/blocks").status_code == 401
    answer = client.put("/v1/users/1/blocks/somebody", headers=AUTH)
    assert (answer.status_code, answer.json()["code"]) == (400, "request-012")


def test_where_nothing_can_be_blocked_it_is_said(tmp_path):
    whole = tiny(tmp_path)
    with served(whole) as client:
        answer = client.put("/v1/users/1/blocks/501", headers=AUTH)
    assert (answer.status_code, answer.json()["code"]) == (409, "control-034")
