"""From assignment over exposures to effects, in one piece: an A/A run passes as often as it says, faults are called faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.analyse import Arms, analyse
from mainstem.launch.assignment import Launch, launch_of, same_on_both
from mainstem.launch.exposure import Look, triggered, with_covariates
from mainstem.launch.plan_file import Plan, parse_plan

PLAN = """
name = "aa-{name}"
surfaces = ["feed"]
legacy = ["content-first"]
[metrics.clicks]
role = "primary"
column = "clicks"
margin = 0.1
covariates = ["clicks_before"]
[metrics.rate]
role = "guardrail"
kind = "ratio"
column = "clicks"
per = "shown"
margin = 0.1
[[steps]]
share = 0.0
hold_hours = 1
[[steps]]
share = 0.5
hold_hours = 1
"""
LOOK = Look(start_ms=1_000, at_ms=100_000)


def lived(launch: Launch, users: int, seed: int, lift: float = 0.0) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Exposures, events and history of users; the launch's second arm clicks less where lift is below 0."""
    rng = np.random.default_rng(seed)
    arms = launch.assign(np.arange(users))
    taste = rng.gamma(3.0, 0.1, users)
    rate = np.clip(taste * (1 + lift * (arms == 1)), 0, 1)
    visits = 1 + rng.poisson(3, users)
    unit = np.repeat(np.arange(users), visits)
    exposures = pl.DataFrame({"unit": np.arange(users), "arm": np.array(launch.arms)[arms], "time_ms": 2_000})
    events = pl.DataFrame(
        {
            "unit": unit,
            "time_ms": rng.integers(2_000, 90_000, len(unit)),
            "shown": 10.0,
            "clicks": rng.binomial(10, rate[unit]).astype(float),
        }
    )
    before = {"unit": np.arange(users), "measured_ms": 900, "clicks_before": rng.binomial(30, np.clip(taste, 0, 1))}
    return exposures, events, pl.DataFrame(before)


def judged(plan: Plan, launch: Launch, exposures: pl.DataFrame, events: pl.DataFrame, before: pl.DataFrame) -> Any:
    units, health = triggered(exposures, events, ["clicks", "shown"], LOOK)
    assert health.broken == ()
    return analyse(with_covariates(units, before, ["clicks_before"], LOOK), plan, Arms("arm", *launch.arms))


def test_an_a_a_run_passes_at_its_nominal_rate():
    runs, small, explained = 200, np.zeros(2), 0.0
    for seed in range(runs):
        plan = parse_plan(PLAN.format(name=seed))
        launch = Launch(plan.name, same_on_both())
        found = judged(plan, launch, *lived(launch, 400, seed))
        small += [found.readings[name].effect.p_value < 0.05 for name in ("clicks", "rate")]
        explained += found.readings["clicks"].effect.explained / runs
        assert not found.sample_ratio.alarm
    # Four standard deviations of 200 draws at .05 are .062.
    assert np.all(np.abs(small / runs - 0.05) < 0.062), small / runs
    assert explained > 0.2


def test_a_true_loss_does_not_ship():
    plan = parse_plan(PLAN.format(name="loss"))
    launch = Launch(plan.name, same_on_both())
    found = judged(plan, launch, *lived(launch, 4000, 1, lift=-0.15))
    assert not found.verdict.ships
    assert found.readings["rate"].change.high < 0


def test_a_seeded_fault_of_assignment_is_invalid():
    plan = parse_plan(PLAN.format(name="fault"))
    launch = Launch(plan.name, same_on_both())
    exposures, events, before = lived(launch, 20_000, 2)
    lost = (pl.col("arm") == "b") & (pl.col("unit") % 5 == 0)
    events = events.join(exposures.filter(lost), on="unit", how="anti")
    found = judged(plan, launch, exposures.filter(~lost), events, before)
    assert found.verdict.verdict == "INVALID"
    assert not found.verdict.ships


def test_a_plan_s_step_is_its_launch():
    plan = parse_plan(PLAN.format(name="steps"))
    assert set(launch_of(plan, 0).assign(range(50)).tolist()) == {-1}
    assert set(launch_of(plan, 1).assign(range(50)).tolist()) == {0, 1}
    with pytest.raises(LaunchError) as refused:
        launch_of(plan, 2)
    assert refused.value.code == "launch-046"
