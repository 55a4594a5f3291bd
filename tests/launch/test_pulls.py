"""From frames of units to paths: pulls are what leaving a unit out does, and bounds keep their word when users return."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.plan_file import Metric
from mainstem.launch.pulls import Pulls, as_normal, looks_of, path_of, pulls_of
from mainstem.launch.returning import Looks, mean_pulls
from mainstem.launch.simulate_returning import DAYS, METRICS, RETURNS, case_values
from mainstem.launch.verdict import Rule, judge_metric

CASES = list(product(RETURNS, METRICS))
VALUE = Metric(role="primary", column="value", margin=0.05, looks=DAYS)


def frames(values: np.ndarray, seen: np.ndarray, new: np.ndarray, looks: list[int]) -> list[pl.DataFrame]:
    arm = np.where(new, "treatment", "control")
    unit = np.arange(len(new))
    return [
        pl.DataFrame({"unit": unit[here], "arm": arm[here], "value": values[here, k]})
        for k, here in ((k, seen[:, k]) for k in looks)
    ]


@pytest.mark.parametrize(("back", "metric"), CASES)
def test_frames_of_returning_users_give_the_correlation_of_their_pulls(back, metric):
    values, seen = case_values(600, back, metric[1], metric[2], np.random.default_rng(1))
    new, looks = np.arange(600) % 2 == 0, [6, 9, 13, 20, 27]
    path = path_of(
        frames(values, seen, new, looks), VALUE, days=[k + 1 for k in looks], most_units=300, planned_days=DAYS
    )
    known = [mean_pulls(values[side][:, looks], seen[side][:, looks]) for side in (new, ~new)]
    expected = Looks.of_pulls(known[0], 0.95 * known[1]).correlation
    assert path.correlation == pytest.approx(expected, abs=1e-9)
    assert path.clock == pytest.approx((np.array(looks) + 1) / 28)
    assert path.information[-1] == pytest.approx(1.0)
    assert judge_metric(Rule("value"), path).bound.shape == (5,)


def made(users: int = 400, seed: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    taste = rng.gamma(4, 0.5, users)
    shown, before = rng.poisson(8, users) + 1.0, rng.poisson(20, users) + 1.0
    return pl.DataFrame(
        {
            "unit": rng.permutation(users),
            "arm": np.where(rng.random(users) < 0.5, "treatment", "control"),
            "cluster": np.arange(users) // 4,
            "clicks": rng.poisson(taste * shown) * 1.0,
            "shown": shown,
            "clicks_before": rng.poisson(taste * before) * 1.0,
            "shown_before": before,
            "bought": (rng.random(users) < 0.3).astype(float),
        }
    )


KINDS = {
    "mean": Metric(role="primary", column="clicks", margin=0.1),
    "capped": Metric(role="primary", column="clicks", margin=0.1, winsor_cap=20.0),
    "binary": Metric(role="primary", kind="binary", column="bought", margin=0.1),
    "ratio": Metric(role="primary", kind="ratio", column="clicks", per="shown", margin=0.1),
    "mean with covariates": Metric(
        role="primary", column="clicks", margin=0.1, covariates=["clicks_before", "shown_before"]
    ),
    "ratio with a covariate": Metric(
        role="primary",
        kind="ratio",
        column="clicks",
        per="shown",
        margin=0.1,
        covariates=["clicks_before / shown_before"],
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_pulls_carry_the_effect_s_error(name):
    found = pulls_of(made(), KINDS[name])
    for arm, side in ((found.effect.control, ~found.new), (found.effect.treatment, found.new)):
        assert (found.pull[side] ** 2).sum() * arm.units / (arm.units - 1) == pytest.approx(
            arm.variance / arm.units, rel=1e-9
        )
        assert abs(found.pull[side].sum()) < 1e-9


@pytest.mark.parametrize("name", KINDS)
def test_a_pull_is_what_leaving_the_unit_out_does(name):
    table, metric = made(), KINDS[name]
    whole = pulls_of(table, metric)
    moved, pulled = [], []
    for unit in range(0, 400, 16):
        without = pulls_of(table.filter(pl.col("unit") != unit), metric).effect.difference
        at = int(np.searchsorted(whole.units, unit))
        moved.append(whole.effect.difference - without)
        pulled.append(whole.pull[at] * (1 if whole.new[at] else -1))
    assert np.corrcoef(moved, pulled)[0, 1] > 0.99
    assert np.array(moved) == pytest.approx(np.array(pulled), abs=0.25 * float(np.abs(pulled).max()))


def test_clusters_are_the_units_and_users_are_still_what_is_averaged():
    table = (
        made()
        .sort("cluster")
        .with_columns(arm=pl.when(pl.col("cluster") % 2 == 0).then(pl.lit("treatment")).otherwise(pl.lit("control")))
    )
    by_user = pulls_of(table, KINDS["mean"]).effect
    found = pulls_of(table, Metric(role="primary", column="clicks", margin=0.1, unit="cluster"))
    assert found.effect.treatment.units == 50
    assert found.effect.difference == pytest.approx(by_user.difference)
    copies = table.with_columns(pl.col("clicks").mean().over("cluster"))
    alike = [
        pulls_of(copies, Metric(role="primary", column="clicks", margin=0.1, unit=one)).effect.error
        for one in ("user", "cluster")
    ]
    assert alike[1] == pytest.approx(2 * alike[0], rel=0.05)


def test_quantiles_have_pulls_of_their_users():
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(400), 10)
    slow = np.exp(4 + rng.normal(0, 0.4, 400)[users] + rng.normal(0, 0.3, 4000))
    rows = pl.DataFrame({"unit": users, "arm": np.where(users % 2, "treatment", "control"), "latency_ms": slow})
    p90 = Metric(
        role="guardrail", kind="quantile", column="latency_ms", quantile=0.9, direction="down", margin=0.2, looks=4
    )
    looks = [rows.filter(pl.col("unit") < most) for most in (100, 200, 300, 400)]
    path = path_of(looks, p90, days=[7, 14, 21, 28], most_units=200, planned_days=28)
    assert path.correlation is not None
    expected = np.sqrt(np.minimum.outer([1, 2, 3, 4], [1, 2, 3, 4]) / np.maximum.outer([1, 2, 3, 4], [1, 2, 3, 4]))
    assert path.correlation == pytest.approx(expected, abs=0.1)
    assert np.isfinite(path.not_worse).all()
    assert path.not_worse[-1] > path.better[-1]


def test_a_look_that_says_nothing_yet_is_left_out_and_one_that_is_wrong_is_refused():
    early = made().with_columns(clicks=pl.lit(0.0))
    path = path_of([early, made()], KINDS["mean"], days=[7, 8], most_units=200, planned_days=28)
    assert path.days.tolist() == [8]
    with pytest.raises(LaunchError) as refused:
        path_of([early], KINDS["mean"], days=[7], most_units=200, planned_days=28)
    assert refused.value.code == "launch-065"
    for table, metric, code in (
        (made().drop("clicks"), KINDS["mean"], "launch-060"),
        (made().with_columns(clicks=pl.lit(float("nan"))), KINDS["mean"], "launch-063"),
        (made(), Metric(role="primary", column="clicks", margin=0.1, unit="cluster"), "launch-111"),
        (made().drop("cluster"), Metric(role="primary", column="clicks", margin=0.1, unit="cluster"), "launch-060"),
        (pl.concat([made(), made()]), KINDS["mean"], "launch-111"),
    ):
        with pytest.raises(LaunchError) as refused:
            path_of([table], metric, days=[7], most_units=200, planned_days=28)
        assert refused.value.code == code


def test_units_of_text_and_blocks_of_many_units_say_the_same(monkeypatch):
    table = made()
    looks = [pulls_of(table.filter(pl.col("unit") < most), KINDS["mean"]) for most in (200, 400)]
    texts = [
        pulls_of(table.filter(pl.col("unit") < most).with_columns(pl.col("unit").cast(pl.String)), KINDS["mean"])
        for most in (200, 400)
    ]
    expected = looks_of(looks).covariance
    assert looks_of(texts).covariance == pytest.approx(expected)
    monkeypatch.setattr("mainstem.launch.pulls._BLOCK", 37)
    assert looks_of(looks).covariance == pytest.approx(expected)
    with pytest.raises(LaunchError):
        looks_of([])


def test_a_unit_that_changes_its_arm_pulls_the_other_way():
    first, second = made(seed=2), made(seed=2)
    swapped = second.with_columns(
        arm=pl.when(pl.col("arm") == "control").then(pl.lit("treatment")).otherwise(pl.lit("control"))
    )
    same = looks_of([pulls_of(one, KINDS["mean"]) for one in (first, second)]).correlation[0, 1]
    other = looks_of([pulls_of(one, KINDS["mean"]) for one in (first, swapped)]).correlation[0, 1]
    assert (same, other) == (pytest.approx(1.0), pytest.approx(-1.0))


def test_groups_of_units_say_nearly_the_same_and_do_not_grow_with_users():
    values, seen = case_values(6_000, 0.5, 1.0, True, np.random.default_rng(4))
    looks = [pulls_of(one, VALUE) for one in frames(values, seen, np.arange(6_000) % 2 == 0, [6, 13, 20, 27])]
    grouped = [one.grouped(1_000) for one in looks]
    assert {len(one.units) for one in grouped} == {2_000}
    assert looks[0].grouped(10_000) is looks[0]
    whole, parts = looks_of(looks, 0.95), looks_of(grouped, 0.95)
    assert parts.correlation == pytest.approx(whole.correlation, abs=0.08)
    assert np.diag(parts.covariance) == pytest.approx(np.diag(whole.covariance), rel=0.15)
    assert [one.pull.sum() for one in grouped] == pytest.approx([one.pull.sum() for one in looks], abs=1e-12)
    assert grouped[0].effect is looks[0].effect


def test_few_units_are_held_to_wider_tails():
    assert as_normal(2.0, 5.0) == pytest.approx(1.636, abs=0.01)
    assert as_normal(-2.0, 1e9) == pytest.approx(-2.0, abs=1e-6)
    assert as_normal(80.0, 1e9) == 80.0
    assert isinstance(pulls_of(made(), KINDS["mean"]), Pulls)
