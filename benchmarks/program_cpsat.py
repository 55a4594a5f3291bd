"""The optimum of PSPLIB problems by OR-Tools' CP-SAT, for `program_levelling.py`: run by a Python that has `ortools`.

python -m venv /tmp/ortools && /tmp/ortools/bin/pip install ortools
/tmp/ortools/bin/python benchmarks/program_cpsat.py problems.json answers.json --seconds 5
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ortools.sat.python import cp_model


def solve(problem: dict, seconds: float) -> dict:
    model = cp_model.CpModel()
    days, needs, sizes, horizon = problem["days"], problem["needs"], problem["sizes"], problem["known"]
    starts = [model.new_int_var(0, horizon - d, f"s{i}") for i, d in enumerate(days)]
    spans = [model.new_interval_var(s, d, s + d, f"i{i}") for i, (s, d) in enumerate(zip(starts, days, strict=True))]
    for before, after in problem["links"]:
        model.add(starts[after] >= starts[before] + days[before])
    for pool, size in enumerate(sizes):
        held = [i for i in range(len(days)) if needs[i][pool]]
        model.add_cumulative([spans[i] for i in held], [needs[i][pool] for i in held], size)
    model.minimize(starts[-1])
    for i, at in enumerate(problem["hint"]):
        model.add_hint(starts[i], at)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.random_seed = 1
    state = solver.solve(model)
    best = round(solver.objective_value) if state in (cp_model.OPTIMAL, cp_model.FEASIBLE) else problem["known"]
    return {
        "end": best,
        "bound": round(solver.best_objective_bound),
        "proven": state == cp_model.OPTIMAL,
        "s": round(solver.wall_time, 3),
    }


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("problems", type=Path)
    asked.add_argument("answers", type=Path)
    asked.add_argument("--seconds", type=float, default=5.0)
    given = asked.parse_args()
    answers = {}
    for name, problem in json.loads(given.problems.read_text()).items():
        answers[name] = solve(problem, given.seconds)
        given.answers.write_text(json.dumps(answers, indent=1))


if __name__ == "__main__":
    main()
