"""What scores of the judged rows are worth: GAUC, nDCG@5 and their mean, all systems under the same draws of users."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.bench.context import Context, load_array
from mainstem.bench.ranking_log import Regime
from mainstem.bench.records import Record
from mainstem.evaluate.arms import rank_average
from mainstem.evaluate.intervals import Interval, Resampled, resample
from mainstem.evaluate.metrics import Ratio, auc, gauc_by_user, ndcg_by_user
from mainstem.evaluate.within_user import within_user

AVERAGE: Final = "rank average of the arms"
LABEL: Final = HEADS.index("long_view")
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """The judged rows, repeats as often as they count.

    Shapes: ``rows`` positions among the exported rows, the others in its order; ``users`` distinct ids of test users.
    """

    rows: NDArray[np.int64]
    user: NDArray[np.int64]
    test: NDArray[np.bool_]
    y: NDArray[np.int8]
    surface: NDArray[np.int8]
    cold: NDArray[np.bool_]
    popularity: Floats
    md5: str

    @classmethod
    def read(cls, folder: Path, cold_below: int) -> Judged:
        """The rows an export wrote."""
        rows = load_array(folder, "judged_expanded")
        names = ("user", "item", "day", "test", "y", "surface", "shown", "popularity")
        found = {name: load_array(folder, f"judged_{name}")[rows] for name in names}
        digest = hashlib.md5(usedforsecurity=False)
        for name in ("user", "item", "day", "test", "y"):
            digest.update(np.ascontiguousarray(found[name].astype(np.int64)).tobytes())
        return cls(
            rows,
            found["user"].astype(np.int64),
            found["test"],
            found["y"],
            found["surface"],
            found["shown"] < cold_below,
            found["popularity"].astype(np.float64),
            digest.hexdigest(),
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """A system's records and what it scored, one a seed."""

    records: list[Record]
    arrays: list[dict[str, NDArray[Any]]]

    @classmethod
    def of(cls, context: Context, records: list[Record]) -> Scored:
        """With the arrays that are kept beside the records."""
        return cls(records, [context.records.arrays(one) for one in records if one.status == "measured"])

    def scores(self, regime: Regime) -> list[Floats]:
        """Its scores under a regime; none where it has no such state."""
        return [one[regime].astype(np.float64) for one in self.arrays if regime in one]


@dataclass(frozen=True, slots=True)
class Figures:
    """Every system's figures, test and validation, and everything that can be told about differences.

    Attributes:
        places: By system and metric, the columns of ``drawn``, one a seed.
        validation: By system, the primary number on validation rows, mean over seeds.
    """

    drawn: Resampled
    places: Mapping[tuple[str, str], list[int]]
    validation: Mapping[str, float]

    def has(self, name: str) -> bool:
        """Was it scored under this regime?"""
        return (name, "gauc") in self.places

    def seeds(self, name: str) -> int:
        """How many runs."""
        return len(self.places[name, "gauc"])

    def of(self, name: str) -> dict[str, list[float]]:
        """GAUC, nDCG@5 and their mean, one value a seed; nothing when it was not scored."""
        if not self.has(name):
            return {}
        gauc, ndcg = (self.drawn.measured[self.places[name, metric]] for metric in ("gauc", "ndcg@5"))
        return {"primary": ((gauc + ndcg) / 2).tolist(), "gauc": gauc.tolist(), "ndcg@5": ndcg.tolist()}

    def means(self, name: str) -> dict[str, float]:
        """The same, mean over seeds."""
        return {metric: float(np.mean(values)) for metric, values in self.of(name).items()}

    def intervals(self, name: str) -> dict[str, Interval]:
        """The primary number with its bounds."""
        found = self.drawn.interval(self._weights(name, 1.0)) if self.has(name) else None
        return {} if found is None else {"primary": found}

    def difference(self, first: str, second: str, within: str = "") -> Interval | None:
        """By how much the first is above the second: the primary number, or nDCG@5 within a slice."""
        return self.drawn.interval(self._weights(first, 1.0, within) + self._weights(second, -1.0, within))

    def _weights(self, name: str, sign: float, within: str = "") -> Floats:
        weights = np.zeros(len(self.drawn.measured))
        metrics = (f"ndcg@5 {within}",) if within else ("gauc", "ndcg@5")
        for metric in metrics:
            columns = self.places[name, metric]
            weights[columns] += sign / len(columns) / len(metrics)
        return weights


def figures(
    judged: Judged,
    scores: Mapping[str, Sequence[Floats]],
    arms: Sequence[str],
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Figures:
    """The figures of some systems under one regime; popularity and the rank average of the arms are added.

    Args:
        scores: By system, one array a seed over the exported rows.
        arms: Which two the rank average joins.
        slices: Test rows by slice, whose nDCG@5 is told too.
    """
    spread = {name: [one[judged.rows] for one in found] for name, found in scores.items() if found}
    if all(arm in spread for arm in arms):
        pairs = zip(*(spread[arm] for arm in arms), strict=False)
        spread[AVERAGE] = [rank_average(pair, judged.user) for pair in pairs]
    spread["popularity"] = [judged.popularity]
    test = judged.test
    ids, dense = np.unique(judged.user[test], return_inverse=True)
    ratios: list[Ratio] = []
    places: dict[tuple[str, str], list[int]] = {}

    def note(name: str, metric: str, ratio: Ratio) -> None:
        places.setdefault((name, metric), []).append(len(ratios))
        ratios.append(ratio)

    label = judged.y[:, LABEL].astype(np.float64)
    for name, found in spread.items():
        for one in found:
            for metric, ratio in _ratios(dense, one[test], label[test], len(ids)).items():
                note(name, metric, ratio)
            for within, mask in (slices or {}).items():
                kept = mask[test]
                ratio = _ratios(dense[kept], one[test][kept], label[test][kept], len(ids))["ndcg@5"]
                note(name, f"ndcg@5 {within}", ratio)
    held = {name: [_primary(judged, one, label, ~test) for one in found] for name, found in spread.items()}
    validation = {name: float(np.mean(values)) for name, values in held.items()}
    return Figures(resample(ratios, ids), places, validation)


def pooled(judged: Judged, found: Mapping[str, Scored], heads: Sequence[str]) -> dict[str, dict[str, float]]:
    """AUC of every head over all test rows, by system that predicts heads, mean over seeds; frozen state."""
    out: dict[str, dict[str, float]] = {}
    for name, one in found.items():
        told = [arrays["heads"] for arrays in one.arrays if "heads" in arrays]
        values = {}
        for at, head in enumerate(heads):
            known = judged.test & (judged.y[:, at] >= 0)
            values[head] = [auc(each[judged.rows][known, at], judged.y[known, at]) for each in told]
        kept = {head: [v for v in each if v is not None] for head, each in values.items()}
        if told:
            out[name] = {head: float(np.mean(each)) for head, each in kept.items() if each}
    return out


def _ratios(dense: NDArray[np.int64], score: Floats, label: Floats, users: int) -> dict[str, Ratio]:
    order = within_user(dense, score)
    return {"gauc": gauc_by_user(order, label, users), "ndcg@5": ndcg_by_user(order, label, users, 5)}


def _primary(judged: Judged, score: Floats, label: Floats, rows: NDArray[np.bool_]) -> float:
    ids, dense = np.unique(judged.user[rows], return_inverse=True)
    told = [ratio.value() for ratio in _ratios(dense, score[rows], label[rows], len(ids)).values()]
    known = [value for value in told if value is not None]
    return float(np.mean(known)) if known else 0.0
