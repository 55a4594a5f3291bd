"""``mainstem launch plan`` and ``mainstem launch simulate``: exit codes, refusals, and what they print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import LaunchError
from mainstem.cli.verbs import app
from mainstem.launch.measured import measure_units, quantile_cv, read_known
from mainstem.launch.plan_file import parse_plan
from mainstem.launch.quantiles import Measurements
from mainstem.launch.simulate import joint_plan

PLAN = """
name = "feed-1"
surfaces = ["feed"]
legacy = ["content-first"]
[metrics.value]
role = "primary"
column = "value"
margin = 0.02
covariates = ["before"]
[metrics.rate]
role = "guardrail"
column = "clicks"
kind = "ratio"
per = "views"
margin = 0.05
[metrics.p99]
role = "guardrail"
column = "ms"
kind = "quantile"
quantile = 0.99
margin = 0.1
[[steps]]
share = 0.05
hold_hours = 48
[[steps]]
share = 0.5
hold_hours = 168
"""
MEASURED = """
[traffic.feed]
daily_users = 200000
[metrics.value]
cv = 1.0
r2 = 0.3
[metrics.rate]
cv = 0.5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "launch.toml").write_text(PLAN)
    (tmp_path / "measured.toml").write_text(MEASURED)
    return tmp_path


def run(*words: object):
    return CliRunner().invoke(app, ["launch", *map(str, words)])


def test_a_plan_is_answered_with_users_and_days(folder):
    found = run("plan", folder / "launch.toml", "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert [one["metric"] for one in told["needs"]] == ["value", "rate"]
    assert told["unplanned"] == ["p99"]
    text = run("plan", folder / "launch.toml").stdout
    assert "reachable in time" in text
    assert "p99: nothing was measured" in text


def test_quantiles_clusters_and_windows_that_were_measured_are_sized(folder):
    text = PLAN.replace('per = "views"\n', 'per = "views"\nunit = "cluster"\nwindow_days = 3\n')
    (folder / "launch.toml").write_text(text)
    (folder / "measured.toml").write_text(MEASURED + "users_a_unit = 2.5\n[metrics.p99]\ncv = 3.0\n")
    known = read_known(parse_plan(text), folder / "measured.toml")
    assert [one.name for one in known.metrics] == ["value", "rate", "p99"]
    assert known.unplanned == ()
    assert known.metrics[1].users_a_unit == 2.5
    assert known.metrics[1].window_days == 3.0
    blocks = parse_plan(text.replace('unit = "cluster"', 'unit = "block"'))
    assert read_known(blocks, folder / "measured.toml").unplanned == ("rate",)
    rng = np.random.default_rng(3)
    users = pl.DataFrame(
        {
            "value": rng.normal(5, 1, 900),
            "before": rng.normal(5, 1, 900),
            "clicks": rng.poisson(5, 300).repeat(3).astype(float),
            "views": 10.0,
            "cluster": np.arange(300).repeat(3),
        }
    )
    users.write_parquet(folder / "units.parquet")
    found = measure_units(parse_plan(text), folder / "units.parquet", 1e5)
    assert found.metrics[1].users_a_unit == pytest.approx(3.0)
    assert found.metrics[1].cv == pytest.approx(5**0.5 / 5, rel=0.15)
    slow = Measurements(rng.exponential(1, 8000), np.arange(8000) // 8)
    assert quantile_cv(slow, 0.9) == pytest.approx((0.9 / 0.1 / 8) ** 0.5 / 2.3, rel=0.2)
    with pytest.raises(LaunchError):
        quantile_cv(Measurements(np.asarray(rng.poisson(0.2, 800), np.float64), np.arange(800)), 0.5)


def test_a_plan_that_cannot_be_kept_is_refused(folder):
    (folder / "measured.toml").write_text(MEASURED.replace("200000", "200"))
    found = run("plan", folder / "launch.toml")
    assert isinstance(found.exception, LaunchError)
    assert found.exception.code == "launch-016"


def test_a_table_of_units_is_measured(folder):
    rng = np.random.default_rng(1)
    before, views = rng.normal(5, 1, 4_000), rng.integers(1, 20, 4_000)
    value = before + rng.normal(0, 1, 4_000)
    table = pl.DataFrame({"value": value, "before": before, "clicks": rng.binomial(views, 0.3), "views": views})
    table.write_parquet(folder / "units.parquet")
    known = measure_units(parse_plan(PLAN), folder / "units.parquet", 1e6)
    first = known.metrics[0]
    assert first.cv == pytest.approx(value.std(ddof=1) / value.mean(), rel=1e-6)
    assert first.r2 == pytest.approx(np.corrcoef(value, before)[0, 1] ** 2, rel=1e-6)
    done = run("plan", folder / "launch.toml", "--units", folder / "units.parquet", "--daily-users", 1_000_000)
    assert done.exit_code == 0, done.output
    with pytest.raises(LaunchError):
        measure_units(parse_plan(PLAN), folder / "none.parquet", 1e6)


@pytest.mark.parametrize(
    "text",
    ["nonsense", "[metrics.value]\ncv = 1.0", MEASURED.replace("[metrics.rate]", "[metrics.other]"), "[what]\na = 1"],
)
def test_what_was_measured_must_be_all_there(folder, text):
    (folder / "measured.toml").write_text(text)
    with pytest.raises(LaunchError) as refused:
        read_known(parse_plan(PLAN), folder / "measured.toml")
    assert refused.value.code == "launch-019"


def test_a_plan_of_ones_own_is_simulated(folder):
    words = ("simulate", "--plan", folder / "launch.toml", "--measured", folder / "measured.toml", "--runs", 3_000)
    found = run(*words, "--json", "--quiet")
    assert found.exit_code in (0, 3), found.output
    told = json.loads(found.stdout)
    assert {one["topic"] for one in told["rows"]} == {"one metric", "your plan"}
    assert "feed: mean days until it passes" in {one["what"] for one in told["rows"]}
    assert (found.exit_code == 3) == any(not one["met"] for one in told["rows"])
    alone = run("simulate", "--measured", folder / "measured.toml").exception
    assert isinstance(alone, LaunchError)
    assert alone.code == "launch-019"


def test_without_measurements_metrics_are_as_hard_as_each_other_and_those_beside_the_plan_are_found(folder):
    words = ("simulate", "--plan", folder / "launch.toml", "--runs", 2_000, "--json", "--quiet")
    beside = json.loads(run(*words).stdout)
    (folder / "measured.toml").unlink()
    alone = json.loads(run(*words).stdout)
    assert [{one["topic"] for one in told["rows"]} for told in (beside, alone)] == [
        {"one metric", "your plan"},
        {"one metric", "whole launch"},
    ]


def test_an_easy_guardrail_is_as_easy_as_measured():
    parsed = parse_plan(PLAN)
    assert [one.ease for one in joint_plan(parsed).metrics] == [1.0, 1.0, 1.0]
    mixed = parse_plan(PLAN.replace("margin = 0.05", "margin = 0.05\nlooks = 7"))
    with pytest.raises(LaunchError) as refused:
        joint_plan(mixed)
    assert refused.value.code == "launch-018"
