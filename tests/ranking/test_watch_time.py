"""The watch time's thresholds: true probabilities give the true mean, whatever the times are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.ranking.watch_time import MOST_S, WatchLevels

_SECONDS = st.lists(st.one_of(st.floats(0.0, 900.0, width=32), st.just(float("nan"))), min_size=1, max_size=60)


@settings(max_examples=40)
@given(_SECONDS, st.integers(0, 12))
def test_shares_that_passed_give_the_mean_back(seconds: list[float], levels: int) -> None:
    watch = np.array(seconds, np.float32)
    found = WatchLevels.fit(watch, levels)
    known = watch[np.isfinite(watch)]
    if not levels or not (known > 0).any():
        assert len(found) == 0
        return
    assert (np.diff(found.at) > 0).all()
    assert len(found) <= levels
    passed = found.passed(np.minimum(watch, MOST_S))
    assert np.isnan(passed[np.isnan(watch)]).all()
    share = np.nanmean(passed, axis=0, dtype=np.float64)
    np.testing.assert_allclose(
        share @ found.width, np.minimum(known, MOST_S).mean(dtype=np.float64), rtol=1e-3, atol=2e-3
    )


def test_who_passed_a_threshold_passed_those_below() -> None:
    watch = np.random.default_rng(0).exponential(20.0, 500).astype(np.float32)
    found = WatchLevels.fit(watch, 8)
    assert len(found) == 8
    assert found.at[0] == 0.0
    assert (np.diff(found.passed(watch), axis=1) <= 0).all()
