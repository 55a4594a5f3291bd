"""Features of a running platform: read by name, and new definitions that take over while serving goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
import uvicorn

from mainstem.api.app import create_app
from mainstem.base.errors import FeatureError, RequestError
from mainstem.data.log import read_log
from mainstem.data.records import Feedback
from mainstem.data.world import WorldSettings, make_world, write_world_log
from mainstem.stacks.live import Live
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import split
from mainstem.workspace.platform import open_live, renewed_state
from mainstem.workspace.train import train_unified

pytestmark = pytest.mark.slow
DECLARED = """
from mainstem.features.language import Feature, count
from mainstem.features.unified import FEEDBACK
shown = Feature("user_shown", count({where!r}), over="user_id", source=FEEDBACK, unit="events", about="ever")
"""
AUTH = {"authorization": "Bearer a-token"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("live-features")
    (folder / "mainstem.toml").write_text(
        '[serve]\nclock = "log"\ntoken = "a-token"\n[training]\nepochs = 1\n[features]\ndefinitions = "features.py"\n'
    )
    (folder / "features.py").write_text("")
    workspace = Workspace.open(folder, {})
    write_world_log(make_world(WorldSettings(users=80, items=500, days=5, impressions=2_500, seed=4)), workspace.log)
    log = read_log(workspace.log)
    train_unified(workspace, log, split(workspace, log), 3, lambda *told, **named: None)
    return workspace


@pytest.fixture
def live(place: Workspace) -> Iterator[Live]:
    (place.folder / "features.py").write_text("")
    live = open_live(place)
    live.follower.start()
    yield live
    live.log.close()


def _outcome(live: Live, n: int, user_id: int = 1) -> list[Feedback]:
    now = live.clock.now_ms()
    return [
        Feedback(
            request_id=n * 100 + at, user_id=user_id, item_id=1 + at, surface="feed", time_ms=now, long_view=at % 2
        )
        for at in range(5)
    ]


def _write(live: Live, n: int, user_id: int = 1) -> None:
    live.log.submit(_outcome(live, n, user_id)).result()
    live.follower.catch_up()


def _read(live: Live, names: list[str], user_id: int = 1) -> list[dict]:
    return live.features(live.request(0, user_id, "feed", item_ids=np.array([1, 2])), names)


def test_values_have_a_unit_and_a_state(live: Live) -> None:
    rows = _read(live, ["lifetime_count", "item_count"])
    assert [row["name"] for row in rows] == ["lifetime_count", "item_count", "item_count"]
    assert [row.get("item_id") for row in rows] == [None, 1, 2]
    assert {row["state"] for row in rows} == {"known"}
    with pytest.raises(FeatureError) as refused:
        _read(live, ["lifetime_counts"])
    assert refused.value.code == "feature-017"


def test_new_definitions_take_over_in_one_step(place: Workspace, live: Live) -> None:
    _write(live, 1)
    (place.folder / "features.py").write_text(DECLARED.format(where=""))
    with pytest.raises(FeatureError):
        _read(live, ["user_shown"])
    state, seen = live.rebuilt()
    _write(live, 2)  # comes while the new state waits: only the old one has it
    before = _read(live, ["lifetime_count", "alike_most"])
    live.adopt(state, seen)
    assert _read(live, ["lifetime_count", "alike_most"]) == before
    shown = _read(live, ["user_shown"])[0]["value"]
    log = read_log(place.log)
    told = sum((frame["user_id"] == 1).sum() for frame in (log.impressions, log.history))
    assert shown == told + 10
    _write(live, 3)
    assert _read(live, ["user_shown"])[0]["value"] == told + 15
    fresh = renewed_state(place, log)
    for _, batch in live.follower.batches(0):
        fresh.apply(batch)
    request = live.request(0, 1, "feed")
    side, _context = fresh.viewer(1, 0, -1, request.now_ms)
    np.testing.assert_array_equal(live.stack.features.user(request).side, side)


def test_wrong_definitions_leave_the_old_ones_serving(place: Workspace, live: Live) -> None:
    before = _read(live, ["lifetime_count"])
    (place.folder / "features.py").write_text(DECLARED.format(where="no_such_column == 1"))
    with pytest.raises(FeatureError):
        live.rebuilt()
    assert _read(live, ["lifetime_count"]) == before


def test_a_platform_without_a_workspace_says_so(live: Live) -> None:
    live._renewed = None
    with pytest.raises(RequestError) as refused:
        live.rebuilt()
    assert refused.value.code == "request-015"


def test_over_http_requests_are_answered_while_the_state_is_made(place: Workspace, live: Live) -> None:
    server = uvicorn.Server(uvicorn.Config(create_app(live), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    (place.folder / "features.py").write_text(DECLARED.format(where=""))
    answers: list[int] = []
    done = threading.Event()

    def ask() -> None:
        with httpx2.Client(base_url=url) as client:
            while not done.is_set():
                answers.append(client.post("/v1/surfaces/feed/rank", json={"user_id": 1, "count": 5}).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with httpx2.Client(base_url=url, timeout=60) as client:
            assert client.post("/v1/features/reload").status_code == 401
            assert client.get("/v1/features?user=1&names=user_shown").status_code == 404
            told = client.post("/v1/features/reload", headers=AUTH)
            assert told.status_code == 200, told.text
            done.set()
            asking.join()
            found = client.get("/v1/features", params={"user": "1", "names": "user_shown,item_count", "items": "1,2"})
            assert found.status_code == 200, found.text
            assert [row["name"] for row in found.json()["values"]] == ["user_shown", "item_count", "item_count"]
            assert found.json()["as_of"] == told.json()["as_of"]
            for wrong in (
                "user=1",
                "names=age",
                "user=1&names=age&colour=red",
                "user=1&names=age&items=" + ",".join("1" * 501),
            ):
                assert client.get(f"/v1/features?{wrong}").status_code == 400, wrong
    finally:
        done.set()
        asking.join()
        server.should_exit = True
        thread.join()
    assert set(answers) == {200}
    assert len(answers) > 3


def test_an_impression_says_as_of_where_it_was_ranked(live: Live, tmp_path: Path) -> None:
    _write(live, 7)
    request = live.request(1, 1, "feed")
    slate = live.rank(request)
    assert slate.trace is not None
    assert slate.trace.served is not None
    from mainstem.data.records import decode_impression
    from mainstem.stacks.impression import impression_of

    record = decode_impression(impression_of(request, slate).payload())
    assert record.as_of == live.stack.features.state.live.applied + 1
    np.testing.assert_array_equal(record.viewer(), slate.trace.served.viewer)
    np.testing.assert_array_equal(record.ranked_ids(), np.sort(slate.trace.item_ids[: len(slate.trace.values)]))
