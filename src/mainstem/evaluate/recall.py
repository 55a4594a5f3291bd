"""How much of what viewers took do the sources find: each alone, all together, and what would be lost without each.

Recall is counted over held-out targets that stand in the log, and the log holds what an earlier stack chose to show: a source that
finds what that stack liked to show looks better than it is. It says whether a source finds what is taken, not what it would add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Rows
from mainstem.evaluate.intervals import Interval, Resampled, resample
from mainstem.evaluate.metrics import Ratio

DEPTHS: Final = (100, 200, 500)
"""Recall is told among so many first candidates."""
UNION: Final = "union"
RESAMPLES: Final = 500

Merge = Callable[[str, Sequence[Rows]], Rows]
"""Surface, and what each source offered (in the order of the sources), to the candidates of the union, best first."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One held-out request: what each source offered, and what the viewer took.

    Attributes:
        found: By source, best first, ``DEPTHS[-1]`` each where the source has so many.
        taken: Catalog rows the viewer took: the targets.
        is_cold: Of each target, whether it was hardly shown before.
        is_new: Whether hardly anything is known of the viewer.
    """

    user_id: int
    surface: str
    found: tuple[Rows, ...]
    taken: Rows
    is_cold: NDArray[np.bool_]
    is_new: bool


@dataclass(frozen=True, slots=True)
class Recalled:
    """One row of the table: a source or the union on one slice.

    Attributes:
        what: A source's name, or ``union``.
        targets: How many taken items the slice has.
        recall: Among the first ``DEPTHS`` candidates, of a source by itself or of the union.
        lost: For a source, what the union's recall loses without it: the union's minus the union's without it, paired.
        only: For a source, the share of targets that it found within its quota and no other source did.
    """

    what: str
    of: str
    targets: int
    recall: dict[int, Interval | None]
    lost: dict[int, Interval | None]
    only: float | None = None


@dataclass(frozen=True, slots=True)
class RecallTable:
    """The whole table. ``protocol`` says what was asked and counted; ``joined`` how the union was made."""

    protocol: str
    joined: str
    requests: int
    rows: tuple[Recalled, ...]

    def of(self, what: str, of: str = "all") -> Recalled:
        """One row. Raises KeyError when it is not there."""
        for row in self.rows:
            if (row.what, row.of) == (what, of):
                return row
        raise KeyError((what, of))

    def as_rows(self) -> list[dict[str, Any]]:
        """Flat rows as tables print them."""
        return [
            {"source": row.what, "slice": row.of, "targets": row.targets}
            | {f"recall@{k}": _told(one) for k, one in row.recall.items()}
            | {f"lost@{k}": _told(one) for k, one in row.lost.items()}
            | {"only it": "" if row.only is None else f"{row.only:.4f}"}
            for row in self.rows
        ]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def recall_table(
    sources: Sequence[str],
    quotas: Callable[[str, str], int],
    offered: Sequence[Offered],
    merge: Merge,
    *,
    protocol: str,
    joined: str,
    seed: int = 0,
) -> RecallTable:
    """Recall and marginal recall of every source on all targets, on cold items and for new users, with intervals over users.

    Args:
        sources: Names, in the order of ``Offered.found``.
        quotas: Most candidates a source may give the union: (surface, source) to a number.
        offered: Held-out requests. None of what they took may have been learned from.
        merge: The union that serves.
        protocol: What was asked and counted, in one line.
        joined: How the union is made, in one word.
        seed: Of the resampling.
    """
    hits = [_hits(sources, quotas, one, merge) for one in offered]
    users, at = np.unique(np.array([one.user_id for one in offered], np.int64), return_inverse=True)
    rows = [
        row
        for name, chosen in _slices(offered)
        for row in _rows(sources, name, hits, chosen, users, at, seed)
        if len(offered)
    ]
    return RecallTable(protocol, joined, len(offered), tuple(rows))


@dataclass(frozen=True, slots=True)
class _Hits:
    """Of each target of one request: whether each source, the union, and the union without each source found it.

    Shapes: ``source[s, depths, t]``, ``union[depths, t]``, ``without[s, depths, t]``, ``only[s, t]``.
    """

    source: NDArray[np.bool_]
    union: NDArray[np.bool_]
    without: NDArray[np.bool_]
    only: NDArray[np.bool_]


def _hits(sources: Sequence[str], quotas: Callable[[str, str], int], one: Offered, merge: Merge) -> _Hits:
    given = [rows[: quotas(one.surface, name)] for name, rows in zip(sources, one.found, strict=True)]
    nothing = np.empty(0, np.int64)
    without = [
        _found(one.taken, merge(one.surface, [nothing if s == left else rows for s, rows in enumerate(given)]))
        for left in range(len(sources))
    ]
    held = np.stack([np.isin(one.taken, rows) for rows in given])
    return _Hits(
        source=np.stack([_found(one.taken, rows) for rows in one.found]),
        union=_found(one.taken, merge(one.surface, given)),
        without=np.stack(without),
        only=held & (held.sum(axis=0) == 1),
    )


def _found(taken: Rows, rows: Rows) -> NDArray[np.bool_]:
    """Which targets are among the first candidates, at every depth. Shapes: [depths, t]."""
    return np.stack([np.isin(taken, rows[:k]) for k in DEPTHS])


def _slices(offered: Sequence[Offered]) -> Iterator[tuple[str, list[NDArray[np.bool_]]]]:
    """The slices by name, and which targets of each request belong to them."""
    yield "all", [np.ones(len(one.taken), np.bool_) for one in offered]
    yield "cold items", [one.is_cold for one in offered]
    yield "new users", [np.full(len(one.taken), one.is_new) for one in offered]


def _rows(
    sources: Sequence[str],
    of: str,
    hits: Sequence[_Hits],
    chosen: Sequence[NDArray[np.bool_]],
    users: NDArray[np.int64],
    at: NDArray[np.int64],
    seed: int,
) -> list[Recalled]:
    """The union's row and each source's on one slice; one draw of users serves all of them."""
    under = np.bincount(at, [int(one.sum()) for one in chosen], len(users)).astype(np.float64)

    def summed(counted: Sequence[int]) -> Ratio:
        return Ratio(np.bincount(at, counted, len(users)).astype(np.float64), under)

    def counts(part: Callable[[_Hits], NDArray[np.bool_]]) -> Ratio:
        return summed([int((part(one) & mask).sum()) for one, mask in zip(hits, chosen, strict=True)])

    depths = range(len(DEPTHS))
    metrics = [counts(lambda one, d=d: one.union[d]) for d in depths]
    for s in range(len(sources)):
        metrics += [counts(lambda one, s=s, d=d: one.source[s, d]) for d in depths]
        metrics += [counts(lambda one, s=s, d=d: one.without[s, d]) for d in depths]
    drawn = resample(metrics, users, seed=seed, resamples=RESAMPLES)
    targets, n = int(under.sum()), len(DEPTHS)
    rows = [Recalled(UNION, of, targets, {k: _interval(drawn, {d: 1.0}) for d, k in enumerate(DEPTHS)}, {})]
    for s, name in enumerate(sources):
        first = n + 2 * n * s
        only = sum(int((one.only[s] & mask).sum()) for one, mask in zip(hits, chosen, strict=True))
        recall = {k: _interval(drawn, {first + d: 1.0}) for d, k in enumerate(DEPTHS)}
        lost = {k: _interval(drawn, {d: 1.0, first + n + d: -1.0}) for d, k in enumerate(DEPTHS)}
        rows.append(Recalled(name, of, targets, recall, lost, only / targets if targets else None))
    return rows


def _interval(drawn: Resampled, weights: dict[int, float]) -> Interval | None:
    weight = np.zeros(len(drawn.measured))
    weight[list(weights)] = list(weights.values())
    return drawn.interval(weight)


def _told(one: Interval | None) -> str:
    return "" if one is None else f"{one.mid:.4f} ({one.low:.4f}…{one.high:.4f})"
