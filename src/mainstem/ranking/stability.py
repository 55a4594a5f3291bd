"""Is a new version of a model the same model, only fresher? Calibration, normalised entropy and order, beside the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError

Floats = NDArray[np.float64]
Answer = Literal["stable", "unstable", "not known"]

RESAMPLES: Final = 300
LEVEL: Final = 0.95
_EDGE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a change is called unstable.

    Attributes:
        calibration: Predicted over observed may lie this far from 1 as a factor, and move this much between two versions unless
            that brings it nearer to 1.
        entropy: Normalised entropy may rise by this share of itself.
        correlation: The log odds of two versions must agree this well.
        overlap: This share of the best ``k`` must be the same.
        k: How many are best.
        positives: A cell with fewer positives is not judged.
    """

    calibration: float = 1.1
    entropy: float = 0.01
    correlation: float = 0.8
    overlap: float = 0.6
    k: int = 5
    positives: int = 100


@dataclass(frozen=True, slots=True)
class Judged:
    """n shown items that two versions, or one, are judged by.

    Attributes:
        heads: Names of the columns of predictions and outcomes.
        surfaces: Names of the surface codes.
        outcomes: 1, 0, or -1 where unknown.
        group: Rows that are ordered against each other (a request, or a user's day).

    Shapes: ``outcomes[n, heads]``; the others ``[n]``.
    """

    heads: tuple[str, ...]
    surfaces: tuple[str, ...]
    outcomes: NDArray[np.int8]
    surface: NDArray[np.int8]
    user: NDArray[np.int64]
    day: NDArray[np.int32]
    group: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """A measured number and where it lies by a bootstrap over users."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One head on one surface (``all`` for every surface).

    Attributes:
        before: Predicted over observed of the version before.
        after: The same of the new one.
        moved: The new one's over the older one's.
        entropy: Normalised entropy of the new one: log loss over that of the base rate; 1 tells nothing apart.
        rise: By which share it is above the older one's; paired on the same users.
        correlation: Pearson's, of both versions' log odds.
        why: What is beyond its limit.
    """

    head: str
    surface: str
    rows: int
    positives: int
    before: Span
    after: Span
    moved: Span
    entropy: Span
    rise: Span
    correlation: float
    answer: Answer
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DayCell:
    """One version's head on one day."""

    head: str
    day: int
    rows: int
    positives: int
    calibration: Span
    entropy: Span


@dataclass(frozen=True, slots=True)
class Stability:
    """Two versions side by side on the same rows.

    Attributes:
        overlap: Mean share of the best ``k`` of a group that both versions agree on; NaN where no group is larger than ``k``.
        groups: How many groups that is over.
    """

    cells: tuple[Cell, ...]
    days: tuple[DayCell, ...]
    overlap: Span
    groups: int
    answer: Answer
    why: tuple[str, ...]


def stability(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    judged: Judged,
    orders: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    limits: Limits | None = None,
    seed: int = 0,
) -> Stability:
    """Whether a new version predicts as the one before it did, by what came of the same rows.

    A change is called unstable only when its whole interval lies beyond the limit.

    Args:
        before: Calibrated probabilities of the version before.
        after: The same of the new one.
        judged: The rows.
        orders: What both versions order by; the long view or the first head where none is given.
        limits: From where on a change is unstable.
        seed: Of the resampling.

    Shapes: ``before`` and ``after`` ``[n, heads]``, orders ``[n]``.

    Raises:
        ModelError: The arrays do not belong together, or hold no probabilities (``model-049``).
    """
    limits = limits or Limits()
    _check(before, judged, "the version before")
    _check(after, judged, "the new version")
    draw = _Draws(judged.user, seed)
    cells = tuple(_cells(before, after, judged, draw, limits))
    main = judged.heads.index("long_view") if "long_view" in judged.heads else 0
    one, two = orders or (before[:, main], after[:, main])
    overlap, groups = _overlap(np.asarray(one), np.asarray(two), judged, draw, limits.k)
    why = [f"{cell.head} on {cell.surface}: {reason}" for cell in cells for reason in cell.why]
    if overlap.high < limits.overlap:
        why.append(f"the best {limits.k} agree in {overlap.mid:.2f}, expected {limits.overlap} at least")
    known = any(cell.answer != "not known" for cell in cells)
    answer: Answer = "unstable" if why else "stable" if known else "not known"
    return Stability(cells, by_day(after, judged, limits, seed), overlap, groups, answer, tuple(why))


def by_day(
    predictions: NDArray[np.floating], judged: Judged, limits: Limits | None = None, seed: int = 0
) -> tuple[DayCell, ...]:
    """One version's calibration and normalised entropy on each day, heads with enough positives on it."""
    limits = limits or Limits()
    _check(predictions, judged, "the version")
    found = []
    for day in np.unique(judged.day).tolist():
        here = judged.day == day
        draw = _Draws(judged.user[here], seed)
        for head, name in enumerate(judged.heads):
            sums = _Sums.of(predictions[here, head], None, judged.outcomes[here, head], draw)
            if sums.positives >= limits.positives:
                found.append(
                    DayCell(name, int(day), sums.rows, sums.positives, sums.calibration("after"), sums.entropy())
                )
    return tuple(found)


def normalised_entropy(predictions: NDArray[np.floating], outcomes: NDArray[np.integer]) -> float:
    """Log loss over that of always saying the base rate; NaN where the outcomes are all the same.

    Source: He et al., Practical lessons from predicting clicks on ads at Facebook, 2014.
    """
    known = outcomes >= 0
    y = (outcomes[known] == 1).astype(np.float64)
    base = float(y.mean()) if len(y) else 0.0
    if not 0.0 < base < 1.0:
        return float("nan")
    return float(_log_loss(predictions[known], y).mean() / _entropy(np.array(base)))


@dataclass(frozen=True, slots=True)
class _Draws:
    """Users drawn again and again with Poisson weights; the first draw is everybody once."""

    user: NDArray[np.int64]
    seed: int
    at: NDArray[np.int64] = field(init=False)
    weights: Floats = field(init=False)

    def __post_init__(self) -> None:
        ids, at = np.unique(self.user, return_inverse=True)
        weights = np.random.default_rng(self.seed).poisson(1.0, (RESAMPLES + 1, len(ids))).astype(np.float64)
        weights[0] = 1.0
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "weights", weights)

    def sums(self, values: Sequence[Floats]) -> Floats:
        """Sums of some values of rows in every draw. Shapes: k times [n] to [draws, k]."""
        by_user = [np.bincount(self.at, one, minlength=self.weights.shape[1]) for one in values]
        return self.weights @ np.stack(by_user, axis=1)


@dataclass(frozen=True, slots=True)
class _Sums:
    """What every figure of a cell is made of, in every draw. Columns: rows, positives, predicted and lost by each version."""

    rows: int
    positives: int
    drawn: Floats

    @classmethod
    def of(
        cls,
        after: NDArray[np.floating],
        before: NDArray[np.floating] | None,
        outcome: NDArray[np.int8],
        draw: _Draws,
        here: NDArray[np.bool_] | None = None,
    ) -> _Sums:
        known = outcome >= 0 if here is None else (outcome >= 0) & here
        k, y = known.astype(np.float64), (known & (outcome == 1)).astype(np.float64)
        columns = [k, y]
        for p in (after, after if before is None else before):
            columns += [np.where(known, p, 0.0), np.where(known, _log_loss(p, y), 0.0)]
        return cls(int(k.sum()), int(y.sum()), draw.sums(columns))

    def calibration(self, which: Literal["before", "after"]) -> Span:
        return _span(_ratio(self.drawn[:, 2 if which == "after" else 4], self.drawn[:, 1]))

    def moved(self) -> Span:
        return _span(_ratio(self.drawn[:, 2], self.drawn[:, 4]))

    def entropy(self) -> Span:
        rows = self.drawn[:, 0]
        base = _ratio(self.drawn[:, 1], rows)
        # Where all outcomes are the same there is nothing to normalise by.
        base = np.where((base > 0.0) & (base < 1.0), base, np.nan)
        return _span(_ratio(_ratio(self.drawn[:, 3], rows), _entropy(base)))

    def rise(self) -> Span:
        return _span(_ratio(self.drawn[:, 3], self.drawn[:, 5]) - 1.0)


def _cells(
    before: NDArray[np.floating], after: NDArray[np.floating], judged: Judged, draw: _Draws, limits: Limits
) -> Iterator[Cell]:
    for head, name in enumerate(judged.heads):
        for place in range(-1, len(judged.surfaces)):
            here = judged.surface == place if place >= 0 else np.ones(len(judged.user), np.bool_)
            sums = _Sums.of(after[:, head], before[:, head], judged.outcomes[:, head], draw, here)
            if not sums.rows:
                continue
            same = _correlation(before[here, head], after[here, head])
            answer, why = _judge(sums, same, limits)
            yield Cell(
                name, judged.surfaces[place] if place >= 0 else "all", sums.rows, sums.positives,
                sums.calibration("before"), sums.calibration("after"), sums.moved(), sums.entropy(), sums.rise(),
                same, answer, why,
            )  # fmt: skip


def _judge(sums: _Sums, correlation: float, limits: Limits) -> tuple[Answer, tuple[str, ...]]:
    if sums.positives < limits.positives:
        return "not known", ()
    after, moved, rise = sums.calibration("after"), sums.moved(), sums.rise()
    most, least = limits.calibration, 1.0 / limits.calibration
    why = []
    if after.low > most or after.high < least:
        why.append(f"predicted over observed is {after.mid:.3f} [{after.low:.3f}, {after.high:.3f}]")
    before = sums.calibration("before")
    nearer = before.mid > 0 < after.mid and abs(np.log(after.mid)) <= abs(np.log(before.mid))
    if (moved.low > most or moved.high < least) and not nearer:
        why.append(f"predicts {moved.mid:.3f} times what the version before did")
    if rise.low > limits.entropy:
        why.append(f"normalised entropy rose by {100 * rise.mid:.2f} % [{100 * rise.low:.2f}, {100 * rise.high:.2f}]")
    if correlation < limits.correlation:
        why.append(f"its log odds agree with the version before to {correlation:.3f}")
    return ("unstable" if why else "stable"), tuple(why)


def _overlap(
    before: NDArray[np.floating], after: NDArray[np.floating], judged: Judged, draw: _Draws, k: int
) -> tuple[Span, int]:
    """The share of each group's best k that both orders have, over groups with more than k rows."""
    _, group, size = np.unique(judged.group, return_inverse=True, return_counts=True)
    both = (_place(before, group) < k) & (_place(after, group) < k) & (size[group] > k)
    counted = (size[group] > k) & (_place(after, group) < k)
    drawn = draw.sums([both.astype(np.float64), counted.astype(np.float64)])
    return _span(_ratio(drawn[:, 0], drawn[:, 1])), int((size > k).sum())


def _place(score: NDArray[np.floating], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row's place in its group from 0, best first; of equal scores the earlier row stands first."""
    order = np.lexsort((np.arange(len(score)), -score, group))
    place = np.empty(len(score), np.int64)
    start = np.searchsorted(group[order], group[order], side="left")
    place[order] = np.arange(len(score)) - start
    return place


def _correlation(one: NDArray[np.floating], two: NDArray[np.floating]) -> float:
    a, b = _odds(one), _odds(two)
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    # Two versions that say the same of every row agree, even where there is nothing to correlate.
    return float((a * b).sum() / spread) if spread > 0 else float(np.allclose(one, two))


def _check(predictions: NDArray[np.floating], judged: Judged, what: str) -> None:
    n = len(judged.user)
    sizes = {len(one) for one in (judged.outcomes, judged.surface, judged.day, judged.group)}
    if predictions.shape != (n, len(judged.heads)) or judged.outcomes.shape != predictions.shape or sizes != {n}:
        raise ModelError(
            f"found predictions of {what} of shape {predictions.shape} and outcomes of shape {judged.outcomes.shape},"
            f" expected {n} rows of {len(judged.heads)} heads each",
            code="model-049",
            hint="judge both versions on the same rows: `mainstem models stability` does",
        )
    bad = ~((predictions >= 0) & (predictions <= 1))
    if bad.any():
        row, head = np.argwhere(bad)[0]
        raise ModelError(
            f"{what} predicts {predictions[row, head]} of {judged.heads[head]} in row {row}, expected a probability",
            code="model-049",
            hint="give calibrated probabilities, not scores",
        )


def _log_loss(p: NDArray[np.floating], y: Floats) -> Floats:
    p = np.clip(p.astype(np.float64), _EDGE, 1.0 - _EDGE)
    return -(y * np.log(p) + (1.0 - y) * np.log1p(-p))


def _entropy(base: Floats) -> Floats:
    base = np.clip(base, 1e-12, 1.0 - 1e-12)
    return -(base * np.log(base) + (1.0 - base) * np.log1p(-base))


def _odds(p: NDArray[np.floating]) -> Floats:
    p = np.clip(p.astype(np.float64), _EDGE, 1.0 - _EDGE)
    return np.log(p) - np.log1p(-p)


def _ratio(over: Floats, under: Floats) -> Floats:
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0)


def _span(drawn: Floats) -> Span:
    """The first draw is what was measured, the others say where it lies; NaN where too few users can tell."""
    known = drawn[1:][np.isfinite(drawn[1:])]
    if not np.isfinite(drawn[0]) or len(known) < 0.9 * (len(drawn) - 1):
        return Span(float("nan"), float(drawn[0]), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Span(float(low), float(drawn[0]), float(high))
