from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.network import network_of
from mainstem.program.plan_file import parse_program, program_schema, read_program, write_program


def refused(old: str, new: str) -> ProgramError:
    assert old in SMALL
    with pytest.raises(ProgramError) as caught:
        network_of(parse_program(SMALL.replace(old, new)))
    return caught.value


def test_a_plan_is_read_and_written_in_one_order():
    program = parse_program(SMALL)
    text = write_program(program)
    assert parse_program(text) == program
    assert write_program(parse_program(text)) == text
    tables = re.split(r"\n(?=\[\w+\.)", SMALL.strip())
    shuffled = "\n".join([tables[0], *reversed(tables[1:])])
    assert write_program(parse_program(shuffled)) == text


@settings(max_examples=25)
@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True), st.text(max_size=20), max_size=5))
def test_any_text_survives_the_round_trip(names):
    lines = "[program]\nname = 'x'\nstart = 2026-01-05\n"
    program = parse_program(lines)
    given_tasks = {name: {"duration": [1], "name": text} for name, text in names.items()}
    import msgspec

    made = msgspec.convert(msgspec.to_builtins(program) | {"tasks": given_tasks}, type(program))
    assert parse_program(write_program(made)) == made


@pytest.mark.parametrize(
    ("old", "new", "code", "told"),
    [
        ("[program]\n", "[program\n", "program-001", "TOML"),
        ("workstream = ", "workstrem = ", "program-002", "tasks.schema.workstrem"),
        ("[pools.gpu]", "[pool.gpu]", "program-002", "[pool]"),
        ("chance = 0.3", 'chance = "high"', "program-003", "chance"),
        ("[risks.late-logs]", "[risks.schema]", "program-004", "[tasks.schema]"),
        ("[risks.late-logs]", '[risks."late logs"]', "program-004", "late logs"),
        ('"schema+1"', '"shema+1"', "program-005", "'shema'"),
        ("[tasks.schema]\n", '[tasks.schema]\nafter = ["model"]\n', "program-006", "schema waits for model waits for"),
        ("[4, 5, 9]", "[5, 4, 9]", "program-007", "[5"),
        ("[4, 5, 9]", "[-1, 5, 9]", "program-007", "-1"),
        ("[4, 5, 9]", "[4, 9]", "program-007", "expected"),
        ("[3, 4, 6]\n", "[3, 4, 6]\nstarted = 2026-02-02\ndone = 2026-02-01\n", "program-008", "tasks.model"),
        ("chance = 0.3", "chance = 1.3", "program-009", "risks.late-logs.chance"),
        ("max_age_days = 7", "max_age_days = nan", "program-009", "max_age_days of parity"),
        ("gpu = 6", "gpu = nan", "program-010", "needs nan"),
        ("[4, 5, 9]", "[4, 5, inf]", "program-007", "inf"),
        ("[3, 4, 6]\n", "[3, 4, 6]\nstarted = 2025-02-02\n", "program-008", "program's start"),
        ("frozen = true\n", "done = 2025-02-02\n", "program-008", "feed"),
        ('after = ["schema"]', 'after = ["backfill"]', "program-006", "backfill waits for backfill"),
        ("gpu = 6", "gpu = 9", "program-010", "needs 9 of gpu, which has 8"),
        ('["1w", "2w", "4w"]', '["1w", "2w", "20d"]', "program-011", "mixes units"),
        ('["1w", "2w", "4w"]', '["1m"]', "program-011", "'1m'"),
    ],
)
def test_what_cannot_be_meant_is_refused(old, new, code, told):
    error = refused(old, new)
    assert error.code == code
    assert told in error.message
    assert error.hint


def test_a_near_miss_is_named():
    assert "'schema'" in refused('"schema+1"', '"shema+1"').hint
    assert "'workstream'" in refused("workstream = ", "workstrem = ").hint


def test_a_folder_of_files_is_one_plan(tmp_path):
    head, rest = SMALL.split("[owners.ana]")
    (tmp_path / "program.toml").write_text(head)
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "rest.toml").write_text("[owners.ana]" + rest)
    assert read_program(tmp_path) == parse_program(SMALL)
    (tmp_path / "program" / "twice.toml").write_text("[tasks.schema]\nduration = [1]\n")
    with pytest.raises(ProgramError, match=r"both hold \[tasks.schema\]"):
        read_program(tmp_path)
    with pytest.raises(ProgramError, match="found no"):
        read_program(tmp_path / "elsewhere")


def test_the_schema_names_every_table():
    schema = program_schema()
    assert {"Task", "Milestone", "Gate", "Risk"} <= schema["$defs"].keys()
