"""How do three surfaces move from one stack to another without harm, in a made world?

Each surface climbs a ramp of users chosen by a stable hash. At each step both stacks answer the same requests and meet the same
luck, which only a made world can do, and the step is passed, repeated with more traffic, or rolled back by declared margins.
What this shows is the rule at work; what it says of a stack is *made*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.errors import ConfigError, did_you_mean
from mainstem.base.heads import HEADS, SURFACES
from mainstem.base.seeds import uniforms
from mainstem.data.world import World
from mainstem.data.world.facts import FACTS
from mainstem.data.world.settings import HOUR_MS
from mainstem.launch.judge import NOT_WORSE, WORSE, Margin, Reading, read_metric

Serve = Callable[[str, str, int, int, int], ArrayLike]
"""``serve(stack, surface, user_id, now_ms, count)`` gives item ids, best first."""

Decision = Literal["go", "hold", "roll back"]
METRICS: Final = ("value", "watch", *HEADS)
_RAMP, _ORDER = 7_001, 7_002


@dataclass(frozen=True, slots=True)
class RampStep:
    """A share of users, and by what factor the margins are wider here: few users can only show large harm."""

    share: float
    widened: float = 1.0


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What is declared before the first request.

    Args:
        old, new: Names of the stacks, as ``serve`` knows them.
        surfaces: In the order they move; the ones with least traffic come first when left out.
        steps: The ramp.
        margins: What may not get worse, and by how much.
        requests_a_look: Requests added at each look; ``most_looks`` is the cap of a step.
        count: Items of a slate.
        draws: Independent draws of luck for each slate.
        alpha: Chance of passing a step that is just as bad as a margin.
        start_ms: Time of the first request; the end of the world's log when left out.
        seed: Chooses the users of the ramp.
    """

    old: str
    new: str
    surfaces: tuple[str, ...] = ()
    steps: tuple[RampStep, ...] = (RampStep(0.01, 4.0), RampStep(0.10, 2.0), RampStep(0.50, 1.5), RampStep(1.0))
    margins: tuple[Margin, ...] = (
        Margin("value", 0.03),
        Margin("click", 0.03),
        Margin("long_view", 0.03),
        Margin("hate", 0.02, relative=False, lower_is_better=True),
    )
    requests_a_look: int = 100
    most_looks: int = 3
    count: int = 10
    draws: int = 8
    alpha: float = 0.05
    start_ms: int | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        for name, known in (*((m.metric, METRICS) for m in self.margins), *((s, SURFACES) for s in self.surfaces)):
            if name not in known:
                raise ConfigError(f"migration names {name!r}", code="config-912", hint=did_you_mean(name, known))
        shares = [step.share for step in self.steps]
        if not shares or sorted(set(shares)) != shares or not 0 < shares[0] <= shares[-1] == 1:
            raise ConfigError(
                f"ramp shares are {shares}, expected rising shares above 0 that end at 1",
                code="config-913",
                hint="1 % is written 0.01",
            )

    @property
    def order(self) -> tuple[str, ...]:
        """The surfaces in the order they move: those with least traffic first, unless declared."""
        return self.surfaces or tuple(sorted(SURFACES, key=lambda name: FACTS[f"share_{name}"].value))


@dataclass(frozen=True, slots=True)
class Step:
    """One look at one step of one surface: what was measured, what was decided, and why."""

    surface: str
    share: float
    look: int
    users: int
    requests: int
    readings: tuple[Reading, ...]
    decision: Decision
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a surface stands at the end: moved (``go``), stopped for want of evidence (``hold``), or back on the old stack."""

    surface: str
    decision: Decision
    share: float
    reason: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Migration:
    """The whole migration: the plan as declared, and one verdict a surface in the order they moved."""

    plan: MigrationPlan
    verdicts: tuple[Verdict, ...]
    source: str

    @property
    def moved(self) -> bool:
        """Whether every surface is on the new stack."""
        return all(verdict.decision == "go" for verdict in self.verdicts)

    def as_rows(self) -> list[dict[str, str | int | float]]:
        """One row a look and metric, for tables and files."""
        return [
            {
                "surface": step.surface, "share": step.share, "look": step.look, "users": step.users,
                "requests": step.requests, "metric": r.margin.metric, "old": r.old, "new": r.new, "change": r.change.mid,
                "change_low": r.change.low, "change_high": r.change.high, "clearance_low": r.clearance.low,
                "state": r.state, "decision": step.decision, "reason": step.reason,
            }
            for verdict in self.verdicts for step in verdict.steps for r in step.readings
        ]  # fmt: skip


def migrate(
    world: World, serve: Serve, plan: MigrationPlan, progress: Callable[[str, float], None] | None = None
) -> Migration:
    """Can these surfaces move to the new stack, each by its own evidence?

    Args:
        world: The made world that answers.
        serve: Asks either stack for a slate.
        plan: What was declared.
        progress: Told the step and how much of all is done, 0 to 1.

    Raises:
        DataError: data-902, a stack served an item that does not live in this world.
    """
    verdicts = []
    for place, surface in enumerate(plan.order):
        if progress:
            progress(surface, place / len(plan.order))
        verdicts.append(_climb(world, serve, plan, surface))
    return Migration(plan, tuple(verdicts), f"made world, seed {world.settings.seed}; both stacks on the same requests")


def _climb(world: World, serve: Serve, plan: MigrationPlan, surface: str) -> Verdict:
    """One surface up the ramp, until it is moved, held or rolled back."""
    looks: list[Step] = []
    for number, step in enumerate(plan.steps):
        users = ramp_users(world.people.user_ids, surface, step.share, plan.seed)
        last = None
        sums = np.zeros((0, 2, len(METRICS)))
        asked = np.zeros(0, dtype=np.int64)
        for look in range(1, plan.most_looks + 1):
            turns = np.arange((look - 1) * plan.requests_a_look, look * plan.requests_a_look)
            ids = users[turns % len(users)]
            begin_ms = world.settings.end_ms if plan.start_ms is None else plan.start_ms
            now_ms = begin_ms + (number * plan.most_looks + look) * HOUR_MS + turns // len(users) * (HOUR_MS // 60)
            sums = np.concatenate([sums, _both_arms(world, serve, plan, surface, ids, now_ms)])
            asked = np.concatenate([asked, ids])
            last = _decide(plan, surface, step, look, asked, sums)
            looks.append(last)
            if last.decision != "hold":
                break
        if last is None or last.decision != "go":
            return Verdict(
                surface, looks[-1].decision, _kept_share(plan, number, looks[-1]), looks[-1].reason, tuple(looks)
            )
    return Verdict(surface, "go", 1.0, f"every step passed: {looks[-1].reason}", tuple(looks))


def ramp_users(user_ids: NDArray[np.int64], surface: str, share: float, seed: int) -> NDArray[np.int64]:
    """Which users are in a step? A stable hash decides: whoever is in a small step is in every larger one.

    At least one user; in an order of its own, so that a look takes any of them alike.
    """
    column = SURFACES.index(surface)
    lot = uniforms(seed, _RAMP, column, user_ids)
    inside = user_ids[lot < max(share, lot.min() + 1e-12)]
    return inside[np.argsort(uniforms(seed, _ORDER, column, inside), kind="stable")]


def _both_arms(
    world: World, serve: Serve, plan: MigrationPlan, surface: str, users: NDArray[np.int64], now_ms: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What each request is worth under each stack, by metric, averaged over the draws.

    Shapes:
        users, now_ms [requests] -> [requests, 2, metrics].
    """
    slates = [
        np.asarray(serve(stack, surface, int(user), int(now), plan.count), dtype=np.int64)[: plan.count]
        for user, now in zip(users, now_ms, strict=True)
        for stack in (plan.old, plan.new)
    ]
    length = np.array([len(slate) for slate in slates])
    row = np.repeat(np.arange(len(slates)), length)
    place = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    items = np.concatenate(slates)
    total = np.zeros((len(slates), len(METRICS)))
    for draw in range(plan.draws if len(items) else 0):
        o = world.respond(users[row // 2], items, place, surface, now_ms[row // 2], draw)
        np.add.at(total, row, np.column_stack([o.value, o.watch_ms / 1000, o.heads]) / plan.draws)
    return total.reshape(len(users), 2, len(METRICS))


def _decide(
    plan: MigrationPlan, surface: str, step: RampStep, look: int, asked: NDArray[np.int64], sums: NDArray[np.float64]
) -> Step:
    """Go when every metric is shown to be not worse; roll back when one is shown to be worse; else hold."""
    users, row = np.unique(asked, return_inverse=True)
    per_user = np.zeros((len(users), 2, len(METRICS)))
    np.add.at(per_user, row, sums)
    requests = np.bincount(row).astype(np.float64)
    readings = tuple(
        read_metric(
            margin, per_user[:, 0, METRICS.index(margin.metric)], per_user[:, 1, METRICS.index(margin.metric)], requests,
            alpha=plan.alpha, looks=plan.most_looks, widened=step.widened,
        )
        for margin in plan.margins
    )  # fmt: skip
    decision, reason = _answer(readings, look, plan.most_looks)
    return Step(surface, step.share, look, len(users), len(asked), readings, decision, reason)


def _answer(readings: Sequence[Reading], look: int, most_looks: int) -> tuple[Decision, str]:
    worse = [r for r in readings if r.state == WORSE]
    if worse:
        r = worse[0]
        return "roll back", f"{r.margin.metric} is worse than the margin: {r.old:.4g} to {r.new:.4g} a request"
    open_ = [r.margin.metric for r in readings if r.state != NOT_WORSE]
    if open_:
        more = "more traffic" if look < most_looks else "the cap is reached; not shown is not neutral"
        return "hold", f"{', '.join(open_)} not yet shown to be within the margin: {more}"
    return "go", "every metric is shown to be within its margin"


def _kept_share(plan: MigrationPlan, number: int, last: Step) -> float:
    """The share that stays on the new stack: none after a roll back, the last passed step after a hold."""
    return 0.0 if last.decision == "roll back" or number == 0 else plan.steps[number - 1].share
