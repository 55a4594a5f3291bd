"""spotify-confidence fed by one DuckDB query of ours: two means; it has no ratio, and no covariate here."""

from __future__ import annotations

import warnings

import duckdb
from launch_calls import measured
from spotify_confidence import ZTest

SUMS = """
SELECT variant, count(*) AS n, sum(revenue) AS revenue, sum(revenue * revenue) AS revenue2, sum(clicks) AS clicks,
  sum(clicks::DOUBLE * clicks) AS clicks2
FROM read_parquet(?) GROUP BY variant ORDER BY variant
"""


def analyse(file: str) -> dict:
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        frame = connection.execute(SUMS, [file]).df().astype("float64")
    told = {}
    for name in ("revenue", "clicks"):
        test = ZTest(frame, name, f"{name}2", "n", "variant")
        row = test.difference(0.0, 1.0, absolute=True).iloc[0]
        told[name if name == "revenue" else "clicks without its covariate"] = [
            row["difference"],
            row["ci_lower"],
            row["ci_upper"],
        ]
    return told


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    measured(analyse, ["spotify-confidence", "duckdb"])
