"""How far levelled schedules are from the best ones, on PSPLIB.

    .venv/bin/python benchmarks/program_levelling.py PSPLIB_FOLDER --python /tmp/ortools/bin/python

Where the schedule meets a lower bound it is an optimum. For the rest OR-Tools' CP-SAT, which starts from our schedule so
that it is never worse, looks for a shorter one and for a bound. CPU seconds of one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from program_worlds import made_plan

from mainstem.program.levelling import Levelled, Pooled, level, level_program, violations
from mainstem.program.plan_file import convert_program
from mainstem.program.psplib import read_psplib

TARGETS = {"j30": 0.3, "j60": 2.0}
CAP_S = 1.0


def own(folder: Path, every: int) -> dict[str, tuple[Pooled, Levelled, float]]:
    out = {}
    for file in sorted(folder.glob("*.rcp"))[::every]:
        pooled = read_psplib(file)
        began = time.process_time()
        out[file.stem] = (pooled, done := level(pooled, schedules=1 << 40, seed=1), time.process_time() - began)
        assert not violations(pooled, done.start), file
    return out


def asked(pooled: Pooled, done: Levelled) -> dict:
    into = np.repeat(np.arange(len(pooled.days)), np.diff(pooled.first))
    return {
        "days": pooled.days.tolist(),
        "needs": pooled.needs.astype(int).tolist(),
        "sizes": pooled.capacity[0].astype(int).tolist(),
        "links": [[int(b), int(a)] for b, a in zip(pooled.before, into, strict=True)],
        "known": done.end,
        "hint": done.start.tolist(),
    }


def solved(results: dict[str, tuple[Pooled, Levelled, float]], python: str, seconds: float) -> dict[str, dict]:
    open_ones = {name: asked(pooled, done) for name, (pooled, done, _) in results.items() if not done.proven}
    with tempfile.TemporaryDirectory() as scratch:
        problems, answers = Path(scratch, "problems.json"), Path(scratch, "answers.json")
        problems.write_text(json.dumps(open_ones))
        script = Path(__file__).with_name("program_cpsat.py")
        subprocess.run([python, script, problems, answers, "--seconds", str(seconds)], check=True)
        return json.loads(answers.read_text()) if open_ones else {}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--python", help="A Python with ortools; without it only what meets a bound is judged.")
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--every", type=int, default=1)
    given = options.parse_args()
    for kind, target in TARGETS.items():
        warm = sorted((given.folder / kind).glob("*.rcp"))[0]
        level(read_psplib(warm), schedules=100)
        results = own(given.folder / kind, given.every)
        cpu = [one[2] for one in results.values()]
        peers = solved(results, given.python, given.seconds) if given.python else {}
        gaps, sure = [], []
        for name, (_, done, _) in results.items():
            peer = peers.get(name, {"end": done.end, "bound": done.bound})
            gaps.append(100 * (done.end / min(done.end, peer["end"]) - 1))
            sure.append(100 * (done.end / max(done.bound, peer["bound"]) - 1))
        proven = sum(one[1].proven for one in results.values()) + sum(one["proven"] for one in peers.values())
        gap = statistics.mean(gaps)
        held = "met" if max(cpu) <= CAP_S else "missed"
        print(
            f"{kind}: {len(results)} problems, all feasible; mean gap to the best known here {gap:.3f} % "
            f"({'met' if gap <= target else 'missed'}: target {target} %), at most {statistics.mean(sure):.3f} % by proven "
            f"bounds; {sum(one < 1e-9 for one in gaps)} at the best, {proven} optima proven; CPU a problem: mean "
            f"{statistics.mean(cpu):.2f} s, largest {max(cpu):.2f} s ({held}: cap {CAP_S:g} s); "
            f"worse than CP-SAT in {sum(one > 1e-9 for one in gaps)}",
            flush=True,
        )
    larger_plans()


def larger_plans() -> None:
    """Does the cap hold for plans of any size? Made ones, on two pools."""
    level_program(made_plan(20, 1), schedules=10)
    for tasks in (100, 500, 2000):
        plain = msgspec.to_builtins(made_plan(tasks, 3))
        random = np.random.default_rng(1)
        plain["pools"] = {"gpu": {"size": 16}, "people": {"size": 8}}
        for one in plain["tasks"].values():
            one["needs"] = {"gpu": float(random.integers(0, 5)), "people": float(random.integers(0, 3))}
        program = convert_program(plain, "made")
        began = time.process_time()
        _, done = level_program(program)
        took = time.process_time() - began
        held = "met" if took <= CAP_S else "missed"
        print(
            f"{tasks:,} tasks on two pools: {took:.2f} s CPU ({held}: cap {CAP_S:g} s), ends after {done.end} days, none can "
            f"before {done.bound}",
            flush=True,
        )


if __name__ == "__main__":
    main()
