from __future__ import annotations

import contextlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import DataError
from mainstem.data.expressions import column_expression

FRAME = pl.DataFrame({"watch_ms": [70, 69], "duration_ms": [100, 100], "odd name": [1, 2], "deed": ["buy", "view"]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("watch_ms >= 0.7 * duration_ms", [True, False]),
        ("odd name", [1, 2]),
        ('deed == "buy"', [True, False]),
        ("watch_ms > 10 and not (deed == 'buy')", [False, True]),
        ("deed == 'buy' or watch_ms == 69", [True, True]),
        ("0 < watch_ms < 70", [False, True]),
        ("-watch_ms + 1", [-69, -68]),
    ],
)
def test_columns_arithmetic_and_comparisons_are_computed(text: str, expected: list[object]) -> None:
    assert FRAME.select(value=column_expression(text, FRAME.columns, "x"))["value"].to_list() == expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "watch_ms.real",
        "[watch_ms]",
        "lambda: 1",
        "watch_ms if 1 else 2",
        "f(1)",
        "1 +",
        "",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DataError) as caught:
        column_expression(text, FRAME.columns, "data.heads.like")
    assert caught.value.code == "data-012"
    assert "data.heads.like" in caught.value.message


def test_a_misspelt_column_is_refused_with_what_was_meant() -> None:
    with pytest.raises(DataError) as caught:
        column_expression("wach_ms > 1", FRAME.columns, "data.heads.like")
    assert caught.value.code == "data-011"
    assert "'watch_ms'" in caught.value.hint


@given(st.text(max_size=600))
def test_no_text_does_anything_but_compute_or_be_refused(text: str) -> None:
    with contextlib.suppress(DataError):
        assert isinstance(column_expression(text, FRAME.columns, "x"), pl.Expr)
