from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.capacity_frauds import NET, honest
from typer.testing import CliRunner

from mainstem.base.settings import parse_settings
from mainstem.cli.capacity import app
from mainstem.data.manifest import Manifest, write_manifest
from mainstem.evaluate.risk import FORMAT, Risk, RiskAssessment, judged
from mainstem.workspace.evidence_desks import (
    calibration_measured,
    drill_measured,
    parity_measured,
    risks_measured,
    stacks_measured,
)
from mainstem.workspace.evidence_log import held_evidence, records_file
from mainstem.workspace.evidence_risks import unmet_risks
from mainstem.workspace.layout import Workspace
from mainstem.workspace.registry import CURRENT, RECORD, VERSIONS

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
RISKS = (
    judged("calibration", "some are told wrong chances", "the worst slice", 0.05, "at most", 0.1),
    judged("order", "some get a worse order", "the worst gap", 0.3, "at most", 0.1, "surface: pages"),
    judged("hides", "viewers are shown what they hide", "hides", None, "at most", 1.1),
)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path, parse_settings("[surfaces.feed]\n[surfaces.pages]\n"))
    place.log.mkdir()
    write_manifest(place.log, Manifest(name="one", loader="test", sha256="ab" * 32))
    return place


def assessed(place: Workspace, risks: tuple[Risk, ...] = RISKS, **more: Any) -> RiskAssessment:
    told = {"made": NOW.isoformat(), "version": "1", "log": "ab" * 32, "split": "s", "model": "", "rows": 9}
    found = RiskAssessment(format=FORMAT, risks=risks, **(told | more))
    place.write_evidence("risk", found)
    risks_measured(place, found)
    return found


def values(place: Workspace, kind: str) -> dict[str, float]:
    return {one.about: one.value for one in held_evidence(place).records if one.kind == kind}


def verified(sections: tuple[bool | None, ...] = (), passed: bool = True, ratio: float = 1.0) -> Any:
    stacks = [
        SimpleNamespace(stack=name, passed=passed, match_ratio=ratio, sentence=f"{name} told")
        for name in ("content-first", "unified")
    ]
    return SimpleNamespace(
        stacks=stacks, sections=[SimpleNamespace(ok=ok) for ok in sections], made_at_ms=int(NOW.timestamp() * 1000),
        source="real", sentence="Passed.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "feed", "stack"),
    [
        (verified(), 1.0, 1.0),
        (verified((True, None)), 1.0, 1.0),
        (verified((False,)), 0.0, 1.0),
        (verified(passed=False, ratio=0.97), 0.97, 0.97),
        (verified(passed=False), 0.0, 0.0),
    ],
)
def test_parity_of_a_surface_is_the_share_of_cells_and_nothing_when_slates_differ(place, verdict, feed, stack):
    place.write_evidence("feature_parity", {})
    parity_measured(place, verdict, whole=True)
    told = values(place, "parity")
    assert told.keys() == {"", "feed", "pages", "groups", "content-first", "unified"} & told.keys()
    assert (told[""], told["feed"], told["unified"], told["content-first"]) == (feed, feed, stack, stack)
    assert held_evidence(place).records[0].at == NOW


def test_parity_of_one_stack_says_nothing_of_the_whole(place):
    place.write_evidence("feature_parity", {})
    verdict = verified()
    verdict.stacks = verdict.stacks[:1]
    parity_measured(place, verdict, whole=False)
    assert values(place, "parity") == {"content-first": 1.0}


def test_a_drill_of_one_fault_is_no_drill_of_all(place):
    place.write_evidence("feature_drill", {})
    found: Any = [SimpleNamespace(fault="late", right=True), SimpleNamespace(fault="scaled", right=False)]
    drill_measured(place, found, whole=True, at=NOW)
    drill_measured(place, found[:1], whole=False, at=NOW)
    assert values(place, "drill") == {"": 0.5, "late": 1.0}


def test_risks_are_records_by_name_and_of_each_surface(place):
    assessed(place)
    assert values(place, "risk") == {"calibration": 1.0, "order": 0.0, "hides": 0.0}
    assert values(place, "responsible")["feed"] == 0.0
    assessed(place, RISKS[:1] + RISKS[2:])
    assert values(place, "responsible")["feed"] == 1.0


def test_which_risks_block_a_launch(place):
    assert unmet_risks(place, []) == ()
    (none,) = unmet_risks(place, ["calibration"], now=NOW)
    assert "evidence-010" in none.why
    assessed(place)
    assert unmet_risks(place, ["calibration"], now=NOW) == ()
    told = {one.name: one.why for one in unmet_risks(place, ["order", "calibration", "hides", "odrer"], now=NOW)}
    assert told.keys() == {"order", "hides", "odrer"}
    assert "found 0.3, declared at most 0.1 (surface: pages)" in told["order"]
    assert "not measured" in told["hides"]
    assert "did you mean 'order'" in told["odrer"]


def test_an_assessment_that_is_old_foreign_or_edited_blocks_every_risk(place):
    assessed(place)
    for late, days in ((8, 7.0), (2, 1.0)):
        (old,) = unmet_risks(place, ["calibration"], now=NOW + dt.timedelta(days=late), most_age_days=days)
        assert "evidence-012" in old.why
    text = place.evidence("risk").read_text()
    place.evidence("risk").write_text(text.replace('"not met"', '"met"'))
    (edited,) = unmet_risks(place, ["order"], now=NOW)
    assert "changed since" in edited.why
    assessed(place, log="cd" * 32)
    assert "evidence-012" in unmet_risks(place, ["calibration"], now=NOW)[0].why
    assessed(place, model="0007-other")
    assert unmet_risks(place, ["calibration"], now=NOW) == ()
    serves = place.folder / "models" / "unified" / VERSIONS / "0008-now" / RECORD
    serves.parent.mkdir(parents=True)
    serves.write_text("{}")
    (place.folder / "models" / "unified" / CURRENT).write_text("0008-now")
    assert "evidence-012" in unmet_risks(place, ["calibration"], now=NOW)[0].why
    assessed(place, model="0008-now")
    assert unmet_risks(place, ["calibration"], now=NOW) == ()


def test_an_assessment_that_nobody_recorded_counts_for_nothing(place):
    found = assessed(place)
    for one in (records_file(place), records_file(place).with_suffix(".head")):
        one.unlink()
    place.write_evidence("risk", found)
    assert "evidence-025" in unmet_risks(place, ["calibration"], now=NOW)[0].why


def test_calibration_is_recorded_by_kind_of_work(place):
    fitted = SimpleNamespace(error_p50=0.04, error_p90=0.1, held_out=12)
    file = place.folder / "capacity" / "constants.json"
    file.parent.mkdir()
    file.write_text("{}")
    calibration_measured(place, SimpleNamespace(fitted={"ranker": fitted}, expires=NOW.date()), file, NOW)  # type: ignore[arg-type]
    (one,) = held_evidence(place).records
    assert (one.kind, one.about, one.value, one.file) == ("calibration", "ranker", 0.04, "capacity/constants.json")
    assert (one.log, one.model) == ("", "")


def test_what_was_told_of_the_own_stacks_is_recorded(place):
    place.write_evidence("capacity_stacks", {})
    told: Any = SimpleNamespace(median=0.06, sentence="median error 6.0%")
    stacks_measured(place, told, NOW)
    assert values(place, "calibration") == {"stacks": 0.06}


def test_what_is_verified_of_a_surface_is_evidence_of_the_workspace_the_ledger_lies_in(place):
    (place.folder / "mainstem.toml").write_text("")
    ledger = place.folder / "savings.jsonl"

    def recorded(kind: str, claim: str, by: str, day: str, body: dict[str, Any]) -> None:
        words = ["record", str(ledger), kind, claim, "--by", by, "--day", day, "--body", json.dumps(body)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output + str(done.exception)

    for entry in honest():
        recorded(*entry)
    (one,) = held_evidence(place).records
    assert (one.kind, one.about, one.value, one.file) == ("capacity", "feed", NET, "savings.jsonl")
    recorded("idea", "S2", "ann", "2026-06-06", {"title": "fewer rows", "scope": "pages/log"})
    assert held_evidence(place).doubts == {}
    void = {"receipt": "R-1", "reason": "taken back"}
    recorded("receipt void", "S1", "bob", "2026-06-07", void)
    assert held_evidence(place).records[-1].value == 0.0
    before = ledger.read_bytes()
    records_file(place).write_bytes(records_file(place).read_bytes().replace(b'"value":440.0', b'"value":999.0'))
    with pytest.raises(AssertionError, match="was edited"):
        recorded("idea", "S3", "ann", "2026-06-08", {"title": "fewer rows", "scope": "groups/log"})
    assert ledger.read_bytes() == before
