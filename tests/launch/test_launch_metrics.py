"""Effects agree with public tools, with the formulas written out, and with their own error rates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.gather import Layout, gather
from mainstem.launch.metrics import Effect, Measure, Part, effect_of, effects_by, measure_of, wanted
from mainstem.launch.plan_file import Metric
from mainstem.launch.sufficient import Column


def part(top: str, bottom: str = "") -> Part:
    return Part(Column(top), Column(bottom) if bottom else None)


MEASURES = {
    "revenue": Measure("revenue", part("revenue")),
    "revenue_cuped": Measure("revenue_cuped", part("revenue"), (part("revenue_pre"),)),
    "clicks": Measure("clicks", part("clicks")),
    "clicks_cuped": Measure("clicks_cuped", part("clicks"), (part("clicks_pre"),)),
    "ctr": Measure("ctr", part("clicks", "impressions")),
    "ctr_cuped": Measure(
        "ctr_cuped", part("clicks", "impressions"), (part("clicks_pre", "impressions_pre"),)
    ),
}  # fmt: skip
PEERS = [(peer, name) for peer in ("tea-polars", "tea-pandas", "gbstats080") for name in MEASURES]
PEERS.remove(("gbstats080", "ctr_cuped"))  # gbstats 0.8.0 has none


@pytest.mark.real
@pytest.mark.parametrize(("peer", "name"), PEERS)
def test_public_tools_say_the_same_to_nine_digits(pack: Callable[[str], Path], peer, name):
    folder = pack("abtest_golden")
    told = json.loads((folder / "peer_results_2k.json").read_text())[peer][name]
    sums = gather(folder / "golden_ab_2k.parquet", Layout("variant"), wanted(MEASURES.values()))
    effect = effect_of(sums, MEASURES[name], 0, 1)
    interval = effect.interval()
    ours = (effect.difference, interval.low, interval.high, effect.p_value)
    theirs = [told[key] for key in ("effect_size", "effect_size_ci_lower", "effect_size_ci_upper", "pvalue")]
    assert ours == pytest.approx(theirs, rel=1e-9)


def made(users: int, lift: float = 0.0, seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    taste = rng.gamma(2.0, 1.0, users)
    arm = rng.integers(0, 2, users)
    shown = 1 + rng.poisson(8 * taste)
    return {
        "arm": np.where(arm == 1, "treatment", "control"),
        "surface": rng.integers(0, 2, users),
        "value": taste + rng.normal(0, 0.5, users) + lift * arm,
        "before": taste + rng.normal(0, 0.5, users),
        "again": taste + rng.normal(0, 0.5, users),
        "shown": shown,
        "clicks": rng.binomial(shown, 0.2),
        "bought": (rng.random(users) < 0.3).astype(np.float64),
        "same": np.full(users, 0.1),
    }


def judged(table: dict[str, np.ndarray], measure: Measure) -> Effect:
    return effect_of(gather(table, Layout("arm"), wanted([measure])), measure)


def test_several_covariates_are_least_squares():
    table = made(3000, lift=0.1)
    effect = judged(table, Measure("value", part("value"), (part("before"), part("again"))))
    known = np.column_stack([table["before"], table["again"]])
    apart = known - known.mean(axis=0)
    theta = np.linalg.lstsq(apart, table["value"] - table["value"].mean(), rcond=None)[0]
    left = table["value"] - apart @ theta
    new = table["arm"] == "treatment"
    assert effect.theta == pytest.approx(theta, rel=1e-10)
    assert effect.difference == pytest.approx(left[new].mean() - left[~new].mean(), rel=1e-10)
    assert effect.error == pytest.approx(
        np.sqrt(left[new].var(ddof=1) / new.sum() + left[~new].var(ddof=1) / (~new).sum()), rel=1e-10
    )
    assert effect.explained > 0.6
    one = judged(table, Measure("value", part("value"), (part("before"),)))
    assert one.error > effect.error


def test_a_covariate_that_never_changes_or_is_there_twice_adds_nothing():
    table = made(500)
    plain = judged(table, Measure("value", part("value")))
    still = judged(table, Measure("value", part("value"), (part("same"),)))
    assert (still.difference, still.error) == (plain.difference, plain.error)
    table["copy"] = table["before"]
    once = judged(table, Measure("value", part("value"), (part("before"),)))
    twice = judged(table, Measure("value", part("value"), (part("before"), part("copy"))))
    assert twice.difference == pytest.approx(once.difference, rel=1e-9)
    assert sum(twice.theta) == pytest.approx(once.theta[0], rel=1e-9)


def test_a_ratio_is_the_mean_of_its_linearised_units():
    table = made(2000)
    effect = judged(table, Measure("ctr", part("clicks", "shown")))
    variance = 0.0
    for arm in ("control", "treatment"):
        clicks, shown = (table[name][table["arm"] == arm] for name in ("clicks", "shown"))
        rate = clicks.sum() / shown.sum()
        variance += ((clicks - rate * shown) / shown.mean()).var(ddof=1) / len(clicks)
    assert effect.error == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_intervals_hold_the_truth_as_often_as_they_say():
    measure = Measure("value", part("value"), (part("before"),))
    ratio = Measure("ctr", part("clicks", "shown"), (part("before"),))
    held = np.zeros(3)
    runs = 400
    for seed in range(runs):
        table = made(300, lift=0.2, seed=seed)
        effect = judged(table, measure)
        one, relative = effect.interval(), effect.relative_interval()
        other = judged(table, ratio).interval()
        held += [one.low <= 0.2 <= one.high, relative.low <= 0.1 <= relative.high, other.low <= 0 <= other.high]
    # Four standard deviations of 400 draws at .95 are .044.
    assert np.all(np.abs(held / runs - 0.95) < 0.044)


def test_the_relative_interval_ends_where_the_contrast_is_refused():
    effect = judged(made(800, lift=0.1), Measure("value", part("value")))
    interval = effect.relative_interval(0.9)
    old, new = effect.control, effect.treatment
    from scipy.stats import t

    for end in (interval.low, interval.high):
        contrast = new.mean - (1 + end) * old.mean
        error = np.sqrt(new.variance / new.units + (1 + end) ** 2 * old.variance / old.units)
        assert abs(contrast) / error == pytest.approx(t.ppf(0.95, effect.freedom), rel=1e-9)


def test_a_figure_near_zero_has_no_relative_interval():
    table = made(200)
    table["value"] = table["value"] - table["value"].mean()
    interval = judged(table, Measure("value", part("value"))).relative_interval()
    assert (interval.low, interval.high) == (-np.inf, np.inf)


def test_effects_by_surface_are_those_of_the_rows_alone():
    table = made(1000)
    measure = Measure("value", part("value"), (part("before"),))
    sums = gather(table, Layout("arm", ("surface",)), wanted([measure]))
    found = effects_by(sums, [measure], "surface")
    assert list(found) == [0, 1]
    for surface, (effect,) in found.items():
        alone = pl.DataFrame(table).filter(pl.col("surface") == surface)
        expected = effect_of(gather(alone, Layout("arm"), wanted([measure])), measure)
        assert effect.difference == pytest.approx(expected.difference, rel=1e-10)
    assert effect_of(sums, measure).difference == pytest.approx(judged(table, measure).difference, rel=1e-10)


def test_a_cap_is_part_of_what_was_promised():
    metric = Metric(role="primary", column="value", margin=0.01, winsor_cap=2.0, covariates=["clicks / shown"])
    measure = measure_of("value", metric)
    assert measure.covariates == (part("clicks", "shown"),)
    assert judged(made(500), measure).control.mean < 2.0
    with pytest.raises(LaunchError, match="quantile"):
        measure_of("p99", Metric(role="diagnostic", kind="quantile", column="ms", quantile=0.99))


@pytest.mark.parametrize(
    ("change", "measure", "code"),
    [
        ({"arm": np.full(100, "control")}, Measure("value", part("value")), "launch-061"),
        ({"arm": np.array(["treatment"] + ["control"] * 99)}, Measure("value", part("value")), "launch-061"),
        ({}, Measure("same", part("same")), "launch-065"),
        ({"shown": np.zeros(100)}, Measure("ctr", part("clicks", "shown")), "launch-064"),
    ],
)
def test_what_cannot_be_judged_is_refused(change, measure, code):
    with pytest.raises(LaunchError) as refused:
        judged(made(100) | change, measure)
    assert refused.value.code == code


def test_a_rate_is_of_zeros_and_ones():
    table, measure = made(300), Measure("bought", part("bought"))
    sums = gather(table, Layout("arm"), wanted([measure]))
    assert 0.2 < effect_of(sums, measure, binary=True).control.mean < 0.4
    table["bought"][0] = 0.5
    with pytest.raises(LaunchError) as refused:
        effect_of(gather(table, Layout("arm"), wanted([measure])), measure, binary=True)
    assert refused.value.code == "launch-066"
