"""The search finds what is best among what is allowed, keeps to the bounds, and finds it again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import ConfigError
from mainstem.value.surrogate import surrogate
from mainstem.value.tuning import Knob, Measured, guardrail, knob, tune

KNOBS = [knob("like_worth", 0.5), knob("hate_worth", -4.0, sign=-1), knob("follow_worth", -1.0, sign=1)]
BEST = {"like_worth": 2.0, "hate_worth": -20.0, "follow_worth": 4.0}


def worth(weights):
    """Best at ``BEST``; the metric ``hate`` falls as its weight grows, and more likes cost hate."""
    off = sum(np.log(abs(weights[name]) / abs(best)) ** 2 for name, best in BEST.items())
    off += 4.0 * (weights["follow_worth"] < 0)
    hate = 0.01 * weights["like_worth"] / (1.0 + abs(weights["hate_worth"]))
    return Measured(float(np.exp(-0.2 * off)), {"hate": hate, "watch": 10.0 - weights["like_worth"]})


def test_it_comes_near_the_best_and_nearer_than_chance():
    found = tune(worth, KNOBS, evaluations=50, seed=3)
    drawn = tune(worth, KNOBS, evaluations=50, seed=3, at_random=True)
    assert found.best is not None
    assert drawn.best is not None
    start, best = worth({one.name: one.start for one in KNOBS}).value, 1.0
    assert (found.best.measured.value - start) / (best - start) > 0.9
    assert found.best.measured.value > drawn.best.measured.value
    assert len(found.trials) == len(drawn.trials) == 50


def test_the_best_keeps_every_guardrail_and_the_front_is_a_front():
    rail = guardrail("hate <= 0.0006", worth(BEST).metrics)
    found = tune(worth, KNOBS, [rail], evaluations=45, seed=1)
    assert found.best is not None
    assert found.best.measured.metrics["hate"] <= 0.0006
    assert worth(BEST).metrics["hate"] > 0.0006, "the guardrail must bind"
    front = found.front
    values = [one.measured.value for one in front]
    hates = [one.measured.metrics["hate"] for one in front]
    assert values == sorted(values, reverse=True)
    assert hates == sorted(hates, reverse=True), "less value must buy less hate"
    for one in found.trials:
        better = [
            f
            for f in front
            if f.measured.value >= one.measured.value and f.measured.metrics["hate"] <= one.measured.metrics["hate"]
        ]
        assert better


def test_the_same_seed_gives_the_same_front_and_another_another():
    rail = guardrail("hate <= 0.0006", worth(BEST).metrics)
    once, again, other = (tune(worth, KNOBS, [rail], 20, seed) for seed in (4, 4, 5))
    assert once == again
    assert once.trials[0] == other.trials[0]
    assert once.trials != other.trials


def test_where_nothing_keeps_the_guardrails_nothing_is_best():
    found = tune(worth, KNOBS, [guardrail("hate <= -1", worth(BEST).metrics)], 20)
    assert found.best is None
    assert found.front


@given(st.floats(0.01, 50), st.sampled_from([-1, 1]), st.sampled_from([-1, 0, 1]), st.floats(0, 1))
def test_a_place_is_a_weight_between_the_bounds_and_back(size, own, sign, place):
    one = knob("w", own * size, sign=sign)
    weight = one.at(place)
    assert one.low * (1 - 1e-9) - 1e-9 <= weight + 1e-9 * abs(weight)
    assert one.place(weight) == pytest.approx(place, abs=1e-6)
    assert one.at(one.place(one.start)) == pytest.approx(one.start)
    assert (one.low < 0 < one.high) == (sign * own < 0)


def test_a_weight_of_nothing_grows_to_what_it_may_be_worth():
    one = knob("watch_worth", 0.0, sign=1, most=0.05)
    assert (one.place(0.0), one.at(1.0)) == (0.0, pytest.approx(0.05))
    assert tune(lambda w: Measured(w["watch_worth"], {}), [one], evaluations=12).trials[0].weights == {
        "watch_worth": 0.0
    }


@pytest.mark.parametrize("sign", [0, 1])
def test_a_weight_of_nothing_without_a_size_is_refused(sign):
    with pytest.raises(ConfigError) as refused:
        knob("w", 0.0, sign=sign)
    assert refused.value.code == "value-031"


def test_nothing_to_tune_is_refused():
    with pytest.raises(ConfigError) as refused:
        tune(worth, [])
    assert refused.value.code == "value-031"


@pytest.mark.parametrize(
    ("text", "bound", "most"),
    [
        ("hate <= 0.002", 0.002, True),
        ("hate<=start", 0.5, True),
        ("watch >= 0.9 * start", 9.0, False),
        ("hate <= 2e-3", 0.002, True),
    ],
)
def test_a_guardrail_is_a_number_or_a_share_of_the_start(text, bound, most):
    found = guardrail(text, {"hate": 0.5, "watch": 10.0})
    assert (found.bound, found.most) == (pytest.approx(bound), most)
    assert (found.slack({"hate": 0.0, "watch": 20.0}) > 0) is True


@pytest.mark.parametrize(
    "text", ["hate", "hate < 3", "hat <= 3", "hate <= ", "hate <= 3 start", "hate <= * start", "hate <= 1e", ""]
)
def test_a_guardrail_that_says_nothing_is_refused(text):
    with pytest.raises(ConfigError) as refused:
        guardrail(text, {"hate": 0.5})
    assert refused.value.code == "value-030"


def test_the_process_passes_through_what_it_saw_and_doubts_what_it_did_not():
    rng = np.random.default_rng(0)
    points = rng.random((25, 2)) * [1.0, 0.4]
    values = np.sin(5 * points[:, 0]) + 30.0
    process = surrogate(points, values, 1)
    mean, spread = process.at(points)
    assert mean == pytest.approx(values, abs=0.05)
    far_mean, far = process.at(np.array([[0.5, 1.0]]))
    assert far[0] > spread.max()
    assert process.lengths[1] > process.lengths[0], "the second knob does nothing"
    assert np.isfinite(far_mean).all()


def test_a_knob_knows_its_ends():
    assert Knob("w", 1.0, 0.1, 10.0).at(0.5) == pytest.approx(1.0)
