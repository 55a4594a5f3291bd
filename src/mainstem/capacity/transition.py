"""A transition as a record: surfaces that move from the old stacks to the new one, the resources they need, the pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mainstem.base.errors import CapacityError, did_you_mean
from mainstem.capacity.elicited import Elicited, exactly


@dataclass(frozen=True, slots=True)
class Need:
    """How much of one resource one surface needs on one stack.

    Args:
        by_traffic: Units at the surface's traffic of week 0 when the stack serves all of it; it scales with traffic.
        whole: Units that are there as long as the stack runs for the surface at all: training, logging, a last replica.
    """

    by_traffic: float = 0.0
    whole: float = 0.0


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of capacity: its unit, its pool week by week, and what a unit costs.

    Args:
        name: Such as ``inference``.
        unit: Such as ``GPU`` or ``TB``.
        pool: Units there are, from the weeks named on: ``{0: 120.0, 40: 160.0}``. Empty means no limit.
        price: Money a unit and week.
        cost: A factor on every need of this resource that nobody knows exactly yet, common to all surfaces.
        retention: Weeks for which the ``whole`` part of an old stack stays after its last use, such as kept data.
    """

    name: str
    unit: str
    pool: Mapping[int, float] = field(default_factory=lambda: dict[int, float]())
    price: float = 0.0
    cost: Elicited = field(default_factory=lambda: exactly(1.0))
    retention: int = 0


@dataclass(frozen=True, slots=True)
class SurfaceMove:
    """How one surface moves.

    Args:
        name: The surface.
        old: Its needs on the old stack, by resource.
        new: Its needs on the new stack, by resource.
        stages: Shares of traffic on the new stack and for how many weeks each is held at least: ``((.01, 1), (.5, 2),
            (1, 0))``; the last is held for ever.
        start: The week of the first stage as planned.
        slip: Weeks by which the start moves.
        shadow: The share of traffic that is mirrored to the new stack before the first stage.
        shadow_weeks: For how many weeks before the first stage.
        holdback: The share that stays on the old stack after the last stage.
        holdback_weeks: For how long.
        reserve: The share of traffic the old stack must be able to take back.
        reserve_weeks: Until how many weeks after the last stage begins.
        lead: Weeks by which new capacity is provisioned ahead of its use.
        lag: Weeks between the last use of old capacity and its return to the pool.
        growth: Traffic a year later over traffic now.
        level: A factor on the traffic, for doubt about today's figure.
        efficiency: A factor on the new stack's needs, for doubt about the model of the new stack.
        season: Traffic of each week of a cycle over its mean; empty for none.
    """

    name: str
    old: Mapping[str, Need]
    new: Mapping[str, Need]
    stages: tuple[tuple[float, int], ...] = ((0.01, 1), (0.05, 1), (0.2, 2), (0.5, 2), (1.0, 0))
    start: int = 0
    slip: Elicited = field(default_factory=lambda: exactly(0.0))
    shadow: float = 0.0
    shadow_weeks: int = 0
    holdback: float = 0.0
    holdback_weeks: int = 0
    reserve: float = 0.0
    reserve_weeks: int = 0
    lead: int = 0
    lag: Elicited = field(default_factory=lambda: exactly(0.0))
    growth: Elicited = field(default_factory=lambda: exactly(1.0))
    level: Elicited = field(default_factory=lambda: exactly(1.0))
    efficiency: Elicited = field(default_factory=lambda: exactly(1.0))
    season: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """Every surface's move over one stretch of weeks, and what the unknowns share.

    Args:
        surfaces: The moves.
        resources: The kinds of capacity.
        weeks: How many weeks are looked at.
        loadings: How much an unknown follows a common factor; names as in ``unknowns``: ``feed.growth``,
            ``inference.cost``.

    Raises:
        CapacityError: ``capacity-004`` for shares out of bounds or stages that fall, ``capacity-005`` for a resource
            nobody declared, ``capacity-006`` for a name that is there twice, ``capacity-007`` for a negative need.
    """

    surfaces: tuple[SurfaceMove, ...]
    resources: tuple[Resource, ...]
    weeks: int = 104
    loadings: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: dict[str, Mapping[str, float]]())

    def __post_init__(self) -> None:
        for kind, names in (
            ("surface", [s.name for s in self.surfaces]),
            ("resource", [r.name for r in self.resources]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice or not names:
                raise CapacityError(
                    f"found {kind} {twice[0] if twice else 'none'}, expected each {kind} once and at least one",
                    code="capacity-006",
                    hint="names are what records refer to",
                )
        if self.weeks < 1:
            raise CapacityError(
                f"found {self.weeks} weeks, expected at least 1", code="capacity-004", hint="104 is two years"
            )
        for surface in self.surfaces:
            _check(surface, {r.name for r in self.resources})

    def unknowns(self) -> dict[str, Elicited]:
        """Every estimate of the plan by the name under which it is drawn."""
        found: dict[str, Elicited] = {}
        for s in self.surfaces:
            found |= {
                f"{s.name}.slip": s.slip,
                f"{s.name}.lag": s.lag,
                f"{s.name}.growth": s.growth,
                f"{s.name}.level": s.level,
                f"{s.name}.efficiency": s.efficiency,
            }
        return found | {f"{r.name}.cost": r.cost for r in self.resources}

    def starting(self, starts: Mapping[str, int]) -> Transition:
        """The same plan with other start weeks."""
        return replace(self, surfaces=tuple(replace(s, start=starts.get(s.name, s.start)) for s in self.surfaces))


def _check(surface: SurfaceMove, resources: set[str]) -> None:
    shares = [share for share, _ in surface.stages]
    bounded = (*shares, surface.shadow, surface.holdback, surface.reserve)
    weeks = (
        *(hold for _, hold in surface.stages),
        surface.lead,
        surface.shadow_weeks,
        surface.holdback_weeks,
        surface.reserve_weeks,
    )
    if not shares or any(not 0.0 <= x <= 1.0 for x in bounded) or shares != sorted(shares) or min(weeks) < 0:
        raise CapacityError(
            f"found shares {bounded} and weeks {weeks} of {surface.name}, expected shares in [0, 1], stages that do not "
            "fall and weeks that are not negative",
            code="capacity-004",
            hint="a ramp that goes back is a rollback, which the reserve covers",
        )
    for name, need in (*surface.old.items(), *surface.new.items()):
        if name not in resources:
            raise CapacityError(
                f"found resource {name!r} in surface {surface.name}, which the plan does not declare",
                code="capacity-005",
                hint=did_you_mean(name, resources),
            )
        if need.by_traffic < 0.0 or need.whole < 0.0:
            raise CapacityError(
                f"found a need of {need} of {name} on {surface.name}, expected nothing below zero",
                code="capacity-007",
                hint="savings are the difference of two needs; state both",
            )
