"""The same 42 features by DuckDB and by Polars, each in its best form: integer prefix sums and as-of joins."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from benchmarks.made_backfill import KEYS, WINDOWS


def by_duckdb(connection: Any) -> pa.Table:
    """The 42 columns from the tables ``events`` and ``labels`` of a connection, in the order of ``row``."""
    parts = []
    for name, key in KEYS.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE sums AS {_sums(key)}")
        parts.append(connection.sql(_joined(name, key)).to_arrow_table())
    connection.execute("DROP TABLE sums")
    return pa.table({column: part.column(column) for part in parts for column in part.column_names})


def _sums(key: tuple[str, ...]) -> str:
    lags = ", ".join(f"lag(amount, {at}) OVER w AS a{at}" for at in range(1, 5))
    return (
        f'SELECT {", ".join(key)}, "offset" AS place, time_ms, amount AS a0, {lags}, row_number() OVER w AS n, '
        f"CAST(sum(amount) OVER (w ROWS UNBOUNDED PRECEDING) AS BIGINT) AS s FROM events "
        f'WINDOW w AS (PARTITION BY {", ".join(key)} ORDER BY "offset")'
    )


def _joined(name: str, key: tuple[str, ...]) -> str:
    def same(at: str) -> str:
        return " AND ".join(f"{at}.{word} = r.{word}" for word in key)

    chosen, joins = [], [f"ASOF LEFT JOIN sums now ON {same('now')} AND r.as_of > now.place"]
    for window, (span, step) in WINDOWS.items():
        begin = f"(r.now_ms - {span}) // {step} * {step}"
        joins.append(f"ASOF LEFT JOIN sums w{window} ON {same(f'w{window}')} AND {begin} > w{window}.time_ms")
        n = f"coalesce(now.n, 0) - coalesce(w{window}.n, 0)"
        total = f"coalesce(now.s, 0) - coalesce(w{window}.s, 0)"
        chosen += [f"{n} AS {name}_n_{window}", f"{total} AS {name}_sum_{window}"]
        chosen += [f"CAST({total} AS DOUBLE) / nullif({n}, 0) AS {name}_mean_{window}"]
    chosen += [f"now.a{at} AS {name}_last_{at}" for at in range(5)]
    return f"SELECT {', '.join(chosen)} FROM labels r {' '.join(joins)} ORDER BY r.row"


def by_polars(events: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The 42 columns; labels must ascend in time and place."""
    parts = []
    for name, key in KEYS.items():
        sums = events.lazy().select(
            *key,
            pl.col("offset"),
            pl.col("time_ms"),
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(key).alias("n"),
            pl.col("amount").cum_sum().over(key).alias("s"),
            *(pl.col("amount").shift(at).over(key).alias(f"a{at}") for at in range(5)),
        )
        joined = labels.lazy().select(*key, "now_ms", "as_of")
        joined = _before(joined, sums, "as_of", "offset", key, ["n", "s", *(f"a{at}" for at in range(5))], "")
        for window, (span, step) in WINDOWS.items():
            begin = (pl.col("now_ms") - span) // step * step
            joined = _before(
                joined.with_columns(begin.alias("begin")), sums, "begin", "time_ms", key, ["n", "s"], f"_{window}"
            )
        parts.append(joined.select(_finish(name)).collect())
    return pl.concat(parts, how="horizontal")


def _before(
    left: pl.LazyFrame, sums: pl.LazyFrame, on: str, other: str, key: tuple[str, ...], names: list[str], suffix: str
) -> pl.LazyFrame:
    right = sums.select(*key, other, *(pl.col(name).alias(f"{name}{suffix}") for name in names)).set_sorted(other)
    joined = left.set_sorted(on).join_asof(
        right, left_on=on, right_on=other, by=list(key), allow_exact_matches=False, check_sortedness=False
    )
    return joined.drop(other, strict=False)


def _finish(name: str) -> list[pl.Expr]:
    out = []
    for window in WINDOWS:
        n = pl.col("n").fill_null(0) - pl.col(f"n_{window}").fill_null(0)
        total = pl.col("s").fill_null(0) - pl.col(f"s_{window}").fill_null(0)
        out += [n.alias(f"{name}_n_{window}"), total.alias(f"{name}_sum_{window}")]
        out.append((total / pl.when(n > 0).then(n)).alias(f"{name}_mean_{window}"))
    return out + [pl.col(f"a{at}").alias(f"{name}_last_{at}") for at in range(5)]
