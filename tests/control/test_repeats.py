"""Repeats are all but the first of each, however codes collide."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mainstem.control.repeats import repeats


@given(codes=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-4, 4), max_size=60))
def test_all_but_the_first_of_each_code_repeat(codes):
    seen: set[int] = set()
    plain = [code in seen or bool(seen.add(code)) for code in codes]
    assert repeats(np.array(codes, np.int64)).tolist() == plain
