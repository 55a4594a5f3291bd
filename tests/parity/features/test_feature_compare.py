from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_tables import DAY, rechunked, table, with_column

from mainstem.base.errors import FeatureError
from mainstem.parity.features.compare import compare
from mainstem.parity.features.meta import FeatureMeta
from mainstem.parity.features.result import Report

LASTS = FeatureMeta("lasts", "last 3")
METAS = [FeatureMeta("clicks", "7d"), FeatureMeta("rate", "1d"), FeatureMeta("small"), LASTS]


def sample(rows: int = 60, seed: int = 0, text_ids: bool = False) -> pa.Table:
    rng = np.random.default_rng(seed)
    rate = rng.normal(size=rows)
    rate[:: max(1, rows // 5)] = np.nan
    columns = {
        "clicks": rng.integers(-5, 50, rows),
        "rate": rate,
        "small": rng.normal(size=rows).astype(np.float32),
        "lasts": pa.array([rng.integers(0, 9, rng.integers(0, 4)).tolist() for _ in range(rows)], pa.list_(pa.int64())),
        "rate__state": np.isnan(rate).astype(np.uint8),
    }
    return table(rows, columns, text_ids=text_ids)


def test_equal_tables_pass_on_every_day() -> None:
    found = compare(sample(), sample(), METAS)
    assert found.gate().passed
    assert [len(one.days) for one in found.report.features] == [4] * 4
    assert all(day.tally.match_rate == 1 and day.tally.cells == 15 for one in found.report.features for day in one.days)
    assert found.kept == {}
    assert Report.from_json(found.to_json()) == found.report


@given(st.data(), st.booleans())
def test_order_and_chunks_change_nothing(data: st.DataObject, text_ids: bool) -> None:
    rows = data.draw(st.integers(1, 40))
    served, other = sample(rows, 1, text_ids), sample(rows, 2, text_ids)
    copies = data.draw(st.lists(st.integers(0, rows - 1), max_size=4))
    if copies:
        served = pa.concat_tables([served, other.take(pa.array(copies))])
    shuffled = [
        rechunked(
            one, np.array(data.draw(st.permutations(range(one.num_rows)))), data.draw(st.lists(st.integers(0, 50)))
        )
        for one in (served, other)
    ]
    assert compare(*shuffled, METAS).report == compare(served, other, METAS).report


@given(row=st.integers(0, 59), bit=st.integers(0, 63), name=st.sampled_from(["clicks", "rate"]))
def test_one_flipped_bit_is_found_where_it_is(row: int, bit: int, name: str) -> None:
    served = sample()
    values = served[name].to_numpy().copy()
    bits = values.view(np.uint64)
    before = values[row].item()
    bits[row] ^= np.uint64(1) << np.uint64(bit)
    found = compare(with_column(served, name, values), served, METAS)
    if np.isnan(before) and np.isnan(values[row]):
        assert found.gate().passed
        return
    assert found.gate().failing == (name,)
    feature = found.feature(name)
    assert feature.total.beyond == feature.total.differing == 1
    bad = [day for day in feature.days if day.tally.matched != day.tally.cells]
    assert [day.day for day in bad] == [served["time_ms"][row].as_py() // DAY]
    first = bad[0].tally.first
    assert first is not None
    assert first == feature.examples[0]
    assert (first.offset, first.item_id, first.request_id) == (1_000 + row // 5 * 7, row % 5, str(100 + row // 5))
    assert (float(first.served), float(first.recomputed)) == pytest.approx((values[row], before), abs=0, nan_ok=True)
    if bit < 52 and not np.isnan(before):
        assert feature.total.largest_ulp == 2**bit


def test_what_counts_as_the_same_number() -> None:
    payload = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    one = table(5, {"f": [0.0, payload, 1.5, -0.0, 2.0]})
    other = table(5, {"f": [-0.0, np.nan, 1.5, -0.0, 3.0]})
    total = compare(one, other, [FeatureMeta("f")]).feature("f").total
    assert (total.matched, total.differing, total.signed_zero) == (3, 2, 1)
    assert (total.largest, total.smape) == (1.0, pytest.approx(0.4 / 4))


def test_types_that_hold_the_same_numbers_agree() -> None:
    kinds = (np.float32([0.5, 0.1]), [0.5, 0.1], np.array([2**53 + 1, 7]), [2.0**53, 7.0])
    small, wide, whole, real = (table(2, {"f": values}) for values in kinds)
    assert compare(small, wide, [FeatureMeta("f")]).feature("f").total.matched == 1
    found = compare(whole, real, [FeatureMeta("f")]).feature("f")
    assert found.total.matched == 1
    assert found.types == ("int64", "double")


def test_missing_extra_and_states() -> None:
    states = pa.array([0, 0, 1, 0, 2], pa.uint8())
    one = table(5, {"f": pa.array([1.0, None, None, 4.0, None]), "f__state": states})
    other = table(5, {"f": pa.array([1.0, 2.0, None, None, None]), "f__state": pa.array([0, 0, 1, 0, 1], pa.uint8())})
    total = compare(one, other, [FeatureMeta("f")]).feature("f").total
    # The third row has a value on neither side and no other state: nothing to compare.
    assert (total.cells, total.matched, total.missing, total.extra, total.state_differing) == (4, 1, 1, 1, 1)
    assert total.beyond == 3


def test_rows_of_one_side_and_copies() -> None:
    one = sample(20)
    found = compare(one.slice(0, 18), one.slice(1, 19), METAS)
    rows = found.report.rows
    assert (rows.paired, rows.missing, rows.extra) == (17, 2, 1)
    clicks = found.feature("clicks")
    assert (clicks.total.missing, clicks.total.extra) == (2, 1)
    assert [example.kind for example in clicks.examples] == ["extra", "missing", "missing"]
    assert clicks.examples[0].recomputed == "no row"
    twice = compare(pa.concat_tables([one, one.slice(3, 1)]), one, METAS)
    assert twice.report.rows.served_copies == 1
    assert twice.feature("clicks").total.extra == 1
    assert compare(pa.concat_tables([one, one]), pa.concat_tables([one, one]), METAS).gate().passed


@given(st.permutations(range(6)))
def test_copies_with_one_key_are_told_apart_by_their_values(order: list[int]) -> None:
    """Each copy differs in one way: a number, a null, a NaN, a list's element, its order, its length."""
    numbers = pa.array([1.0, None, np.nan, 1.0, 1.0, 1.0])
    lists = pa.array([[1, 2], [1, 2], [1, 2], [1, 3], [2, 1], [1, 2, 0]], pa.list_(pa.int64()))
    one = table(6, {"f": numbers, "g": lists})
    for name in ("request_id", "time_ms", "offset", "user_id", "item_id"):
        one = with_column(one, name, np.zeros(6, np.int64))
    found = compare(one, one.take(pa.array(order)), [FeatureMeta("f"), FeatureMeta("g")])
    assert found.gate().passed
    assert found.report.rows.paired == 6


def test_lists_tell_how_many_elements_part() -> None:
    one = table(4, {"f": pa.array([[1, 2, 3], [1, 2, 3], [], None], pa.list_(pa.int64()))})
    other = table(4, {"f": pa.array([[1, 2, 3], [0, 1, 2], [7], None], pa.list_(pa.int64()))})
    found = compare(one, other, [FeatureMeta("f")]).feature("f")
    assert (found.total.cells, found.total.matched) == (3, 1)
    assert (found.total.edit_mean, found.total.edit_largest, found.total.largest) == (1.5, 2, 1.0)
    assert (found.examples[0].served, found.examples[0].recomputed, found.examples[0].first_place) == (
        "[1, 2, 3]",
        "[0, 1, 2]",
        0,
    )


def test_a_sketch_passes_within_its_documented_bound() -> None:
    one, other = table(3, {"f": [100.0, 50.0, 10.0]}), table(3, {"f": [101.0, 50.0, 10.0]})
    assert compare(one, other, [FeatureMeta("f", tolerance="sketch", bound=0.02)]).gate().passed
    assert not compare(one, other, [FeatureMeta("f", tolerance="sketch", bound=0.001)]).gate().passed
    nothing = with_column(other, "f", pa.array([None, 50.0, 10.0]))
    assert not compare(one, nothing, [FeatureMeta("f", tolerance="sketch", bound=0.02)]).gate().passed


def test_the_rows_kept_for_the_cause_do_not_depend_on_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainstem.parity.features.compare.KEPT", 20)
    one, other = table(300, {"f": np.arange(300.0)}), table(300, {"f": np.arange(300.0) + 1})
    order = np.random.default_rng(0).permutation(300)
    drawn = []
    for served in (one, one.take(pa.array(order))):
        found = compare(served, other, [FeatureMeta("f")])
        kept = found.kept["f"]
        drawn.append(list(zip(found.rows.request[kept.at], found.rows.item_id[kept.at], strict=True)))
        assert kept.left.values.tolist() == [5 * request + item for request, item in drawn[-1]]
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == (0, 0)
    assert 15 <= len(drawn[0]) <= 20


def test_files_give_what_tables_give(tmp_path: Path) -> None:
    one, other = sample(50, 1), sample(50, 2)
    (tmp_path / "served").mkdir()
    for at in range(3):
        part = one.slice(at * 20, 20)
        pq.write_table(part, tmp_path / "served" / f"part-{at}.parquet", row_group_size=7)
    pq.write_table(pa.concat_tables([other, other.slice(3, 4), one.slice(3, 4)]), tmp_path / "other.parquet")
    files = compare(tmp_path / "served", tmp_path / "other.parquet", METAS)
    assert files.report == compare(one, pq.read_table(tmp_path / "other.parquet"), METAS).report


def test_day_of_is_the_callers() -> None:
    found = compare(sample(), sample(), METAS, day_of=lambda time_ms: time_ms * 0 + 7)
    assert [day.day for day in found.feature("rate").days] == [7]


def test_nothing_to_compare_does_not_pass() -> None:
    assert not compare(sample(0), sample(0), METAS).gate().passed
    assert not compare(sample(0, text_ids=True), sample(5, text_ids=True), METAS).gate().passed


def lists_and_numbers() -> tuple[pa.Table, pa.Table, list[FeatureMeta]]:
    return table(1, {"f": [1]}), table(1, {"f": pa.array([[1]])}), [FeatureMeta("f")]


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("parity-041", (sample(), sample(), [])),
        ("parity-041", (sample(), sample(), [LASTS, LASTS])),
        ("parity-042", (sample().drop_columns(["offset"]), sample(), METAS)),
        ("parity-043", (sample(), sample(), [FeatureMeta("click")])),
        ("parity-044", (with_column(sample(2), "user_id", pa.array([None, 1])), sample(), METAS)),
        ("parity-045", (sample(), sample(text_ids=True), METAS)),
        ("parity-046", (sample(), sample(), [FeatureMeta("feature_set")])),
        ("parity-047", lists_and_numbers()),
    ],
)
def test_refusals_have_a_code_and_a_hint(code: str, arguments: tuple) -> None:
    with pytest.raises(FeatureError) as refused:
        compare(*arguments)
    assert refused.value.code == code
    assert refused.value.hint


def test_a_bound_belongs_to_a_sketch() -> None:
    with pytest.raises(FeatureError) as refused:
        FeatureMeta("f", bound=0.1)
    assert refused.value.code == "parity-040"
