"""The pages of the program and the capacity desk: what they say of evidence that is whole, stale, changed or tampered with."""

from __future__ import annotations

import csv
import io
from datetime import date
from pathlib import Path

import made_desks
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mainstem.base.settings import parse_settings
from mainstem.web.pages.capacity import told
from mainstem.web.routes import routes
from mainstem.workspace.capacity_desk import capacity_picture
from mainstem.workspace.evidence_log import records_file
from mainstem.workspace.layout import Workspace


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, parse_settings(""))


def client(place: Workspace) -> TestClient:
    return TestClient(Starlette(routes=routes(None, place)))


def gates(place: Workspace) -> dict[tuple[str, str], dict[str, object]]:
    rows = client(place).get("/program.json").json()["tables"]["gates"]["rows"]
    return {(row["milestone"], row["needs"]): row for row in rows}


def test_the_program_is_told_by_its_evidence(place):
    made_desks.fill_program(place)
    found = gates(place)
    assert found["feed-live", "parity of feed"]["colour"] == "green"
    assert found["feed-live", "slo of feed"]["colour"] == "red"
    assert "changed since" in str(found["feed-live", "launch of feed"]["why"])
    assert "stale: 120 days old" in str(found["feed-live", "responsible of feed"]["why"])
    assert found["pages-live", "parity of pages"]["why"] == "no evidence of parity of pages."
    page = client(place).get("/program.json").json()
    assert page["answer"] == "red"
    assert "2 of 18 gates are green" in page["heading"]
    path = page["facts"]["path"]
    assert path[0].endswith("-port")
    assert path[-1].endswith("-reclaimed")
    assert len({name.split("-")[0] for name in path}) == 1
    tasks = {row["name"]: row for row in page["tables"]["tasks"]["rows"]}
    assert tasks["one-log"]["slack"] is None
    assert tasks["one-log"]["latest"] == tasks["one-log"]["ends"]
    assert all(tasks[name]["slack"] == 0 for name in path if name in tasks)
    assert tasks["feed-ramp"]["slack"] > 0
    assert tasks["feed-ramp"]["latest"] > tasks["feed-ramp"]["ends"]
    heard = {row["of"] if "of" in row else row["what"]: row["to"] for row in page["tables"]["blockers"]["rows"]}
    assert heard["blockers.no-gpus"] == "lead"
    text = client(place).get("/program").text
    assert "groups needs a second look at small creators" in text
    assert text.count("<figure") == 2


def test_a_csv_of_the_program_holds_each_gate(place):
    made_desks.fill_program(place)
    rows = list(csv.DictReader(io.StringIO(client(place).get("/program.csv?table=gates").text)))
    assert {row["colour"] for row in rows} == {"green", "grey", "red"}
    assert len(rows) == 18


def test_tampered_evidence_leaves_no_gate_green_and_is_said(place):
    made_desks.fill_program(place)
    file = records_file(place)
    file.write_bytes(file.read_bytes().replace(b'"value":0.95', b'"value":1.00'))
    assert {row["colour"] for row in gates(place).values()} == {"grey"}
    text = client(place).get("/program").text
    assert "The evidence is not as it was written" in text
    assert "records.jsonl:6 was edited" in text


def test_a_plan_that_cannot_be_meant_is_a_message(place):
    (place.folder / "program.toml").write_text("[program]\nname = 3\n")
    answer = client(place).get("/program")
    assert answer.status_code == 400
    assert "program-003" in answer.text


def test_without_a_comparison_the_page_names_the_command(place):
    made_desks.fill_program(place)
    place.evidence("program_moved").unlink()
    assert "mainstem program moved --since REV" in client(place).get("/program").text


def test_capacity_is_told_whole(place):
    made_desks.fill_capacity(place)
    page = client(place).get("/capacity.json").json()
    assert page["answer"] == "too small"
    assert "pool of inference" in page["heading"]
    weeks = page["tables"]["weeks-inference"]["rows"]
    assert len(weeks) == 104
    assert all(week["p10"] <= week["p50"] <= week["p90"] for week in weeks)
    assert {week["pool"] for week in weeks} == {270.0, 420.0}
    assert page["tables"]["ledger"]["rows"][0]["verified"] == 440.0
    assert page["facts"]["calibration"]["state"] == "in date"
    told = page["tables"]["stacks"]["rows"]
    assert (len(told), told[0]["told"], told[0]["measured"]) == (12, 208.0, 200.0)
    assert page["tables"]["unified-saves"]["rows"][0]["points"] == pytest.approx(-2.0)
    assert page["tables"]["footprint"]["rows"][2]["need"] == "machines"
    assert client(place).get("/capacity.csv?table=weeks-data").text.count("\r\n") == 105


def test_constants_expire_on_the_page(place):
    made_desks.fill_capacity(place, date(2026, 9, 1))
    on_the_day, after = (told(capacity_picture(place, day)) for day in (date(2026, 9, 1), date(2026, 9, 2)))
    assert (on_the_day.facts["calibration"]["state"], after.facts["calibration"]["state"]) == ("in date", "expired")
    assert after.facts["calibration"]["days_left"] == -1
    shown = [{row["state"] for row in one.table("calibration").rows} for one in (on_the_day, after)]
    assert shown == [{"in date"}, {"expired"}]


def test_what_is_broken_is_told_in_its_place_and_the_rest_is_shown(place):
    made_desks.fill_capacity(place)
    ledger = place.folder / "savings.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b"440", b"999", 1))
    (place.folder / "capacity.toml").write_text("weeks = 'many'")
    place.write_evidence("capacity_stacks", {"told": 3})
    text = client(place).get("/capacity").text
    assert "evidence/capacity_stacks.json cannot be used" in text
    assert "savings.jsonl cannot be used" in text
    assert "capacity.toml cannot be used" in text
    assert "A made processor" in text
    assert "No transition is planned" in text
