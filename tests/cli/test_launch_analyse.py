"""``mainstem launch analyse``: exit codes, the text, and JSON that is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from mainstem.base.errors import LaunchError
from mainstem.cli.verbs import app

PLAN = """
name = "feed-1"
surfaces = ["feed"]
legacy = ["content-first"]
[metrics.value]
role = "primary"
column = "value"
margin = 0.05
[[steps]]
share = 0.5
hold_hours = 168
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    users = 4000
    arm = rng.integers(0, 2, users)
    value = rng.normal(5, 1, users)
    table = pl.DataFrame({"arm": np.where(arm, "treatment", "control"), "value": value, "flat": value - 5})
    table.write_parquet(tmp_path / "units.parquet")
    (tmp_path / "launch.toml").write_text(PLAN)
    return tmp_path


def run(place: Path, *more: str) -> tuple[int, str]:
    words = ["launch", "analyse", str(place / "units.parquet"), "--plan", str(place / "launch.toml"), *more]
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, LaunchError):
        raise done.exception
    return done.exit_code, done.stdout


def test_what_ships_ends_in_0_and_what_does_not_in_3(place):
    code, told = run(place)
    assert code == 0
    assert told.startswith("NEUTRAL")
    assert "not worse, not better" in told
    (place / "launch.toml").write_text(PLAN.replace("margin = 0.05", "margin = 0.0001"))
    code, told = run(place)
    assert code == 3
    assert told.startswith("INCONCLUSIVE")


def test_json_has_no_infinity(place):
    (place / "launch.toml").write_text(PLAN.replace('column = "value"', 'column = "flat"'))
    code, told = run(place, "--json")
    answer = json.loads(told, parse_constant=lambda name: pytest.fail(f"found {name}"))
    assert code == 3
    assert answer["ships"] is False
    assert answer["readings"]["value"]["relative"]["low"] is None


def test_what_is_not_there_is_refused(place):
    with pytest.raises(LaunchError) as refused:
        run(place, "--control", "nobody")
    assert refused.value.code == "launch-061"


def test_a_quantile_that_must_pass_needs_its_measurements(place):
    (place / "launch.toml").write_text(
        PLAN
        + '[metrics.p90]\nrole = "guardrail"\nkind = "quantile"\nquantile = 0.9\ncolumn = "ms"\nmargin = 0.3\n'
        + 'direction = "down"\n'
    )
    assert run(place)[0] == 3
    rng = np.random.default_rng(2)
    user = np.repeat(np.arange(2000), 5)
    arm = np.where(user % 2, "treatment", "control")
    table = pl.DataFrame({"user": user, "arm": arm, "ms": rng.exponential(1, len(user))})
    table.write_csv(place / "requests.csv")
    code, told = run(place, "--measurements", str(place / "requests.csv"), "--unit", "user")
    assert code == 0
    assert "p90" in told
