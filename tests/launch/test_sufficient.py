"""Sums are the same for every backend, chunking and row order, and refuse what is no number."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.gather import Layout, gather, gather_arrays, gather_narwhals
from mainstem.launch.sufficient import Column, Sums, Wanted, rebased, shifts_of, two_sum

CAPPED, PLAIN, FAR = Column("spend", 30.0), Column("clicks"), Column("far")
WANTED = Wanted.of([(PLAIN,), (CAPPED, PLAIN), (FAR, PLAIN)])
LAYOUT = Layout("arm", ("surface",))


def made(rows: int, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "user": rng.integers(0, max(rows // 3, 1), rows),
        "arm": np.where(rng.random(rows) < 0.5, "control", "treatment"),
        "surface": rng.integers(0, 3, rows),
        "spend": np.round(rng.lognormal(2, 1.5, rows), 2),
        "clicks": rng.poisson(2.5, rows).astype(np.int64),
        "far": 1e6 + rng.normal(0, 1, rows),
    }


def figures(sums: Sums) -> np.ndarray:
    """Means, and covariances as shares of the spread, of all groups."""
    told = []
    for key in sums.keys:
        group = sums.group(key)
        told += [group.count, *(group.mean(one) for one in WANTED.columns)]
        for i, j in WANTED.pairs:
            a, b = WANTED.columns[i], WANTED.columns[j]
            told.append(group.covariance(a, b) / np.sqrt(group.covariance(a, a) * group.covariance(b, b)))
            told.append(group.covariance(a, a))
    return np.array(told)


def same(one: Sums, other: Sums) -> None:
    assert one.keys == other.keys
    np.testing.assert_allclose(figures(one), figures(other), rtol=1e-12, atol=1e-12)


def engines(table: dict[str, Any]) -> dict[str, Any]:
    frame = pl.DataFrame(table)
    arrow = frame.to_arrow()
    assert isinstance(arrow, pa.Table)
    return {"polars": frame, "lazy": frame.lazy(), "duckdb": duckdb.connect().from_arrow(arrow), "arrow": arrow}


@pytest.mark.parametrize("name", ["polars", "lazy", "duckdb", "arrow"])
@pytest.mark.parametrize("unit", ["", "user"])
def test_every_backend_gives_the_same(name, unit):
    table = made(20_000)
    layout = Layout("arm", ("surface",), unit)
    expected = gather(table, layout, WANTED)
    same(gather(engines(table)[name], layout, WANTED), expected)
    same(gather_narwhals(engines(table)[name], layout, WANTED), expected)


def test_a_file_is_read_as_the_table_is(tmp_path):
    table = made(3_000)
    pl.DataFrame(table).write_parquet(tmp_path / "units.parquet")
    same(gather(tmp_path / "units.parquet", LAYOUT, WANTED), gather(table, LAYOUT, WANTED))


@given(st.integers(0, 1000), st.lists(st.integers(1, 999), max_size=6))
@settings(max_examples=20)
def test_chunks_and_the_order_of_rows_change_nothing(seed, cuts):
    table = made(1000, seed)
    order = np.random.default_rng(seed).permutation(1000)
    places = np.split(order, sorted(set(cuts)))
    chunks = [{name: values[place] for name, values in table.items()} for place in places]
    expected = gather(table, LAYOUT, WANTED)
    same(gather_arrays(chunks, LAYOUT, WANTED), expected)
    parts = [gather(chunk, LAYOUT, WANTED) for chunk in chunks]
    same(sum(parts[1:], start=parts[0]), expected)


def test_the_moments_are_those_of_numpy():
    table = made(5_000)
    sums = gather(table, Layout("arm"), WANTED)
    mine = {name: values[table["arm"] == "control"] for name, values in table.items()}
    group = sums.group(("control",))
    spend = np.minimum(mine["spend"], 30.0)
    assert group.mean(CAPPED) == pytest.approx(spend.mean(), rel=1e-13)
    assert group.covariance(FAR, FAR) == pytest.approx(np.var(mine["far"], ddof=1), rel=1e-9)
    assert group.covariance(PLAIN, CAPPED) == pytest.approx(np.cov(spend, mine["clicks"])[0, 1], rel=1e-11)
    same(gather(table, LAYOUT, WANTED).pooled(("arm", "surface")), gather(table, LAYOUT, WANTED))
    np.testing.assert_allclose(
        figures(gather(table, LAYOUT, WANTED).pooled(("arm",))), figures(sums), rtol=1e-12, atol=1e-12
    )


def test_other_shifts_say_the_same():
    sums = gather(made(2_000), LAYOUT, WANTED)
    same(rebased(rebased(sums, np.add(sums.shifts, [0.5, -3.0, 100.0])), sums.shifts), sums)
    assert shifts_of(np.array([0.0, np.nan, 2.5])) == (0.0, 0.0, 2.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["spend", "far"])
def test_a_value_that_is_no_number_is_refused_everywhere(bad, column):
    table = made(200)
    table[column][17] = bad
    for one in (table, *engines(table).values()):
        with pytest.raises(LaunchError, match=column) as refused:
            gather(one, LAYOUT, WANTED)
        assert refused.value.code == "launch-063"


@pytest.mark.parametrize(("unit", "column"), [("", one) for one in ("spend", "clicks", "arm", "surface")]
                         + [("user", one) for one in ("spend", "clicks", "arm", "surface", "user")])  # fmt: skip
def test_a_missing_value_is_refused_everywhere(unit, column):
    frame = pl.DataFrame(made(200)).with_row_index()
    frame = frame.with_columns(pl.when(pl.col("index") == 17).then(None).otherwise(pl.col(column)).alias(column))
    table = frame.to_dict(as_series=False)
    arrays = {name: np.array(values, object if None in values else None) for name, values in table.items()}
    layout = Layout("arm", ("surface",), unit)
    for one in (arrays, *engines(table).values()):
        for ask in (gather, gather_narwhals) if one is not arrays else (gather,):
            with pytest.raises(LaunchError, match="column") as refused:
                ask(one, layout, WANTED)
            assert refused.value.code == "launch-063"
            assert column in refused.value.message or one is arrays


def test_what_was_not_gathered_is_refused_by_name():
    sums = gather(made(50), LAYOUT, WANTED)
    for ask in (
        lambda: sums.place(Column("click")),
        lambda: sums.pooled(("arm", "surfaces")),
        lambda: gather(made(5), Layout("arms"), WANTED),
        lambda: gather(["no", "table"], LAYOUT, WANTED),
        lambda: sums.group(sums.keys[0]).covariance(CAPPED, FAR),
    ):
        with pytest.raises(LaunchError) as refused:
            ask()
        assert refused.value.code == "launch-060"
    with pytest.raises(LaunchError) as refused:
        sums.group(("treatment", 9))
    assert refused.value.code == "launch-061"
    with pytest.raises(LaunchError) as refused:
        sums + gather(made(50), Layout("arm"), WANTED)
    assert refused.value.code == "launch-062"


def test_a_table_without_rows_has_no_groups():
    empty = {name: values[:0] for name, values in made(5).items()}
    assert gather(empty, LAYOUT, WANTED).keys == ()
    assert gather(pl.DataFrame(empty), LAYOUT, WANTED).keys == ()


def test_a_running_total_keeps_what_rounding_drops():
    total = np.zeros((2, 1))
    for more in (1e16, *[1.0] * 1000, -1e16):
        total = two_sum(total, np.array([more]))
    assert total.sum() == 1000.0
