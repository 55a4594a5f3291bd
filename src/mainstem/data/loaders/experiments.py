"""Real experiments that others published, as tables of units or of looks: Hillstrom's e-mails, Cookie Cats, ASOS."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from mainstem.base.errors import DataError

HILLSTROM_ARMS: Final = ("No E-Mail", "Womens E-Mail", "Mens E-Mail")
COOKIE_CATS_ARMS: Final = ("gate_30", "gate_40")


def read_hillstrom(folder: Path) -> pl.DataFrame:
    """64,000 customers, three arms of e-mail, two weeks of outcomes.

    Returns:
        ``arm``; the outcomes ``visit``, ``conversion`` and ``spend``; from the year before, ``history`` (money), ``recency``
        (months), ``mens``, ``womens`` and ``newbie``; and ``channel``.

    Raises:
        DataError: The file is missing (``data-001``), or a column of it (``data-003``).

    Source: Hillstrom, MineThatData E-Mail Analytics Challenge, 2008.
    """
    names = ["visit", "conversion", "spend", "history", "recency", "mens", "womens", "newbie", "channel"]
    table = _csv(folder / "hillstrom.csv", ["treatment", *names])
    return table.select(pl.col("treatment").alias("arm"), *names)


def read_cookie_cats(folder: Path) -> pl.DataFrame:
    """90,189 players of a game whose first gate stood at level 30 or at level 40.

    Returns:
        ``user``, ``arm``, ``rounds`` (in the first 14 days), and 0 or 1 for ``back_1`` and ``back_7``: whether the player came
        back after a day and after seven.

    Raises:
        DataError: The file is missing (``data-001``), or a column of it (``data-003``).
    """
    table = _csv(folder / "cookie_cats.csv", ["userid", "test_version", "sum_gamerounds", "retention_1", "retention_7"])
    return table.select(
        pl.col("userid").alias("user"),
        pl.col("test_version").alias("arm"),
        pl.col("sum_gamerounds").alias("rounds"),
        pl.col("retention_1").cast(pl.Int8).alias("back_1"),
        pl.col("retention_7").cast(pl.Int8).alias("back_7"),
    )


def read_asos(folder: Path) -> pl.DataFrame:
    """What ASOS saw every half day or day of 43 real experiments: counts, means and variances of up to four metrics.

    Returns:
        ``experiment``, ``variant``, ``metric`` (1 is a rate, 2 to 4 are not), ``days`` since the start, and for each arm
        ``count_c``, ``mean_c``, ``variance_c``, ``count_t``, ``mean_t``, ``variance_t``; sorted by time within a sequence. Rows
        without a variance, where an arm had one unit or none, are left out.

    Raises:
        DataError: The file is missing (``data-001``), or a column of it (``data-003``).

    Source: Liu, Cardoso, Couturier and McCoy, NeurIPS 2021 Datasets and Benchmarks; CC BY 4.0.
    """
    file = folder / "asos_digital_experiments.parquet"
    if not file.is_file():
        raise _missing(file)
    table = pl.read_parquet(file)
    figures = [f"{name}_{arm}" for arm in ("c", "t") for name in ("count", "mean", "variance")]
    _need(table, ["experiment_id", "variant_id", "metric_id", "time_since_start", *figures], file)
    told = table.select(
        pl.col("experiment_id").alias("experiment"),
        pl.col("variant_id").alias("variant"),
        pl.col("metric_id").alias("metric"),
        pl.col("time_since_start").alias("days"),
        *figures,
    )
    return told.drop_nulls(figures).sort("experiment", "variant", "metric", "days")


def _csv(file: Path, columns: list[str]) -> pl.DataFrame:
    if not file.is_file():
        raise _missing(file)
    table = pl.read_csv(file)
    _need(table, columns, file)
    return table


def _need(table: pl.DataFrame, columns: list[str], file: Path) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"{file} has no column {', '.join(missing)}", code="data-003", hint="docs/guides/experiments.md"
        )


def _missing(file: Path) -> DataError:
    return DataError(f"{file} is not there", code="data-001", hint="docs/guides/data.md says where packs come from")
