"""What the launch desk's rules do: error rates, power, days, rollback, coverage, each beside its target; and what bounds cost.

``python -m benchmarks --only launch``; the same table as ``mainstem launch simulate``. Times are CPU time of one thread.
"""

from __future__ import annotations

import resource
import time
from typing import Any, Final

import numpy as np

from mainstem.launch import boundaries as module
from mainstem.launch.boundaries import boundaries, equal_looks
from mainstem.launch.returning import correlated_bounds
from mainstem.launch.simulate import simulate
from mainstem.launch.spending import SPENDING

TARGET_S: Final = 0.1
TARGET_ERROR: Final = 1e-3
PUBLISHED: Final = (4.8769, 3.3570, 2.6803, 2.2898, 2.0310)
"""Lan and DeMets 1983: O'Brien and Fleming's type, five looks, .05 on two sides."""


def run(*, quick: bool = False) -> dict[str, Any]:
    found = simulate(runs=10_000 if quick else 200_000)
    return {
        "rows": [one.as_row() | {"met": one.met} for one in found.rows],
        "runs": found.runs,
        "seed": found.seed,
        "cpu_s": found.cpu_s,
        "bounds": [_cost(name) for name in SPENDING],
        "correlated_s": _correlated(),
        "published_off": float(
            np.abs(boundaries(equal_looks(5), 0.025, "obf", two_sided=True).bound - PUBLISHED).max()
        ),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def _cost(spending: str) -> dict[str, Any]:
    """28 looks, solved anew, against the same with three times the nodes."""
    seconds, bound = [], np.zeros(0)
    for _ in range(5):
        module._solve.cache_clear()
        started = time.process_time()
        bound = boundaries(equal_looks(28), spending=spending).bound
        seconds.append(time.process_time() - started)
    usual, module._NODES_A_STEP = module._NODES_A_STEP, 3 * module._NODES_A_STEP
    module._solve.cache_clear()
    fine = boundaries(equal_looks(28), spending=spending).bound
    module._NODES_A_STEP = usual
    module._solve.cache_clear()
    return {"spending": spending, "cpu_s": sorted(seconds)[2], "error": float(np.abs(fine - bound).max())}


def _correlated() -> float:
    looks = equal_looks(28)
    started = time.process_time()
    correlated_bounds(np.sqrt(np.minimum.outer(looks, looks) / np.maximum.outer(looks, looks)), looks)
    return time.process_time() - started


def lines(found: dict[str, Any]) -> list[str]:
    widths = {"topic": 16, "what": 62, "measured": 10, "m.c. s.d.": 10, "target": 20, "": 8}
    out = ["What the launch desk's rules do", ""]
    out += ["  ".join(name.ljust(width) for name, width in widths.items()).rstrip()]
    out += ["  ".join(str(row[name]).ljust(width) for name, width in widths.items()).rstrip() for row in found["rows"]]
    missed = sum(not row["met"] for row in found["rows"])
    out += ["", f"{found['runs']} paths, seed {found['seed']}: {found['cpu_s']:.1f} CPU s; {missed} missed", ""]
    for one in found["bounds"]:
        kept = one["cpu_s"] <= TARGET_S and one["error"] <= TARGET_ERROR
        told = f"28 looks, {one['spending']:<6}: {1e3 * one['cpu_s']:.1f} ms, off by {one['error']:.1e}"
        out.append(f"{told} (<= {1e3 * TARGET_S:g} ms, <= {TARGET_ERROR:g}: {'met' if kept else 'MISSED'})")
    off = found["published_off"]
    out.append(f"published table of five looks: off by {off:.1e} (<= 5e-5: {'met' if off <= 5e-5 else 'MISSED'})")
    out.append(f"28 correlated looks, 100,000 paths: {found['correlated_s']:.2f} s; peak {found['peak_mb']:.0f} MB\n")
    return out
