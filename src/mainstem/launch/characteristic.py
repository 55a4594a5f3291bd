"""One figure of a plan beside what it must reach: measured, by how much luck, and whether it is met."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mainstem.base.errors import LaunchError

SLACK: Final = 3.0
"""How many Monte-Carlo standard deviations a chance of error may lie above its nominal value before it is called missed."""


@dataclass(frozen=True, slots=True)
class Characteristic:
    """A figure and its target.

    Attributes:
        topic: What it belongs to.
        name: What was measured.
        value: The figure.
        error: Its Monte-Carlo standard deviation; 0 where it was integrated, NaN where it was not estimated.
        low, high: What it must reach; infinite where one side is free.
        slack: Standard deviations by which luck may move it past its target.
    """

    topic: str
    name: str
    value: float
    error: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    slack: float = 0.0

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        luck = self.slack * self.error if self.slack else 0.0
        return bool(self.low - luck <= self.value <= self.high + luck)

    @property
    def target(self) -> str:
        """The target as people write it."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"{self.low:g} to {self.high:g}"
        if math.isfinite(self.high):
            return f"<= {self.high:g}" + (" (+3 s.d.)" if self.slack else "")
        if math.isfinite(self.low):
            return f">= {self.low:g}" + (" (-3 s.d.)" if self.slack else "")
        return "for comparison"

    def as_row(self) -> dict[str, object]:
        """A line of the table."""
        free = math.isinf(self.low) and math.isinf(self.high)
        return {
            "topic": self.topic,
            "what": self.name,
            "measured": f"{self.value:.3g}" if 0 < abs(self.value) < 1e-3 else f"{self.value:.4f}",
            "m.c. s.d.": "unknown" if math.isnan(self.error) else f"{self.error:.4f}" if self.error else "exact",
            "target": self.target,
            "": "" if free else ("met" if self.met else "MISSED"),
        }


def false_rate(topic: str, name: str, hits: float, runs: int, high: float) -> Characteristic:
    """A chance of error: how often it happened, against its nominal value with three standard deviations of luck.

    The luck is that of the nominal chance, so that zero hits in few runs prove little but contradict nothing.
    """
    return Characteristic(topic, name, float(hits) / runs, math.sqrt(high * (1 - high) / runs), high=high, slack=SLACK)


def share(
    topic: str, name: str, hits: float, runs: int, *, low: float = -math.inf, high: float = math.inf
) -> Characteristic:
    """A share of runs against its target, without slack."""
    value = float(hits) / runs
    return Characteristic(topic, name, value, math.sqrt(max(value * (1 - value), 1 / runs) / runs), low, high)


def check_runs(name: str, runs: int, least: int = 100) -> None:
    """Refuses a simulation of too few runs.

    Raises:
        LaunchError: There are fewer (``launch-018``).
    """
    if runs < least:
        raise bad_plan(f"{runs} {name}, which are fewer than {least}")


def bad_plan(found: str) -> LaunchError:
    """What is to be simulated makes no plan (``launch-018``)."""
    return LaunchError(
        f"found {found}, expected metrics, looks and paths to simulate",
        code="launch-018",
        hint="`mainstem launch simulate` without a plan shows one that works",
    )
