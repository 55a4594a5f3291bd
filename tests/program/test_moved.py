from __future__ import annotations

import subprocess

import pytest
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.lint import lint
from mainstem.program.moved import peak_use, program_at, what_moved
from mainstem.program.plan_file import parse_program

CHANGE = '[changes.c1]\non = 2026-01-12\nowner = "ana"\nwhy = "logs are late"\nmoves = ["schema"]\n'
LATER = SMALL.replace("[4, 5, 9]", "[8, 9, 12]").replace("frozen = true\n", "") + CHANGE


def test_nothing_moved_where_nothing_changed():
    moved = what_moved(parse_program(SMALL), parse_program(SMALL), worlds=200)
    assert moved.edits == moved.moves == ()


def test_what_moved_by_whom_and_why():
    was = parse_program(SMALL.replace("frozen = true\n", ""))
    moved = what_moved(was, parse_program(LATER), worlds=2_000)
    (edit,) = [one for one in moved.edits if one.record == "tasks.schema"]
    assert (edit.field, edit.who, edit.why) == ("duration", "ana", "logs are late")
    assert {one.record for one in moved.edits} == {"tasks.schema", "changes.c1"}
    (landing,) = [one for one in moved.moves if one.what == "milestones.feed P80"]
    assert 2 <= landing.by <= 9
    assert landing.unit == "days"


def test_a_reason_that_was_given_before_is_not_given_again():
    was = parse_program(SMALL + CHANGE)
    now = parse_program((SMALL + CHANGE).replace("[4, 5, 9]", "[4, 6, 9]"))
    (edit,) = what_moved(was, now, worlds=100).edits
    assert (edit.who, edit.why) == ("", "")


def test_the_peak_of_a_pool_moves_too():
    was = parse_program(SMALL)
    now = parse_program(SMALL.replace('after = ["schema+1"]', 'after = ["schema+12"]'))
    assert peak_use(was) == {"gpu": 10}
    (peak,) = [one for one in what_moved(was, now, worlds=100).moves if one.what.startswith("pools")]
    assert (peak.was, peak.now, peak.by, peak.unit) == ("10", "6", -4, "GPU")


def test_any_two_revisions(tmp_path):
    def git(*words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "program.toml").write_text(SMALL)
    git("add", ".")
    git("commit", "-qm", "one")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "changes.toml").write_text(CHANGE)
    (tmp_path / "program.toml").write_text(LATER.replace(CHANGE, ""))
    git("add", ".")
    git("commit", "-qm", "two")
    assert program_at(tmp_path, "HEAD~1") == parse_program(SMALL)
    assert program_at(tmp_path, "HEAD") == parse_program(LATER)
    with pytest.raises(ProgramError) as caught:
        program_at(tmp_path, "nowhere")
    assert caught.value.code == "program-030"


def faulty(number: int) -> str:
    task = '[tasks.extra]\nowner = "ana"\nduration = [4]\nafter = ["schema"]\n'
    return {
        1: SMALL + '[tasks.extra]\nowner = "ana"\nduration = [4]\n',
        2: SMALL.replace("schema+1", "schema-1"),
        3: SMALL,
        5: SMALL + task + "not_before = 2026-02-01\n",
        6: SMALL + task + '[tasks.long]\nowner="ana"\nduration = [60]\nafter = ["schema"]\n',
        7: SMALL.replace("2026-02-06", "2026-01-20"),
        8: SMALL.replace("[3, 4, 6]", "[30, 50, 70]"),
        9: SMALL.replace('start = "2026-01-05"', 'start = "2026-01-05"\nas_of = "2026-01-06"').replace(
            "[3, 4, 6]", "[3, 4, 6]\nstarted = 2026-01-08"
        ),
        10: SMALL.replace('owner = "bo"\nduration = [3', "duration = [3"),
    }[number]


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7, 8, 9, 10])
def test_a_planted_defect_is_found(number):
    found = {one.number: one for one in lint(parse_program(faulty(number)))}
    assert len(found) == 14
    assert not found[number].passed, found[number].sentence


def test_a_sound_plan_passes_and_what_is_not_known_is_said():
    text = SMALL.replace("schema+1", "schema").replace("frozen = true\n", "")
    found = {one.number: one for one in lint(parse_program(text))}
    assert [n for n in found if not found[n].passed] == [11, 13, 14]
    assert "no baseline" in found[13].sentence


def test_a_plan_that_fell_behind_its_baseline():
    was = parse_program(SMALL)
    text = LATER.replace('start = "2026-01-05"', 'start = "2026-01-05"\nas_of = "2026-02-03"')
    found = {one.number: one for one in lint(parse_program(text), was)}
    assert not any(found[n].passed for n in (11, 13, 14))
    assert set(found[11].records) == {"backfill", "model", "schema"}
