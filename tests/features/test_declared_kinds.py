"""Every kind of feature: what it says, the same bits live and past, and an independent oracle in DuckDB."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pytest

from mainstem.base.errors import FeatureError
from mainstem.features.attributes import AttributeTable
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.events import Events
from mainstem.features.language.aggregate import (
    count,
    distinct,
    fading,
    largest,
    last,
    mean,
    ratio,
    smallest,
    time_since,
    total,
)
from mainstem.features.language.feature import Attribute, Context, Feature, Listed, PythonFunction
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.language.source import Source
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000 // (24 * HOUR_MS) * 24 * HOUR_MS
SALES = Source(
    "sales",
    {
        "time_ms": "int64",
        "user_id": "int64",
        "item_id": "int64",
        "price": "float64",
        "good": "int64",
        "utc_offset_ms": "int64",
    },
    drop_after="2h",
)
USER = {"over": "user_id", "source": SALES}
FEATURES = FeatureSet(
    [
        Feature("user_id", Context()),
        Feature("now_ms", Context()),
        Feature("utc_offset_ms", Context()),
        Feature("item_id", Context(per="candidate")),
        Feature("brand", Attribute("items", "brand", "item_id")),
        Feature("n", count(), windows=("1h", "1d", "7d", "ever"), **USER),
        Feature("good_n", count("good == 1"), windows=("1d",), **USER),
        Feature("spent", total("price"), windows=("1d", "ever"), **USER),
        Feature("mean_price", mean("price", where="good == 1"), windows=("1d",), empty=-1.0, **USER),
        Feature("good_share", ratio("good", "1"), windows=("7d",), **USER),
        Feature("least", smallest("price"), windows=("1d",), **USER),
        Feature("most", largest("price"), windows=("1d",), **USER),
        Feature("since", time_since("good == 1"), unit="s", **USER),
        Feature("different_items", distinct("item_id", registers=64), windows=("7d",), **USER),
        Feature("fading_spent", fading("price", "1d"), windows=("7d",), step="1h", **USER),
        Feature("today", count(), windows=("1d",), align="clock", step="1d", zone="local", **USER),
        Feature("today_utc", count(), windows=("1d",), align="clock", step="1d", **USER),
        Feature("recent", last(5, price="price", item_id="item_id"), **USER),
        Feature("last_items", Listed("recent.item_id", 3)),
        Feature("top_items", Listed("recent.item_id", 2, frequent=True)),
        Feature("item_n", count(), over=("user_id", "item_id"), source=SALES, windows=("7d",)),
        Feature("share_of_item", "item_n / n_7d", about="of the user's week"),
        Feature("same_item", "count(recent.item_id == item_id)"),
        Feature("doubled", PythonFunction(lambda spent: spent * 2, ("spent_1d",))),
    ]
)
COLUMNS = tuple(name for f in FEATURES if not isinstance(f.of, Context) and f.name != "recent" for name in f.columns)


def _log(seed: int = 0, n: int = 3_000) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    time_ms = np.sort(START_MS + draw.integers(0, 10 * 24 * HOUR_MS, n))
    late = draw.random(n) < 0.02
    time_ms = np.where(late, time_ms - draw.integers(0, 5 * HOUR_MS, n), time_ms)
    user_id = draw.integers(0, 40, n)
    return pl.DataFrame(
        {
            "offset": np.arange(n) * 3,
            "time_ms": time_ms,
            "user_id": user_id,
            "item_id": draw.integers(0, 12, n),
            "price": np.where(draw.random(n) < 0.05, np.nan, np.round(draw.gamma(2.0, 10.0, n), 2)),
            "good": draw.integers(0, 2, n),
            "utc_offset_ms": (user_id % 3 - 1) * 8 * HOUR_MS,
        }
    )


def _asked(log: pl.DataFrame, every: int = 7) -> Requests:
    rows = np.arange(200, log.height, every)
    picked = log[rows]
    # As a server asks: now is the newest time it has seen, or a little later.
    now = np.maximum.accumulate(log["time_ms"].to_numpy())[rows] + 5_000
    given = {
        "user_id": picked["user_id"].to_numpy(),
        "now_ms": now,
        "utc_offset_ms": picked["utc_offset_ms"].to_numpy(),
        "item_id": picked["item_id"].to_numpy()[:, None],
    }
    return Requests(given, picked["offset"].to_numpy())


def _tables() -> dict[str, AttributeTable]:
    return {"items": AttributeTable.of(np.arange(12), {"brand": np.append(np.arange(12) % 3, np.nan)}, name="items")}


@pytest.fixture(scope="module")
def past() -> tuple[pl.DataFrame, Requests, dict]:
    log, plan = _log(), Plan(FEATURES)
    asked = _asked(log)
    found = Backfill(plan, _tables(), {"sales": Events.from_arrow(log.to_arrow(), SALES)}).values(
        Reading(plan, _tables(), COLUMNS), asked
    )
    return log, asked, found


@pytest.mark.parametrize("batch", [1, 17, 5_000])
def test_live_says_what_the_past_says_to_the_bit(past: tuple[pl.DataFrame, Requests, dict], batch: int) -> None:
    log, asked, found = past
    plan = Plan(FEATURES)
    state, reading = LiveState(plan, _tables()), Reading(plan, _tables(), COLUMNS)
    events = Events.from_arrow(log.to_arrow(), SALES)
    done = 0
    for at in range(0, len(asked), 5 if batch > 1 else 40):
        until = int(np.searchsorted(events.offset, asked.as_of[at]))
        for start in range(done, until, batch):
            state.apply("sales", events.take(slice(start, min(start + batch, until))))
        done = until
        now = state.read(reading, {name: column[at : at + 1] for name, column in asked.given.items()})
        for name in COLUMNS:
            live = now[name].reshape(-1)[0]
            if name == "doubled":
                assert np.isnan(found[name]).all(), "a function of our own has no recomputed past"
            elif isinstance(live, list):
                assert live == found[name][at], name
            else:
                np.testing.assert_array_equal(live, found[name][at], err_msg=name)


def test_duckdb_says_the_same(past: tuple[pl.DataFrame, Requests, dict]) -> None:
    log, asked, found = past
    events = log.with_columns(
        mark=pl.col("time_ms").cum_max().shift(1, fill_value=-1), price=pl.col("price").fill_nan(None)
    ).filter(pl.col("time_ms") >= pl.col("mark") - 2 * HOUR_MS)
    requests = pl.DataFrame(
        {
            "row_number": np.arange(len(asked)),
            "user_id": asked.given["user_id"],
            "item_id": asked.given["item_id"][:, 0],
            "now_ms": asked.given["now_ms"],
            "shift": asked.given["utc_offset_ms"],
            "as_of": asked.as_of,
        }
    )
    oracle = duckdb.connect().register("events", events.to_arrow()).register("requests", requests.to_arrow())
    oracle.sql(
        """
        CREATE TEMP VIEW base AS
        SELECT r.row_number AS row_number, r.now_ms, r.shift, r.item_id AS wanted, e.* FROM requests r LEFT JOIN events e
        ON e.user_id = r.user_id AND e."offset" < r.as_of
        """
    )

    def since(hours: int, step_s: int) -> str:
        return f"time_ms >= (now_ms - {hours} * 3600000) // ({step_s} * 1000) * ({step_s} * 1000)"

    day, hour, week = since(24, 3_600), since(1, 300), since(168, 3_600)
    wanted = oracle.sql(
        f"""
        SELECT row_number, count(*) FILTER (user_id IS NOT NULL) AS n_ever,
          count(*) FILTER ({hour}) AS n_1h, count(*) FILTER ({day}) AS n_1d, count(*) FILTER ({week}) AS n_7d,
          count(*) FILTER ({day} AND good = 1) AS good_n,
          coalesce(sum(round(price * 1048576)::BIGINT) FILTER ({day}), 0) / 1048576.0 AS spent_1d,
          min(price) FILTER ({day}) AS least, max(price) FILTER ({day}) AS most,
          (any_value(now_ms) - max(time_ms) FILTER (good = 1)) / 1000.0 AS since,
          count(*) FILTER ((time_ms + shift) // 86400000 = (now_ms + shift) // 86400000) AS today,
          count(*) FILTER (time_ms // 86400000 = now_ms // 86400000) AS today_utc,
          count(*) FILTER ({week} AND item_id = wanted) AS item_n
        FROM base GROUP BY row_number ORDER BY row_number
        """
    ).pl()
    for name in wanted.columns[1:]:
        told = wanted[name].cast(pl.Float64).to_numpy()
        slack = 1e-6 if name in ("least", "most") else 0.0  # kept in steps of 2**-20
        np.testing.assert_allclose(found[name], told, rtol=slack, atol=slack, err_msg=name)


def test_distinct_is_within_its_bound(past: tuple[pl.DataFrame, Requests, dict]) -> None:
    _, _, found = past
    exact = found["n_7d"] > 200
    assert (np.abs(found["different_items"][exact] - 12) <= 3 * 0.13 * 12).all()


def test_a_value_is_never_of_the_future(past: tuple[pl.DataFrame, Requests, dict]) -> None:
    log, asked, found = past
    plan = Plan(FEATURES)
    cut = int(asked.as_of[len(asked) // 2])
    draw = np.random.default_rng(5)
    later = log.filter(pl.col("offset") >= cut)
    shuffled = later.with_columns(
        **{name: later[name].gather(draw.permutation(later.height)) for name in ("user_id", "item_id", "price", "good")}
    )
    changed = pl.concat([log.filter(pl.col("offset") < cut), shuffled])
    again = Backfill(plan, _tables(), {"sales": Events.from_arrow(changed.to_arrow(), SALES)}).values(
        Reading(plan, _tables(), [name for name in COLUMNS if name not in ("last_items", "top_items")]), asked
    )
    for name, column in again.items():
        np.testing.assert_array_equal(column[asked.as_of <= cut], found[name][asked.as_of <= cut], err_msg=name)


@pytest.mark.parametrize(
    ("features", "code"),
    [
        ([Feature("a", "b + 1"), Feature("b", "a + 1")], "feature-002"),
        ([Feature("a", "1"), Feature("a", "2")], "feature-001"),
        ([Feature("a", "nobody + 1")], "feature-031"),
        ([Feature("a", count())], "feature-006"),
        ([Feature("a", "1 +")], "feature-030"),
        ([Feature("a b", "1")], "feature-006"),
        ([Feature("user_id", Context()), Feature("a", count(), windows=("90min",), step="1h", **USER)], "feature-003"),
        ([Feature("user_id", Context()), Feature("a", count(), windows=("a week",), **USER)], "feature-007"),
        ([Feature("user_id", Context()), Feature("a", fading("price", "1d"), **USER)], "feature-003"),
    ],
)
def test_what_makes_no_sense_is_refused(features: list[Feature], code: str) -> None:
    with pytest.raises(FeatureError) as refused:
        Plan(FeatureSet(features))
    assert refused.value.code == code
    assert refused.value.hint


def test_a_value_too_large_to_be_exact_is_refused() -> None:
    log = _log(n=3).with_columns(price=pl.lit(1e15))
    state = LiveState(Plan(FEATURES), _tables())
    with pytest.raises(FeatureError) as refused:
        state.apply("sales", Events.from_arrow(log.to_arrow(), SALES))
    assert refused.value.code == "feature-011"


def test_attributes_hold_from_their_time_on() -> None:
    table = AttributeTable.of(
        np.array([7, 7, 9]), {"price": np.array([1.0, 2.0, 5.0, np.nan])}, np.array([100, 200, 0]), name="prices"
    )
    rows = table.rows(np.array([7, 7, 7, 9, 8, 7]), np.array([99, 100, 250, 1, 1, -1]))
    np.testing.assert_array_equal(table.columns["price"][rows], [np.nan, 1.0, 2.0, 5.0, np.nan, 2.0])
    with pytest.raises(FeatureError, match="twice"):
        AttributeTable.of(np.array([7, 7]), {"price": np.zeros(3)}, np.array([5, 5]))


def test_a_changed_meaning_needs_a_new_version() -> None:
    from mainstem.features.language.feature_set import refuse_silent_change

    before = FeatureSet([Feature("a", "1 + 1")])
    served = {"a": (1, before.fingerprints["a"])}
    refuse_silent_change(FeatureSet([Feature("a", "1  +  1", about="only the layout and the words differ")]), served)
    with pytest.raises(FeatureError) as refused:
        refuse_silent_change(FeatureSet([Feature("a", "1 + 2")]), served)
    assert refused.value.code == "feature-005"
    refuse_silent_change(FeatureSet([Feature("a", "1 + 2", version=2)]), served)


def test_a_failed_lookup_is_answered_as_declared() -> None:
    from mainstem.features.failures import FailurePolicies

    features = FeatureSet(
        [
            Feature("user_id", Context()),
            Feature("n", count(), role="user", default=7.0, **USER),
            Feature("twice", "2 * n", role="user", default=9.0, failed="cohort_mean"),
            Feature("other", "user_id + 1", role="user", default=5.0),
        ]
    )
    policies = FailurePolicies(features, features.columns_of("user"))
    side = np.array([[1.0, 2.0, 3.0], [4.0, 8.0, 6.0]])
    np.testing.assert_array_equal(policies.applied(side, frozenset({"features", "source:popular"})), side)
    np.testing.assert_array_equal(policies.applied(side, {"feature:n"}), [[7.0, np.nan, 3.0], [7.0, np.nan, 6.0]])
    np.testing.assert_array_equal(policies.applied(side, {"feature:twice"}), [[1.0, np.nan, 3.0], [4.0, np.nan, 6.0]])
    strict = FeatureSet([*list(features)[:2], Feature("twice", "2 * n", role="user", failed="refuse")])
    with pytest.raises(FeatureError) as refused:
        FailurePolicies(strict, strict.columns_of("user")).applied(side[:, :2], {"feature:n"})
    assert refused.value.code == "feature-019"


def test_a_log_without_events_is_all_empty() -> None:
    plan = Plan(FEATURES)
    asked = _asked(_log())
    nothing = Events.from_arrow(_log().head(0).to_arrow(), SALES)
    found = Backfill(plan, _tables(), {"sales": nothing}).values(Reading(plan, _tables(), COLUMNS), asked)
    assert (found["n_ever"] == 0).all()
    assert np.isnan(found["mean_price"]).all()
    state = LiveState(plan, _tables())
    assert state.apply("sales", nothing).applied == 0


def test_parts_of_the_log_change_no_bit(
    past: tuple[pl.DataFrame, Requests, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mainstem.features import backfill

    log, asked, found = past
    monkeypatch.setattr(backfill, "_PART", 97)
    monkeypatch.setattr(backfill, "_CHUNK", 13)
    plan = Plan(FEATURES)
    events = Events.from_arrow(log.to_arrow(), SALES)
    again = Backfill(plan, _tables(), {"sales": events}, threads=2).values(Reading(plan, _tables(), COLUMNS), asked)
    for name, column in found.items():
        np.testing.assert_array_equal(again[name], column, err_msg=name)


def test_a_subset_keeps_what_its_requests_need() -> None:
    source = Source("s", {"time_ms": "int64", "shop": "int64", "utc_offset_ms": "int64"})
    whole = FeatureSet(
        [
            Feature("now_ms", Context()),
            Feature("raw_shop", Context()),
            Feature("utc_offset_ms", Context()),
            Feature("shop", "raw_shop % 10", about="a column of events, derived for requests"),
            Feature("n", count(), over="shop", source=source, windows=("1d",), zone="local"),
            Feature("other", "raw_shop + 1"),
        ]
    )
    few = whole.only(["n"])
    assert "other" not in few.by_name
    reading = Reading(Plan(few), {}, ["n"])
    state = LiveState(Plan(few), {})
    state.apply(
        "s",
        Events(
            np.arange(3), {"time_ms": np.full(3, START_MS), "shop": np.array([1, 1, 2]), "utc_offset_ms": np.zeros(3)}
        ),
    )
    given = {"now_ms": np.array([START_MS]), "raw_shop": np.array([21]), "utc_offset_ms": np.array([0])}
    assert state.read(reading, given)["n"][0] == 2
