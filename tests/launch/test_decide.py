"""The pilot's rule: what harms goes back, what is undecided never ships."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.base.errors import LaunchError
from mainstem.launch.decide import HOUR_MS, Decision, GateSeen, Place, Seen, ShadowSeen, check_ramp, decide, state_at
from mainstem.launch.plan_file import Metric, Plan, Step
from mainstem.launch.verdict import SHIPS, LaunchVerdict, Verdict

PLAN = Plan(
    name="one",
    surfaces=["feed"],
    legacy=["content-first", "interest-first"],
    metrics={"click": Metric(role="primary", column="click", margin=0.01)},
    steps=[Step(share=share, hold_hours=24) for share in (0.0, 0.01, 0.25, 0.5, 0.95, 1.0)],
)
NATURAL = ["shadow", "ramp", "ramp", "judged", "holdback", "landed"]
MIRRORED = ShadowSeen(500, 1, 0.6)


def verdict(word: Verdict) -> LaunchVerdict:
    return LaunchVerdict(word, 9, (), ("because",))


def at(step: int, state: str = "") -> Place:
    return Place(step, PLAN.steps[step].share, state or state_at(PLAN, step), 0)  # type: ignore[arg-type]


def seen(*words: Verdict, looks_left: int = 5, **facts: object) -> Seen:
    gates = [GateSeen(f"old {n}", verdict=verdict(word), looks_left=looks_left) for n, word in enumerate(words)]
    return Seen(gates, **facts)  # type: ignore[arg-type]


LATE = 30 * HOUR_MS


def test_the_states_along_the_ramp() -> None:
    assert [state_at(PLAN, step) for step in range(6)] == NATURAL
    with pytest.raises(LaunchError, match="expected one with a share"):
        check_ramp(Plan(name="x", surfaces=["feed"], legacy=["c"], metrics={}, steps=[Step(share=1.0, hold_hours=1)]))


def test_shadow_waits_for_hours_for_requests_and_for_risks() -> None:
    assert decide(PLAN, at(0), HOUR_MS, Seen(shadow=MIRRORED)).action == "wait"
    assert "0 of 100" in decide(PLAN, at(0), LATE, Seen()).reason
    assert "failed" in decide(PLAN, at(0), LATE, Seen(shadow=ShadowSeen(500, 50, 0.6))).reason
    assert "calibration" in decide(PLAN, at(0), LATE, Seen(shadow=MIRRORED, risks=("calibration",))).reason
    assert decide(PLAN, at(0), LATE, Seen(shadow=MIRRORED)) == Decision(
        "forward", 1, 0.01, "ramp", "500 mirrored requests, 1 failed, 60% shared"
    )


@pytest.mark.parametrize("pair", list(itertools.product(Verdict, Verdict)))
def test_only_a_verdict_that_ships_against_every_legacy_stack_passes_one_half(pair: tuple[Verdict, Verdict]) -> None:
    found = decide(PLAN, at(3), LATE, seen(*pair))
    if Verdict.PAUSE in pair:
        assert (found.action, found.state, found.share) == ("pause", "paused", 0.5)
    elif all(word in SHIPS for word in pair):
        assert (found.action, found.share, found.state) == ("forward", 0.95, "holdback")
    else:
        assert found.action == "wait"


def test_undecided_at_the_end_of_the_looks_is_held_for_good() -> None:
    found = decide(PLAN, at(3), LATE, seen(Verdict.INCONCLUSIVE, Verdict.WIN, looks_left=0))
    assert (found.action, found.state, found.share) == ("hold", "held", 0.5)
    assert decide(PLAN, at(3, "held"), LATE, seen(Verdict.INCONCLUSIVE, Verdict.WIN, looks_left=0)).action == "wait"


def test_a_holdback_is_held_and_then_landed() -> None:
    assert decide(PLAN, at(4), HOUR_MS, Seen()).action == "wait"
    assert decide(PLAN, at(4), LATE, Seen()) == Decision("forward", 5, 1.0, "landed", "held long enough, no alarm")
    short = Plan(name="x", surfaces=["feed"], legacy=["c"], metrics={}, steps=PLAN.steps[:5])
    assert decide(short, at(4), LATE, Seen()).action == "land"


def test_a_broken_log_holds_and_goes_on_when_it_is_mended() -> None:
    broken = Seen([GateSeen("old", invalid=("the sample ratio",))])
    assert decide(PLAN, at(2), LATE, broken).action == "hold"
    assert decide(PLAN, at(2, "held"), LATE, broken).action == "wait"
    assert decide(PLAN, at(2, "held"), LATE, Seen([GateSeen("old")])) == Decision(
        "resume", 2, 0.25, "ramp", "what was broken is whole again"
    )


STATES = st.sampled_from(["shadow", "ramp", "judged", "holdback", "landed", "held", "paused", "rolled back", "stopped"])
GATES = st.lists(
    st.builds(
        GateSeen,
        st.sampled_from(PLAN.legacy),
        st.sampled_from([(), ("the sample ratio",)]),
        st.sampled_from([(), ("click",)]),
        st.none() | st.sampled_from(list(Verdict)).map(verdict),
        st.integers(0, 2),
    ),
    max_size=2,
)


@given(st.integers(0, 5), STATES, GATES, st.integers(0, 60))
def test_whatever_is_seen(step: int, state: str, gates: list[GateSeen], hours: int) -> None:
    place = Place(step, PLAN.steps[step].share, state, 0)  # type: ignore[arg-type]
    found = decide(PLAN, place, hours * HOUR_MS, Seen(gates, shadow=MIRRORED))
    if state in ("landed", "rolled back", "stopped"):
        assert found.action == "wait"
        return
    if any(gate.harmed for gate in gates):
        assert (found.action, found.share, found.state) == ("roll back", 0.0, "rolled back")
        return
    assert found.share >= place.share or found.action == "roll back"
    if found.action == "forward":
        assert found.step == step + 1
        assert hours >= 24
        assert not any(gate.invalid for gate in gates)
        assert state != "paused"
        if state_at(PLAN, step) == "judged":
            assert gates
            assert all(gate.verdict and gate.verdict.ships for gate in gates)
