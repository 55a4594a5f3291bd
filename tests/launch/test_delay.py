import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.delay import DelayCoupling, check_match


def test_the_delayed_old_stack_is_as_slow_as_the_new_one():
    rng = np.random.default_rng(7)
    old, new = rng.gamma(4, 20, 20_000), rng.gamma(5, 22, 20_000) + 5
    coupling = DelayCoupling.of_samples(old, new)
    again = rng.gamma(4, 20, 20_000)
    found = check_match(again + coupling.delay_ms(again), new, margin=0.05)
    assert [one.quantile for one in found] == [0.5, 0.9, 0.95, 0.99]
    assert all(one.equal for one in found)
    assert not all(one.equal for one in check_match(again, new, margin=0.05))
    assert coupling.too_slow < 0.01


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=50), st.lists(st.floats(0, 1e4), min_size=1, max_size=50))
def test_no_request_is_ever_made_faster(old, new):
    delay = DelayCoupling.of_samples(old, new).delay_ms(np.linspace(0, 2e4, 50))
    assert (delay >= 0).all()
    assert np.isfinite(delay).all()


def test_a_faster_new_stack_cannot_be_matched_and_it_is_said():
    coupling = DelayCoupling.of_samples([100.0, 200.0], [50.0, 60.0])
    assert coupling.too_slow == 1.0
    assert coupling.delay_ms([150.0]).tolist() == [0.0]


def test_requests_of_one_user_are_no_independent_proof():
    rng = np.random.default_rng(9)
    users = np.repeat(np.arange(100), 50)
    ms = rng.gamma(20, 5, 100)[users] + rng.gamma(2, 1, 5_000)
    alone = check_match(ms, ms)[0]
    clustered = check_match(ms, ms, matched_users=users, new_users=users)[0]
    assert clustered.high > 2 * alone.high


@pytest.mark.parametrize("values", [[], [-1.0], [np.nan]])
def test_what_is_no_latency_is_refused(values):
    with pytest.raises(LaunchError) as refused:
        DelayCoupling.of_samples(values, [1.0])
    assert refused.value.code == "launch-014"
