"""``python -m mainstem.bench.ranking_worker JOB.json``: trains one of our stacks in this process and scores the judged rows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import RemoteError
from mainstem.base.heads import HEADS
from mainstem.bench.process import ABSENT, Stopwatch, read_job, write_answer
from mainstem.bench.ranking_export import lesson_of
from mainstem.bench.ranking_log import DAYS, REGIMES, RankingLog, Regime, settings
from mainstem.ranking.score_log import score_moments
from mainstem.stacks.remote import RemoteStack
from mainstem.workspace.compare import SCORE
from mainstem.workspace.programs import programs_folder, serving, train
from mainstem.workspace.replay import replay_scores

UNIFIED: Final = "unified"
ARMS: Final = ("content-first", "interest-first")
Scores = dict[str, NDArray[np.float32]]


def main(path: str) -> int:
    """Does one job; exit code 4 says that the stack cannot be run here."""
    job = read_job(path)
    rows = RankingLog.open(Path(job["log"]), DAYS[job["protocol"]])
    if job["system"] in ARMS:
        try:
            programs_folder()
        except RemoteError as error:
            write_answer(job, {"why": str(error)})
            return ABSENT
    learned = unified if job["system"] == UNIFIED else legacy
    scores, told = learned(rows, job)
    for name, array in scores.items():
        np.save(Path(job["folder"], f"{name}.npy"), array.astype(np.float32))
    write_answer(job, told)
    return 0


def unified(rows: RankingLog, job: Mapping[str, Any]) -> tuple[Scores, dict[str, Any]]:
    """The unified ranker: learned from the lesson, then asked for every judged row in every regime."""
    # PyTorch takes seconds to import and only training needs it.
    from mainstem.ranking.train import TrainSettings
    from mainstem.ranking.train import train as learn

    taught = lesson_of(rows)
    chosen, watch = TrainSettings(seed=int(job["seed"])), Stopwatch()
    model = learn(taught, chosen)
    fit_cpu_s = watch.seconds()
    out: Scores = {}
    for regime in REGIMES:
        out |= _scored(model, rows, regime)
    return out, {"fit_cpu_s": fit_cpu_s, "card": {"settings": asdict(chosen), "model": model.card}}


def _scored(model: Any, rows: RankingLog, regime: Regime) -> Scores:
    """The order and the heads of one regime, over the judged rows."""
    chosen, judged = settings(), rows.judged
    surfaces, delay_ms = tuple(chosen.served()), chosen.training.feedback_delay_ms
    scored = score_moments(model, rows.log, judged, surfaces, delay_ms, rows.known_until(regime))
    heads = scored.predictions[:, [scored.heads.index(head) for head in HEADS]]
    order = scored.order if SCORE[regime] == "order" else heads[:, HEADS.index("long_view")]
    return {regime: order} | ({"heads": heads} if regime == "frozen" else {})


def legacy(rows: RankingLog, job: Mapping[str, Any]) -> tuple[Scores, dict[str, Any]]:
    """A legacy program, trained and replayed as a process of its own."""
    name, model, watch = job["system"], Path(job["folder"]) / "model", Stopwatch()
    until = rows.days.validation[0]
    train(name, rows.log.folder, model, until, int(job["seed"]))
    fit_cpu_s = watch.seconds()
    asked = rows.log.impressions.filter(pl.Series(rows.judged))
    delay_ms = settings().training.feedback_delay_ms
    out: Scores = {}
    with (
        serving((name,), rows.log.folder, {name: model}, until) as running,
        RemoteStack(name, running[name].url, budget_s=30.0) as stack,
    ):
        for regime in REGIMES:
            told = replay_scores(stack, asked, None if regime == "frozen" else delay_ms, by_night=regime == "daily")
            out[regime] = told.order.astype(np.float32)
            if regime == "frozen":
                out["heads"] = np.stack([told.heads.get(head, told.order) for head in HEADS], axis=1).astype(np.float32)
    return out, {"fit_cpu_s": fit_cpu_s}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
