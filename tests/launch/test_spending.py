import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.spending import SPENDING, spent


@pytest.mark.parametrize("name", SPENDING)
def test_every_function_spends_nothing_at_first_and_all_at_the_end(name):
    assert spent([0.0, 1.0, 1.3], 0.05, name) == pytest.approx([0.0, 0.05, 0.05])


@given(st.sampled_from(sorted(SPENDING)), st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(1e-4, 0.2))
def test_spending_never_falls_and_stays_within_alpha(name, shares, alpha):
    used = spent(np.sort(shares), alpha, name)
    assert (np.diff(used) >= -1e-15).all()
    assert (used >= 0).all()
    assert (used <= alpha * (1 + 1e-9)).all()


def test_half_of_the_information_spends_a_quarter():
    assert float(spent(0.5, 0.04)) == pytest.approx(0.01)


def test_an_unknown_function_is_refused_with_its_neighbour():
    with pytest.raises(LaunchError) as refused:
        spent([0.5], 0.05, "pocok")
    assert refused.value.code == "launch-001"
    assert "pocock" in (refused.value.hint or "")


@pytest.mark.parametrize("alpha", [0.0, -1.0, 0.5, float("nan")])
def test_an_alpha_out_of_bounds_is_refused(alpha):
    with pytest.raises(LaunchError) as refused:
        spent([0.5], alpha)
    assert refused.value.code == "launch-002"
