"""How far two stacks are apart in each stage, summed up over many requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mainstem.parity.align import Columns
from mainstem.parity.blame import distance, relative_change
from mainstem.parity.orders import kendall_tau_at, overlap_at, rank_biased_overlap
from mainstem.parity.pair import PairDiff
from mainstem.parity.results import FeatureDiff, HeadDiff, RuleDiff, SlateDiff, SourceDiff, StageDiff, ValueDiff
from mainstem.parity.trace import STAGES

_TIMED = {"features": "features", "source": "retrieve", "model": "rank", "value": "value", "rule": "control"}
"""What the engine and the remote protocol call each stage in their timings."""
_Gathered = dict[str, list[NDArray[np.float64]]]


def stage_diffs(pairs: Sequence[PairDiff]) -> tuple[StageDiff, ...]:
    """How often each stage differs, and how often no earlier stage explains it."""
    differs, blamed = [pair.differs() for pair in pairs], [pair.blamed() for pair in pairs]
    return tuple(_stage(stage, pairs, differs, blamed) for stage in STAGES)


def _stage(
    stage: str, pairs: Sequence[PairDiff], differs: Sequence[dict[str, bool | None]], blamed: Sequence[dict[str, bool]]
) -> StageDiff:
    told = [at for at, found in enumerate(differs) if found[stage] is not None]
    return StageDiff(
        stage=stage,
        told=bool(told),
        requests=len(told),
        differ_share=_share([bool(differs[at][stage]) for at in told]),
        own_share=_share([blamed[at][stage] for at in told]),
        left_ms=_median([pair.left.timings_ms.get(_TIMED.get(stage, "")) for pair in pairs]),
        right_ms=_median([pair.right.timings_ms.get(_TIMED.get(stage, "")) for pair in pairs]),
    )


def feature_diffs(pairs: Sequence[PairDiff]) -> tuple[FeatureDiff, ...]:
    """How far each feature is apart, the most different first."""
    told = [pair.features for pair in pairs if pair.features is not None]
    differ, apart = _gather(told, lambda one: one.differs), _gather(told, _apart)
    relative = _gather(told, lambda one: np.where(one.differs, relative_change(one), 0.0))
    state = _states(pairs)
    rows = [
        FeatureDiff(
            name=name,
            rows=sum(map(len, differ[name])),
            differ_share=_mean(differ[name]),
            state_differ_share=_mean(state[name]) if name in state else None,
            largest=_largest(apart[name]),
            largest_relative=_largest(relative[name]),
        )
        for name in differ
    ]
    return tuple(sorted(rows, key=lambda row: (-row.differ_share * row.largest_relative, -row.differ_share)))


def head_diffs(pairs: Sequence[PairDiff]) -> tuple[HeadDiff, ...]:
    """How far each head is apart, in the stacks' order."""
    told = [pair.predictions for pair in pairs if pair.predictions is not None]
    differ, apart = _gather(told, lambda one: one.differs), _gather(told, _apart)
    return tuple(
        HeadDiff(name, sum(map(len, differ[name])), _mean(differ[name]), _mean(apart[name]), _largest(apart[name]))
        for name in differ
    )


def value_diff(pairs: Sequence[PairDiff], k: int) -> ValueDiff | None:
    """How far values are apart and how alike they order the k best; None when a side tells none."""
    told = [pair.values for pair in pairs if pair.values is not None]
    if not told:
        return None
    differ, apart = _gather(told, lambda one: one.differs)["value"], _gather(told, _apart)["value"]
    taus = [_tau(one, k) for one in told]
    known = [tau for tau in taus if tau is not None]
    return ValueDiff(
        rows=sum(map(len, differ)),
        differ_share=_mean(differ),
        mean=_mean(apart),
        largest=_largest(apart),
        kendall_tau=float(np.mean(known)) if known else None,
    )


def source_diffs(pairs: Sequence[PairDiff]) -> tuple[SourceDiff, ...]:
    """What each source offered on either side, the least shared first."""
    sums: dict[str, NDArray[np.float64]] = {}
    for pair in pairs:
        if pair.sources is not None:
            bits = pair.sources
            for at, name in enumerate(bits.names):
                own = np.array([bits.left[at], bits.right[at], bits.both[at], bits.first_k[at], 1.0])
                sums[name] = sums.get(name, 0.0) + own
    rows = [
        SourceDiff(
            name=name,
            left=int(left),
            right=int(right),
            left_only=int(left - both),
            right_only=int(right - both),
            overlap=float(both / (left + right - both)) if left + right else 1.0,
            overlap_at_k=float(first_k / requests),
        )
        for name, (left, right, both, first_k, requests) in sums.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.overlap))


def rule_diffs(pairs: Sequence[PairDiff]) -> tuple[RuleDiff, ...]:
    """How often each rule fired on either side, in the order of application."""
    sums: dict[str, NDArray[np.int64]] = {}
    for pair in pairs:
        if pair.fires is not None:
            fires = pair.fires
            for at, name in enumerate(fires.names):
                own = np.array([fires.left[at], fires.right[at], fires.left_only[at], fires.right_only[at]], np.int64)
                sums[name] = sums.get(name, 0) + own
    return tuple(RuleDiff(name, *(int(number) for number in own)) for name, own in sums.items())


def slate_diff(pairs: Sequence[PairDiff], k: int) -> SlateDiff:
    """How alike the slates are."""
    slates = [(pair.left.slate, pair.right.slate) for pair in pairs]
    return SlateDiff(
        same_share=float(np.mean([np.array_equal(left, right) for left, right in slates])),
        overlap_at_k=float(np.mean([overlap_at(left, right, k) for left, right in slates])),
        rank_biased_overlap=float(np.mean([rank_biased_overlap(left, right) for left, right in slates])),
    )


def names_on_one_side(pairs: Sequence[PairDiff]) -> tuple[str, ...]:
    """Features that only one side has."""
    found = {
        name: None
        for pair in pairs
        if pair.features is not None and not pair.features.same_names
        for name in (*pair.left.feature_names, *pair.right.feature_names)
        if (name in pair.left.feature_names) != (name in pair.right.feature_names)
    }
    return tuple(found)


def _gather(told: Sequence[Columns], what: Callable[[Columns], NDArray[np.generic]]) -> _Gathered:
    """One array a request for each name, of the candidates that got that far on both sides."""
    gathered: _Gathered = {}
    for columns in told:
        numbers = what(columns)[columns.told].astype(np.float64)
        for at, name in enumerate(columns.names):
            gathered.setdefault(name, []).append(numbers[:, at])
    return gathered


def _states(pairs: Sequence[PairDiff]) -> _Gathered:
    gathered: _Gathered = {}
    for pair in pairs:
        if pair.state_differs is not None and pair.features is not None:
            for at, name in enumerate(pair.features.names):
                gathered.setdefault(name, []).append(pair.state_differs[:, at].astype(np.float64))
    return gathered


def _apart(columns: Columns) -> NDArray[np.float64]:
    """Absolute differences; 0 where the two agree or one is no number."""
    apart = distance(columns)
    return np.where(columns.differs & np.isfinite(apart), apart, 0.0)


def _tau(values: Columns, k: int) -> float | None:
    rows = values.told & np.isfinite(values.left[:, 0]) & np.isfinite(values.right[:, 0])
    return kendall_tau_at(values.left[rows, 0], values.right[rows, 0], k)


def _mean(parts: Sequence[NDArray[np.float64]]) -> float:
    rows = sum(map(len, parts))
    return float(sum(float(part.sum()) for part in parts) / rows) if rows else 0.0


def _largest(parts: Sequence[NDArray[np.float64]]) -> float:
    return max((float(part.max(initial=0.0)) for part in parts), default=0.0)


def _share(found: Sequence[bool]) -> float | None:
    return sum(found) / len(found) if found else None


def _median(times: Sequence[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return float(np.median(known)) if known else None
