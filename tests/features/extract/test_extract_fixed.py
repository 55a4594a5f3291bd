"""Fixed point: the bound holds, and a dot product is the same bits in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.features.extract.errors import UnfitValueError
from mainstem.features.extract.fixed import LARGEST, SCALE, dot_error_bound, quantise, unit_rows


def test_every_component_is_a_whole_number_within_half_a_unit() -> None:
    values = np.random.default_rng(1).uniform(-LARGEST, LARGEST, (50, 8))
    fixed = quantise(values)
    assert np.array_equal(fixed, np.rint(fixed))
    assert np.abs(fixed * SCALE - values).max() <= SCALE / 2


@given(st.integers(0, 2**32), st.integers(1, 300))
def test_a_dot_product_is_exact_in_any_order_and_within_its_bound(seed: int, dim: int) -> None:
    draw = np.random.default_rng(seed)
    left, right = unit_rows(draw.standard_normal((2, dim)))[0]
    a, b = quantise(left), quantise(right)
    exact = sum(int(x) * int(y) for x, y in zip(a, b, strict=True))
    order = draw.permutation(dim)
    assert a @ b == a[order] @ b[order] == float(exact)
    assert abs(exact * SCALE * SCALE - left @ right) <= dot_error_bound(dim) + 1e-12


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2047.5, -1e9])
def test_a_value_without_a_fixed_form_is_refused(bad: float) -> None:
    with pytest.raises(UnfitValueError) as refused:
        quantise(np.array([0.0, bad]))
    assert refused.value.code == "feature-060"


def test_no_negative_zero_is_kept() -> None:
    assert not np.signbit(quantise(np.array([-1e-9, -0.0]))).any()


def test_a_row_without_length_is_told() -> None:
    unit, has = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert unit.tolist() == [[0.6, 0.8], [0.0, 0.0]]
    assert has.tolist() == [True, False]
