from __future__ import annotations

from datetime import date

import pytest
from program_plans import SMALL

from mainstem.base.errors import ProgramError
from mainstem.program.critical_path import schedule_network, why_critical
from mainstem.program.network import calendar_of, network_of
from mainstem.program.plan_file import parse_program


def scheduled(text: str):
    program = parse_program(text)
    network = network_of(program)
    done = schedule_network(network)
    return program, {name: (done.start[i], done.finish[i], done.slack[i]) for i, name in enumerate(network.names)}, done


def test_dates_and_slack_by_hand():
    _, at, done = scheduled(SMALL.replace("frozen = true\n", ""))
    assert at["schema"] == (0, 5, 0)
    assert at["backfill"] == (5, 15, 0)
    assert at["model"] == (6, 10, 5)
    assert at["feed"] == (15, 15, 0)
    assert done.critical() == ["schema", "backfill", "feed"]


def test_holidays_count_and_a_freeze_pushes_the_landing():
    program, at, _ = scheduled(SMALL)
    calendar = calendar_of(program)
    assert calendar.ends_on(15) == date(2026, 1, 26)  # the 19th is a holiday, so the freeze catches it
    assert calendar.ends_on(at["feed"][1]) == date(2026, 2, 2)
    assert at["backfill"][2] == pytest.approx(5)  # it may be late until the freeze ends


def test_what_is_done_stays_and_what_waits_moves():
    text = SMALL.replace("duration = [4, 5, 9]\n", "duration = [4, 5, 9]\nstarted = 2026-01-05\ndone = 2026-01-13\n")
    _, at, done = scheduled(text.replace("frozen = true\n", ""))
    assert at["schema"][1] == 7
    assert at["backfill"][0] == 7
    assert "is done" in why_critical(done, "schema").sentence


def test_why_says_the_chain_on_both_sides():
    _, _, done = scheduled(SMALL.replace("frozen = true\n", ""))
    yes, no = why_critical(done, "backfill"), why_critical(done, "model")
    assert yes.critical
    assert yes.path == ("schema", "backfill", "feed")
    assert not no.critical
    assert no.slack == 5
    assert "5 working days" in no.sentence
    with pytest.raises(ProgramError, match="'modle'"):
        why_critical(done, "modle")


def test_the_order_of_the_file_changes_nothing():
    tables = SMALL.strip().split("\n\n")
    again = network_of(parse_program("\n\n".join([tables[0], *reversed(tables[1:])])))
    assert again.names == network_of(parse_program(SMALL)).names
