"""Labels: twin, oracle, ties, both legacy windows, and what becomes of every outcome."""

from __future__ import annotations

import duckdb
import msgspec
import numpy as np
import polars as pl
import pytest
from content_first import memory as content_first
from hypothesis import given
from hypothesis import strategies as st
from interest_first.labels import touched_within_day

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.label_rule import CONTENT_FIRST, INTEREST_FIRST, LabelRule, one_per_outcome
from mainstem.features.dataset.labels import FATES, REASONS, Impressions, Outcomes, join_labels
from mainstem.features.dataset.labels_reference import reference_labels

KINDS = ("click", "like", "hate")


def rule(**more) -> LabelRule:
    given_ = {"name": "r", "window_ms": 10, "join": "last_touch", "by": ("user_id", "item_id"), "outcomes": ("click",)}
    return LabelRule(**(given_ | more))


def shown(rows, viewed=None, **outcomes) -> Impressions:
    """Rows of (offset, time, user, item)."""
    table = np.array(rows, np.int64).reshape(-1, 4).T
    seen = np.ones(table.shape[1], np.bool_) if viewed is None else np.array(viewed, np.bool_)
    flags = {name: np.array(flag, np.int8) for name, flag in outcomes.items()}
    return Impressions(table[0], table[1], seen, {"user_id": table[2], "item_id": table[3]}, flags)


def did(rows) -> Outcomes:
    """Rows of (event, offset, time, kind, user, item)."""
    table = np.array(rows, np.int64).reshape(-1, 6).T
    return Outcomes(table[0], table[1], table[2], table[3], KINDS, {"user_id": table[4], "item_id": table[5]})


rules = st.builds(
    rule,
    window_ms=st.integers(1, 12),
    join=st.sampled_from(("last_touch", "any_touch")),
    by=st.sampled_from((("user_id", "item_id"), ("user_id",), ("item_id", "user_id"))),
    outcomes=st.sampled_from((("click",), ("click", "like"))),
    viewable=st.sampled_from(("viewable", "served")),
    last_ms_counts=st.booleans(),
)
key = st.integers(-1, 2)


@st.composite
def logs(draw):
    count = draw(st.integers(0, 14))
    offsets = sorted(draw(st.lists(st.integers(0, 60), min_size=count, max_size=count, unique=True)))
    rows = [(offset, draw(st.integers(-1, 25)), draw(key), draw(key)) for offset in offsets]
    flag = st.lists(st.integers(-1, 1), min_size=count, max_size=count)
    viewed = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    impressions = shown(rows, viewed, click=draw(flag), like=draw(flag))
    later = sorted(draw(st.lists(st.integers(0, 60), max_size=14, unique=True)))
    events = [
        (draw(st.integers(0, 9)), offset, draw(st.integers(-1, 30)), draw(st.integers(-1, 2)), draw(key), draw(key))
        for offset in later
    ]
    return impressions, did(events)


@given(logs(), rules, st.booleans(), st.integers(0, 40))
def test_the_twin_agrees(log, one, apart, seen):
    impressions, outcomes = log[0], log[1] if apart else None
    found = join_labels(impressions, outcomes, one, seen)
    label, delay, fate = reference_labels(impressions, outcomes, one, seen)
    assert found.label.tolist() == label
    assert found.delay_ms.tolist() == delay
    assert [FATES[code] for code in found.fate] == [fate[row] for row in sorted(fate)]


@given(logs(), rules)
def test_every_outcome_and_every_impression_is_accounted_for(log, one):
    impressions, outcomes = log
    found = join_labels(impressions, outcomes, one)
    assert sum(found.fates().values()) == len(outcomes)
    assert sum(found.counts().values()) == len(impressions)
    assert ((found.label >= 0) == (found.reason < 2)).all()


@given(logs(), rules)
def test_more_log_never_changes_a_label_whose_window_is_over(log, one):
    impressions, outcomes = log
    early = join_labels(impressions, outcomes, one, 15)
    known = outcomes.time_ms < 15
    cut = Outcomes(
        *(getattr(outcomes, name)[known] for name in ("event_id", "offset", "time_ms", "kind")),
        KINDS,
        {name: column[known] for name, column in outcomes.keys.items()},
    )
    unique = len(set(outcomes.event_id.tolist())) == len(outcomes)  # a copy could stand for an original that is cut off
    if unique:
        assert (early.label == join_labels(impressions, cut, one, 15).label)[early.over].all()


def test_the_latest_impression_not_after_the_outcome_is_credited():
    log = shown([(0, 100, 1, 7), (1, 105, 1, 7), (5, 110, 1, 7)])
    found = join_labels(log, did([(1, 9, 108, 0, 1, 7)]), rule(), 1_000)
    assert found.label.tolist() == [0, 1, 0]
    assert found.delay_ms.tolist() == [-1, 3, -1]


def test_the_offset_decides_between_equal_times():
    log = shown([(0, 100, 1, 7), (2, 100, 1, 7), (4, 100, 1, 7)])
    assert join_labels(log, did([(1, 3, 100, 0, 1, 7)]), rule(), 1_000).label.tolist() == [0, 1, 0]
    anyone = join_labels(log, did([(1, 3, 100, 0, 1, 7)]), rule(join="any_touch"), 1_000)
    assert anyone.label.tolist() == [1, 1, 0]


@pytest.mark.parametrize(("counts", "expected"), [(True, [1, 1]), (False, [0, 1])])
def test_the_last_millisecond_counts_where_the_rule_says_so(counts, expected):
    log = shown([(0, 100, 1, 7), (1, 101, 2, 7)])
    outcomes = did([(1, 8, 110, 0, 1, 7), (2, 9, 110, 0, 2, 7)])
    assert join_labels(log, outcomes, rule(last_ms_counts=counts), 1_000).label.tolist() == expected


def test_what_has_no_impression_is_orphaned_and_a_second_copy_counts_once():
    log = shown([(0, 100, 1, 7)])
    outcomes = did(
        [(1, 1, 99, 0, 1, 7), (2, 2, 104, 0, 1, 7), (2, 3, 102, 0, 1, 7), (3, 4, 190, 0, 1, 7), (4, 5, 101, 2, 1, 7)]
    )
    found = join_labels(log, outcomes, rule(), 1_000)
    assert [FATES[code] for code in found.fate] == ["orphaned", "credited", "duplicate", "too late", "other kind"]
    assert found.delay_ms.tolist() == [4]


def test_a_window_that_is_not_over_is_not_a_no():
    log = shown([(0, 100, 1, 7), (1, 111, 1, 8), (2, 112, 1, 9), (3, 120, 2, 7)])
    found = join_labels(log, did([(1, 9, 121, 0, 1, 9)]), rule())
    assert found.label.tolist() == [0, 0, 1, -1]
    assert found.over.tolist() == [True, True, False, False]
    assert REASONS[found.reason[3]] == "window not over"


def test_an_outcome_without_a_view_goes_to_the_last_one_seen():
    log = shown([(0, 100, 1, 7), (1, 104, 1, 7)], viewed=[True, False], click=[0, 1])
    found = join_labels(log, None, rule(), 1_000)
    assert found.label.tolist() == [1, -1]
    assert join_labels(log, None, rule(viewable="served"), 1_000).label.tolist() == [0, 1]


def test_an_outcome_that_the_row_does_not_know_is_not_a_no():
    log = shown([(0, 100, 1, 7), (1, 100, 2, 7)], click=[-1, -1], like=[1, 0])
    assert join_labels(log, None, rule(outcomes=("click", "like")), 1_000).label.tolist() == [1, -1]


def test_it_is_the_interest_first_label():
    rng = np.random.default_rng(4)
    n = 4_000
    time_ms = np.sort(rng.integers(0, 5 * 86_400_000, n) // 1_800_000 * 1_800_000)  # whole half hours: the edge is met
    user, interest, depth = rng.integers(0, 20, n), rng.integers(0, 6, n), rng.random(n) < 0.05
    log = Impressions(
        np.arange(n),
        time_ms,
        rng.random(n) < 0.5,
        {"user_id": user, "interest": interest},
        {"click": depth.astype(np.int8)},
    )
    one = msgspec.structs.replace(INTEREST_FIRST, outcomes=("click",))
    ours = join_labels(log, None, one, 2**60).label
    assert (ours == touched_within_day(user, interest, time_ms, depth.astype(np.float64))).all()
    assert 0 < ours.mean() < 1


def test_it_credits_the_impression_that_the_content_first_stack_credits():
    rng = np.random.default_rng(6)
    minute = 60_000
    times = rng.choice(np.arange(1, 200), 50, replace=False) * minute
    items, ring = rng.integers(1, 6, 50), np.zeros((4, 50), np.int64)
    ring[content_first.RING_ITEM], ring[content_first.RING_MS] = items, times
    order = np.argsort(times)
    log = Impressions(
        np.arange(50),
        times[order],
        np.ones(50, np.bool_),
        {"user_id": np.ones(50, np.int64), "canonical_id": items[order]},
        {},
    )
    for step in range(400):
        item, when = int(rng.integers(1, 6)), int(rng.integers(1, 240)) * minute
        keys = {"user_id": np.array([1]), "canonical_id": np.array([item])}
        one = Outcomes(*(np.array([value]) for value in (0, 99, when, 0)), ("long_view",), keys)
        credited = np.flatnonzero(join_labels(log, one, CONTENT_FIRST, 2**60).label == 1)
        slot = content_first._last_touch(ring, item, when)
        assert order[credited].tolist() == ([] if slot < 0 else [slot]), step


def test_an_oracle_in_sql_agrees():
    rng = np.random.default_rng(5)
    n, m = 3_000, 2_000
    log = shown(np.stack([np.arange(n) * 2, np.sort(rng.integers(0, 9_000, n)), *rng.integers(0, 12, (2, n))], axis=1))
    outcomes = did(
        np.stack(
            [np.arange(m), np.arange(m) * 2 + 1, rng.integers(0, 9_000, m), np.zeros(m), *rng.integers(0, 12, (2, m))],
            1,
        )
    )
    base = duckdb.connect()
    base.register("shown", pl.DataFrame({"offset": log.offset, "t": log.time_ms, **log.keys}).to_arrow())
    base.register("did", pl.DataFrame({"offset": outcomes.offset, "t": outcomes.time_ms, **outcomes.keys}).to_arrow())
    pairs = """select s."offset" shown_at, d.t - s.t delay,
          row_number() over (partition by d."offset" order by s.t desc, s."offset" desc) place
        from did d join shown s using (user_id, item_id) where (s.t, s."offset") <= (d.t, d."offset")"""
    for join, only in (("last_touch", "and place = 1"), ("any_touch", "")):
        sql = f"select shown_at, min(delay) from ({pairs}) where delay < 400 {only} group by shown_at"
        expected = dict(base.execute(sql).fetchall())
        found = join_labels(log, outcomes, rule(join=join, window_ms=400), 2**60)
        assert {int(log.offset[row]): int(found.delay_ms[row]) for row in np.flatnonzero(found.label == 1)} == expected
        assert len(expected) > 300


def test_frames_are_read_as_they_come():
    impressions = pl.DataFrame(
        {"user_id": [1, 1], "item_id": [5, None], "time_ms": [100, 101], "viewed": [1, 1], "click": [None, 1]}
    )
    log = Impressions.from_frame(impressions, ("user_id", "item_id"), first_offset=40)
    assert log.offset.tolist() == [40, 41]
    assert log.keys["item_id"].tolist() == [5, -1]
    events = pl.DataFrame(
        {
            "event_id": ["b", "a", "b", None, None],
            "offset": [50, 51, 52, 53, 54],
            "time_ms": [102] * 5,
            "kind": ["click"] * 5,
        }
    ).with_columns(user_id=pl.lit(1), item_id=pl.lit(5))
    outcomes = Outcomes.from_frame(events, ("user_id", "item_id"))
    assert join_labels(log, outcomes, rule(), 1_000).fates()["duplicate"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_ms": 0},
        {"by": ("item_id",)},
        {"by": ("user_id", "user_id")},
        {"outcomes": ()},
        {"join": "first"},
        {"viewable": "x"},
        {"name": "a b"},
    ],
)
def test_a_rule_without_a_meaning_is_refused(wrong):
    with pytest.raises(FeatureError) as refusal:
        rule(**wrong)
    assert refusal.value.code == "feature-080"


def test_a_missing_column_is_refused_by_name():
    log = shown([(0, 1, 1, 1)], click=[0])
    for one, apart in ((rule(by=("user_id", "creator_id")), None), (rule(outcomes=("like",)), None)):
        with pytest.raises(FeatureError, match=r"creator_id|like") as refusal:
            join_labels(log, apart, one)
        assert refusal.value.code == "feature-081"
    with pytest.raises(FeatureError):
        Impressions.from_frame(pl.DataFrame({"time_ms": [1]}), ("user_id",))


def test_several_heads_share_a_window():
    assert [one.columns[0] for one in one_per_outcome(CONTENT_FIRST, ("click", "hate"))] == [
        "label_click",
        "label_hate",
    ]
