"""Throughput on an accelerator that nobody here has, from others' published results and three figures of its data sheet."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls  # type: ignore[import-untyped]

from mainstem.base.errors import CapacityError, did_you_mean

BEYOND: Final = 2.5
"""How far a data sheet's figure may lie outside those of the results that are learned from, as a factor."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Three figures of a data sheet.

    Args:
        name: Its name, as it stands in results.
        tflops: Dense bf16 operations, in 10^12 a second.
        tbytes_s: Memory bandwidth, in 10^12 bytes a second.
        watts: Power limit. Of cards with the same chip, the one with half the power is not as fast.
    """

    name: str
    tflops: float
    tbytes_s: float
    watts: float

    def parts(self) -> tuple[float, float, float]:
        """What an operation, a byte and a joule take, relative to one of each."""
        return 1.0 / self.tflops, 1.0 / self.tbytes_s, 1.0 / self.watts


ACCELERATORS: Final = {
    one.name: one
    for one in (
        Accelerator("H100-SXM", 989, 3.35, 700),
        Accelerator("H100-NVL", 835, 3.94, 400),
        Accelerator("H100-PCIe", 756, 2.0, 350),
        Accelerator("H200-SXM", 989, 4.8, 700),
        Accelerator("GH200", 989, 4.0, 1_000),
        Accelerator("L40S", 362, 0.864, 350),
    )
}
"""Vendors' data sheets; of the GH200 the module's power."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """How well throughput was told of each accelerator from the others alone.

    Args:
        measured: Samples a second and accelerator.
        predicted: The same, each fitted without its own row.
        error: Mean of the relative errors.
        ordered: Pairs in the right order.
        pairs: Pairs there are.
    """

    measured: dict[str, float]
    predicted: dict[str, float]
    error: float
    ordered: int
    pairs: int


def mlperf(file: Path, scenario: str, model: str = "dlrm-v2-99") -> dict[str, float]:
    """Samples a second and accelerator of closed MLPerf inference results, the median of the submissions of each.

    Args:
        file: The summary table of the pack ``mlperf_inference_v41``.
        scenario: ``Offline`` or ``Server``.
        model: The benchmark.

    Raises:
        CapacityError: ``capacity-054`` when the table holds no such row.
    """
    found: dict[str, list[float]] = {}
    with file.open(newline="") as text:
        for row in csv.DictReader(text):
            name = next((one for one in ACCELERATORS if one in row["accelerator"]), None)
            if (row["division"], row["model"], row["scenario"], row["result"]) != ("closed", model, scenario, "VALID"):
                continue
            if name is not None and "MaxQ" not in row["system"]:  # a lowered power limit is another accelerator
                samples = float(row["samples_per_s"] or row["completed_samples_per_s"])
                found.setdefault(name, []).append(samples / int(row["accel_per_node"]) / int(row["nodes"] or 1))
    if not found:
        raise CapacityError(
            f"found no row of {model} {scenario} in {file}",
            code="capacity-054",
            hint="scenarios are Offline and Server; the pack is mlperf_inference_v41",
        )
    return {name: median(values) for name, values in found.items()}


def transfer(
    measured: Mapping[str, float], target: Accelerator, known: Mapping[str, Accelerator] = ACCELERATORS
) -> float:
    """Throughput of the target: seconds a sample are so many operations, bytes and joules, fitted on what is measured.

    Raises:
        CapacityError: ``capacity-055`` for fewer than four results or a name without a data sheet, ``capacity-051`` for
            a target whose figures lie too far from all of them.
    """
    strangers = sorted(set(measured) - set(known))
    if strangers or len(measured) < 4:
        raise CapacityError(
            f"found results of {', '.join(measured)}, expected at least four with data sheets",
            code="capacity-055",
            hint=did_you_mean(strangers[0], known) if strangers else "add results of other accelerators",
        )
    sheets = np.array([known[name].parts() for name in measured])
    wanted: NDArray[np.float64] = np.array(target.parts())
    if (wanted > BEYOND * sheets.max(axis=0)).any() or (wanted * BEYOND < sheets.min(axis=0)).any():
        raise CapacityError(
            f"found {target}, more than {BEYOND:g} times outside what was measured",
            code="capacity-051",
            hint="measure it, or bring a result of something more like it",
        )
    rates = np.array(list(measured.values()))
    constants, _ = nnls(sheets * rates[:, None], np.ones(rates.size))
    return float(1.0 / (wanted @ constants))


def leave_one_out(measured: Mapping[str, float], known: Mapping[str, Accelerator] = ACCELERATORS) -> Transferred:
    """Each accelerator told from the others."""
    told = {
        name: transfer({other: rate for other, rate in measured.items() if other != name}, known[name], known)
        for name in measured
    }
    right = [(told[a] < told[b]) == (measured[a] < measured[b]) for a, b in combinations(measured, 2)]
    wrong = [abs(told[name] / rate - 1.0) for name, rate in measured.items()]
    return Transferred(dict(measured), told, float(np.mean(wrong)), sum(right), len(right))
