"""tea-tasting on a lazy Polars table: two means, one of them with a covariate, and a ratio."""

from __future__ import annotations

import polars as pl
import tea_tasting as tt
from launch_calls import measured


def analyse(file: str) -> dict:
    experiment = tt.Experiment(
        revenue=tt.Mean("revenue"),
        clicks=tt.Mean("clicks", covariate="clicks_pre"),
        ctr=tt.RatioOfMeans("clicks", "impressions"),
    )
    result = experiment.analyze(pl.scan_parquet(file))
    return {
        name: [one.effect_size, one.effect_size_ci_lower, one.effect_size_ci_upper]
        for name, one in ((name, result[name]) for name in ("revenue", "clicks", "ctr"))
    }


if __name__ == "__main__":
    measured(analyse, ["tea-tasting", "polars", "narwhals"])
