"""Programs run in kept arrays give what they give in arrays of their own, whatever ran before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.features.language.expression import Kind, Shape
from mainstem.features.language.program import Program
from mainstem.features.running import run_program

PROGRAM = Program.of(
    {
        "r": "x + count(kept.item == x)",
        "c": "y * x + sum(where(kept.item == y, 1, 0))",
        "l": "kept.item + x",
        "d": "dot(v, w)",
    },
    {"x": Shape.R, "y": Shape.C, "kept.item": Shape.L, "v": Kind(Shape.C, "", True), "w": Kind(Shape.R, "", True)},
)
ONLY_REQUEST = Program.of({"r": "2 * x"}, {"x": Shape.R})


@settings(max_examples=60)
@given(
    st.integers(1, 40), st.sampled_from([1, 5, 600]), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1)
)
def test_kept_arrays_change_nothing(requests: int, candidates: int, places: int, width: int, seed: int) -> None:
    draw = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return np.where(draw.random(shape) < 0.2, np.nan, draw.integers(0, 5, shape))

    values = {
        "x": some(requests),
        "y": some(requests, candidates),
        "kept.item": some(requests, places),
        "v": some(requests, candidates, width),
        "w": some(requests, width),
        "more": some(3),
    }
    for program in (PROGRAM, ONLY_REQUEST):
        found, wanted = run_program(program, values), program.run(values)
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
