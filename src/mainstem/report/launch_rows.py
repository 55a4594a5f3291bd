"""A launch's standing as rows: one way to turn every change so that harm lies on the same side, and to say what was shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from mainstem.launch.standing import (
    MetricStanding,
    OriginStanding,
    RatioStanding,
    Spent,
    Standing,
    SurfaceStanding,
)

ANSWERS: Final = ("holds", "undecided", "does not hold", "")
DAY_MS: Final = 86_400_000
WORST_FIRST: Final = ("rolled back", "stopped", "paused", "held", "shadow", "ramp", "judged", "holdback", "landed")


@dataclass(frozen=True, slots=True)
class Gate:
    """One surface against one legacy stack: what a gate is."""

    surface: SurfaceStanding
    origin: OriginStanding

    @property
    def label(self) -> str:
        """As it is called in every figure and table."""
        return f"{self.surface.surface}, {self.origin.legacy}"


def gates(standing: Standing) -> Iterator[Gate]:
    """Every gate, surface by surface."""
    for surface in standing.surfaces:
        for origin in surface.origins:
            yield Gate(surface, origin)


def answer(metric: MetricStanding) -> str:
    """Where a metric stands to its own margin: a key of ``VERDICT_COLOURS``; empty for one without a margin.

    Harm goes first: what is worse by a test of harm does not hold, even where it is within its margin.
    """
    if not metric.margin:
        return ""
    if "worse" in metric.shown or over(metric.rollback) or over(metric.pause):
        return "does not hold"
    return "holds" if "not worse" in metric.shown else "undecided"


def over(spent: Spent | None) -> bool:
    """Whether a statistic of harm has reached its bound."""
    return spent is not None and math.isfinite(spent.bound) and spent.statistic >= spent.bound


def used(spent: Spent | None) -> float | None:
    """The statistic of harm as a share of its bound, 1 where it acts; 0 when what is seen is no harm at all."""
    if spent is None or not spent.bound > 0:
        return None
    return max(spent.statistic / spent.bound, 0.0) if math.isfinite(spent.bound) else 0.0


def turned(metric: MetricStanding) -> dict[str, float]:
    """The change with harm below 0, whichever way the metric points; a share of the old mean."""
    change = metric.change
    if metric.direction == "down":
        return {"low": -change.high, "mid": -change.mid, "high": -change.low}
    return {"low": change.low, "mid": change.mid, "high": change.high}


def in_margins(metric: MetricStanding) -> dict[str, float] | None:
    """The turned change in multiples of the metric's margin: −1 is the limit, below it more harm than was accepted."""
    if not metric.margin:
        return None
    return {name: value / metric.margin for name, value in turned(metric).items()}


def spent_share(ratio: RatioStanding) -> float:
    """How near a sample ratio is to its alarm: the logarithm of its e-value over the bound; below 0 counts as 0."""
    if ratio.alarm:
        return max(ratio.log_e / ratio.bound, 1.0) if ratio.bound > 0 else 1.0
    return max(ratio.log_e / ratio.bound, 0.0) if ratio.bound > 0 else 0.0


def ended(surface: SurfaceStanding) -> bool:
    """Whether nothing is waited for any more."""
    return surface.state in ("landed", "rolled back", "stopped")


def days_to_verdict(origin: OriginStanding) -> tuple[float | None, str]:
    """Days until every metric that must pass has, at the present rate and were the arms equal; and which is the last.

    None when it is not known of one of them.
    """
    needed = [one for one in origin.metrics if one.role != "diagnostic"]
    unknown = next((one.name for one in needed if one.days_left is None), None)
    if unknown is not None or not needed:
        return None, unknown or ""
    last = max(needed, key=lambda one: one.days_left or 0.0)
    return last.days_left, last.name if last.days_left else ""


def day_of(standing: Standing, at_ms: int) -> float:
    """Days since the launch was started."""
    return (at_ms - standing.started_ms) / DAY_MS


def margin_words(metric: MetricStanding) -> str:
    """A margin with the side on which it lies, such as ``−1 %``; empty without one."""
    if not metric.margin:
        return ""
    return f"{'+' if metric.direction == 'down' else '−'}{100 * metric.margin:.3g} %"


def summary(standing: Standing) -> str:
    """How many surfaces stand where, the gravest first: the page's heading."""
    held: dict[str, list[str]] = {}
    for one in standing.surfaces:
        held.setdefault(one.state, []).append(one.surface)
    states = sorted(held, key=lambda state: WORST_FIRST.index(state) if state in WORST_FIRST else -1)
    told = [f"{_named(held[state])} {_STATES.get(state, state)}" for state in states]
    return f"{standing.launch}: {'; '.join(told)}" if told else f"{standing.launch} has no surface"


_STATES: Final = {
    "shadow": "in shadow", "ramp": "on the ramp", "judged": "at the verdict's step", "holdback": "in holdback",
    "landed": "landed", "held": "held", "paused": "paused", "rolled back": "rolled back", "stopped": "stopped",
}  # fmt: skip


def _named(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def finite(value: Any) -> Any:
    """Plain values for JSON, which has no infinity: what is not a number is null."""
    match value:
        case dict():
            return {str(name): finite(one) for name, one in value.items()}
        case list() | tuple():
            return [finite(one) for one in value]
        case float():
            return value if math.isfinite(value) else None
    return value
