from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.verdict import (
    SHIPS,
    LaunchVerdict,
    MetricVerdict,
    Path,
    Rule,
    Verdict,
    gravest,
    judge_launch,
    judge_metric,
)

LOOKS = st.one_of(st.none(), st.integers(0, 9))
METRICS = st.builds(
    MetricVerdict,
    name=st.text(min_size=1, max_size=4),
    role=st.sampled_from(["primary", "guardrail", "diagnostic"]),
    passed=LOOKS,
    equal=LOOKS,
    won=LOOKS,
    harmed=LOOKS,
    bound=st.just(np.zeros(0)),
)


def path(not_worse: float, not_better: float, better: float, looks: int = 4) -> Path:
    root = np.sqrt(np.arange(1, looks + 1) / looks)
    return Path(np.arange(7.0, 7 + looks), root**2, not_worse * root, not_better * root, better * root)


def one(name: str = "clicks", passed: int | None = None, **other) -> MetricVerdict:
    given = {"role": "primary", "equal": None, "won": None, "harmed": None, "bound": np.zeros(0)} | other
    return MetricVerdict(name, passed=passed, **given)


@settings(max_examples=400)
@given(
    st.lists(METRICS, min_size=1, max_size=5), st.lists(st.just("feed"), max_size=1), st.lists(st.just("x"), max_size=1)
)
def test_nothing_ships_unless_every_metric_that_must_pass_has_passed(metrics, invalid, rolled_back):
    if not any(metric.role == "primary" for metric in metrics):
        return
    found = judge_launch(metrics, invalid=invalid, rolled_back=rolled_back)
    must = [metric for metric in metrics if metric.role != "diagnostic"]
    if found.ships:
        assert all(metric.passed is not None for metric in must)
        assert not invalid
        assert not rolled_back
        assert found.decided is not None
    if any(metric.passed is None for metric in must):
        assert not found.ships
        assert found.verdict in {Verdict.INVALID, Verdict.HARM, Verdict.PAUSE, Verdict.INCONCLUSIVE}


def test_exactly_three_words_ship():
    assert {Verdict.NON_INFERIOR, Verdict.NEUTRAL, Verdict.WIN} == SHIPS
    for verdict in Verdict:
        assert LaunchVerdict(verdict, None, (), ()).ships == (verdict in SHIPS)


@pytest.mark.parametrize(("worst", "other"), list(product(Verdict, Verdict)))
def test_of_two_surfaces_neither_lifts_the_other(worst, other):
    both = gravest({"a": LaunchVerdict(worst, None, (), ()), "b": LaunchVerdict(other, None, (), ())})
    assert both.ships == (worst in SHIPS and other in SHIPS)
    assert both.verdict in (worst, other)


def test_each_word_has_its_evidence():
    assert judge_launch([one(passed=2)]).verdict == Verdict.NON_INFERIOR
    assert judge_launch([one(passed=2, equal=3)]).verdict == Verdict.NEUTRAL
    assert judge_launch([one(passed=2, equal=3, won=3)]).verdict == Verdict.WIN
    assert judge_launch([one()]).verdict == Verdict.INCONCLUSIVE
    assert judge_launch([one(harmed=1)]).verdict == Verdict.PAUSE
    assert judge_launch([one(passed=2, harmed=3)]).verdict == Verdict.NON_INFERIOR
    assert judge_launch([one(passed=2)], rolled_back=["clicks"]).verdict == Verdict.HARM
    assert judge_launch([one(passed=2)], invalid=["feed"], rolled_back=["clicks"]).verdict == Verdict.INVALID
    blocked = judge_launch([one(passed=2), one("errors", role="guardrail")])
    assert (blocked.verdict, blocked.open) == (Verdict.INCONCLUSIVE, ("errors",))


def test_statistics_become_claims():
    rule = Rule("clicks")
    assert judge_metric(rule, path(5, 5, 0)).equal is not None
    better = judge_metric(rule, path(12, -3, 5))
    assert (better.equal, better.won is not None, better.harmed) == (None, True, None)
    worse = judge_metric(rule, path(-1, 9, -5))
    assert (worse.passed, worse.equal, worse.harmed is not None) == (None, None, True)


def test_a_tenth_of_the_information_decides_nothing_small():
    few = Path(np.array([7.0]), np.array([0.1]), np.array([1.0]), np.array([1.0]), np.array([0.0]))
    assert judge_launch([judge_metric(Rule("clicks"), few)]).verdict == Verdict.INCONCLUSIVE


def test_the_reserve_decides_after_the_planned_end():
    at = np.array([0.5, 1.0, 1.5, 3.0])
    z = np.array([0.0, 1.0, 2.0, 5.0])
    long = Path(np.array([7.0, 14.0, 21.0, 42.0]), at, z, z, 0 * z)
    assert judge_metric(Rule("clicks"), long).passed == 3
    assert judge_metric(Rule("clicks", reserve=0.0), long).passed is None


def test_correlated_looks_have_bounds_of_their_own():
    found = path(3, 3, 0, 3)
    tied = Path(
        found.days, found.information, found.not_worse, found.not_better, found.better, np.eye(3), found.information
    )
    plain = judge_metric(Rule("clicks", reserve=0.0), found).bound
    assert judge_metric(Rule("clicks", reserve=0.0), tied).bound[-1] > plain[-1]


def test_a_look_before_the_first_legal_one_is_refused():
    early = Path(np.array([2.0]), np.array([0.1]), np.zeros(1), np.zeros(1), np.zeros(1))
    with pytest.raises(LaunchError) as refused:
        judge_metric(Rule("clicks"), early)
    assert refused.value.code == "launch-012"


def test_statistics_that_are_no_numbers_are_refused():
    with pytest.raises(LaunchError) as refused:
        judge_metric(Rule("clicks"), path(float("nan"), 0, 0))
    assert refused.value.code == "launch-009"


def test_correlated_looks_without_a_clock_are_refused_and_not_read_as_plain_ones():
    found = path(3, 3, 0, 3)
    half = Path(found.days, found.information, found.not_worse, found.not_better, found.better, np.eye(3))
    with pytest.raises(LaunchError) as refused:
        judge_metric(Rule("clicks"), half)
    assert refused.value.code == "launch-009"


def test_a_launch_without_a_primary_is_refused():
    for call in (lambda: judge_launch([one(role="guardrail", passed=1)]), lambda: gravest({})):
        with pytest.raises(LaunchError) as refused:
            call()
        assert refused.value.code == "launch-013"
