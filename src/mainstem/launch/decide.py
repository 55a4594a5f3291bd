"""What does the pilot do with a surface now? The whole rule, as one function of the plan, the place and what was seen.

In order: harm takes it back; a broken log holds it; the daily test of harm pauses it; and only then may it go forward, past
one half only by a verdict that ships. What is not shown is never passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mainstem.base.errors import LaunchError
from mainstem.launch.plan_file import Plan
from mainstem.launch.standing import State
from mainstem.launch.verdict import LaunchVerdict, Verdict

HOUR_MS: Final = 3_600_000
HALF: Final = 0.5
"""Past it the control is smaller than the new arm, so whatever the verdict needs is seen up to here."""

Action = Literal["wait", "forward", "hold", "resume", "pause", "roll back", "stop", "land"]
ENDED: Final[frozenset[str]] = frozenset({"landed", "rolled back", "stopped"})


@dataclass(frozen=True, slots=True)
class ShadowSeen:
    """What mirrored traffic showed: requests, how many failed, and the share of items that both stacks showed."""

    requests: int
    failed: int
    overlap: float


@dataclass(frozen=True, slots=True)
class GateSeen:
    """What was seen of a surface against one legacy stack.

    Attributes:
        invalid: What is broken.
        harmed: Metrics past the hourly bound of harm.
        verdict: Of the last daily look; None before the first legal one.
        looks_left: Daily looks that may still come.
    """

    legacy: str
    invalid: tuple[str, ...] = ()
    harmed: tuple[str, ...] = ()
    verdict: LaunchVerdict | None = None
    looks_left: int = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a surface: each gate by itself, mirrored traffic, and risks of the assessment that are not met."""

    gates: Sequence[GateSeen] = ()
    shadow: ShadowSeen | None = None
    risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the surface stands: step from 0, share on the new stack, state, and since when."""

    step: int
    share: float
    state: State
    since_ms: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done, where it leads, and why; ``wait`` leads nowhere and says what is waited for."""

    action: Action
    step: int
    share: float
    state: State
    reason: str


def check_ramp(plan: Plan) -> None:
    """Has the plan a step at which a verdict can be reached?

    Raises:
        LaunchError: No step has a share above 0 and up to one half (``launch-082``).
    """
    if not any(0 < one.share <= HALF for one in plan.steps):
        raise LaunchError(
            f"found the steps {[one.share for one in plan.steps]}, expected one with a share above 0 and up to 0.5",
            code="launch-082",
            hint="add [[steps]] share = 0.5: there both arms are of one size, and the verdict is reached",
        )


def state_at(plan: Plan, step: int) -> State:
    """What a surface is called that stands at a step and is neither held nor ended."""
    share = plan.steps[step].share
    if share == 0:
        return "shadow"
    if share > HALF:
        return "landed" if share == 1 else "holdback"
    return "judged" if step + 1 == len(plan.steps) or plan.steps[step + 1].share > HALF else "ramp"


def decide(plan: Plan, place: Place, now_ms: int, seen: Seen) -> Decision:
    """What is to be done now, and why; see the module."""
    stay = _stay(place)
    if place.state in ENDED:
        return stay("wait", place.state, "it has ended")
    for gate in seen.gates:
        if gate.harmed:
            told = f"{', '.join(gate.harmed)} harmed against {gate.legacy}: past the hourly bound"
            return Decision("roll back", place.step, 0.0, "rolled back", told)
    broken = [f"{one} ({gate.legacy})" for gate in seen.gates for one in gate.invalid]
    if broken:
        return stay("wait" if place.state == "held" else "hold", "held", f"INVALID: {'; '.join(broken)}")
    if place.state == "paused":
        return stay("wait", "paused", "a person decides: mainstem launch resume or stop")
    paused = [gate for gate in seen.gates if gate.verdict is not None and gate.verdict.verdict == Verdict.PAUSE]
    if paused:
        told = "; ".join(f"{one} ({gate.legacy})" for gate in paused for one in _reasons(gate))
        return stay("pause", "paused", f"PAUSE: {told}")
    return _onward(plan, place, now_ms, seen)


def _onward(plan: Plan, place: Place, now_ms: int, seen: Seen) -> Decision:
    """Nothing is wrong: forward when the step has been held long enough and shown what it must show."""
    stay, natural = _stay(place), state_at(plan, place.step)
    spent = [gate.legacy for gate in seen.gates if not gate.looks_left and not _ships(gate)]
    if natural == "judged" and spent:
        told = f"INCONCLUSIVE against {', '.join(spent)} after the last planned look; undecided never ships"
        return stay("wait" if place.state == "held" else "hold", "held", told)
    if place.state == "held":
        return stay("resume", natural, "what was broken is whole again")
    left_ms = place.since_ms + plan.steps[place.step].hold_hours * HOUR_MS - now_ms
    if left_ms > 0:
        return stay("wait", natural, f"held for another {left_ms / HOUR_MS:.1f} h")
    missing = _missing(plan, natural, seen)
    if missing:
        return stay("wait", natural, missing)
    if place.step + 1 == len(plan.steps):
        return Decision(
            "land", place.step, 1.0, "landed", "the last step was held to its end without harm: the holdback ends"
        )
    ahead = place.step + 1
    return Decision("forward", ahead, plan.steps[ahead].share, state_at(plan, ahead), _passed(natural, seen))


def _missing(plan: Plan, natural: State, seen: Seen) -> str:
    """What this step must still show before the next; empty when nothing."""
    if natural == "shadow":
        return _missing_in_shadow(plan, seen)
    if natural == "judged":
        if not seen.gates:
            return "nothing was seen against any legacy stack"
        left = [gate for gate in seen.gates if not _ships(gate)]
        if left:
            told = (f"{gate.legacy}: {'; '.join(_reasons(gate)) if gate.verdict else 'no look yet'}" for gate in left)
            return f"no verdict yet against {'; '.join(told)}"
    return ""


def _missing_in_shadow(plan: Plan, seen: Seen) -> str:
    found = seen.shadow or ShadowSeen(0, 0, 0.0)
    if found.requests < plan.shadow.least_requests:
        return f"{found.requests} of {plan.shadow.least_requests} mirrored requests"
    if found.failed > plan.shadow.most_failed * found.requests:
        return f"{found.failed} of {found.requests} mirrored requests failed, {plan.shadow.most_failed:.1%} may"
    if seen.risks:
        return f"risks not met: {', '.join(seen.risks)}"
    return ""


def _passed(natural: State, seen: Seen) -> str:
    if natural == "shadow" and seen.shadow:
        return (
            f"{seen.shadow.requests} mirrored requests, {seen.shadow.failed} failed, {seen.shadow.overlap:.0%} shared"
        )
    if natural == "judged":
        return "; ".join(f"{gate.verdict.verdict} against {gate.legacy}" for gate in seen.gates if gate.verdict)
    return "held long enough, no alarm"


def _ships(gate: GateSeen) -> bool:
    return gate.verdict is not None and gate.verdict.ships


def _reasons(gate: GateSeen) -> tuple[str, ...]:
    return gate.verdict.reasons if gate.verdict else ()


def _stay(place: Place):
    def at(action: Action, state: State, reason: str) -> Decision:
        return Decision(action, place.step, place.share, state, reason)

    return at
