from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from small_log import HOUR, METAS, How, SmallLog
from value_tables import table, with_column

from mainstem.base.errors import FeatureError
from mainstem.parity.features.cause import name_cause, name_causes
from mainstem.parity.features.claims import Claim, ranked
from mainstem.parity.features.compare import compare
from mainstem.parity.features.evidence import Evidence, LogFacts, SideMeta, Variant
from mainstem.parity.features.meta import FeatureMeta

RIGHT = How()
FAULTS = {
    "timezone": (How(timezone=8 * HOUR), RIGHT, {"count_1d", "hour"}),
    "window_off_by_one": (How(hop=1), RIGHT, {"count_1d", "rate"}),
    "unit": (How(scale=1_000), RIGHT, {"watch_s"}),
    "default": (How(empty=0.0), RIGHT, {"age_s", "rate"}),
    "late": (How(late_dropped=True), RIGHT, {"count_1d", "watch_s"}),
    "stale_state": (How(behind=100), RIGHT, {"count_1d", "watch_s", "age_s"}),
    "replica_lag": (How(lagging=True), RIGHT, {"count_1d", "watch_s", "age_s"}),
    "join_key": (How(other_key=True), RIGHT, {"count_1d", "watch_s", "age_s"}),
    "double_count": (How(double_counted=True), RIGHT, {"count_1d", "watch_s", "rate"}),
    "duplicate": (How(duplicates_counted=True), RIGHT, {"count_1d", "watch_s", "rate"}),
    "log_gap": (How(gaps_left_out=True), RIGHT, {"watch_s"}),
    "truncated_embedding": (How(truncated=True), RIGHT, {"vector"}),
    "clock_skew": (How(clock_skew=60_000), RIGHT, {"age_s"}),
    "label_leak": (RIGHT, How(label_leaked=True), {"count_1d", "watch_s", "age_s"}),
    "type": (How(narrow=True), RIGHT, {"rate"}),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("cause", FAULTS)
def test_every_fault_is_named(cause: str, seed: int) -> None:
    log = SmallLog(seed)
    online, offline, features = FAULTS[cause]
    found = compare(log.table(online), log.table(offline), METAS)
    evidence = Evidence(
        log=LogFacts(0, 1_500, log.gaps() if cause == "log_gap" else ()),
        lag=log.lags() if cause == "replica_lag" else {},
        recompute=log.recompute(offline),
    )
    named = {one.feature: one for one in name_causes(found, evidence)}
    assert features <= set(named)
    assert {name: named[name].cause for name in features} == dict.fromkeys(features, cause)
    assert all(named[name].confidence > 0.9 for name in features)
    assert all(named[name].sentence.count(".") for name in features)


def test_state_that_stopped_is_stale() -> None:
    log = SmallLog(3)
    found = compare(log.table(How(stopped=900)), log.table(RIGHT), METAS)
    one = name_cause(found, Evidence(recompute=log.recompute(RIGHT)), "watch_s")
    assert one is not None
    assert (one.cause, one.basis) == ("stale_state", "recomputed")
    assert one.first is not None
    assert one.first.offset > 900


SHOWN = ["unit", "default", "double_count", "truncated_embedding", "clock_skew", "type"]


@pytest.mark.parametrize("cause", SHOWN)
def test_what_the_values_show_needs_no_recomputation(cause: str) -> None:
    for seed in range(5):
        log = SmallLog(seed)
        online, offline, features = FAULTS[cause]
        named = name_causes(compare(log.table(online), log.table(offline), METAS), Evidence())
        causes = Counter(one.cause for one in named if one.feature in features)
        assert causes == {cause: len(features)}
        assert all(one.basis == "signature" for one in named if one.feature in features)


def test_a_fault_on_some_servers_is_still_named() -> None:
    log = SmallLog(5)
    right, wrong = log.table(RIGHT), log.table(How(scale=1_000))
    hit = np.random.default_rng(1).random(300) < 0.2
    mixed = np.where(hit, wrong["watch_s"].to_numpy(), right["watch_s"].to_numpy())
    one = name_cause(compare(with_column(right, "watch_s", mixed), right, METAS), Evidence())
    assert one is not None
    assert (one.feature, one.cause, one.amount) == ("watch_s", "unit", "times 1000")


@pytest.mark.parametrize("seed", range(2))
def test_noise_is_not_explained_away(seed: int) -> None:
    log = SmallLog(seed)
    right = log.table(RIGHT)
    noisy = right["watch_s"].to_numpy() + np.random.default_rng(seed).normal(0, 3, 300)
    found = compare(with_column(right, "watch_s", noisy), right, METAS)
    for evidence in (Evidence(), Evidence(recompute=log.recompute(RIGHT))):
        one = name_cause(found, evidence)
        assert one is not None
        assert (one.cause, one.confidence, one.basis) == ("unknown", 0.0, "none")


@pytest.mark.parametrize(
    ("part", "value", "cause"),
    [
        ("version", "b", "version"),
        ("source", "b", "source"),
        ("timezone", "b", "timezone"),
        ("dtype", "b", "type"),
        ("default", 0.0, "default"),
        ("window", "b", "window_off_by_one"),
        ("join_key", "b", "join_key"),
    ],
)
def test_what_the_sides_say_decides_when_no_row_does(part: str, value: object, cause: str) -> None:
    log = SmallLog(1)
    right = log.table(RIGHT)
    noisy = right["watch_s"].to_numpy() + np.random.default_rng(1).normal(0, 3, 300)
    found = compare(with_column(right, "watch_s", noisy), right, METAS)
    own = SideMeta("a", "a", 1.0, "a", "a", "a", "a")
    other = replace(own, **{part: value, "version": "b"})
    one = name_cause(found, Evidence({"watch_s": own}, {"watch_s": other}))
    assert one is not None
    assert (one.cause, one.basis, one.confidence) == (cause, "metadata", 0.0)


def test_rows_alone_point_to_lag_gap_copies_and_feature_set() -> None:
    log = SmallLog(2)
    right = log.table(RIGHT)
    lagging = compare(log.table(How(lagging=True)), right, METAS)
    one = name_cause(lagging, Evidence(lag=log.lags()), "watch_s")
    assert one is not None
    assert (one.cause, one.basis) == ("replica_lag", "rows")
    sets = pa.array(["v0" if at < 100 else "v1" for at in range(300)])
    noise = np.where(np.arange(300) < 100, np.random.default_rng(1).normal(0, 3, 300), 0)
    older = with_column(right, "watch_s", right["watch_s"].to_numpy() + noise)
    one = name_cause(compare(with_column(older, "feature_set", sets), right, METAS), Evidence())
    assert one is not None
    assert (one.cause, one.basis) == ("version", "rows")
    copied = pa.concat_tables([right, right.slice(5, 3)])
    assert {one.cause for one in name_causes(compare(copied, right, METAS), Evidence())} == {"duplicate"}


def test_the_sign_of_a_clock_is_told_with_its_amount() -> None:
    rng = np.random.default_rng(0)
    age = rng.integers(0, 5_000, 40).astype(np.float64)
    metas = [FeatureMeta("age", unit="s")]
    for shift, cause in ((-5.5 * 3_600, "timezone"), (17.0, "clock_skew")):
        one = name_cause(compare(table(40, {"age": age + shift}), table(40, {"age": age}), metas), Evidence())
        assert one is not None
        assert (one.cause, one.amount) == (cause, f"{shift:+g} s")
    # The same shift of something that is no time is not a clock's.
    plain = compare(table(40, {"age": age + 17}), table(40, {"age": age}), [FeatureMeta("age")])
    assert [one.cause for one in name_causes(plain, Evidence())] == ["unknown"]


def test_no_fault_has_no_cause_and_a_diagnosis_is_json() -> None:
    log = SmallLog(1)
    assert name_causes(compare(log.table(RIGHT), log.table(RIGHT), METAS), Evidence()) == ()
    assert name_cause(compare(log.table(RIGHT), log.table(RIGHT), METAS), Evidence()) is None
    one = name_cause(compare(log.table(How(scale=60)), log.table(RIGHT), METAS), Evidence())
    assert one is not None
    assert msgspec.json.decode(one.to_json())["cause"] == "unit"


def test_an_unknown_variant_is_refused() -> None:
    log = SmallLog(1)
    found = compare(log.table(How(hop=1)), log.table(RIGHT), METAS)
    with pytest.raises(FeatureError) as refused:
        name_causes(found, Evidence(variants=(Variant("timezon"),)))
    assert refused.value.code == "parity-048"
    assert "timezone" in refused.value.hint


def test_a_cause_that_would_change_agreeing_rows_loses() -> None:
    narrow = Claim("replica_lag", "recomputed", 0.95, kept=1.0)
    wide = Claim("stale_state", "recomputed", 0.97, kept=0.1)
    assert ranked([wide, narrow]).best == narrow
    assert ranked([wide]).best == wide
    assert ranked([Claim("late", "recomputed", 0.4)]).best.cause == "unknown"


def test_a_count_that_is_one_behind_is_no_default() -> None:
    recomputed = np.tile([0, 1], 20)
    served = np.where(np.arange(40) % 4 == 1, 0, recomputed)
    (one,) = name_causes(
        compare(table(40, {"f": served}), table(40, {"f": recomputed}), [FeatureMeta("f")]), Evidence()
    )
    # Half of the rows with one event agree: what differs is not how "nothing" is written.
    assert one.cause == "unknown"
