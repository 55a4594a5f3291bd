"""A finished experiment read once: the word, the parts, and what a table of units cannot say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.analyse import Arms, analyse
from mainstem.launch.plan_file import parse_plan

PLAN = """
name = "feed-1"
surfaces = ["feed"]
legacy = ["content-first"]
[metrics.value]
role = "primary"
column = "value"
margin = 0.05
covariates = ["before"]
[metrics.slow]
role = "guardrail"
column = "slow"
direction = "down"
margin = 0.1
[metrics.p99]
role = "diagnostic"
kind = "quantile"
column = "latency_ms"
quantile = 0.99
[[steps]]
share = 0.5
hold_hours = 168
"""
ARMS = Arms("arm", "old", "new")


def units(value: float = 0.0, slow: float = 0.0, users: int = 6000, share: float = 0.5) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    new = rng.random(users) < share
    before = rng.normal(5, 1, users)
    return pl.DataFrame(
        {
            "arm": np.where(new, "new", "old"),
            "before": before,
            "value": before + rng.normal(0, 0.5, users) + value * new,
            "slow": rng.exponential(1, users) * (1 + slow * new),
            "surface": rng.integers(0, 2, users),
        }
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "NEUTRAL"),
        ({"value": 0.2}, "WIN"),
        ({"value": -0.5}, "PAUSE"),
        ({"slow": 0.3}, "PAUSE"),
        ({"users": 60}, "INCONCLUSIVE"),
        ({"share": 0.3}, "INVALID"),
    ],
)
def test_the_word(change, word):
    found = analyse(units(**change), parse_plan(PLAN), ARMS)
    assert found.verdict.verdict == word
    assert found.verdict.ships == (word in ("NEUTRAL", "WIN"))
    assert [one.partition(":")[0] for one in found.left_out] == ["p99"]


def test_one_look_has_all_of_alpha():
    verdict = analyse(units(), parse_plan(PLAN), ARMS).readings["value"].verdict
    assert verdict is not None
    assert verdict.bound.tolist() == pytest.approx([1.6448536], abs=1e-4)


def test_a_promised_split_is_not_a_broken_one():
    found = analyse(units(share=0.3), parse_plan(PLAN), Arms("arm", "old", "new", (0.7, 0.3)))
    assert not found.sample_ratio.alarm


def test_parts_are_shown_and_decide_nothing():
    sign = pl.when(arm="new").then(0.1 - 0.2 * pl.col("surface")).otherwise(0.0)
    table = units().with_columns(value=pl.col("value") + sign)
    found = analyse(table, parse_plan(PLAN), ARMS, by=["surface"])
    assert found.verdict.verdict == "NEUTRAL"
    bad, good = found.parts["surface"]["1"]["value"], found.parts["surface"]["0"]["value"]
    assert bad.change.high < 0 < good.change.high
    assert found.readings["value"].effect.explained > 0.6


def test_a_part_of_one_user_is_left_out_and_named():
    table = units().with_row_index().with_columns(surface=pl.when(index=0).then(7).otherwise("surface"))
    found = analyse(table, parse_plan(PLAN), ARMS, by=["surface"])
    assert sorted(found.parts["surface"]) == ["0", "1"]
    assert any("value at surface = 7" in one for one in found.left_out)


def test_a_file_and_arms_by_text(tmp_path):
    table = units().with_columns(arm=(pl.col("arm") == "new").cast(pl.Int8))
    table.write_csv(tmp_path / "units.csv")
    table.write_parquet(tmp_path / "units.parquet")
    plan, arms = parse_plan(PLAN), Arms("arm", "0", "1")
    one, other = (analyse(tmp_path / name, plan, arms) for name in ("units.csv", "units.parquet"))
    assert one.readings["value"].change.mid == pytest.approx(other.readings["value"].change.mid, rel=1e-12)
    for table, bad, code in (
        (tmp_path / "none.csv", arms, "launch-060"),
        (tmp_path / "units.csv", Arms("arm", "0", "2"), "launch-061"),
        (tmp_path / "units.csv", Arms("arms", "0", "1"), "launch-060"),
    ):
        with pytest.raises(LaunchError) as refused:
            analyse(table, plan, bad)
        assert refused.value.code == code


def test_users_of_one_household_are_no_more_evidence_than_the_household():
    table = units(users=3000).with_columns(cluster=pl.int_range(pl.len()) // 3)
    table = table.with_columns(arm=pl.col("arm").first().over("cluster"), value=pl.col("value").mean().over("cluster"))
    user = 'column = "value"\nmargin = 0.05\n'
    text = PLAN.replace('covariates = ["before"]\n', "")
    by_user = analyse(table, parse_plan(text), ARMS, by=["surface"]).readings["value"].effect
    promised = parse_plan(text.replace(user, user + 'unit = "cluster"\nwinsor_cap = 9.0\n'))
    found = analyse(table, promised, ARMS, by=["surface"])
    effect = found.readings["value"].effect
    assert effect.control.units + effect.treatment.units == 1000
    assert effect.difference == pytest.approx(by_user.difference, abs=1e-9)
    assert effect.error == pytest.approx(3**0.5 * by_user.error, rel=0.05)
    assert sorted(found.parts["surface"]) == ["0", "1"]
    assert found.sample_ratio.observed == analyse(table, parse_plan(text), ARMS).sample_ratio.observed
    for same in (table.to_dict(as_series=False), table.lazy(), table.to_arrow()):
        assert analyse(same, promised, ARMS).readings["value"].effect.error == pytest.approx(effect.error, rel=1e-9)


P99 = PLAN.replace('role = "diagnostic"', 'role = "guardrail"\nmargin = 0.2\ndirection = "down"')


def requests(slower: float) -> pl.DataFrame:
    rng = np.random.default_rng(6)
    user = np.repeat(np.arange(2000), 20)
    own = rng.normal(0, 0.2, 2000)[user]
    ms = np.exp(4 + own + rng.normal(0, 0.2, len(user))) * np.where(user % 2, slower, 1.0)
    return pl.DataFrame({"unit": user, "arm": np.where(user % 2, "new", "old"), "latency_ms": ms})


def test_a_quantile_that_must_pass_is_read_from_measurements_and_never_taken_on_trust():
    plan = parse_plan(P99)
    assert analyse(units(), plan, ARMS).verdict.open == ("p99",)
    found = analyse(units(), plan, ARMS, measurements=requests(1.0))
    assert found.verdict.verdict == "NEUTRAL"
    assert found.left_out == ()
    reading = found.readings["p99"]
    assert reading.effect.control.units == 1000
    assert reading.change.low < 0 < reading.change.high
    assert analyse(units(), plan, ARMS, measurements=requests(1.5)).verdict.verdict == "PAUSE"
    with pytest.raises(LaunchError) as refused:
        analyse(units(), plan, ARMS, measurements=requests(1.0).drop("unit"))
    assert refused.value.code == "launch-060"
    with pytest.raises(LaunchError) as refused:
        analyse(units(), plan, ARMS, measurements=object())
    assert refused.value.code == "launch-060"
