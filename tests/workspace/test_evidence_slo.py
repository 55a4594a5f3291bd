"""An OpenSLO file measured on a real small log of served answers, and what is refused because the log cannot tell it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import ProgramError
from mainstem.base.settings import parse_settings
from mainstem.cli.verbs import app
from mainstem.data.records import Impression
from mainstem.program.openslo_bound import bound_objectives
from mainstem.program.plan_file import read_program
from mainstem.store.event_log import IMPRESSION, EventLog
from mainstem.workspace.evidence_log import held_evidence
from mainstem.workspace.evidence_slo import SloMeasured, measure_slo, slo_measured
from mainstem.workspace.layout import Workspace
from mainstem.workspace.transition_written import bundled

pytest.importorskip("yaml")

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SLO = """apiVersion: openslo/v1
kind: SLO
metadata: {name: feed-fast}
spec:
  service: ranker
  budgetingMethod: Occurrences
  timeWindow: [{duration: 1d, isRolling: true}]
  indicator:
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: mainstem, spec: {surface: feed, below_ms: 150, ranked: true}}}
        total: {metricSource: {type: mainstem, spec: {surface: feed}}}
  objectives: [{target: 0.9}]
"""
OLD = """apiVersion: openslo/v1alpha
kind: SLO
metadata: {name: feed-fast}
spec:
  budgetingMethod: Occurrences
  timeWindows: [{unit: Day, count: 1, isRolling: true}]
  objectives:
    - target: 0.9
      ratioMetrics:
        good: {source: mainstem, queryType: answers, query: surface=feed below_ms=150 ranked=true}
        total: {source: mainstem, queryType: answers, query: surface=feed}
"""
THRESHOLD = """apiVersion: openslo/v1
kind: SLI
metadata: {name: times}
spec: {thresholdMetric: {metricSource: {type: mainstem, spec: {surface: feed}}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: feed}
spec:
  indicatorRef: times
  budgetingMethod: Occurrences
  timeWindow: [{duration: 24h, isRolling: true}]
  objectives:
    - {displayName: half, op: lt, value: 100, target: 0.5}
    - {displayName: most, op: lte, value: 200, target: 0.9}
"""


def answer(at: datetime, ms: float | None = 50.0, surface: str = "feed", **more) -> Impression:
    timed = {} if ms is None else {"total": ms}
    told = {"request_id": 1, "user_id": 1, "stack": "unified", "item_ids": b""} | more
    return Impression(surface=surface, time_ms=int(at.timestamp() * 1e3), timings_ms=timed, **told)


def day(**slow) -> list[Impression]:
    """One answer each ten minutes of the last day, as asked for."""
    return [answer(NOW - timedelta(minutes=10 * at), **slow) for at in range(144)]


def platform(folder: Path, answers: list[Impression], toml: str = "") -> Workspace:
    with EventLog(folder / "live" / "events.sqlite") as log:
        log.append(answers, IMPRESSION)
    return Workspace(folder, parse_settings(toml))


def measured(folder: Path, answers: list[Impression], text: str = SLO, toml: str = "", **more) -> SloMeasured:
    (folder / "slo.yaml").write_text(text)
    return measure_slo(platform(folder, answers, toml), folder / "slo.yaml", now=NOW, **more)[0]


@pytest.mark.parametrize("text", [SLO, OLD])
def test_the_share_is_of_answers_in_the_window_that_were_fast_and_ranked(tmp_path, text):
    answers = [
        *(answer(NOW - timedelta(days=1, minutes=at), 900.0) for at in range(50)),  # before the window
        *day()[:130],
        *(answer(NOW - timedelta(minutes=1300 + 10 * at), 150.0) for at in range(8)),  # not under 150
        *(answer(NOW - timedelta(minutes=1380 + 10 * at), stack="fallback") for at in range(5)),
        *(answer(NOW - timedelta(minutes=at), 900.0, surface="groups") for at in range(50)),
    ]
    found = measured(tmp_path, answers, text)
    assert (found.answers, found.good) == (143, 130)
    assert found.share == 130 / 143
    assert found.met
    assert found.budget_left == pytest.approx(1 - (13 / 143) / 0.1)


def test_several_objectives_over_one_threshold(tmp_path):
    (tmp_path / "slo.yaml").write_text(THRESHOLD)
    place = platform(tmp_path, [*day(ms=200.0)[:80], *day(ms=99.0)[80:]])
    half, most = measure_slo(place, tmp_path / "slo.yaml", now=NOW)
    assert (half.objective.about, half.met, half.good) == ("feed/half", False, 64)
    assert (most.objective.about, most.met, most.good) == ("feed/most", True, 144)
    assert half.budget_left < 0


def test_slices_are_judged_each_by_itself(tmp_path):
    text = SLO.replace("Occurrences", "Timeslices").replace(
        "{target: 0.9}", "{target: 0.9, timeSliceTarget: 0.9, timeSliceWindow: 1h}"
    )
    answers = [*day(ms=500.0)[:6], *day()[6:]]  # the last hour is slow
    found = measured(tmp_path, answers, text, least=10)
    assert (found.slices, found.share) == (24, 23 / 24)
    mean = bound_objectives(text.replace("Timeslices", "RatioTimeslices"), "f")[0]
    assert mean.method == "RatioTimeslices"


def test_an_arm_is_measured_by_itself(tmp_path):
    text = SLO.replace("surface: feed", "surface: feed, arm: one.new")
    found = measured(tmp_path, [*day(ms=900.0, arm="one.old"), *day(arm="one.new")], text)
    assert (found.answers, found.share) == (144, 1.0)


@pytest.mark.parametrize(
    ("answers", "more", "code", "told"),
    [
        (day()[:40], {}, "program-113", "found no answer for feed-fast from 2026-11-22T12:00Z to 2026-11-23T05:30Z"),
        ([*day()[:30], *day()[60:]], {}, "program-113", "to 2026-11-23T07:10Z"),
        (day()[20:], {}, "program-113", "to 2026-11-23T12:00Z"),
        ([], {}, "program-113", "found no answer"),
        (day()[::4], {}, "program-112", "found 36 answers for feed-fast, expected at least 50"),
        (day(), {"least": 200}, "program-112", "at least 200"),
        ([*day(), answer(NOW, None)], {}, "program-114", "found 1 of 145 answers for feed-fast without their time"),
    ],
)
def test_what_the_log_cannot_tell_is_refused(tmp_path, answers, more, code, told):
    with pytest.raises(ProgramError, match=re.escape(told)) as caught:
        measured(tmp_path, answers, **more)
    assert caught.value.code == code


def test_a_surface_that_is_not_served_is_refused(tmp_path):
    with pytest.raises(ProgramError, match="'fed'") as caught:
        measured(tmp_path, day(), SLO.replace("surface: feed", "surface: fed"))
    assert caught.value.code == "program-111"
    with pytest.raises(ProgramError, match="cannot be read"):
        measure_slo(Workspace(tmp_path, parse_settings("")), tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("type: mainstem, spec: {surface: feed}", "type: Prometheus, spec: {query: x}", "is measured by 'Prometheus'"),
        ("ranked: true", "rankd: true", "has the word 'rankd'"),
        ("surface: feed, below_ms: 150", "surface: groups, below_ms: 150", "ask about other answers"),
        (", below_ms: 150, ranked: true", "", "nothing says what a good answer is"),
        ("below_ms: 150", "below_ms: fast", "below_ms is 'fast'"),
        ("{surface: feed}", "{arm: new}", "names no surface"),
        ("good:", "bad:", "lacks good or total"),
        ("ratioMetric", "rawMetric", "has no one metric"),
        ("duration: 1d", "duration: 1M", "the time window is"),
        ("isRolling: true", "isRolling: false", "the time window is"),
        ("Occurrences", "Guess", "the budgetingMethod is 'Guess'"),
        ("Occurrences", "Timeslices", "found timeSliceWindow None"),
        ("  indicator:", "  indicatorRef: x\n  indicator:", "names the indicator 'x'"),
    ],
)
def test_what_is_not_bound_to_our_log_is_refused(was, now, told):
    with pytest.raises(ProgramError, match=re.escape(told)) as caught:
        bound_objectives(SLO.replace(was, now), "f")
    assert caught.value.code == "program-110"


def test_a_threshold_without_a_limit_is_refused():
    with pytest.raises(ProgramError, match="found op 'gt'"):
        bound_objectives(THRESHOLD.replace("op: lte", "op: gt"), "f")


def test_a_record_is_as_old_as_what_it_was_measured_on(tmp_path):
    answers = [answer(NOW - timedelta(days=9, minutes=10 * at)) for at in range(150)]
    found = measured(tmp_path, answers, to_newest=True)
    assert (found.at, found.ends) == (NOW - timedelta(days=9), NOW - timedelta(days=9))


def test_a_log_with_a_clock_of_its_own_is_as_old_as_its_last_write(tmp_path):
    answers = [answer(NOW - timedelta(days=900, minutes=10 * at)) for at in range(150)]
    found = measured(tmp_path, answers, toml='[serve]\nclock = "log"\n')
    assert found.ends == NOW - timedelta(days=900)
    written = (tmp_path / "live" / "events.sqlite").stat().st_mtime
    assert abs(min(NOW.timestamp(), written) - found.at.timestamp()) < 5


PLAN = """[program]
name = "P"
start = 2026-11-02
[tasks.t]
duration = [2]
[milestones.m]
after = ["t"]
gates = [{ kind = "slo", openslo = "slo.yaml", max_age_days = 2 }]
"""


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_a_milestone_turns_by_what_was_served(tmp_path):
    now = datetime.now(UTC)
    (tmp_path / "mainstem.toml").write_text("")
    (tmp_path / "program.toml").write_text(PLAN.replace("[program]", f"[program]\nas_of = {now.date()}"))
    (tmp_path / "slo.yaml").write_text(SLO)
    place = platform(tmp_path, [answer(now - timedelta(minutes=10 * at)) for at in range(144)])
    gates = ("program", "gates", str(tmp_path), "-w", str(tmp_path))
    assert run(*gates)[0] == 3
    code, told = run("evidence", "slo", str(tmp_path / "slo.yaml"), "-w", str(tmp_path))
    assert (code, "slo-1: slo of feed-fast is 1, met: 144 of 144" in told) == (0, True)
    assert run(*gates)[0] == 0
    with EventLog(place.live / "events.sqlite") as log:
        log.append([answer(now - timedelta(seconds=at), 400.0) for at in range(20)], IMPRESSION)
    code, told = run("evidence", "slo", str(tmp_path / "slo.yaml"), "-w", str(tmp_path), "--json")
    (record,) = json.loads(told)
    assert (code, record["met"], record["value"]) == (3, False, 144 / 164)
    assert run(*gates)[0] == 3
    (tmp_path / "slo.yaml").write_text(SLO.replace("150", "500"))  # kept by another promise: measured again, or grey
    assert set(held_evidence(place).doubts) == {"slo-1", "slo-2"}
    assert run("evidence", "slo", str(tmp_path / "slo.yaml"), "-w", str(tmp_path))[0] == 0
    assert run(*gates)[0] == 0


def test_what_is_refused_leaves_no_record(tmp_path):
    place = platform(tmp_path, day()[:40])
    (tmp_path / "slo.yaml").write_text(SLO)
    with pytest.raises(ProgramError):
        slo_measured(place, tmp_path / "slo.yaml", measure_slo(place, tmp_path / "slo.yaml", now=NOW))
    assert not held_evidence(place).records


def test_shares_are_as_counted_one_by_one(tmp_path):
    draw = np.random.default_rng(3)
    took = draw.uniform(0.0, 300.0, 144)
    found = measured(tmp_path, [answer(NOW - timedelta(minutes=10 * at), float(ms)) for at, ms in enumerate(took)])
    assert found.good == sum(ms < 150.0 for ms in took)


def test_the_bundled_promises_say_what_the_gates_of_the_migration_ask_for(tmp_path):
    bundled(tmp_path)
    program = read_program(tmp_path)
    for surface in ("feed", "groups", "pages"):
        (gate,) = [one for one in program.milestones[f"{surface}-live"].gates if one.kind == "slo"]
        (one,) = bound_objectives((tmp_path / "slo" / f"{surface}.yaml").read_text(), surface)
        assert (one.about, one.target, one.surface) == (gate.about, gate.at_least, surface)
