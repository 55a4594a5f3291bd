"""``python -m mainstem.bench.sequence_worker JOB.json``: fits one of our models in this process and judges it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mainstem.bench.process import ABSENT, Stopwatch, read_job, write_answer
from mainstem.bench.sequence_systems import ENCODER, UNIFIED, Given, System, system
from mainstem.data.loaders.sequences import load_sequences
from mainstem.data.sequences import LeaveOneOut, leave_one_out
from mainstem.evaluate.next_item import judge
from mainstem.retrieval.next_item import NextItem

COST = "fit_cpu_s.json"


def main(path: str) -> int:
    """Does one job; exit code 4 says that this version has no such model."""
    job = read_job(path)
    split = leave_one_out(load_sequences(Path(job["data"]), job["set"]))
    chosen = system(job["system"])
    given = Given(job["set"], split, int(job["seed"]), Path(job["kept"]))
    borrowed = _borrowed_cpu_s(given, chosen)
    watch = Stopwatch()
    try:
        model = chosen.fit(given)
    except (ImportError, KeyError) as error:
        write_answer(job, {"why": f"not part of this version for this set: {error}"})
        return ABSENT
    fit_cpu_s = watch.seconds() + borrowed
    if chosen.name == ENCODER and given.encoder is not None:
        (given.encoder / COST).write_bytes(msgspec.json.encode(fit_cpu_s))
    arrays, told = _judged(model, split, chosen)
    for name, array in arrays.items():
        np.save(Path(job["folder"], f"{name}.npy"), array)
    card = told | {"judge_cpu_s": watch.seconds() + borrowed - fit_cpu_s, "model": _card(model)}
    write_answer(job, {"fit_cpu_s": fit_cpu_s, "card": card})
    return 0


def _borrowed_cpu_s(given: Given, chosen: System) -> float:
    """What the encoder cost that the unified retrieval finds ready: it counts as its own."""
    cost = None if given.encoder is None else given.encoder / COST
    return msgspec.json.decode(cost.read_bytes()) if chosen.name == UNIFIED and cost and cost.is_file() else 0.0


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
