"""``python -m mainstem.bench.sequence_worker JOB.json``: fits one of our models in this process and judges it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from mainstem.bench.process import ABSENT, Stopwatch, read_job, write_answer
from mainstem.bench.sequence_systems import Given, System, system
from mainstem.data.loaders.sequences import load_sequences
from mainstem.data.sequences import LeaveOneOut, leave_one_out
from mainstem.evaluate.next_item import judge
from mainstem.retrieval.next_item import NextItem


def main(path: str) -> int:
    """Does one job; exit code 4 says that this version has no such model."""
    job = read_job(path)
    split = leave_one_out(load_sequences(Path(job["data"]), job["set"]))
    chosen = system(job["system"])
    watch = Stopwatch()
    try:
        model = chosen.fit(Given(job["set"], split, int(job["seed"])))
    except (ImportError, KeyError) as error:
        write_answer(job, {"why": f"not part of this version for this set: {error}"})
        return ABSENT
    fit_cpu_s = watch.seconds()
    arrays, told = _judged(model, split, chosen)
    for name, array in arrays.items():
        np.save(Path(job["folder"], f"{name}.npy"), array)
    card = told | {"judge_cpu_s": watch.seconds() - fit_cpu_s, "model": _card(model)}
    write_answer(job, {"fit_cpu_s": fit_cpu_s, "card": card})
    return 0


def _judged(model: NextItem, split: LeaveOneOut, chosen: System) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Places of the test targets, and of the validation targets where the model did not learn from them."""
    test = judge(model, split, "test", chosen.reads)
    arrays: dict[str, np.ndarray] = {"test": test.ranks.astype(np.float32)}
    if chosen.reads == "strict":
        arrays["validation"] = judge(model, split, "validation", "strict").ranks.astype(np.float32)
    return arrays, {"coverage": test.coverage, "popularity_bias": test.popularity_bias}


def _card(model: NextItem) -> Any:
    """What the model says about itself, where it does."""
    return getattr(model, "card", None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
