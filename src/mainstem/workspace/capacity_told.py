"""Told, measured, error, met or missed: a workspace's own stacks as evidence."""

from __future__ import annotations

import math
import os
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mainstem.capacity.calibration import Hardware
from mainstem.capacity.stacks import Needs, Sample, Saving, errors, median_error, savings, told, took
from mainstem.workspace.capacity_stacks import UNIFIED, carried_by, deployments
from mainstem.workspace.layout import Workspace

MEDIAN: Final = 0.10
"""The median error that is asked for."""
POINTS: Final = 5.0
"""How many points a saving may be told off."""
COUNT: Final = 10
"""Items a slate."""


@dataclass(frozen=True, slots=True)
class Stacks:
    """What was told of the stacks and what they took.

    Args:
        told: Needs by stack, from small deployments.
        measured: Needs by stack, of the whole ones.
        errors: Relative errors by ``stack: metric``.
        median: Median of the errors.
        savings: What the unified stack saves.
        hardware: The machine.
        cores: Cores that the knee is of.
        slo_s: The p99 of the knee.
        requests: Requests a surface and server.
        measured_on: The date.
        cpu_s: CPU seconds that all of it took.
        split: The days' split of the log.
        deployments: What each deployment showed, the small ones and the whole.
    """

    told: dict[str, Needs]
    measured: dict[str, Needs]
    errors: dict[str, float]
    median: float
    savings: list[Saving]
    hardware: Hardware
    cores: int
    slo_s: float
    requests: int
    measured_on: str
    cpu_s: float
    split: str
    deployments: list[dict[str, Any]]

    @property
    def met(self) -> bool:
        """Whether both figures asked for are reached."""
        return self.median <= MEDIAN and all(abs(one.points) <= POINTS for one in self.savings)

    @property
    def sentence(self) -> str:
        """In one line."""
        worst = max(self.savings, key=lambda one: abs(one.points))
        return (
            f"median error {self.median:.1%} (asked {MEDIAN:.0%}), savings at most {abs(worst.points):.1f} points off "
            f"({worst.what}; asked {POINTS:g})"
        )

    def as_rows(self) -> list[dict[str, Any]]:
        """Stack, metric, told, measured, error, met or missed."""
        rows = []
        for stack, needs in self.measured.items():
            first = self.told[stack].metrics()
            for what, value in needs.metrics().items():
                wrong = self.errors[f"{stack}: {what}"]
                rows.append(
                    {
                        "stack": stack,
                        "what": what,
                        "told": f"{first[what]:,.1f}",
                        "measured": f"{value:,.1f}",
                        "error": f"{wrong:+.1%}",
                        "within 10 %": "met" if abs(wrong) <= MEDIAN else "missed",
                    }
                )
        return rows

    def saving_rows(self) -> list[dict[str, Any]]:
        """Saving told and measured, and whether within the points asked for."""
        return [
            {
                "unified saves": one.what,
                "told": f"{one.told:.1%}",
                "measured": f"{one.measured:.1%}",
                "points": f"{one.points:+.1f}",
                "within 5 points": "met" if abs(one.points) <= POINTS else "missed",
            }
            for one in self.savings
        ]


def tell_stacks(
    place: Workspace,
    requests: int,
    slo_s: float,
    seed: int,
    progress: Callable[[float, str], None],
    keep: Path | None = None,
    train_too: bool = True,
) -> Stacks:
    """Deploys every stack small and whole, tells the whole ones from the small ones, and compares.

    Written as the evidence ``capacity_stacks``.

    Args:
        place: The workspace; only evidence is written to it.
        requests: Requests a surface and server.
        slo_s: The p99 that the knee keeps.
        seed: Of trainings and viewers.
        progress: Told how far it is.
        keep: Where trained parts are kept, so that a run that was stopped goes on; None for a folder that is removed.
        train_too: Whether trainings are told as well; otherwise the workspace's own models serve.
    """
    from mainstem.workspace.log import open_log, split

    hardware, before = Hardware.here(), _cpu_s()
    with tempfile.TemporaryDirectory(prefix="mainstem-capacity-") as scratch:
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        found = deployments(place, keep or Path(scratch), requests, seed, progress, train_too=train_too)
    asked: dict[str, Any] = {"count": COUNT, "cores": hardware.cores, "slo_s": slo_s}
    first = {stack: told(samples[:-1], rows=samples[-1].rows, **asked) for stack, samples in found.items()}
    second = {stack: took(samples[-1], **asked) for stack, samples in found.items()}
    wrong = errors(first, second)
    answer = Stacks(
        told=first,
        measured=second,
        errors={f"{stack}: {what}": one for (stack, what), one in wrong.items()},
        median=median_error(wrong),
        savings=savings(first, second, carried_by(place), UNIFIED),
        hardware=hardware,
        cores=hardware.cores,
        slo_s=slo_s,
        requests=requests,
        measured_on=datetime.now(UTC).date().isoformat(),
        cpu_s=round(_cpu_s() - before, 1),
        split=split(place, open_log(place)).sha256,
        deployments=[_shown(one) for samples in found.values() for one in samples],
    )
    place.write_evidence("capacity_stacks", answer)
    return answer


def _shown(one: Sample) -> dict[str, Any]:
    """A deployment in a row: means of what it took."""
    return {
        "stack": one.stack,
        "share of users": one.share,
        "scale of candidates": one.scale,
        "CPU ms a request": {name: round(1e3 * float(values.mean()), 3) for name, values in one.request_s.items()},
        "resident MB": round(one.resident / 1e6, 1),
        "bytes logged": {str(size): round(value, 1) for size, value in one.logged.items()},
        "rows": one.rows,
        "training CPU s": one.train_s if math.isfinite(one.train_s) else None,
    }


def _cpu_s() -> float:
    each = (resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in each) if os.name == "posix" else 0.0
