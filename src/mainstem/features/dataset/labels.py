"""Which impressions get which label: outcomes credited to what was shown, inside the window, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.base.heads import HEADS
from mainstem.features.dataset.label_rule import LAST_INSTANT_MS, LabelRule

Ints = NDArray[np.int64]
Small = NDArray[np.int8]

UNKNOWN_DELAY: Final = -1

REASONS: Final = ("touched", "not touched", "window not over", "outcome not known", "not viewable", "no time", "no key")
"""Why an impression has its label; a code is the place in this list. Only the first two have a known label."""

TOUCHED, NOT_TOUCHED, NOT_OVER, NOT_KNOWN, NOT_VIEWABLE, NO_TIME, NO_KEY = range(7)

FATES: Final = ("credited", "orphaned", "too late", "duplicate", "other kind", "no time", "no key")
"""What became of an outcome; a code is the place in this list. Orphaned: no impression before it has its key."""

CREDITED, ORPHANED, TOO_LATE, DUPLICATE, OTHER_KIND, UNTIMED_OUTCOME, KEYLESS_OUTCOME = range(7)


@dataclass(frozen=True, slots=True)
class Impressions:
    """What was shown, as columns in log order.

    Attributes:
        offset: int64[n], ascending.
        time_ms: int64[n]; below 0: not known.
        viewed: bool[n], it was on screen.
        keys: int64[n] each, every column a rule joins by; below 0: not known, and never the same as another.
        outcomes: int8[n] each, for a log whose outcomes stand on the impression: 1, 0, or -1 not known.
    """

    offset: Ints
    time_ms: Ints
    viewed: NDArray[np.bool_]
    keys: Mapping[str, Ints]
    outcomes: Mapping[str, Small]

    def __len__(self) -> int:
        return len(self.offset)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, by: Sequence[str], first_offset: int = 0) -> Impressions:
        """The rows of an impressions table; without a column ``offset`` the rows are counted from ``first_offset``."""
        offset = _ints(frame, "offset") if "offset" in frame.columns else np.arange(frame.height) + first_offset
        viewed = _ints(frame, "viewed") == 1 if "viewed" in frame.columns else np.ones(frame.height, np.bool_)
        kinds = [head for head in HEADS if head in frame.columns]
        outcomes = {kind: frame[kind].fill_null(-1).cast(pl.Int8).to_numpy() for kind in kinds}
        return cls(offset, _ints(frame, "time_ms"), viewed, {name: _ints(frame, name) for name in by}, outcomes)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What users did, arriving apart from impressions.

    Attributes:
        event_id: int64[m]; the same number twice is the same outcome sent twice, and the smaller offset stands.
        offset: int64[m].
        time_ms: int64[m]; below 0: not known.
        kind: int64[m], place in ``kinds``.
        kinds: Names of the kinds.
        keys: int64[m] each, every column a rule joins by; below 0: not known.
    """

    event_id: Ints
    offset: Ints
    time_ms: Ints
    kind: Ints
    kinds: tuple[str, ...]
    keys: Mapping[str, Ints]

    def __len__(self) -> int:
        return len(self.offset)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, by: Sequence[str]) -> Outcomes:
        """The rows of a table with ``event_id`` (number or text), ``offset``, ``time_ms``, ``kind`` and the keys."""
        for name in ("event_id", "offset", "time_ms", "kind", *by):
            _needed(frame, name)
        kinds = frame["kind"].unique().drop_nulls().sort().to_list()
        kind = frame["kind"].replace_strict(kinds, range(len(kinds)), default=-1, return_dtype=pl.Int64)
        event_id = frame["event_id"].rank("dense").fill_null(0).cast(pl.Int64).to_numpy().copy()
        unnamed = np.flatnonzero(event_id == 0)
        event_id[unnamed] = -1 - unnamed  # an outcome without an id is nobody's duplicate
        columns = (_ints(frame, "offset"), _ints(frame, "time_ms"), kind.to_numpy(), tuple(kinds))
        return cls(event_id, *columns, {name: _ints(frame, name) for name in by})


@dataclass(frozen=True, slots=True)
class Labels:
    """One label an impression, and what became of every outcome.

    Attributes:
        label: int8[n]: 1, 0, or -1 not known. A 1 may stand in a window that is not over (``over`` is false): kept beside
            unknowns it would make the end of a log look better than it was, so a training set takes neither.
        delay_ms: int64[n], from the impression to the first outcome credited to it; -1 without one or when not known.
        reason: int8[n], place in ``REASONS``.
        over: bool[n], nothing that comes later can change the label.
        fate: int8[m], place in ``FATES``; of the outcomes, or of the impressions' own when they stand on the rows
            (then one for each impression with a positive).
    """

    label: Small
    delay_ms: Ints
    reason: Small
    over: NDArray[np.bool_]
    fate: Small

    def counts(self) -> dict[str, int]:
        """Impressions by reason."""
        return _counted(self.reason, REASONS)

    def fates(self) -> dict[str, int]:
        """Outcomes by what became of them; together they are all outcomes."""
        return _counted(self.fate, FATES)


def join_labels(
    impressions: Impressions, outcomes: Outcomes | None, rule: LabelRule, seen_until_ms: int | None = None
) -> Labels:
    """Credits outcomes to impressions by a rule, in O((n + m) log (n + m)).

    An impression comes before an outcome when its (time, offset) is not larger: the offset decides between equal times.

    Args:
        outcomes: ``None`` when they stand on the impressions. Such an outcome happens at its impression's time and offset,
            how long after is not known; when its impression does not count as viewable, it goes to whom the rule says.
        seen_until_ms: Every outcome before this moment has arrived; the latest time in either table when not given.
            Subtract how late outcomes come.

    Raises:
        FeatureError: A column that the rule joins by, or an outcome it counts, is missing (``feature-081``).
    """
    _check(impressions, outcomes, rule)
    counts = _eligible(impressions, rule)
    if outcomes is None:
        touches, doubts, fate = _own_outcomes(impressions, rule)
    else:
        touches, doubts, fate = _arrived(outcomes, rule)
    seen = seen_until_ms if seen_until_ms is not None else _latest(impressions, outcomes)
    delay, fates = _credit(impressions, counts, touches, rule)
    fate[touches.row] = fates
    touched = delay >= 0
    in_doubt = _credit(impressions, counts, doubts, rule)[0] >= 0 if len(doubts.row) else np.zeros_like(touched)
    over = counts & (impressions.time_ms + rule.reach_ms < seen)
    reason = np.select(
        [impressions.time_ms < 0, _keyless(impressions, rule), ~counts, touched, ~over, in_doubt],
        [NO_TIME, NO_KEY, NOT_VIEWABLE, TOUCHED, NOT_OVER, NOT_KNOWN],
        NOT_TOUCHED,
    ).astype(np.int8)
    label = np.select([reason == TOUCHED, reason == NOT_TOUCHED], [1, 0], -1).astype(np.int8)
    known_delay = delay if outcomes is not None else np.full(len(delay), UNKNOWN_DELAY)
    return Labels(label, known_delay, reason, over, fate if outcomes is not None else fate[touches.row])


@dataclass(frozen=True, slots=True)
class _Touches:
    """Moments that may be credited; ``row`` is where each stands in the table it came from."""

    row: Ints
    offset: Ints
    time_ms: Ints
    keys: Mapping[str, Ints]


def _arrived(outcomes: Outcomes, rule: LabelRule) -> tuple[_Touches, _Touches, Small]:
    wanted = [at for at, kind in enumerate(outcomes.kinds) if kind in rule.outcomes]
    fate = np.full(len(outcomes), CREDITED, np.int8)
    fate[_keyless(outcomes, rule)] = KEYLESS_OUTCOME
    fate[outcomes.time_ms < 0] = UNTIMED_OUTCOME
    fate[~np.isin(outcomes.kind, wanted)] = OTHER_KIND
    fate[_repeats(outcomes)] = DUPLICATE
    rows = np.flatnonzero(fate == CREDITED)
    none = rows[:0]
    return _taken(outcomes, rows), _taken(outcomes, none), fate


def _repeats(outcomes: Outcomes) -> NDArray[np.bool_]:
    order = np.lexsort((outcomes.offset, outcomes.event_id))
    again = np.zeros(len(outcomes), np.bool_)
    again[order[1:]] = np.diff(outcomes.event_id[order]) == 0
    return again


def _own_outcomes(impressions: Impressions, rule: LabelRule) -> tuple[_Touches, _Touches, Small]:
    flags = np.stack([impressions.outcomes[kind] for kind in rule.outcomes])
    timed = (impressions.time_ms >= 0) & ~_keyless(impressions, rule)
    positive = (flags == 1).any(axis=0)
    doubtful = ~positive & (flags < 0).any(axis=0)
    fate = np.full(len(impressions), CREDITED, np.int8)
    rows, doubts = np.flatnonzero(positive & timed), np.flatnonzero(doubtful & timed)
    return _taken(impressions, rows), _taken(impressions, doubts), fate


def _taken(table: Impressions | Outcomes, rows: Ints) -> _Touches:
    keys = {name: column[rows] for name, column in table.keys.items()}
    return _Touches(rows, table.offset[rows], table.time_ms[rows], keys)


def _credit(shown: Impressions, counts: NDArray[np.bool_], touches: _Touches, rule: LabelRule) -> tuple[Ints, Small]:
    """For every impression the delay of the first outcome credited to it (-1: none), and every outcome's fate."""
    rows = np.flatnonzero(counts).astype(np.int64)
    time_ms = np.concatenate((shown.time_ms[rows], touches.time_ms))
    offset = np.concatenate((shown.offset[rows], touches.offset))
    keys = [np.concatenate((shown.keys[name][rows], touches.keys[name])) for name in rule.by]
    is_touch = np.arange(len(time_ms)) >= len(rows)
    order = np.lexsort((is_touch, offset, time_ms, *keys))
    group = _groups(keys, order)
    when, touch = time_ms[order], is_touch[order]
    before = _nearest_before(~touch, group)
    since = np.where(before >= 0, when - when[before], LAST_INSTANT_MS)
    near = touch & (since <= rule.reach_ms)
    fate = np.select([near, before < 0], [CREDITED, ORPHANED], TOO_LATE).astype(np.int8)
    if rule.join == "last_touch":
        first = np.full(len(order), LAST_INSTANT_MS)
        np.minimum.at(first, before[near], since[near])
    else:
        after = _nearest_after(touch, group)
        first = np.where(after >= 0, when[after] - when, LAST_INSTANT_MS)
    delay = np.full(len(shown), UNKNOWN_DELAY)
    credited = ~touch & (first <= rule.reach_ms)
    delay[rows[order[credited]]] = first[credited]
    by_row = np.empty(len(touches.row), np.int8)
    by_row[order[touch] - len(rows)] = fate[touch]
    return delay, by_row


def _groups(keys: Sequence[Ints], order: Ints) -> Ints:
    """Number of the key of each sorted row: dense, exact, no hashing."""
    new = np.zeros(len(order), np.bool_)
    for key in keys:
        new[1:] |= np.diff(key[order]) != 0
    return np.cumsum(new, dtype=np.int64)


def _nearest_before(marked: NDArray[np.bool_], group: Ints) -> Ints:
    """The last marked row at or before each row, in its group; -1 without one."""
    at = np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
    return np.where((at >= 0) & (group[at] == group), at, -1)


def _nearest_after(marked: NDArray[np.bool_], group: Ints) -> Ints:
    """The first marked row at or after each row, in its group; -1 without one."""
    end = len(marked)
    at = np.minimum.accumulate(np.where(marked, np.arange(end), end)[::-1])[::-1]
    inside = np.minimum(at, max(end - 1, 0))
    return np.where((at < end) & (group[inside] == group), at, -1)


def _eligible(impressions: Impressions, rule: LabelRule) -> NDArray[np.bool_]:
    """Which impressions may be credited."""
    timed = (impressions.time_ms >= 0) & ~_keyless(impressions, rule)
    return timed & impressions.viewed if rule.viewable == "viewable" else timed


def _keyless(table: Impressions | Outcomes, rule: LabelRule) -> NDArray[np.bool_]:
    missing = np.zeros(len(table), np.bool_)
    for name in rule.by:
        missing |= table.keys[name] < 0
    return missing


def _latest(impressions: Impressions, outcomes: Outcomes | None) -> int:
    times = [impressions.time_ms] + ([outcomes.time_ms] if outcomes is not None else [])
    return max((int(time.max()) for time in times if len(time)), default=-1)


def _check(impressions: Impressions, outcomes: Outcomes | None, rule: LabelRule) -> None:
    places: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [("impressions", impressions.keys, rule.by)]
    if outcomes is not None:
        places.append(("outcomes", outcomes.keys, rule.by))
    else:
        places.append(("outcomes on the impressions", impressions.outcomes, rule.outcomes))
    for where, known, wanted in places:
        for name in wanted:
            if name not in known:
                raise FeatureError(
                    f"label rule {rule.name!r} needs {name!r} in the {where}; found {', '.join(known) or 'none'}",
                    code="feature-081",
                    hint="join the column in first, or name another in the rule",
                )


def _needed(frame: pl.DataFrame, name: str) -> None:
    if name not in frame.columns:
        raise FeatureError(
            f"labels need the column {name!r}; found {', '.join(frame.columns)}",
            code="feature-081",
            hint="join the column in first, or name another in the rule",
        )


def _ints(frame: pl.DataFrame, name: str) -> Ints:
    _needed(frame, name)
    return frame[name].fill_null(-1).cast(pl.Int64).to_numpy()


def _counted(codes: Small, names: tuple[str, ...]) -> dict[str, int]:
    return dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))
