"""Fifteen ways of coming back, from tables of users to verdicts: how often is what is exactly a margin worse passed?

``python -m benchmarks.launch_returning [--runs 200] [--users 1000] [--only-kinds]``. Every run makes two arms of users anew,
writes each look's table as a pilot reads it, and judges the path; then the same for every kind of metric. Nothing is drawn from a
normal distribution that the bounds could know. Times are CPU time of one thread.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from itertools import chain, product

import numpy as np
import polars as pl

from mainstem.launch.boundaries import boundaries
from mainstem.launch.characteristic import Characteristic, false_rate, share
from mainstem.launch.plan_file import Metric
from mainstem.launch.pulls import path_of
from mainstem.launch.returning import correlated_bounds
from mainstem.launch.simulate_returning import DAYS, METRICS, RETURNS, case_values
from mainstem.launch.spending import ALPHA
from mainstem.launch.verdict import Path

MARGIN = 0.1
LOOKS = (7, 9, 11, 13, 15, 18, 21, 24, 26, 28)
DRAWS = 10_000
VALUE = Metric(role="primary", column="value", margin=MARGIN)


def cases(runs: int, users: int, seed: int) -> Iterator[Characteristic]:
    """The share of runs that pass, case by case, and over all."""
    whole, plain = 0, []
    for number, (back, (name, taste, averaged)) in enumerate(product(RETURNS, METRICS)):
        rng = np.random.default_rng([seed, number])
        hits, wrong = 0, 0
        for _ in range(runs):
            path = path_of(
                _frames(users, back, taste, averaged, rng), VALUE, days=LOOKS, most_units=users, planned_days=DAYS
            )
            assert path.clock is not None
            hits += _passes(path, rng)
            rising = np.maximum.accumulate(path.information) + 1e-3 * path.clock
            wrong += bool((path.not_worse >= boundaries(rising / rising[-1]).bound).any())
        whole += hits
        plain.append(wrong)
        yield false_rate("from tables", f"{name}, {back:.0%} come back a day", hits, runs, ALPHA)
    yield false_rate("from tables", "all cases together", whole, runs * len(plain), ALPHA)
    yield share("from tables", "largest of the plain bounds, users as information", max(plain), runs)


KINDS = {
    "mean with a covariate": Metric(role="primary", column="worth", margin=MARGIN, covariates=["before"]),
    "ratio": Metric(role="primary", kind="ratio", column="worth", per="visits", margin=MARGIN),
    "ratio with a covariate": Metric(
        role="primary", kind="ratio", column="worth", per="visits", margin=MARGIN, covariates=["before"]
    ),
    "p90": Metric(role="primary", kind="quantile", column="ms", quantile=0.9, margin=MARGIN, direction="down"),
}
AT_HOME = {
    "mean of users in households that are alike, by households": Metric(
        role="primary", column="worth", margin=MARGIN, unit="cluster"
    ),
    "p90 of users in households that are alike, by households": Metric(
        role="primary",
        kind="quantile",
        column="ms",
        quantile=0.9,
        margin=MARGIN,
        direction="down",
        unit="cluster",
    ),
    "the first, as if users were independent": Metric(role="primary", column="worth", margin=MARGIN),
}


def kinds(runs: int, users: int, seed: int) -> Iterator[Characteristic]:
    """The same for every kind of metric, where half of users come back on any day and differ as much as their days do."""
    rng = np.random.default_rng(seed)
    for metrics, alike in ((KINDS, False), (AT_HOME, True)):
        hits = dict.fromkeys(metrics, 0)
        for _ in range(runs):
            looks = [_visits(users, side, rng, alike) for side in range(2)]
            for name, metric in metrics.items():
                at = 1 if metric.kind == "quantile" else 0
                tables = [pl.concat([looks[0][at][k], looks[1][at][k]]) for k in range(len(LOOKS))]
                path = path_of(tables, metric, days=LOOKS, most_units=users, planned_days=DAYS)
                hits[name] += _passes(path, rng)
        for name, found in hits.items():
            if name.startswith("the first"):
                yield share("from tables", name, found, runs)
            else:
                yield false_rate("from tables", name, found, runs, ALPHA)


def _passes(path: Path, rng: np.random.Generator) -> bool:
    assert path.correlation is not None
    assert path.clock is not None
    bound = correlated_bounds(path.correlation, path.clock, ALPHA, draws=DRAWS, seed=int(rng.integers(1 << 30)))
    return bool((path.not_worse >= bound).any())


def _visits(
    users: int, side: int, rng: np.random.Generator, alike: bool
) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """One arm's tables at each look: a row a user, and a row a measurement. The new arm is exactly a margin worse in both."""
    first = np.searchsorted((np.arange(1, DAYS + 1) / DAYS) ** 0.6, rng.random(users))
    day = np.arange(DAYS)
    visits = (rng.random((users, DAYS)) < 0.5) & (day > first[:, None]) | (day == first[:, None])
    home = np.repeat(rng.gamma(4.0, 0.25, users // 4), 4) if alike else rng.gamma(4.0, 0.25, users)
    taste = home * rng.gamma(4.0, 0.25, users)
    worth = rng.gamma(taste[:, None] * np.ones(DAYS)) * visits * (1 - MARGIN * side)
    ms = np.exp(4.5 + 0.3 * np.log(taste)[:, None] + rng.normal(0, 0.3, (users, DAYS))) * (1 + MARGIN * side)
    unit = np.arange(users) + side * users
    base = pl.DataFrame({"unit": unit, "cluster": unit // 4, "before": rng.gamma(4 * taste)}).with_columns(
        arm=pl.lit(("control", "treatment")[side])
    )
    mine, rows = [], []
    for last in LOOKS:
        sums = pl.DataFrame({"worth": worth[:, :last].sum(1), "visits": visits[:, :last].sum(1).astype(float)})
        mine.append(base.with_columns(sums).filter(pl.Series(first < last)))
        who, when = np.nonzero(visits[:, :last])
        table = pl.DataFrame({"unit": unit[who], "cluster": unit[who] // 4, "ms": ms[who, when]})
        rows.append(table.with_columns(arm=pl.lit(("control", "treatment")[side])))
    return mine, rows


def _frames(users: int, back: float, taste: float, averaged: bool, rng: np.random.Generator) -> list[pl.DataFrame]:
    parts = [case_values(users, back, taste, averaged, rng) for _ in range(2)]
    values = np.concatenate([parts[0][0], (1 - MARGIN) * parts[1][0]])
    seen = np.concatenate([parts[0][1], parts[1][1]])
    arm, unit = np.repeat(["control", "treatment"], users), np.arange(2 * users)
    return [
        pl.DataFrame({"unit": unit[here], "arm": arm[here], "value": values[here, day - 1]})
        for day, here in ((day, seen[:, day - 1]) for day in LOOKS)
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=20_261_122)
    parser.add_argument("--only-kinds", action="store_true", help="leave the fifteen cases out")
    asked = parser.parse_args()
    started, missed = time.process_time(), 0
    parts = [kinds(asked.runs, asked.users, asked.seed + 1)]
    if not asked.only_kinds:
        parts.insert(0, cases(asked.runs, asked.users, asked.seed))
    for one in chain(*parts):
        row = one.as_row()
        missed += not one.met
        print(f"{row['what']:<60} {row['measured']:<8} {row['m.c. s.d.']:<8} {row['target']:<18} {row['']}", flush=True)
    luck = math.sqrt(ALPHA * (1 - ALPHA) / asked.runs)
    spent = time.process_time() - started
    print(
        f"\n{asked.runs} runs a case (s.d. {luck:.3f}), {asked.users} users an arm, {spent:.0f} CPU s, {missed} missed"
    )


if __name__ == "__main__":
    main()
