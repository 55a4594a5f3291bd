from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from mainstem.base.errors import ProgramError
from mainstem.program.slips import MOST, Case, Revision, SlipForecast, cases_at, read_keps, replay, slips_known

RELEASED = {number: date(2020, 1, 1) + timedelta(days=100 * number) for number in range(1, 16)}


def made_history(items: int, chance: float, seed: int = 1) -> list[Revision]:
    """Items that aim at the next release but one, and at each release that they miss aim one later."""
    random = np.random.default_rng(seed)
    out = []
    for i in range(items):
        at = int(random.integers(1, 10))
        target = at + 1
        out.append(Revision(RELEASED[at] - timedelta(days=5), f"k{i}", {"beta": target}))
        while random.uniform() < chance:
            target += 1
            if target - 1 > max(RELEASED):
                break
            out.append(Revision(RELEASED[target - 1] - timedelta(days=5), f"k{i}", {"beta": target}))
    return sorted(out, key=lambda one: (one.on, one.item))


def test_only_what_was_known_on_the_day_is_seen():
    history = [
        Revision(date(2020, 1, 1), "a", {"alpha": 3, "beta": 5}),
        Revision(date(2021, 1, 1), "a", {"alpha": 4, "beta": 9}),
    ]
    (alpha, beta) = cases_at(history, 2, date(2020, 6, 1))
    assert (alpha.target, beta.target, beta.moved) == (3, 5, False)
    assert slips_known(history, [alpha, beta], date(2020, 6, 1)) == [0, 0]
    assert slips_known(history, [alpha, beta], date(2021, 6, 1)) == [1, MOST]
    assert [one.moved for one in cases_at(history, 3, date(2021, 6, 1))] == [True, True]


def test_targets_that_are_not_due_teach_nothing():
    case = Case("a", "beta", 1, 5, False)
    blind, taught = SlipForecast([], [], 3), SlipForecast([case] * 50, [0] * 50, 3)
    assert blind.chances(case).tolist() == taught.chances(case).tolist()
    assert SlipForecast([case] * 50, [0] * 50, 7).chances(case)[0] > 0.9
    assert blind.chances(case).sum() == pytest.approx(1)


def test_on_a_made_program_the_forecasts_cover_and_beat_no_slip():
    grouped, alike, none = replay(made_history(900, 0.4), RELEASED, 6, 11, delay=0)
    assert grouped.cases == alike.cases == none.cases > 200
    assert 0.75 < grouped.coverage < 0.87
    assert grouped.crps < none.crps


@pytest.mark.real
def test_the_real_history_is_read(pack):
    history = read_keps(pack("k8s_keps") / "kep_milestone_history.csv")
    assert len(history) > 2_000
    assert history == sorted(history, key=lambda one: one.on)
    assert not [one for one in history if one.item == "NNNN"]


def test_a_file_without_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text("kep\n1\n")
    with pytest.raises(ProgramError) as caught:
        read_keps(tmp_path / "a.csv")
    assert caught.value.code == "program-023"
