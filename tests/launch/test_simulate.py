import math

import numpy as np
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.boundaries import equal_looks
from mainstem.launch.characteristic import Characteristic, false_rate, share
from mainstem.launch.rollback import first_alarm
from mainstem.launch.simulate import simulate
from mainstem.launch.simulate_evidence import (
    dose_price,
    heavy_tails,
    latency_split,
    quantiles,
    sample_ratio,
)
from mainstem.launch.simulate_joint import STANDARD, JointMetric, JointPlan, hourly_z, run_launches, surfaces
from mainstem.launch.simulate_looks import Looking, costs
from mainstem.launch.simulate_returning import METRICS, case_pulls
from mainstem.launch.verdict import Path, Rule, Verdict, judge_launch, judge_metric


def judged(plan: JointPlan, z: np.ndarray) -> Verdict:
    """One launch, judged by the product's own functions."""
    at, hours, count = equal_looks(plan.days), z.shape[-1], len(plan.metrics)
    metrics, first_pass, first_roll = [], [], []
    for k, metric in enumerate(plan.metrics):
        daily = z[k, 23::24]
        drift = plan.drifts[k] * np.sqrt(at)
        rule = Rule(
            metric.name, "primary" if metric.primary else "guardrail", first_look_day=0.0, pause_alpha=0.05 / count
        )
        metrics.append(judge_metric(rule, Path(at * plan.days, at, daily + drift, drift - daily, daily)))
        first_pass.append(math.inf if metrics[-1].passed is None else 24 * (metrics[-1].passed + 1))
        alarm = first_alarm(z[k], plan.budgets.rollback_bound(np.arange(1, hours + 1) / hours))
        first_roll.append(math.inf if alarm is None else alarm + 1)
    harmed = [24 * (one.harmed + 1) for one in metrics if one.harmed is not None]
    ends = min([max(first_pass), *harmed])
    return judge_launch(
        metrics, rolled_back=["x"] if min(first_roll) <= ends and min(first_roll) < math.inf else []
    ).verdict


def test_the_simulation_decides_as_the_product_does():
    effects = np.array([-0.6, 0, 0, 0, 0, 0, 0, 0])
    z = hourly_z(STANDARD, effects, 120, np.random.default_rng(1))
    ends = run_launches(STANDARD, effects, 120, np.random.default_rng(1))
    seen = set()
    for k in range(120):
        verdict = judged(STANDARD, z[k])
        seen.add(verdict)
        assert bool(ends.rolled_back[k]) == (verdict == Verdict.HARM)
        assert bool(ends.paused[k]) == (verdict == Verdict.PAUSE)
        assert bool(ends.passed[k]) == (verdict in (Verdict.NON_INFERIOR, Verdict.NEUTRAL, Verdict.WIN))
    assert {Verdict.PAUSE, Verdict.INCONCLUSIVE} <= seen


def test_the_whole_suite_at_few_paths_is_reproducible_and_nothing_is_far_off():
    told: list[str] = []
    own = JointPlan((JointMetric("clicks"), JointMetric("errors", primary=False, ease=2.0)), days=7)
    found = simulate(own, runs=4_000, seed=3, progress=lambda _, what: told.append(what))
    assert found.rows == simulate(own, runs=4_000, seed=3).rows
    assert told == ["looks", "costs", "whole launches"]
    assert not [one for one in found.rows if one.value > one.high + 5 * one.error]


def test_a_plan_of_few_metrics_passes_as_often_as_it_says_false_alarms_and_all():
    for count in (1, 2):
        for neutral in (False, True):
            plan = JointPlan(tuple(JointMetric(f"m{k}") for k in range(count)), days=7, neutral=neutral)
            ends = run_launches(plan, np.zeros(count), 8_000, np.random.default_rng(count))
            assert (ends.neutral if neutral else ends.passed).mean() > 0.9 - 3 * math.sqrt(0.09 / 8_000)


def test_a_loss_on_the_smallest_surface_is_blocked_and_the_others_pass():
    same, lost, blocked, others = surfaces(2_000, 1)
    assert same.met
    assert lost.met
    assert blocked.met
    assert blocked.value == pytest.approx(1 - lost.value)
    assert others.value > 0.89


def test_what_is_integrated_meets_its_targets():
    rows = list(costs(Looking()))
    assert [one.name for one in rows if not one.met] == []
    assert all(one.error == 0 for one in rows)


def test_the_evidence_is_measured_by_the_products_own_functions():
    rows = [
        *sample_ratio(300, 1),
        *heavy_tails(300, 2),
        *latency_split(300, 3),
        *dose_price(300, 4),
        *quantiles(100, 5),
    ]
    assert len(rows) == 4 + 4 + 7 + 4 + 3
    assert {one.topic for one in rows} == {"sample ratio", "heavy tails", "latency split", "dose arm", "quantiles"}
    assert all(0 <= one.value <= 29 for one in rows)


@pytest.mark.parametrize("metric", METRICS)
def test_a_users_pulls_on_a_mean_cancel(metric):
    pulls, seen = case_pulls(500, 0.5, metric[1], metric[2], np.random.default_rng(1))
    assert np.abs(pulls.sum(0)).max() < 1e-9
    assert (np.diff(seen) >= 0).all()
    assert seen[-1] == 500


def test_a_figure_is_met_or_missed_and_luck_only_helps_error_rates():
    assert false_rate("t", "n", 56, 1_000, 0.05).met
    assert not false_rate("t", "n", 80, 1_000, 0.05).met
    assert not share("t", "n", 899, 1_000, low=0.9).met
    assert share("t", "n", 5, 10).as_row()[""] == ""
    assert Characteristic("t", "n", 0.95, low=0.94, high=0.96).target == "0.94 to 0.96"
    assert Characteristic("t", "n", 2.0, high=1.0).as_row()[""] == "MISSED"


def test_what_makes_no_plan_is_refused():
    for call in (
        lambda: simulate(runs=10),
        lambda: JointPlan(()),
        lambda: JointPlan((JointMetric("x", primary=False),)),
        lambda: JointPlan((JointMetric("x"),), correlation=1.0),
        lambda: JointPlan((JointMetric("x", ease=0.5),)),
    ):
        with pytest.raises(LaunchError) as refused:
            call()
        assert refused.value.code == "launch-018"
