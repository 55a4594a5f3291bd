"""The launch page: which launch it shows, what it says of each state, and what it does with evidence it cannot read."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mainstem.base.settings import parse_settings
from mainstem.launch.standing import Standing
from mainstem.report.figure import Chart
from mainstem.web.pages.launch import launches, read, summary
from mainstem.web.routes import PAGES, routes
from mainstem.workspace.launching import write_standing
from mainstem.workspace.layout import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import made_standing


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, parse_settings(""))


@pytest.fixture
def client(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The pages, with figures that are not drawn: the browser tests draw them."""
    monkeypatch.setattr(Chart, "svg", lambda self: "<svg ></svg>")
    return TestClient(Starlette(routes=routes(None, place)))


def test_a_stored_standing_comes_back_as_it_was(place: Workspace) -> None:
    for make in made_standing.EVERY.values():
        standing = replace(make(), launch="autumn-3")
        assert read(write_standing(place, standing)) == standing


def test_the_page_tells_the_launch_surface_by_surface(place: Workspace, client: TestClient) -> None:
    write_standing(place, made_standing.rich())
    page = client.get("/launch.json").json()
    assert page["heading"] == "autumn-3: groups rolled back; pages paused; feed landed"
    assert (page["answer"], page["source"]) == ("HARM", "made")
    titles = [one["title"] for one in page["facts"]["sections"]]
    assert titles[0] == "Surfaces"
    assert titles[4:] == ["feed", "groups", "pages", "Every act"]
    groups = page["facts"]["sections"][5]
    assert groups["verdicts"][0] == {
        "of": "content-first", "word": "HARM", "why": "reports is past the hourly bound of harm",
    }  # fmt: skip
    assert groups["figures"] == ["margins-groups", "budgets-groups", "since-groups", "layers-groups"]
    text = client.get("/launch").text
    assert "made world" in text
    assert "it is value that makes long_views worse" in text
    assert text.count("<figure ") == 3 + 3 * 3 + 2
    assert text.count("<svg >") + text.count('<svg role="img"') >= 2 * 14


def test_every_table_is_a_csv(place: Workspace, client: TestClient) -> None:
    write_standing(place, made_standing.rich())
    tables = client.get("/launch.json").json()["tables"]
    assert {"surfaces", "gates", "days", "ratios", "acts", "metrics-feed", "budgets-feed", "since-feed"} <= set(tables)
    for name, table in tables.items():
        rows = list(csv.DictReader(io.StringIO(client.get("/launch.csv", params={"table": name}).text)))
        assert len(rows) == len(table["rows"])
    rows = list(csv.DictReader(io.StringIO(client.get("/launch.csv?table=metrics-groups").text)))
    assert float(rows[2]["change"]) == 0.184


def test_the_launch_that_was_started_last_is_shown_and_the_others_are_a_step_away(
    place: Workspace, client: TestClient
) -> None:
    first, second = (
        made_standing.begun(),
        replace(made_standing.half(), launch="winter-1", started_ms=made_standing.START_MS + 1),
    )
    write_standing(place, first)
    write_standing(place, second)
    place.write_evidence("launch-notes", {"not": "a standing"})
    place.evidence("launch-torn").write_bytes(b'{"launch": "to')
    assert list(launches(place)) == ["winter-1", "autumn-3"]
    page = client.get("/launch.json").json()
    assert (page["facts"]["launch"], page["source"], page["answer"]) == ("winter-1", "real", "INVALID")
    assert 'href="/launch?launch=autumn-3"' in client.get("/launch").text
    older = client.get("/launch?launch=autumn-3").text
    assert "No gate has evidence yet" in older
    assert "/launch.csv?launch=autumn-3&amp;table=surfaces" in older
    refused = client.get("/launch?launch=winter-2")
    assert refused.status_code == 404
    assert "web-011" in refused.text
    assert "winter-1" in refused.text


def test_a_standing_of_another_version_is_said_with_the_command_that_mends_it(
    place: Workspace, client: TestClient
) -> None:
    place.write_evidence("launch-old", {"launch": "old", "started_ms": 3, "surfaces": []})
    answer = client.get("/launch")
    assert answer.status_code == 500
    assert "web-010" in answer.text
    assert "mainstem launch run --once" in answer.text


def test_before_any_launch_the_page_names_the_command(client: TestClient) -> None:
    answer = client.get("/launch")
    assert answer.status_code == 200
    assert "mainstem launch start launch.toml" in answer.text


def test_what_comes_from_data_is_text(place: Workspace, client: TestClient) -> None:
    hostile: Standing = replace(made_standing.hostile(), launch="autumn-3")
    write_standing(place, hostile)
    text = client.get("/launch").text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_overview_has_a_tile_of_the_newest_launch(place: Workspace, client: TestClient) -> None:
    def found() -> dict:
        return next(one for one in client.get("/overview.json").json()["facts"]["tiles"] if one["path"] == "/launch")

    assert found()["command"] == "mainstem launch start launch.toml"
    write_standing(place, made_standing.rich())
    assert found()["answer"] == "HARM"
    assert found()["heading"] == "autumn-3: groups rolled back; pages paused; feed landed"
    place.write_evidence("launch-old", {"launch": "old", "started_ms": 2**50, "surfaces": []})
    assert found()["mark"] == "cannot be read"
    assert client.get("/").status_code == 200


def test_the_overview_can_tell_it_in_a_sentence() -> None:
    assert summary(made_standing.rich()).answer == "HARM"
    assert summary(replace(made_standing.rich(), verdict="WIN")).answer == "WIN"
    assert "launch" in PAGES
