"""Whether the features a server logged are the ones recomputed offline: per feature, window and day, to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mainstem.parity.features.cells import Cells, Gaps, cells_of, gaps_of
from mainstem.parity.features.meta import DAY_MS, FeatureMeta, checked_features
from mainstem.parity.features.result import (
    DayTally,
    Example,
    FeatureComparison,
    Gate,
    Report,
    RowCounts,
    Tally,
)
from mainstem.parity.features.rows import Paired, paired
from mainstem.parity.features.tables import NONE, Ints, Source, ValueTable
from mainstem.parity.features.values import Column, Lists, Mask, taken, union

EXAMPLES: Final = 5
KEPT: Final = 20_000
"""How many diverging rows, and as many agreeing ones, are kept of each feature for finding the cause."""
_SHOWN: Final = 8
"""How many elements of a list an example shows."""

DayOf = Callable[[Ints], Ints]


@dataclass(frozen=True, slots=True)
class Kept:
    """A draw of one diverging feature's rows that a cause is looked for in.

    Shapes: ``at [d]`` diverging rows of ``Paired`` by offset, ``agreeing [a]`` likewise; ``left`` and ``right`` hold ``d + a``
    values in that order.
    """

    at: Ints
    agreeing: Ints
    left: Column
    right: Column


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison's report, with the rows behind it (``kept``, ``rows``, the tables) for ``name_cause``."""

    report: Report
    metas: tuple[FeatureMeta, ...]
    rows: Paired = field(repr=False)
    kept: dict[str, Kept] = field(repr=False)
    served: ValueTable = field(repr=False)
    recomputed: ValueTable = field(repr=False)

    def gate(self) -> Gate:
        """Whether every cell of every feature is equal to the bit (sketches: within their documented bound)."""
        return self.report.gate

    def feature(self, name: str) -> FeatureComparison:
        """The comparison of one feature."""
        return next(feature for feature in self.report.features if feature.name == name)

    def to_json(self) -> bytes:
        """The report as JSON."""
        return self.report.to_json()


def utc_day(time_ms: Ints) -> Ints:
    """The day of each time, in days since 1970 in UTC."""
    return time_ms // DAY_MS


def compare(
    served: Source, recomputed: Source, features: Sequence[FeatureMeta], *, day_of: DayOf = utc_day
) -> Comparison:
    """Compares what a server logged with what is computed from the log, one feature after another.

    Rows meet by request and item, the k-th copy by the k-th. Only the key columns and one feature of each side are in memory
    at a time; wide Parquet data may be larger than memory.

    Args:
        served: The values as the server logged them.
        recomputed: The same rows, computed offline.
        features: What to compare.
        day_of: Times in milliseconds to day numbers; UTC days unless told.

    Raises:
        FeatureError: Columns or keys are not those of a value table (``parity-041`` to ``parity-047``).
    """
    metas = checked_features(features)
    sides = (ValueTable(served, "served"), ValueTable(recomputed, "recomputed"))
    for side in sides:
        side.check(metas)
    rows = paired(sides[0], sides[1], [meta.name for meta in metas])
    days, day = np.unique(day_of(rows.time_ms), return_inverse=True)
    found: list[FeatureComparison] = []
    kept: dict[str, Kept] = {}
    for meta in metas:
        cells = cells_of(meta, sides[0], sides[1], rows)
        found.append(_feature(meta, cells, rows, days, day))
        diverging = cells.diverging
        if len(diverging):
            kept[meta.name] = _kept(cells, rows, diverging)
    gate = _gate(found)
    return Comparison(Report(_row_counts(rows), gate, tuple(found)), metas, rows, kept, *sides)


def _row_counts(rows: Paired) -> RowCounts:
    left, right = rows.left != NONE, rows.right != NONE
    copies = rows.copy > 0
    return RowCounts(
        int(left.sum()), int(right.sum()), int((left & right).sum()), int((~left).sum()), int((~right).sum()),
        int((copies & left).sum()), int((copies & right).sum()),
        *(len(rows.apart[name]) for name in ("time_ms", "offset", "user_id", "feature_set")),
    )  # fmt: skip


def _gate(features: Sequence[FeatureComparison]) -> Gate:
    failing = sorted((one for one in features if not one.passes), key=lambda one: (one.total.match_rate, one.name))
    cells = sum(one.total.cells for one in features)
    if not cells:
        return Gate(False, (), "Refused: there is no cell to compare.")
    if failing:
        worst = failing[0]
        bad = sum(one.total.beyond for one in failing)
        sentence = (
            f"Refused: {len(failing)} of {len(features)} features part from the log on {bad:,} of {cells:,} cells; "
            f"worst is {worst.name!r} with {worst.total.match_rate:.4%} equal."
        )
        return Gate(False, tuple(one.name for one in failing), sentence)
    off = sum(one.total.cells - one.total.matched for one in features)
    tail = f", {off:,} of them sketches within their documented bound" if off else " in every bit"
    return Gate(True, (), f"Passed: {len(features)} features agree on {cells:,} cells{tail}.")


def _feature(meta: FeatureMeta, cells: Cells, rows: Paired, days: Ints, day: Ints) -> FeatureComparison:
    gaps = gaps_of(meta, cells)
    told = _per_day(cells.told, day, len(days))
    finite = _per_day(cells.finite, day, len(days))
    tallier = _Tallier(cells, gaps, rows, isinstance(cells.left, Lists))
    diverging = cells.diverging
    total = tallier.tally(diverging, int(told.sum()), int(finite.sum()))
    in_day = day[diverging]
    order = np.argsort(in_day, kind="stable")
    cuts = np.searchsorted(in_day[order], np.arange(len(days) + 1))
    by_day = tuple(
        DayTally(
            int(days[at]), tallier.tally(diverging[order[cuts[at] : cuts[at + 1]]], int(told[at]), int(finite[at]))
        )
        for at in range(len(days))
        if told[at]
    )
    examples = tuple(tallier.example(at) for at in rows.first(diverging, EXAMPLES).tolist())
    return FeatureComparison(
        meta.name, meta.window, meta.stage, meta.version, meta.tolerance, meta.bound,
        (cells.left.kind, cells.right.kind), total, by_day, examples,
    )  # fmt: skip


def _per_day(mask: Mask | None, day: Ints, days: int) -> Ints:
    return np.bincount(day if mask is None else day[mask], minlength=days)


@dataclass(frozen=True, slots=True)
class _Tallier:
    """Tallies of one feature over any part of its diverging rows."""

    cells: Cells
    gaps: Gaps
    rows: Paired
    lists: bool

    def tally(self, at: Ints, cells: int, finite: int) -> Tally:
        if not len(at):
            return Tally(cells, cells, 0, 0, 0, 0, 0, 0, 0, None, None, None, None, 0.0, None, None, None)
        own = _places(self.cells.differing, at)
        missing, extra, states = (
            _places(part, at) for part in (self.cells.missing, self.cells.extra, self.cells.states)
        )
        beyond = union(
            self.cells.differing[own][self.gaps.beyond[own]],
            self.cells.missing[missing],
            self.cells.extra[extra],
            self.cells.states[states],
        )
        apart = self.gaps.distance[own]
        apart = apart[~np.isnan(apart)]
        p50, p90, p99, largest = np.quantile(apart, [0.5, 0.9, 0.99, 1.0]).tolist() if len(apart) else (None,) * 4
        relative = self.gaps.relative[own]
        # Exactly rounded, so that the order of rows does not matter.
        smape = math.fsum(relative[~np.isnan(relative)].tolist()) / finite if finite else 0.0
        edits = self.gaps.edits[own] if self.lists else np.empty(0, np.int64)
        return Tally(
            cells,
            cells - len(at),
            len(own),
            int(self.gaps.signed_zero[own].sum()),
            len(missing),
            len(extra),
            len(states),
            len(beyond),
            int(self.gaps.ulp[own].max(initial=0)),
            p50,
            p90,
            p99,
            largest,
            smape,
            float(edits.mean()) if len(edits) else None,
            int(edits.max()) if len(edits) else None,
            self.example(int(self.rows.first(at, 1)[0])),
        )

    def example(self, at: int) -> Example:
        rows = self.rows
        left, right = self.cells.left, self.cells.right
        kinds = {"differs": "differing", "missing": "missing", "extra": "extra", "state": "states"}
        kind = next(kind for kind, name in kinds.items() if len(_places(getattr(self.cells, name), np.array([at]))))
        place = _first_place(left, right, at) if kind == "differs" else None
        return Example(
            int(rows.offset[at]),
            int(rows.time_ms[at]),
            rows.request_id(at),
            int(rows.user_id[at]),
            int(rows.item_id[at]),
            kind,
            "no row" if rows.left[at] == NONE else shown(left, at, place),
            "no row" if rows.right[at] == NONE else shown(right, at, place),
            place,
        )


def _places(part: Ints, at: Ints) -> Ints:
    """Where in ``part`` (ascending) the rows ``at`` stand that are in it."""
    if not len(part):
        return part
    found = np.searchsorted(part, at)
    inside = found < len(part)
    found = found[inside]
    return found[part[found] == at[inside]]


def _first_place(left: Column, right: Column, at: int) -> int | None:
    if not isinstance(left, Lists) or not isinstance(right, Lists):
        return None
    one, other = list_at(left, at), list_at(right, at)
    short = min(len(one), len(other))
    parts = [place for place in range(short) if _text(one[place]) != _text(other[place])]
    return parts[0] if parts else short


def list_at(column: Lists, at: int) -> np.ndarray:
    """The list of one row."""
    start = int(column.starts[at])
    return column.values[start : start + int(column.lengths[at])]


def shown(column: Column, at: int, place: int | None = None) -> str:
    """A value as text that loses no bit; of a long list the elements from where it parts."""
    if column.present is not None and not column.present[at]:
        return "null"
    if not isinstance(column, Lists):
        return _text(column.values[at])
    values = list_at(column, at)
    start = max(0, (place or 0) - 2) if len(values) > _SHOWN else 0
    part = ", ".join(_text(value) for value in values[start : start + _SHOWN])
    return f"[{'.., ' if start else ''}{part}{', ..' if start + _SHOWN < len(values) else ''}]"


def _text(value: np.generic) -> str:
    number = value.item()
    if isinstance(number, float) and math.isnan(number):
        return "NaN"
    # A float32 is shown with the digits that name it among float32 numbers.
    return str(value) if value.dtype == np.float32 else repr(number)


def _kept(cells: Cells, rows: Paired, diverging: Ints) -> Kept:
    """A draw of the diverging rows, and one of those that agree and have a value on both sides."""
    agrees = np.ones(len(rows.left), bool)
    agrees[diverging] = False
    for side in (cells.left, cells.right):
        if side.present is not None:
            agrees &= side.present
    at, others = rows.spread(diverging, KEPT), rows.spread(np.flatnonzero(agrees), KEPT)
    wanted = np.concatenate([at, others])
    return Kept(at, others, taken(cells.left, wanted), taken(cells.right, wanted))
