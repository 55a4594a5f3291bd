from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chi2
from value_tables import DAY

from mainstem.base.errors import FeatureError
from mainstem.parity.features.drift import Delays, DriftReport, Thresholds, drift
from mainstem.parity.features.meta import FeatureMeta
from mainstem.parity.features.stability import chi_square_limit, counts, fitted, stability

METAS = [FeatureMeta(name) for name in ("count", "price", "flag", "rare", "last")]
NAMES = {"count", "price", "flag", "rare", "last"}


def rows_of(rng: np.random.Generator, rows: int, users: int = 10_000) -> dict[str, object]:
    price = rng.lognormal(size=rows)
    price[rng.random(rows) < 0.2] = np.nan
    return {
        "user_id": rng.integers(0, users, rows),
        "count": rng.poisson(2, rows),
        "price": price,
        "flag": (rng.random(rows) < 0.3).astype(np.int64),
        "rare": np.where(rng.random(rows) < 0.01, rng.normal(size=rows), 0.0),
        "last": pa.array([[1] * n for n in rng.integers(0, 5, rows)], pa.list_(pa.int64())),
    }


def logged(parts: list[dict[str, object]]) -> pa.Table:
    tables = []
    for day, part in enumerate(parts):
        rows = len(part["user_id"])  # type: ignore[arg-type]
        keys = {
            "request_id": np.arange(rows),
            "time_ms": np.full(rows, day * DAY),
            "offset": np.arange(rows),
            "feature_set": ["v1"] * rows,
            "item_id": np.zeros(rows, np.int64),
        }
        tables.append(pa.table(keys | part))
    return pa.concat_tables(tables)


@pytest.mark.parametrize("rows", [200, 2_000])
def test_the_same_distribution_makes_no_more_alarms_than_declared(rows: int) -> None:
    # Without the practical threshold, so that the statistical one is what is tested.
    limits = Thresholds(moved=0.0, missing_rise=0.0, rate=1e-2)
    found: Counter[str] = Counter()
    plain = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        table = logged([rows_of(rng, 2_000), rows_of(rng, rows)])
        found += Counter(one.kind for one in drift(table, METAS, reference=(0, 0), thresholds=limits).alarms)
        plain += len(drift(table, METAS, reference=(0, 0)).alarms)
    # 200 days of 5 features at 1 in 100: 10 expected of either kind, at most 22 in all but 1 of 4,000 draws.
    assert found["distribution"] <= 22
    assert found["missing"] <= 22
    # At 1 in 1,000 and with the customary threshold: 1 expected of either kind.
    assert plain <= 5


def test_rows_of_few_users_do_not_alarm() -> None:
    rng = np.random.default_rng(1)
    of_user = rng.normal(size=4_000)
    parts = []
    for day in range(21):
        users = np.repeat(rng.integers(0, 4_000, 4_000 if day == 0 else 40), 50)
        parts.append(rows_of(rng, len(users)) | {"user_id": users, "price": of_user[users]})
    report = drift(logged(parts), [FeatureMeta("price")], reference=(0, 0))
    assert report.alarms == ()
    assert all(one.independent <= 41 for one in report.features)


def changed(name: str, how: object) -> DriftReport:
    rng = np.random.default_rng(3)
    parts = [rows_of(rng, 400) for _ in range(4)]
    parts[3][name] = how(parts[3][name])  # type: ignore[operator]
    return drift(logged(parts), METAS, reference=(0, 1))


def test_another_unit_is_an_alarm_on_its_day() -> None:
    report = changed("price", lambda price: price * 1_000)
    assert [(one.kind, one.name, one.day) for one in report.alarms] == [("distribution", "price", 3)]
    assert report.alarms[0].value > report.alarms[0].limit
    assert "'price'" in report.sentence
    assert msgspec.json.decode(report.to_json())["alarms"][0]["name"] == "price"


def test_values_that_are_lost_are_an_alarm() -> None:
    report = changed("price", lambda price: np.where(np.arange(400) % 2, np.nan, price))
    assert {(one.kind, one.name, one.day) for one in report.alarms} == {
        ("distribution", "price", 3),
        ("missing", "price", 3),
    }


def test_states_are_bins_of_their_own() -> None:
    rng = np.random.default_rng(3)
    parts = [rows_of(rng, 400) for _ in range(3)]
    for day, part in enumerate(parts):
        part["price"] = np.full(400, np.nan)
        part["price__state"] = np.full(400, 1 + (day == 2), np.uint8)
    report = drift(logged(parts), [FeatureMeta("price")], reference=(0, 0))
    assert [(one.kind, one.day) for one in report.alarms] == [("distribution", 2)]


def test_rows_about_users_do_not_count_for_features_of_items() -> None:
    rng = np.random.default_rng(3)
    table = logged([rows_of(rng, 400) for _ in range(2)])
    item = np.where(np.arange(800) % 2, -1, 7)
    price = pa.array(np.ones(800), mask=item == -1)
    table = table.set_column(table.schema.get_field_index("item_id"), "item_id", pa.array(item))
    table = table.set_column(table.schema.get_field_index("price"), "price", price)
    day = drift(table, [FeatureMeta("price")], reference=(0, 0)).features[0]
    assert (day.rows, day.missing_share) == (200, 0.0)


def test_delays_by_day_and_their_alarms() -> None:
    rng = np.random.default_rng(0)
    time_ms = np.repeat(np.arange(3), 100) * DAY
    slow = np.where(time_ms == 2 * DAY, 4.0, 1.0)
    delay = rng.exponential(1_000, 300) * slow
    delay[::10] = np.nan
    samples = [
        Delays("click", "label_delay", time_ms, delay),
        Delays("state", "freshness", time_ms, 40_000 * slow),
        Delays("replica", "lag", time_ms, slow),
        Delays("never", "label_delay", time_ms, np.full(300, np.nan)),
    ]
    report = drift(logged([rows_of(rng, 50) for _ in range(3)]), METAS, reference=(0, 0), delays=samples)
    assert {(one.kind, one.name, one.day) for one in report.alarms} == {
        ("label_delay", "click", 2),
        ("freshness", "state", 2),
    }
    click = report.delays[0]
    assert (click.rows, click.unknown_share) == (100, pytest.approx(0.1))
    assert click.p50 == pytest.approx(np.nanquantile(delay[:100], 0.5))
    assert report.delays[-1].p99 is None


def test_no_reference_is_refused() -> None:
    with pytest.raises(FeatureError) as refused:
        drift(logged([rows_of(np.random.default_rng(0), 5)]), METAS, reference=(7, 8))
    assert refused.value.code == "parity-049"


def test_the_limit_is_that_of_chi_square() -> None:
    for freedom in range(1, 15):
        for rate in (1e-2, 1e-3, 1e-5):
            assert 0.99 <= chi_square_limit(freedom, rate) / chi2.isf(rate, freedom) <= 1.12


def test_bins_hold_equal_shares_and_common_values_alone() -> None:
    values = np.concatenate([np.zeros(500), np.random.default_rng(0).normal(5, 1, 500)])
    bins = fitted(values)
    found = counts(bins, values, np.full(1_000, -1))
    assert found.max() == 500
    assert found.sum() == 1_000
    same = stability(found, found, 1e-3)
    assert same.index == 0
    assert same.moved == 0
    assert fitted(np.full(3, np.nan)).size == 4
