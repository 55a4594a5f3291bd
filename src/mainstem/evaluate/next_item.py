"""How well does a model name each user's next item: one protocol for every model that scores all items.

The protocol: leave-one-out, every item of the catalogue is ranked, the items of the history that is read are left out
(the target stays, also where it repeats one), ties share the mean of their places. What is *read* and what was *learned
from* are two things:

* On the validation part a model reads all but the last two events, and may have learned from those alone.
* On the test part every model reads all but the last event. ``strict`` says that it was fitted without the validation
  event; ``with_validation`` that it learned from that too. Published tables mix the two, so each figure says which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import BenchError
from mainstem.data.sequences import LeaveOneOut, Sequences
from mainstem.evaluate.intervals import RESAMPLES, Interval, paired_difference, resample
from mainstem.evaluate.metrics import Ratio
from mainstem.retrieval.next_item import NextItem

Part = Literal["validation", "test"]
Reads = Literal["strict", "with_validation"]
HITS: Final = (1, 5, 10, 50, 200)
GAINS: Final = (10, 50, 200)
METRICS: Final = (*(f"hr@{k}" for k in HITS), *(f"ndcg@{k}" for k in GAINS), "mrr")
LISTED: Final = 10
"""How long the lists are that coverage and popularity bias are told of."""
COLD_MOST: Final = 4
"""A target that was taken at most so often in what was learned from is cold."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Where each user's target stood, and what the lists were like.

    Attributes:
        ranks: Place of the target among all items that were not seen, 1 the best, halves where it ties.
        popularity: How often the target was taken in what the strict protocol learns from.
        lengths: Events in the history that was read.
        coverage: Share of the catalogue in somebody's first ten.
        popularity_bias: Mean popularity of what the first ten hold, over the mean popularity of the targets.
        cpu_s: Processor seconds of the scoring and the ranking together.
        slices: Which users each slice holds.

    Shapes: ``user_ids``, ``ranks``, ``popularity``, ``lengths`` and each slice ``[users]``.
    """

    model: str
    data: str
    part: Part
    reads: Reads
    reads_target_time: bool
    split_md5: str
    user_ids: NDArray[np.int64]
    ranks: NDArray[np.float64]
    popularity: NDArray[np.int64]
    lengths: NDArray[np.int64]
    coverage: float
    popularity_bias: float
    cpu_s: float
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def ratio(self, metric: str, within: str | None = None) -> Ratio:
        """A metric as sums per user, over all of them or over one slice's."""
        counted = np.ones(len(self.ranks), bool) if within is None else self.slices[within]
        return Ratio(over=np.where(counted, gain(metric, self.ranks), 0.0), under=counted.astype(np.float64))

    def value(self, metric: str, within: str | None = None) -> float | None:
        """A metric; None where the slice holds nobody."""
        return self.ratio(metric, within).value()

    def interval(self, metric: str, within: str | None = None, *, seed: int = 0) -> Interval | None:
        """A metric with its bounds, by resampling users."""
        return resample([self.ratio(metric, within)], self.user_ids, seed=seed).interval([1.0])

    def as_row(self) -> dict[str, str | float | int | None]:
        """One row of a table: what was asked under which protocol, and every metric."""
        head: dict[str, str | float | int | None] = {
            "model": self.model,
            "data": self.data,
            "part": self.part,
            "protocol": self.reads,
            "target_time": "read" if self.reads_target_time else "not read",
            "users": len(self.ranks),
        }
        figures = {metric: self.value(metric) for metric in METRICS}
        cold = {f"{name}:ndcg@10": self.value("ndcg@10", name) for name in self.slices}
        tail = {"coverage@10": self.coverage, "popularity_bias": self.popularity_bias, "judge_cpu_s": self.cpu_s}
        return head | figures | cold | tail | {"split_md5": self.split_md5}


def gain(metric: str, ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each rank is worth: ``hr@k`` 1 within k, ``ndcg@k`` 1 / log2(1 + rank) within k, ``mrr`` 1 / rank.

    Raises:
        BenchError: ``bench-001`` for a metric nobody defined.
    """
    if metric == "mrr":
        return 1.0 / ranks
    kind, _, depth = metric.partition("@")
    if kind not in ("hr", "ndcg") or not depth.isdigit():
        raise BenchError(
            f"found the metric {metric!r}, expected hr@k, ndcg@k or mrr", code="bench-001", hint="for example ndcg@10"
        )
    within = ranks <= int(depth)
    return within.astype(np.float64) if kind == "hr" else np.where(within, 1.0 / np.log2(1.0 + ranks), 0.0)


def judge(
    model: NextItem,
    split: LeaveOneOut,
    part: Part = "validation",
    reads: Reads = "strict",
    *,
    now_ms: NDArray[np.int64] | Literal["target"] | None = None,
    batch: int = 512,
    progress: Callable[[float, str], None] | None = None,
) -> Judged:
    """Where a model puts each judged user's target.

    Args:
        model: Fitted on ``split.fit`` for ``strict``, on ``split.with_validation`` for ``with_validation``. What it was
            fitted on cannot be seen from here: the caller says it, and the table prints it.
        part: Which target. At ``test`` the validation event is part of the history in both protocols.
        now_ms: None: the model does without the time asked about. ``"target"``: it is told when the target happened, which
            is a leak that some published figures contain. Or a time for each judged user.
        batch: Users scored at once; memory is ``batch`` x items x 4 bytes, twice.
        progress: Told how far it is.

    Raises:
        BenchError: ``bench-002`` a target that was learned from; ``bench-003`` target times that the set does not have;
            ``bench-004`` scores of a wrong shape; ``bench-005`` scores that are not numbers; ``bench-006`` nobody to judge.
    """
    times = _times(split, part, reads, now_ms)
    began = time.process_time()
    histories = split.fit if part == "validation" else split.with_validation
    targets = split.validation if part == "validation" else split.test
    popularity = np.bincount(split.fit.rows, minlength=split.sequences.items)
    ranks = np.empty(len(split.users))
    listed = np.zeros(split.sequences.items, np.int64)
    for start in range(0, len(ranks), batch):
        part_of = slice(start, start + batch)
        read = histories.take(split.users[part_of])
        scores = _scores(model, read, None if times is None else times[part_of])
        ranks[part_of] = ranks_of(scores, read, targets[part_of])
        listed += np.bincount(_first(scores, LISTED), minlength=len(listed))
        if progress is not None:
            progress(min(1.0, (start + batch) / len(ranks)), f"judging {model.name}")
    of_targets = popularity[targets]
    lengths = histories.lengths[split.users]
    return Judged(
        model=model.name,
        data=split.sequences.name,
        part=part,
        reads=reads,
        reads_target_time=isinstance(now_ms, str),
        split_md5=split.md5,
        user_ids=split.sequences.user_ids[split.users],
        ranks=ranks,
        popularity=of_targets,
        lengths=lengths,
        coverage=float((listed > 0).mean()),
        popularity_bias=float((listed * popularity).sum() / max(1, listed.sum()) / max(1e-12, of_targets.mean())),
        cpu_s=time.process_time() - began,
        slices=_slices(of_targets, lengths, popularity),
    )


def compare(
    first: Judged,
    second: Judged,
    metric: str = "ndcg@10",
    within: str | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """By how much the first is above the second, users resampled together; None when too few users can tell.

    Raises:
        BenchError: ``bench-007`` when the two were not judged on the same targets of the same split.
    """
    if (first.split_md5, first.part) != (second.split_md5, second.part):
        raise BenchError(
            f"found {first.part} of split {first.split_md5[:8]} and {second.part} of split {second.split_md5[:8]}, "
            "expected the same targets: a paired difference of different users means nothing",
            code="bench-007",
            hint="judge both models on one split and one part",
        )
    pair = first.ratio(metric, within), second.ratio(metric, within)
    return paired_difference(*pair, first.user_ids, seed=seed, resamples=resamples)


def ranks_of(scores: NDArray[np.float32], histories: Sequences, targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """The place of each target; the scores of the history's other items become -inf, in place.

    Shapes: ``scores[users, items]``, ``targets[users]``, returns ``[users]``.
    """
    rows = np.arange(len(targets))
    wanted = scores[rows, targets]
    scores[np.repeat(rows, histories.lengths), histories.rows] = -np.inf
    scores[rows, targets] = wanted
    above = (scores > wanted[:, None]).sum(axis=1)
    level = (scores == wanted[:, None]).sum(axis=1)
    return 1.0 + above + (level - 1) / 2.0


def _scores(model: NextItem, read: Sequences, times: NDArray[np.int64] | None) -> NDArray[np.float32]:
    scores = model.scores(read, times)
    if scores.shape != (len(read), read.items):
        raise BenchError(
            f"found scores of shape {scores.shape} from {model.name}, expected {(len(read), read.items)}: "
            "one row a history, one column an item",
            code="bench-004",
        )
    # A sum is finite only when every part of it is; it is read once and takes no memory, unlike isfinite of each.
    if not np.isfinite(scores.sum(dtype=np.float64)):
        raise BenchError(
            f"found scores from {model.name} that are not finite numbers, expected one for every item; the items of the "
            "history are left out here, not by the model",
            code="bench-005",
        )
    return scores if scores.flags.writeable else scores.copy()


def _first(scores: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """The best items of every row, all rows together, in no order."""
    n = min(n, scores.shape[1])
    return np.argpartition(scores, -n, axis=1)[:, -n:].ravel()


def _times(
    split: LeaveOneOut, part: Part, reads: Reads, now_ms: NDArray[np.int64] | Literal["target"] | None
) -> NDArray[np.int64] | None:
    if not len(split.users):
        raise BenchError(
            "found no user with three events or more, expected some to judge", code="bench-006", hint="use a longer log"
        )
    if part == "validation" and reads == "with_validation":
        raise BenchError(
            "found a model that learned from the validation events, expected it to be judged on the test part only",
            code="bench-002",
            hint='part="test", or fit on split.fit',
        )
    if not isinstance(now_ms, str):
        return now_ms
    if split.times_ms is None:
        raise BenchError(
            f"found no times in {split.sequences.name}, expected them for a figure that reads the target's time",
            code="bench-003",
            hint="leave now_ms out",
        )
    return split.times_ms[0 if part == "validation" else 1]


def _slices(
    popularity: NDArray[np.int64], lengths: NDArray[np.int64], of_items: NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """Cold, unseen and popular targets (the tenth of the items that is taken most), short and long histories (thirds)."""
    short, long = np.quantile(lengths, [1 / 3, 2 / 3])
    return {
        "cold": popularity <= COLD_MOST,
        "never taken": popularity == 0,
        "head": popularity >= max(1.0, float(np.quantile(of_items, 0.9))),
        "short history": lengths <= short,
        "long history": lengths > long,
    }
