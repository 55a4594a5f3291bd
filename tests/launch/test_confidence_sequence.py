import numpy as np
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.confidence_sequence import half_width, mixture_bound


def test_it_is_rarely_crossed_although_every_hour_is_a_look():
    rng = np.random.default_rng(5)
    hours = np.arange(1, 505)
    bound = mixture_bound(hours / 504, 0.05, 0.1)
    z = rng.standard_normal((4_000, 504)).cumsum(1) / np.sqrt(hours)
    assert (z > bound).any(1).mean() < 0.05


def test_its_width_is_that_of_its_formula():
    n, r2 = 5_000.0, (-2 * np.log(0.02) + np.log(-2 * np.log(0.02) + 1)) / 1_000
    told = 3.0 * np.sqrt(2 * (n * r2 + 1) / (n**2 * r2) * np.log(1 + np.sqrt(n * r2 + 1) / 0.02))
    assert half_width(n, 3.0, 0.01, 1_000) == pytest.approx(told, rel=1e-12)


def test_with_no_user_it_knows_nothing():
    assert np.isinf(half_width([0, 10], 1.0, 0.05, 100)[0])
    assert np.isinf(mixture_bound(0.0, 0.05, 1.0))


def test_more_users_only_make_it_narrower():
    assert (np.diff(half_width(np.arange(1, 2_000), 1.0, 0.01, 200)) < 0).all()


@pytest.mark.parametrize(("at", "best"), [([-1.0], 1.0), ([np.nan], 1.0), ([1.0], 0.0)])
def test_bad_information_is_refused(at, best):
    with pytest.raises(LaunchError) as refused:
        mixture_bound(at, 0.05, best)
    assert refused.value.code == "launch-003"
