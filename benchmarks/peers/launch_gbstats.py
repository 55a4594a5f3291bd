"""gbstats fed by one DuckDB query of ours: two means, one of them with a covariate, and a ratio."""

from __future__ import annotations

import duckdb
from gbstats.frequentist.tests import FrequentistConfig, TwoSidedTTest
from gbstats.models.statistics import (
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
    compute_theta,
)
from launch_calls import measured

SUMS = """
SELECT variant, count(*), sum(revenue), sum(revenue * revenue), sum(clicks), sum(clicks::DOUBLE * clicks),
  sum(impressions), sum(impressions::DOUBLE * impressions), sum(clicks::DOUBLE * impressions),
  sum(clicks_pre), sum(clicks_pre::DOUBLE * clicks_pre), sum(clicks::DOUBLE * clicks_pre)
FROM read_parquet(?) GROUP BY variant ORDER BY variant
"""


def arms(row: tuple) -> dict:
    _, n, *sums = row
    revenue, clicks, shown = (SampleMeanStatistic(n=n, sum=sums[i], sum_squares=sums[i + 1]) for i in (0, 2, 4))
    before = SampleMeanStatistic(n=n, sum=sums[7], sum_squares=sums[8])
    adjusted = RegressionAdjustedStatistic(
        n=n, post_statistic=clicks, pre_statistic=before, post_pre_sum_of_products=sums[9], theta=0
    )
    ratio = RatioStatistic(n=n, m_statistic=clicks, d_statistic=shown, m_d_sum_of_products=sums[6])
    return {"revenue": revenue, "clicks": adjusted, "ctr": ratio}


def analyse(file: str) -> dict:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        old, new = (arms(row) for row in connection.execute(SUMS, [file]).fetchall())
    theta = compute_theta(old["clicks"], new["clicks"])
    old["clicks"].theta = new["clicks"].theta = theta
    told = {}
    for name in old:
        config = FrequentistConfig(difference_type="absolute", traffic_proportion_b=1, phase_length_days=1)
        result = TwoSidedTTest(old[name], new[name], config).compute_result()
        told[name] = [result.expected, *result.ci]
    return told


if __name__ == "__main__":
    measured(analyse, ["gbstats", "duckdb"])
