"""Where does a launch stand? Everything a page, a report, the terminal and an API tell of it, as plain records.

The pilot makes it out of what it keeps (``pilot_file``) and what it has just read; nobody computes anything after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mainstem.evaluate.intervals import Interval
from mainstem.store.launch_book import Entry as Act

State = Literal["shadow", "ramp", "judged", "holdback", "landed", "held", "paused", "rolled back", "stopped"]
"""How a surface stands: mirrored only; on its way up; at the step where only a verdict lets it pass; past it with a holdback;
wholly on the new stack; waiting for evidence or for a mended log; stopped by the daily test until a person says; back on the old
stack; stopped by a person."""


@dataclass(frozen=True, slots=True)
class Spent:
    """How much of a budget of false alarms is used: the statistic of harm beside the bound that it must not pass."""

    statistic: float
    bound: float


@dataclass(frozen=True, slots=True)
class MetricStanding:
    """One metric of one surface against one legacy stack, at the last look.

    Attributes:
        change: New minus old as a share of old: the estimate with its repeated interval, valid at every look.
        margin: The largest relative loss that is accepted; 0 for a diagnostic without one.
        shown: Of ``not worse``, ``not better``, ``better``, ``worse``, what was shown so far.
        old, new: The arms' means; ``old_units``, ``new_units`` how many units they stand on.
        rollback, pause: The two budgets; None for a diagnostic.
        information: Share of the planned maximum that was reached.
        days_left: Days to a verdict at the present rate, were the arms equal; None when it is not known.
    """

    name: str
    role: str
    direction: str
    margin: float
    change: Interval
    old: float
    new: float
    old_units: int
    new_units: int
    shown: tuple[str, ...]
    information: float
    rollback: Spent | None = None
    pause: Spent | None = None
    days_left: float | None = None


@dataclass(frozen=True, slots=True)
class RatioStanding:
    """Whether units were split as promised, in all or in one part (a day, a platform).

    Attributes:
        part: Empty for all; else such as ``day 3`` or ``platform android``.
        log_e: Natural logarithm of the e-value; ``bound`` is where it alarms.
    """

    part: str
    counts: tuple[int, ...]
    promised: tuple[float, ...]
    log_e: float
    bound: float
    alarm: bool


@dataclass(frozen=True, slots=True)
class DaySince:
    """The effect on one metric by days since a unit's first exposure: what wears off, and what grows."""

    metric: str
    day: int
    change: Interval


@dataclass(frozen=True, slots=True)
class SliceStanding:
    """One metric in one part of the units at the last daily look: to be read, never gated on.

    Attributes:
        by: What units are parted by: ``cohort`` or ``activity before``; or ``creators``, what they did on whose items.
        part: Such as ``days 1 to 7``.
        units: In both arms.
        change: New minus old as a share of old, simultaneous over the parts and metrics of the look; None where too few units
            or nothing that varies.
    """

    by: str
    part: str
    metric: str
    direction: str
    units: int
    change: Interval | None = None

    @property
    def wholly_harm(self) -> bool:
        """Whether the whole interval is on the worse side of no change."""
        if self.change is None:
            return False
        return self.change.high < 0 if self.direction == "up" else self.change.low > 0


@dataclass(frozen=True, slots=True)
class WaitStanding:
    """One quantile of how long requests took, in each arm and new minus old, in ms; users are clusters."""

    quantile: float
    old: Interval
    new: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class OriginStanding:
    """One surface against one legacy stack: gated on its own interval, never on a pooled one.

    Attributes:
        verdict: A word of ``launch.verdict.Verdict``.
        reasons: Why, in sentences.
        looks: Daily looks taken so far; ``planned`` how many there may be.
        left_out: What the log held that was not counted, such as ``12 units in two arms``.
    """

    legacy: str
    verdict: str
    reasons: tuple[str, ...]
    looks: int
    planned: int
    metrics: tuple[MetricStanding, ...]
    ratios: tuple[RatioStanding, ...]
    since: tuple[DaySince, ...] = ()
    left_out: tuple[str, ...] = ()
    slices: tuple[SliceStanding, ...] = ()
    waits: tuple[WaitStanding, ...] = ()

    @property
    def worst_slice(self) -> SliceStanding | None:
        """The part that lost the most, among those whose whole interval is harm; None where there is none."""
        harmed = (one for one in self.slices if one.wholly_harm)
        return max(harmed, key=lambda one: abs(one.change.mid) if one.change else 0.0, default=None)


@dataclass(frozen=True, slots=True)
class LatencyPart:
    """The exact split of a change into what the delay did and what the ranking did; shares of the old stack's mean."""

    metric: str
    total: Interval
    latency: Interval
    ranking: Interval
    per_100_ms: Interval | None = None
    lack_of_fit_p: float | None = None


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What one layer (retrieval, model, value, control) changed, from arms in which layers were swapped one by one."""

    metric: str
    layer: str
    change: Interval


@dataclass(frozen=True, slots=True)
class SurfaceStanding:
    """Where one surface stands.

    Attributes:
        step: Which step of the plan, from 0; ``steps`` how many there are.
        share: Share of units on the new stack right now.
        since_ms: When this step was entered.
        shadow: Mirrored requests, failed ones, and the share of slates' items that both stacks showed; None before any.
    """

    surface: str
    state: State
    step: int
    steps: int
    share: float
    since_ms: int
    reason: str
    origins: tuple[OriginStanding, ...]
    shadow: tuple[int, int, float] | None = None
    latency: tuple[LatencyPart, ...] = ()
    layers: tuple[LayerPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the whole launch stands.

    Attributes:
        plan_hash: What was promised.
        made: True when the traffic is a made world's.
        pilot: Who holds the pilot's seat, empty when nobody does.
        verdict: The gravest over all surfaces.
    """

    launch: str
    plan_hash: str
    made: bool
    started_ms: int
    at_ms: int
    pilot: str
    verdict: str
    sentence: str
    surfaces: tuple[SurfaceStanding, ...]
    acts: tuple[Act, ...]
