"""Which feature, source, head, value term or rule is the reason that two stacks part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.parity.align import Columns
from mainstem.parity.pair import PairDiff

_EXPLAINED = 0.9
"""The share of a value's change one term must explain to be named; below it the formula as a whole is."""
_ALIKE = 0.99
"""Suspects whose scores are this close to the first cannot be told apart."""
_LOST = 1e6
"""How far a prediction moved that is a number on one side only: beyond any shift."""
_EARLIEST_WEIGHT = 0.25
"""How much being the first rule to differ in a request counts, beside how one-sided a rule's firing became."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """Who could be the reason, most suspect first, with scores that only compare among themselves."""

    names: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def culprit(self) -> str:
        """The first suspect; empty when there is none."""
        return self.names[0] if self.names else ""

    @property
    def as_likely(self) -> tuple[str, ...]:
        """Others that the traces cannot tell from the first."""
        least = _ALIKE * self.scores[0] if self.scores else 0.0
        return tuple(name for name, score in zip(self.names[1:], self.scores[1:], strict=True) if score >= least)


def suspects(stage: str, pairs: Sequence[PairDiff]) -> Suspects:
    """Who could be the reason that these requests part in this stage."""
    found = {
        "features": _features,
        "source": _sources,
        "model": _heads,
        "value": _terms,
        "rule": _rules,
        "slate": _slate,
    }[stage](pairs)
    ranked = sorted(((name, score) for name, score in found.items() if score > 0), key=lambda one: -one[1])
    return Suspects(tuple(name for name, _ in ranked), tuple(float(score) for _, score in ranked))


def _features(pairs: Sequence[PairDiff]) -> dict[str, float]:
    """By how much of itself each feature changed, summed over candidates: wide and large changes first."""
    scores: dict[str, float] = {}
    for pair in pairs:
        if pair.features is None:
            continue
        rows = pair.blamed_rows()["features"]
        changed = np.where(pair.features.differs, relative_change(pair.features), 0.0)
        if pair.state_differs is not None:
            changed = np.maximum(changed, np.where(pair.state_differs, 0.5, 0.0))
        _add(scores, pair.features.names, changed[rows].sum(axis=0))
    return scores


def _sources(pairs: Sequence[PairDiff]) -> dict[str, float]:
    """How much of each source's offer is not shared; the number of candidates decides between equals."""
    scores: dict[str, float] = {}
    for pair in pairs:
        if pair.sources is None:
            continue
        bits = pair.sources
        union = bits.left + bits.right - bits.both
        apart = np.divide(union - bits.both, union, out=np.zeros(len(union)), where=union > 0)
        _add(scores, bits.names, np.asarray(apart + 1e-6 * (union - bits.both), np.float64))
    return scores


def _heads(pairs: Sequence[PairDiff]) -> dict[str, float]:
    """How far each head moved on candidates whose inputs agree.

    In log-odds for probabilities, so that a head made of another one (a like needs a click) moves less than its cause; in
    its own standard deviations for other numbers.
    """
    told = [(pair.predictions, pair.blamed_rows()["model"]) for pair in pairs if pair.predictions is not None]
    scores: dict[str, float] = {}
    for name in dict.fromkeys(name for columns, _ in told for name in columns.names):
        own = [(columns, rows, columns.names.index(name)) for columns, rows in told if name in columns.names]
        left = np.concatenate([columns.left[rows, at] for columns, rows, at in own])
        right = np.concatenate([columns.right[rows, at] for columns, rows, at in own])
        differs = np.concatenate([columns.differs[rows, at] for columns, rows, at in own])
        scores[name] = float(np.where(differs, _moved(left, right), 0.0).sum())
    return scores or {"no answer": float(sum(pair.model_failed for pair in pairs))}


def _moved(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each prediction moved, on a scale on which heads compare; what is no number any more moved farthest."""
    known = np.isfinite(left) & np.isfinite(right)
    one, other = left[known], right[known]
    moved = np.full(len(left), _LOST)
    if ((one > 0) & (one < 1) & (other > 0) & (other < 1)).all():
        moved[known] = np.abs(np.log(one / (1 - one)) - np.log(other / (1 - other)))
    else:
        moved[known] = np.abs(one - other) / max(float(np.std(one)), 1e-9)
    return moved


def _terms(pairs: Sequence[PairDiff]) -> dict[str, float]:
    """Which term of the value changed: read where both sides tell their terms, else the head that explains the change."""
    told: dict[str, float] = {}
    guessed: dict[str, float] = {}
    for pair in pairs:
        rows = pair.blamed_rows()["value"]
        if pair.terms is not None and (pair.terms.differs[rows]).any():
            _add(told, pair.terms.names, np.nan_to_num(distance(pair.terms)[rows], posinf=_LOST).sum(axis=0))
        elif pair.values is not None and rows.any():
            name = _explaining(pair, rows)
            guessed[name] = guessed.get(name, 0.0) + 1.0
    return told or guessed


def _explaining(pair: PairDiff, rows: NDArray[np.bool_]) -> str:
    """The head whose multiple the change of the value is (or of its logarithm, for products); else ``formula``."""
    if pair.values is None:
        return "formula"
    rows = rows & np.isfinite(pair.values.left[:, 0]) & np.isfinite(pair.values.right[:, 0])
    one, other = pair.values.left[rows, 0], pair.values.right[rows, 0]
    names: list[str] = []
    fits: list[float] = []
    columns = {"scale": one, "offset": np.ones(len(one))}
    if pair.predictions is not None:
        columns = {name: pair.predictions.left[rows, at] for at, name in enumerate(pair.predictions.names)} | columns
    for name, column in columns.items():
        names.append(name)
        fits.append(max(_fit(other - one, column), _fit(_log(other) - _log(one), _log(column))))
    best = int(np.argmax(np.round(fits, 6)))
    return names[best] if fits[best] >= _EXPLAINED else "formula"


def _fit(change: NDArray[np.float64], column: NDArray[np.float64]) -> float:
    """Which share of the squares of a change one multiple of a column explains; 0 where it cannot be told."""
    if not (np.isfinite(change).all() and np.isfinite(column).all()):
        return 0.0
    squares = float(change @ change) * float(column @ column)
    return float(change @ column) ** 2 / squares if squares > 0 else 0.0


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(values, out=np.full(len(values), np.nan), where=values > 0), np.float64)


def _rules(pairs: Sequence[PairDiff]) -> dict[str, float]:
    """Which rule's firing became most one-sided; being the first to differ in a request counts too.

    Switching a rule off lets candidates reach later rules, so later rules fire more; they do not fall silent.
    """
    counts: dict[str, NDArray[np.float64]] = {}
    for pair in pairs:
        if pair.fires is None:
            continue
        fires = pair.fires
        for at, name in enumerate(fires.names):
            own = np.array(
                [fires.left[at], fires.right[at], fires.left_only[at], fires.right_only[at], name == fires.earliest],
                np.float64,
            )
            counts[name] = counts.get(name, 0.0) + own
    return {name: _one_sided(own, len(pairs)) for name, own in counts.items()}


def _one_sided(counts: NDArray[np.float64], requests: int) -> float:
    left, right, left_only, right_only, earliest = counts
    apart, fired = left_only + right_only, left + right
    if not apart or not fired:
        return 0.0
    net = (left_only - right_only) ** 2 / apart * abs(left - right) / fired
    return (net + 0.01 * apart) * (1 + _EARLIEST_WEIGHT * earliest / requests)


def _slate(pairs: Sequence[PairDiff]) -> dict[str, float]:
    """Whether the same items stand in another order, or other items were taken from the same values and rules."""
    same = sum(np.array_equal(np.sort(pair.left.slate), np.sort(pair.right.slate)) for pair in pairs)
    return {"order": float(same), "items": float(len(pairs) - same)}


def relative_change(columns: Columns) -> NDArray[np.float64]:
    """By how much of the larger of the two each number changed, from 0 to 1; 1 where only one side has a number."""
    apart = distance(columns)
    larger = np.maximum(np.abs(columns.left), np.abs(columns.right))
    change = np.divide(apart, larger, out=np.ones_like(apart), where=np.isfinite(apart) & (larger > 0))
    return np.minimum(np.where(np.isfinite(larger), change, 1.0), 1.0)


def distance(columns: Columns) -> NDArray[np.float64]:
    """How far apart the two sides' numbers are; NaN where a side has none."""
    with np.errstate(invalid="ignore"):
        return np.abs(columns.left - columns.right)


def _add(scores: dict[str, float], names: tuple[str, ...], amounts: NDArray[np.float64]) -> None:
    for name, amount in zip(names, amounts, strict=True):
        scores[name] = scores.get(name, 0.0) + float(amount)
