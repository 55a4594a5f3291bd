from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mainstem.base.errors import EvidenceError
from mainstem.base.evidence import Evidence
from mainstem.base.settings import parse_settings
from mainstem.cli.program import app
from mainstem.data.manifest import Manifest, write_manifest
from mainstem.workspace.evidence_log import append_evidence, evidence_for, held_evidence, records_file
from mainstem.workspace.layout import Workspace

AT = datetime(2026, 1, 18, 12, tzinfo=UTC)
PLAN = """
[program]
name = "P"
start = 2026-01-05
as_of = 2026-01-20
[tasks.t]
duration = [2]
[milestones.m]
after = ["t"]
gates = [{ kind = "parity", about = "feed", at_least = 0.99, max_age_days = 7 }]
"""


def record(value: float = 1.0, kind: str = "parity", about: str = "feed", **more) -> Evidence:
    return Evidence(kind=kind, about=about, value=value, at=AT, **more)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, parse_settings(""))


def with_log(place: Workspace, *, made: bool) -> Workspace:
    place.log.mkdir(parents=True)
    write_manifest(place.log, Manifest(name="one", loader="test", made=made, sha256="ab" * 32))
    return place


def gates(place: Workspace, *more: str) -> tuple[int, str]:
    (place.folder / "program.toml").write_text(PLAN)
    done = CliRunner().invoke(app, ["gates", str(place.folder), "-w", str(place.folder), *more])
    return done.exit_code, done.output + str(done.exception or "")


def test_a_record_carries_what_it_is_judged_by(place):
    path = with_log(place, made=True).write_evidence("parity", {"passed": True})
    (one,) = append_evidence(place, record(file=str(path), source="mainstem parity verify"))
    assert (one.id, one.file, len(one.sha256)) == ("parity-1", "evidence/parity.json", 64)
    assert (one.log, one.made) == ("ab" * 32, True)
    assert one.version
    assert held_evidence(place).records == (one,)
    (other,) = append_evidence(place, record(kind="capacity"))
    assert (other.log, other.made, other.file) == ("", False, "")
    assert append_evidence(place) == ()


def test_of_a_real_log_nothing_is_called_made_but_what_says_so(place):
    with_log(place, made=False)
    plain, made = append_evidence(place, record(), record(made=True))
    assert (plain.made, made.made) == (False, True)


def test_a_record_rests_on_a_file_that_is_there(place):
    for told in (record(file="evidence/none.json"), record(file="mainstem.toml", file_bytes=99)):
        with pytest.raises(EvidenceError) as caught:
            append_evidence(place, told)
        assert caught.value.code == "evidence-024"
    assert not records_file(place).exists()


def test_gates_go_by_the_workspace_and_a_changed_file_is_grey(place):
    assert gates(place)[0] == 3
    path = place.write_evidence("parity", {"passed": True})
    append_evidence(place, record(file="evidence/parity.json"))
    code, told = gates(place)
    assert code == 0
    assert "green" in told
    path.write_text("{}")
    code, told = gates(place)
    assert code == 3
    assert "evidence/parity.json changed since" in told
    report = CliRunner().invoke(app, ["report", str(place.folder), "-w", str(place.folder)]).output
    assert "m is grey" in report
    path.unlink()
    assert "no longer there" in gates(place)[1]


def test_a_file_outside_the_workspace_that_only_grows_stays_green(place, tmp_path_factory):
    ledger = tmp_path_factory.mktemp("elsewhere") / "savings.jsonl"
    ledger.write_bytes(b"one\n")
    (one,) = append_evidence(place, record(file=str(ledger), file_bytes=4))
    assert Path(one.file).is_absolute()
    ledger.write_bytes(b"one\ntwo\n")
    assert gates(place)[0] == 0


def test_gates_find_tampering_and_tell_of_a_killed_writer(place):
    append_evidence(place, record(0.5), record(0.4))
    code, told = gates(place)
    assert code == 3
    assert "red" in told
    file = records_file(place)
    whole, head = file.read_bytes(), held_evidence(place).head
    assert f"2 records, head {head}" in told
    file.write_bytes(whole.replace(b'"value":0.4', b'"value":1.0'))
    code, told = gates(place)
    assert code == 1
    assert "records.jsonl:2 was edited" in told
    file.write_bytes(whole.splitlines(keepends=True)[0])
    assert "cut off" in gates(place)[1]
    file.write_bytes(whole + b'{"n":2')
    assert "6 bytes behind the last record" in gates(place)[1]
    append_evidence(place, record(1.0))
    assert gates(place, "--head", head)[0] == 0
    assert gates(place, "--head", "f" * 64)[0] == 1


def test_evidence_of_another_tool_or_workspace_can_be_named(place, tmp_path):
    line = {"id": "a", "kind": "parity", "about": "feed", "value": 1, "on": "2026-01-19"}
    outside = tmp_path / "evidence.jsonl"
    outside.write_text(json.dumps(line) + "\n")
    assert gates(place, "--evidence", str(outside))[0] == 0
    other = Workspace(tmp_path / "other", place.settings)
    other.write_evidence("parity", 1)
    append_evidence(other, record(file="evidence/parity.json"))
    assert gates(place, "--evidence", str(records_file(other)))[0] == 0
    assert "found no" in gates(place, "--evidence", str(tmp_path / "none" / "evidence" / "records.jsonl"))[1]
    held = evidence_for(place, outside)
    assert held.records[0].at == datetime(2026, 1, 19, tzinfo=UTC)
    assert held.head == ""
