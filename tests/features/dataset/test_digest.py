"""The hash sees values, never pieces."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.digest import plain_table, table_sha256

KINDS = {
    "int64": (pa.int64(), st.integers(-5, 5)),
    "float32": (pa.float32(), st.sampled_from([0.0, -0.0, 1.5, float("inf")])),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), st.sampled_from(["", "a", "ab", "b", "é"])),
    "binary": (pa.binary(), st.sampled_from([b"", b"a", b"ab"])),
    "list": (pa.list_(pa.int32()), st.lists(st.none() | st.integers(0, 2), max_size=3)),
    "vector": (pa.list_(pa.float32(), 2), st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2)),
    "texts": (pa.list_(pa.string()), st.lists(st.sampled_from(["", "a", "aa"]), max_size=2)),
}


def sha(pieces: list[pa.Table]) -> str:
    return table_sha256(pieces, pieces[0].schema)


@pytest.mark.parametrize("kind", KINDS)
def test_values_count_and_pieces_do_not(kind):
    arrow, one = KINDS[kind]

    @given(st.lists(st.none() | one, max_size=8), st.lists(st.none() | one, max_size=8), st.integers(0, 8))
    def check(values, others, cut):
        whole, other = (pa.table({"x": pa.array(v, arrow)}) for v in (values, others))
        assert sha([whole]) == sha([whole.slice(0, cut), whole.slice(cut)])
        assert (sha([whole]) == sha([other])) == (repr(values) == repr(others))

    check()


def test_a_text_is_a_text_in_every_layout():
    layouts = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))
    found = {
        sha([plain_table(pa.table({"x": pa.array(["a", None, "b"], pa.string()).cast(kind)}))]) for kind in layouts
    }
    assert len(found) == 1


def test_names_and_types_count():
    one = pa.table({"x": pa.array([1], pa.int64())})
    assert len({sha([one]), sha([one.rename_columns(["y"])]), sha([one.cast(pa.schema([("x", pa.int32())]))])}) == 3


def test_a_type_without_plain_values_is_refused():
    with pytest.raises(FeatureError) as refusal:
        plain_table(pa.table({"x": pa.array([None], pa.decimal128(5, 2))}))
    assert refusal.value.code == "feature-090"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["ab", ""]),
        ([["a"], ["b"]], [["a", "b"], []]),
        ([[1], [2, 3]], [[1, 2], [3]]),
        ([None, ""], ["", None]),
    ],
)
def test_where_a_value_ends_counts(one, other):
    kind = pa.infer_type([value for value in [*one, *other] if value is not None])
    assert sha([pa.table({"x": pa.array(one, kind)})]) != sha([pa.table({"x": pa.array(other, kind)})])
