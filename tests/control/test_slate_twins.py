"""The compiled pass fills every slate as the readable one does, to the last bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.seeds import uniforms
from mainstem.control.slate_kernel import draws, fill
from mainstem.control.slate_plain import fill_plainly
from mainstem.control.slate_task import Filled
from mainstem.testing.slate_tasks import random_task


def same(one: Filled, other: Filled) -> bool:
    return all(np.array_equal(getattr(one, name.name), getattr(other, name.name)) for name in fields(Filled))


@pytest.mark.parametrize("part", range(3))
def test_both_passes_agree_on_random_slates(part):
    random = np.random.default_rng([part, 11])
    for case in range(250):
        task = random_task(random)
        plain, compiled = fill_plainly(task), fill(task)
        assert same(plain, compiled), (part, case, plain, compiled)


@given(seed=st.integers(-(2**62), 2**62), request_id=st.integers(-(2**63), 2**63 - 1), count=st.integers(1, 9))
def test_compiled_chance_is_the_chance_of_the_house(seed, request_id, count):
    both = uniforms(np.array([[seed], [seed + 1]]), request_id, np.arange(count))
    assert np.array_equal(draws(seed, request_id, count), both)
