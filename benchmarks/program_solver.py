"""Is levelling with the second engine (the extra `solver`) ever worse than without it, and what does it add? On PSPLIB.

    python benchmarks/program_solver.py PSPLIB_FOLDER --every 16

Run by a Python that has the package with its extra `solver`. CPU seconds of one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mainstem.program.levelling import level, violations
from mainstem.program.levelling_solver import EFFORT, improve_with_solver
from mainstem.program.psplib import read_psplib


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--every", type=int, default=16)
    options.add_argument("--effort", type=float, default=EFFORT)
    given = options.parse_args()
    for kind in ("j30", "j60"):
        files = sorted((given.folder / kind).glob("*.rcp"))[:: given.every]
        worse = better = proven = infeasible = 0
        took, ours_s = [], []
        level(read_psplib(files[0]), schedules=100)
        for file in files:
            pooled = read_psplib(file)
            began = time.process_time()
            ours = level(pooled, schedules=1 << 40, seed=1)
            ours_s.append(time.process_time() - began)
            began = time.process_time()
            found = improve_with_solver(pooled, ours, effort=given.effort)
            took.append(time.process_time() - began)
            worse += found.end > ours.end
            better += found.end < ours.end
            proven += found.proven
            infeasible += bool(violations(pooled, found.start))
        said = "met" if worse == infeasible == 0 else "missed"
        print(
            f"{kind}: {len(files)} problems; with the solver worse in {worse}, infeasible in {infeasible} ({said}: target 0), "
            f"shorter in {better}, proven in {proven}; CPU a problem: ours mean {sum(ours_s) / len(files):.2f} s, largest "
            f"{max(ours_s):.2f} s; the solver on top mean {sum(took) / len(files):.2f} s, largest {max(took):.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
