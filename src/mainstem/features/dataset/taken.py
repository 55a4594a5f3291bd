"""Which rows are learned from, with which label, and what each may know: decided before any feature is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.label_rule import LabelRule
from mainstem.features.dataset.labels import NOT_OVER, REASONS, Impressions, Labels, Outcomes, join_labels
from mainstem.features.dataset.record import Removed
from mainstem.features.dataset.served import NEEDED, Served, offsets_of
from mainstem.features.dataset.split import Split

Ints = NDArray[np.int64]
Small = NDArray[np.int8]

_WHY: Final = (*REASONS, "window crosses the part's end", "constants were learned from it")
_CROSSES, _LEARNED = len(REASONS), len(REASONS) + 1


@dataclass(frozen=True, slots=True)
class Taken:
    """Every impression of a log, and what becomes of it.

    Attributes:
        offset: int64[n].
        as_of: int64[n]; features of a row see events with a smaller offset only.
        keep: bool[n], at least one rule has a label.
        part: int64[n], place in the split's names.
        labels: int8[n] by rule: 1, 0, or -1 where the label is not taken.
        delays: int64[n] by rule: -1 without an outcome or when not known.
        removed: Labels not taken, by rule, part and reason.
        outcomes: What became of the outcomes, by rule.
        request_starts: Row numbers at which another request begins.
        seen_until_ms: Every outcome before this moment is in the log.
    """

    offset: Ints
    as_of: Ints
    keep: NDArray[np.bool_]
    part: Ints
    labels: dict[str, Small]
    delays: dict[str, Ints]
    removed: tuple[Removed, ...]
    outcomes: dict[str, dict[str, int]]
    request_starts: Ints
    seen_until_ms: int

    def __len__(self) -> int:
        return len(self.offset)


def take(
    served: Served,
    outcomes: pl.DataFrame | None,
    rules: Sequence[LabelRule],
    split: Split,
    feedback_delay_ms: int = 0,
    first_offset: int = 0,
    seen_until_ms: int | None = None,
    learned_before: int = 0,
) -> Taken:
    """The decision for every row, from narrow columns only.

    Args:
        outcomes: ``event_id``, ``offset``, ``time_ms``, ``kind`` and the rules' keys; ``None`` when they stand on the rows.
        feedback_delay_ms: How old an event has to be before features see it; for logs whose outcomes stand on the rows,
            where an outcome would otherwise be known the moment its item is served.
        seen_until_ms: As in ``join_labels``.
        learned_before: Rows below this offset are left out: constants behind the features know their outcomes.

    Raises:
        FeatureError: A column is missing (``feature-081``), offsets do not ascend (``feature-082``), nothing can be
            learned from (``feature-086``).
    """
    by = tuple(dict.fromkeys(name for rule in rules for name in rule.by))
    kinds = tuple(dict.fromkeys(kind for rule in rules for kind in rule.outcomes)) if outcomes is None else ()
    frame = served.narrow([*NEEDED, "offset", "viewed", *by, *kinds])
    shown = Impressions.from_frame(frame, by, first_offset)
    offset = offsets_of(frame, first_offset)
    done = Outcomes.from_frame(outcomes, by) if outcomes is not None else None
    times = [shown.time_ms, *([done.time_ms] if done is not None else [])]
    seen = seen_until_ms if seen_until_ms is not None else max((int(t.max()) for t in times if len(t)), default=-1)
    part = split.part_of(shown.time_ms)
    ends = np.array(split.ends_ms, np.int64)[part]
    labels: dict[str, Small] = {}
    delays: dict[str, Ints] = {}
    removed: list[Removed] = []
    fates: dict[str, dict[str, int]] = {}
    for rule in rules:
        joined = join_labels(shown, done, rule, seen)
        label, gone = _taken(joined, shown.time_ms, rule, ends, part, split, offset < learned_before)
        labels[rule.name], delays[rule.name] = label, np.where(label == 1, joined.delay_ms, -1)
        removed += gone
        fates[rule.name] = joined.fates()
    keep = np.any([label >= 0 for label in labels.values()], axis=0)
    if not keep.any():
        raise FeatureError(
            f"none of {len(keep):,} impressions has a label that can be learned from",
            code="feature-086",
            hint="look at the rule's window, its outcomes, and where the parts begin",
        )
    request = frame["request_id"].fill_null(-1).cast(pl.Int64).to_numpy()
    as_of = _as_of(offset, shown.time_ms, request, done, feedback_delay_ms)
    starts = np.flatnonzero(np.diff(request, prepend=request[:1] - 1)).astype(np.int64)
    return Taken(offset, as_of, keep, part, labels, delays, tuple(removed), fates, starts, seen)


def _taken(
    joined: Labels,
    time_ms: Ints,
    rule: LabelRule,
    ends: Ints,
    part: Ints,
    split: Split,
    learned: NDArray[np.bool_],
) -> tuple[Small, list[Removed]]:
    """The labels that may be learned from, and the others counted.

    A window that is not over, or that reaches into the next part, takes positives away as well as negatives: keeping the
    positives alone would make the last stretch look better than it was.
    """
    known = joined.label >= 0
    reason = np.where(known & ~joined.over, NOT_OVER, joined.reason)
    reason = np.where(known & joined.over & (time_ms + rule.reach_ms >= ends), _CROSSES, reason)
    reason = np.where((reason <= 1) & learned, _LEARNED, reason)
    gone = np.flatnonzero(reason > 1)
    cells = np.zeros((len(split.names), len(_WHY), 3), np.int64)
    np.add.at(cells, (part[gone], reason[gone], joined.label[gone].astype(np.int64)), 1)
    removed = [
        Removed(
            rule=rule.name,
            part=split.names[at],
            reason=_WHY[why],
            positives=int(cells[at, why, 1]),
            negatives=int(cells[at, why, 0]),
            unknown=int(cells[at, why, -1]),
        )
        for at, why in zip(*np.nonzero(cells.sum(axis=2)), strict=True)
    ]
    return np.where(reason > 1, -1, joined.label).astype(np.int8), removed


def _as_of(offset: Ints, time_ms: Ints, request: Ints, outcomes: Outcomes | None, delay_ms: int) -> Ints:
    """What a row may know: nothing of its own request, and no event younger than the delay."""
    _, at = np.unique(request, return_inverse=True)
    first = np.full(int(at.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, at, offset)
    as_of = first[at]
    if not delay_ms:
        return as_of
    log, when = offset, time_ms
    if outcomes is not None:
        log, when = np.concatenate((log, outcomes.offset)), np.concatenate((when, outcomes.time_ms))
        order = np.argsort(log, kind="stable")
        log, when = log[order], when[order]
    # The first offset whose time is too young: times need not ascend with offsets, their running maximum does.
    young = np.searchsorted(np.maximum.accumulate(when), time_ms - delay_ms, side="right")
    return np.minimum(as_of, np.append(log, np.iinfo(np.int64).max)[young])
