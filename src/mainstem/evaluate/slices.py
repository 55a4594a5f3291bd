"""For whom and for what is a stack worse: calibration and within-user order by slices of one and the same evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.evaluate.calibration import calibration_error, calibration_error_floor
from mainstem.evaluate.intervals import LEVEL, RESAMPLES, Interval, resample
from mainstem.evaluate.metrics import Ratio, gauc_by_user
from mainstem.evaluate.rows import ArmScores
from mainstem.evaluate.within_user import Floats, sums_by, within_user

MOST_VALUES: Final = 12
"""A column of more values is cut: numbers into quarters, names into the commonest and the rest."""
OTHER: Final = "other"
LEAST_POSITIVES: Final = 30
"""A slice with fewer positives (or negatives) is listed and not judged."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """One way to part rows: a name, the parts' names, and each row's part.

    Shapes: ``codes[n]``, -1 where nothing is known.
    """

    by: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SliceCell:
    """How one arm does on one head in one slice.

    Attributes:
        by: What parts the rows, such as ``user activity``.
        slice: Which part.
        over_observed: Predicted over observed, 1 is calibrated; None for an arm without probabilities.
        error: Expected calibration error, and ``floor`` what perfect probabilities would show by chance.
        gauc: Within-user AUC of the slice's rows.
        gap: That less the whole's, paired over users.
        enough: Whether positives and negatives suffice to judge.
    """

    by: str
    slice: str
    arm: str
    head: str
    rows: int
    users: int
    positives: int
    over_observed: Interval | None
    error: float | None
    floor: float | None
    gauc: float | None
    gap: Interval | None
    enough: bool


@dataclass(frozen=True, slots=True)
class Judging:
    """The rows slices are measured on.

    Attributes:
        users: Whose row each is.
        labels: By head: 0, 1, or below 0 or NaN where it is not known.
        arms: Scores for these rows.

    Shapes: all ``[n]``.
    """

    users: NDArray[np.integer[Any]]
    labels: Mapping[str, NDArray[Any]]
    arms: Mapping[str, ArmScores]


def slicing_of(by: str, values: ArrayLike) -> Slicing:
    """A slicing by any column: its values where they are few, else quarters of the numbers or the commonest names.

    Args:
        by: The name it goes by.
        values: Numbers (NaN unknown) or names (empty unknown). Shapes: [n].
    """
    column = np.asarray(values)
    if column.dtype.kind in "OUS":
        return _by_name(by, column.astype(str))
    number = column.astype(np.float64)
    known = np.isfinite(number)
    distinct = np.unique(number[known])
    if len(distinct) <= MOST_VALUES:
        codes = np.where(known, np.searchsorted(distinct, number), -1)
        return Slicing(by, tuple(f"{value:g}" for value in distinct), codes.astype(np.int64))
    return by_edges(by, number, np.unique(np.quantile(number[known], [0.25, 0.5, 0.75])))


def by_edges(by: str, number: Floats, edges: ArrayLike) -> Slicing:
    """A slicing of numbers by the bounds between parts; a number on a bound belongs to the upper part."""
    bounds = np.asarray(edges, np.float64)
    told = [f"{edge:.3g}" for edge in bounds]
    if not told:
        return Slicing(by, ("all",), np.where(np.isfinite(number), 0, -1))
    names = (f"< {told[0]}", *(f"{a} to {b}" for a, b in pairwise(told)), f"{told[-1]} or more")
    codes = np.where(np.isfinite(number), np.searchsorted(bounds, number, side="right"), -1)
    return Slicing(by, names, codes.astype(np.int64))


def _by_name(by: str, column: NDArray[np.str_]) -> Slicing:
    names, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
    common = (
        np.argsort(-counts, kind="stable")[: MOST_VALUES - 1] if len(names) > MOST_VALUES else np.arange(len(names))
    )
    place = np.full(len(names), len(common), np.int64)
    place[common] = np.arange(len(common))
    told = [str(name) for name in names[common]] + ([OTHER] if len(names) > MOST_VALUES else [])
    place[names == ""] = -1
    return Slicing(by, tuple(told), place[codes])


def slice_cells(
    judging: Judging,
    slicings: Sequence[Slicing],
    heads: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[SliceCell, ...]:
    """Every arm on every head in every slice, all rows first (``by`` and ``slice`` are ``all``).

    All are resampled from the same draws of users, so that a slice's gap to the whole is a paired difference.

    Args:
        judging: The rows.
        slicings: How they are parted.
        heads: Which outcomes.
        seed: Same seed, same intervals.
        resamples: How many.
        level: Of the intervals.
    """
    ids, user = np.unique(np.asarray(judging.users, np.int64), return_inverse=True)
    noted = [
        one for head in heads for arm in judging.arms for one in _noted(judging, slicings, head, arm, user, len(ids))
    ]
    drawn = resample([ratio for one in noted for ratio in one.ratios], ids, seed=seed, resamples=resamples)
    cells, at, whole = [], 0, {}
    for one in noted:
        weights = np.zeros(len(drawn.measured))
        gauc, over = at, at + 1 if one.calibrated else None
        at += len(one.ratios)
        key = (one.arm, one.head)
        whole.setdefault(key, gauc)
        weights[gauc] += 1.0
        weights[whole[key]] -= 1.0
        value = float(drawn.measured[gauc])
        pick = np.zeros(len(drawn.measured))
        if over is not None:
            pick[over] = 1.0
        cells.append(
            SliceCell(
                by=one.by, slice=one.slice, arm=one.arm, head=one.head, rows=one.rows, users=one.users,
                positives=one.positives, error=one.error, floor=one.floor, enough=one.enough,
                over_observed=drawn.interval(pick, level) if one.enough and over is not None else None,
                gauc=None if np.isnan(value) else value,
                gap=drawn.interval(weights, level) if one.enough and gauc != whole[key] else None,
            )
        )  # fmt: skip
    return tuple(cells)


@dataclass(frozen=True, slots=True)
class _Noted:
    """A cell whose intervals are not known yet; ``ratios`` hold the order first, then the calibration if there is one."""

    by: str
    slice: str
    arm: str
    head: str
    rows: int
    users: int
    positives: int
    error: float | None
    floor: float | None
    enough: bool
    calibrated: bool
    ratios: tuple[Ratio, ...]


def _noted(
    judging: Judging, slicings: Sequence[Slicing], head: str, arm: str, user: NDArray[np.int64], users: int
) -> Iterator[_Noted]:
    scores = judging.arms[arm]
    label = np.nan_to_num(np.asarray(judging.labels[head], np.float64), nan=-1.0)
    everything = Slicing("all", ("all",), np.zeros(len(label), np.int64))
    for slicing in (everything, *slicings):
        for code, name in enumerate(slicing.names):
            rows = np.flatnonzero((slicing.codes == code) & (label >= 0))
            if len(rows):
                yield _note(slicing.by, name, arm, head, scores, rows, label, user, users)


def _note(
    by: str, name: str, arm: str, head: str, scores: ArmScores, rows: NDArray[np.int64],
    label: NDArray[np.float64], user: NDArray[np.int64], users: int,
) -> _Noted:  # fmt: skip
    own, mine = label[rows], user[rows]
    order = within_user(mine, np.asarray(scores.score(head)[rows], np.float64))
    ratios = [gauc_by_user(order, own, users)]
    chance = scores.probability(head)
    error = floor = None
    if chance is not None:
        p = np.asarray(chance[rows], np.float64)
        ratios.append(Ratio(over=sums_by(mine, p, users), under=sums_by(mine, own, users)))
        error, floor = calibration_error(p, own), calibration_error_floor(p)
    positives = int(own.sum())
    enough = LEAST_POSITIVES <= positives <= len(own) - LEAST_POSITIVES
    return _Noted(
        by,
        name,
        arm,
        head,
        len(rows),
        len(np.unique(mine)),
        positives,
        error,
        floor,
        enough,
        chance is not None,
        tuple(ratios),
    )
