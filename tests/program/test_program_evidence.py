from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.evidence import (
    Evidence,
    escalations,
    gate_states,
    milestone_colours,
    read_evidence,
    waiting_on,
)
from mainstem.program.plan_file import parse_program

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TODAY = date(2026, 1, 26)
PLAN = parse_program(
    SMALL + '[blockers.quota]\nblocks = ["backfill"]\nowner = "ana"\nsince = 2026-01-20\nescalate_after_days = 3\n'
)


def noon(days_ago: float) -> datetime:
    return datetime.combine(TODAY, time(12), UTC) - timedelta(days=days_ago)


def shown(days_ago: float, value: float = 1.0, kind: str = "parity", about: str = "feed") -> Evidence:
    return Evidence(id="p1", kind=kind, about=about, value=value, at=noon(days_ago))


@pytest.mark.parametrize(
    ("evidence", "colour"),
    [
        ([shown(1)], "green"),
        ([shown(7)], "green"),
        ([shown(8)], "grey"),
        ([shown(1, 0.5)], "red"),
        ([shown(1, float("nan"))], "red"),
        ([shown(-1)], "grey"),
        ([shown(1, kind="launch")], "grey"),
        ([shown(1, about="pages")], "grey"),
        ([], "grey"),
    ],
)
def test_only_young_evidence_within_its_bounds_is_green(evidence, colour):
    (state,) = gate_states(PLAN, evidence, TODAY)
    assert state.colour == colour
    assert milestone_colours([state]) == {"feed": colour}
    assert state.owner == PLAN.owner_of("feed")


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-3, 30), st.floats(0, 2)), max_size=6))
def test_stale_is_never_green(given_records):
    records = [
        Evidence(id=f"r{i}", kind="parity", about="feed", value=value, at=noon(age))
        for i, (age, value) in enumerate(given_records)
    ]
    (state,) = gate_states(PLAN, records, TODAY)
    known = [age for age, _ in given_records if age >= 0]
    if not known or min(known) > 7:
        assert state.colour == "grey"
    if state.colour == "green":
        assert state.value is not None
        assert state.value >= 0.99


def test_a_newer_red_outweighs_an_older_green():
    old, new = shown(3), msgspec.structs.replace(shown(1, 0.2), id="p2")
    assert gate_states(PLAN, [new, old], TODAY)[0].colour == "red"


def test_a_record_in_doubt_is_grey_and_no_older_one_stands_in_for_it():
    old, new = shown(3), msgspec.structs.replace(shown(1), id="p2")
    assert gate_states(PLAN, [old, new], TODAY)[0].colour == "green"
    (state,) = gate_states(PLAN, [old, new], TODAY, {"p2": "parity.json changed since"})
    assert (state.colour, state.record) == ("grey", "p2")
    assert "changed since" in state.sentence


def test_of_equal_times_the_later_record_counts():
    good, bad = shown(1), msgspec.structs.replace(shown(1, 0.2), id="a-first-by-name")
    assert gate_states(PLAN, [good, bad], TODAY)[0].colour == "red"
    assert gate_states(PLAN, [bad, good], TODAY)[0].colour == "green"


def test_a_gate_may_ask_for_a_real_log():
    made = msgspec.structs.replace(shown(1), made=True)
    (state,) = gate_states(PLAN, [made], TODAY)
    assert state.colour == "green"
    assert "made world" in state.sentence
    asking = parse_program(SMALL.replace('kind = "parity"', 'kind = "parity", real = true'))
    assert gate_states(asking, [made], TODAY)[0].colour == "grey"
    assert gate_states(asking, [shown(1)], TODAY)[0].colour == "green"


def test_who_hears_of_a_blocker():
    (early,) = escalations(PLAN, [], date(2026, 1, 22))
    assert (early.owner, early.to, early.exposure) == ("ana", "ana", ("feed",))
    (late,) = escalations(PLAN, [], date(2026, 1, 23))
    assert late.to == "bo"
    assert escalations(PLAN, [], date(2026, 1, 19)) == []
    assert waiting_on(PLAN, ["schema"]) == ["backfill", "feed", "model"]


def test_a_grey_gate_is_heard_of_near_its_day():
    states = gate_states(PLAN, [], date(2026, 1, 22))
    assert not [one for one in escalations(PLAN, states, date(2026, 1, 22)) if one.what.startswith("milestones")]
    assert [one for one in escalations(PLAN, states, date(2026, 1, 23)) if one.what == "milestones.feed"]


def test_evidence_is_read_with_its_line(tmp_path):
    file = tmp_path / "evidence.jsonl"
    line = {"id": "a", "kind": "parity", "value": 1, "on": "2026-01-20"}
    file.write_text(json.dumps(line) + "\n\n")
    assert read_evidence(file)[0].value == 1
    for text, code, told in (
        (json.dumps(line) + "\n" + json.dumps(line), "program-041", ":2"),
        ('{"id": 3}', "program-040", ":1"),
    ):
        file.write_text(text)
        with pytest.raises(ProgramError, match=told) as caught:
            read_evidence(file)
        assert caught.value.code == code
    with pytest.raises(ProgramError, match="found no"):
        read_evidence(tmp_path / "none")


def test_thirty_faults_in_twelve_weeks_reach_their_owner_and_nothing_stale_is_green():
    from benchmarks.program_faults import replay

    for seed in (4, 5):
        found = replay(seed)
        assert (found.false_green, found.missed_green, found.wrong_owner, found.false_pages) == (0, 0, 0, 0)
        assert found.in_time >= 29
