"""What must be known of a table of units before any metric is judged: counts, sums and sums of products of each group.

One pass over the table gives them; metrics, intervals and verdicts are then arithmetic on a few numbers. Sums are taken
around a shift near the mean, so that nothing cancels, and are merged with their rounding errors kept (two-sum), so that
the answer does not depend on backend, chunks or the order of rows beyond the last digits.

Source: Knuth, TAOCP 2, 4.2.2 (two-sum); Chan, Golub and LeVeque 1983 (shifted data).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError, did_you_mean

Floats = NDArray[np.float64]
Key = tuple[Hashable, ...]

SHIFT_ROWS: Final = 4096
"""How many rows are looked at to choose the shifts, where none are given."""


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """One column of the unit table; values above ``cap`` count as ``cap`` (0 leaves them alone)."""

    name: str
    cap: float = 0.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sums are needed.

    Args:
        columns: Sums of these.
        pairs: Sums of products of these places in ``columns``, smaller place first.
        shifts: What is taken off each column first; empty looks at the first rows.
    """

    columns: tuple[Column, ...]
    pairs: tuple[tuple[int, int], ...]
    shifts: tuple[float, ...] = ()

    @staticmethod
    def of(sets: Iterable[Sequence[Column]]) -> Wanted:
        """The columns of some metrics, and all products within one metric."""
        sets = list(sets)
        columns = tuple(dict.fromkeys(one for some in sets for one in some))
        at = {one: place for place, one in enumerate(columns)}
        pairs = {(min(at[a], at[b]), max(at[a], at[b])) for some in sets for a in some for b in some}
        return Wanted(columns, tuple(sorted(pairs)))


@dataclass(frozen=True, slots=True)
class Sums:
    """Shifted sums of groups of units.

    Attributes:
        by: What the parts of a key are: the arm's column first.
        keys: One key a group.
        count: Units of each group.
        first: Sums of ``x - shift``; the second plane holds the rounding errors of the first.
        second: Sums of ``(x - shift)(y - shift)`` of each pair, in the same two planes.

    Shapes: count ``[g]``, first ``[2, g, columns]``, second ``[2, g, pairs]``.
    """

    wanted: Wanted
    by: tuple[str, ...]
    keys: tuple[Key, ...]
    count: NDArray[np.int64]
    first: Floats
    second: Floats

    @property
    def shifts(self) -> Floats:
        """What was taken off each column."""
        return np.array(self.wanted.shifts, np.float64)

    def place(self, column: Column) -> int:
        """Where a column stands.

        Raises:
            LaunchError: It was not summed (``launch-060``).
        """
        if column not in self.wanted.columns:
            names = [one.name for one in self.wanted.columns]
            raise LaunchError(
                f"found no sums of {column}, expected one of {', '.join(names)}",
                code="launch-060",
                hint=did_you_mean(column.name, names),
            )
        return self.wanted.columns.index(column)

    def group(self, key: Key) -> Group:
        """The moments of one group.

        Raises:
            LaunchError: There is no such group (``launch-061``).
        """
        if key not in self.keys:
            raise LaunchError(
                f"found no unit of {dict(zip(self.by, key, strict=False))}, but of {list(self.keys)[:8]}",
                code="launch-061",
                hint="an arm without units has no effect: see that exposures of both arms are logged",
            )
        at = self.keys.index(key)
        return Group(self, int(self.count[at]), self.first[:, at], self.second[:, at])

    def pooled(self, keep: Sequence[str]) -> Sums:
        """The same over fewer dimensions, such as the arm alone.

        Raises:
            LaunchError: A dimension was not kept apart (``launch-060``).
        """
        missing = [name for name in keep if name not in self.by]
        if missing:
            raise LaunchError(
                f"found sums by {', '.join(self.by)}, expected {missing[0]!r} among them",
                code="launch-060",
                hint=did_you_mean(missing[0], self.by),
            )
        places = [self.by.index(name) for name in keep]
        short = tuple(tuple(key[one] for one in places) for key in self.keys)
        return _collapse(replace(self, by=tuple(keep)), short)

    def __add__(self, other: Sums) -> Sums:
        """The sums of two tables' rows together.

        Raises:
            LaunchError: They are not sums of the same things (``launch-062``).
        """
        same = (self.wanted.columns, self.wanted.pairs, self.by) == (other.wanted.columns, other.wanted.pairs, other.by)
        if not same:
            raise LaunchError(
                f"found sums of {other.wanted.columns} by {other.by}, expected those of {self.wanted.columns} by {self.by}",
                code="launch-062",
                hint="add only sums that were gathered for the same metrics and dimensions",
            )
        other = rebased(other, self.shifts)
        both = replace(
            self,
            count=np.concatenate([self.count, other.count]),
            first=np.concatenate([self.first, other.first], axis=1),
            second=np.concatenate([self.second, other.second], axis=1),
        )
        return _collapse(both, self.keys + other.keys)


@dataclass(frozen=True, slots=True)
class Group:
    """The moments of one group of units, ready for metrics."""

    sums: Sums
    count: int
    first: Floats
    second: Floats

    def mean(self, column: Column) -> float:
        """The mean of a column over the group's units."""
        at = self.sums.place(column)
        return float(self.sums.wanted.shifts[at] + (self.first[0, at] + self.first[1, at]) / self.count)

    def covariance(self, one: Column, other: Column) -> float:
        """The covariance of two columns, with ``n - 1``.

        Raises:
            LaunchError: Fewer than two units (``launch-061``), or the product was not summed (``launch-060``).
        """
        a, b = sorted((self.sums.place(one), self.sums.place(other)))
        if (a, b) not in self.sums.wanted.pairs:
            raise LaunchError(
                f"found no product of {one.name!r} and {other.name!r}, expected both in one metric",
                code="launch-060",
                hint="gather for the metrics that will be judged",
            )
        if self.count < 2:
            raise LaunchError(
                f"found {self.count} unit in a group, expected two or more for a variance",
                code="launch-061",
                hint="wait for more units, or judge fewer groups",
            )
        at = self.sums.wanted.pairs.index((a, b))
        cross = self.second[0, at] - self.first[0, a] * self.first[0, b] / self.count + self.second[1, at]
        return float(cross / (self.count - 1))


def rebased(sums: Sums, shifts: Floats) -> Sums:
    """The same sums around other shifts."""
    away = sums.shifts - shifts
    if not away.any():
        return sums
    n = sums.count.astype(np.float64)[:, None]
    a, b = (np.array([pair[side] for pair in sums.wanted.pairs], np.intp) for side in (0, 1))
    first = two_sum(sums.first, n * away)
    second = sums.second
    second = two_sum(second, sums.first[0][:, a] * away[b] + sums.first[1][:, a] * away[b])
    second = two_sum(second, sums.first[0][:, b] * away[a] + sums.first[1][:, b] * away[a])
    second = two_sum(second, n * (away[a] * away[b]))
    return replace(
        sums, wanted=replace(sums.wanted, shifts=tuple(float(one) for one in shifts)), first=first, second=second
    )


def two_sum(total: Floats, more: Floats) -> Floats:
    """A running total and its rounding error, with more added: exact but for errors of the errors.

    Shapes: total ``[2, ...]``, more ``[...]``, answer ``[2, ...]``.
    """
    big = total[0] + more
    part = big - total[0]
    error = (total[0] - (big - part)) + (more - part)
    return np.stack([big, total[1] + error])


def shifts_of(means: Floats) -> tuple[float, ...]:
    """Shifts near some means, of 24 binary digits, so that the shift itself rounds nothing of whole numbers."""
    means = np.where(np.isfinite(means), means, 0.0)
    _, exponent = np.frexp(means)
    step = np.ldexp(1.0, exponent - 24)
    return tuple(float(one) for one in np.round(means / step) * step)


def _collapse(sums: Sums, keys: tuple[Key, ...]) -> Sums:
    """Groups of one key made into one group; keys in order."""
    order = sorted(set(keys), key=lambda key: tuple((type(part).__name__, part) for part in key))
    where: dict[Key, list[int]] = {key: [] for key in order}
    for place, key in enumerate(keys):
        where[key].append(place)
    first = np.zeros((2, len(order), sums.first.shape[2]))
    second = np.zeros((2, len(order), sums.second.shape[2]))
    count = np.zeros(len(order), np.int64)
    for at, key in enumerate(order):
        for place in where[key]:
            count[at] += sums.count[place]
            first[:, at] = _joined(first[:, at], sums.first[:, place])
            second[:, at] = _joined(second[:, at], sums.second[:, place])
    return replace(sums, keys=tuple(order), count=count, first=first, second=second)


def _joined(one: Floats, other: Floats) -> Floats:
    total = two_sum(one, other[0])
    total[1] += other[1]
    return total
