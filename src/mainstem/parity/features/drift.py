"""Whether features, label delays and freshness moved from a reference, day by day, without alarms made by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.parity.features.compare import DayOf, utc_day
from mainstem.parity.features.meta import EMPTY, FAILED, USER_ROW, FeatureMeta, checked_features
from mainstem.parity.features.stability import counts, fitted, stability
from mainstem.parity.features.tables import Ints, Source, ValueTable
from mainstem.parity.features.values import Floats, Lists, Numbers, codes, column_at

DelayKind = Literal["label_delay", "freshness", "lag"]
_UNIT: Final = {"label_delay": "ms", "freshness": "ms", "lag": "offsets"}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a day is an alarm. Shares are 0 to 1.

    ``moved`` is the population stability index beyond what chance gives (0.1 is its customary "look at it"); ``rate`` the
    probability, per feature and day and test, of an alarm although nothing moved; ``missing_rise`` how much the share of
    rows without a number may rise; ``label_delay_times`` how many times the reference's p90 a day's may be;
    ``freshness_p99_ms`` and ``lag_p99_offsets`` absolute limits.
    """

    moved: float = 0.1
    rate: float = 1e-3
    missing_rise: float = 0.02
    label_delay_times: float = 1.5
    freshness_p99_ms: float = 60_000.0
    lag_p99_offsets: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Delays:
    """Times between two things, one a row; NaN where the second has not happened.

    ``label_delay``: event to known outcome, in ms; ``freshness``: now minus the newest event seen, in ms; ``lag``: log head
    minus the offset seen. Shapes: ``time_ms, values [rows]``.
    """

    name: str
    kind: DelayKind
    time_ms: Ints
    values: Floats


@dataclass(frozen=True, slots=True)
class FeatureDay:
    """One feature on one day against the reference; ``independent`` is how many observations the rows count for,
    and ``reference_independent`` those of the reference."""

    feature: str
    day: int
    rows: int
    independent: float
    reference_independent: float
    index: float
    chance: float
    limit: float
    missing_share: float
    reference_missing_share: float


@dataclass(frozen=True, slots=True)
class DelayDay:
    """Quantiles of one delay on one day, over the rows on which it is known; None without any."""

    name: str
    kind: DelayKind
    day: int
    rows: int
    unknown_share: float
    p50: float | None
    p90: float | None
    p99: float | None
    largest: float | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One threshold exceeded on one day."""

    kind: Literal["distribution", "missing", "label_delay", "freshness", "lag"]
    name: str
    day: int
    value: float
    limit: float
    sentence: str


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All days after the reference, and the alarms, strongest first."""

    sentence: str
    alarms: tuple[Alarm, ...]
    features: tuple[FeatureDay, ...]
    delays: tuple[DelayDay, ...]
    thresholds: Thresholds

    def to_json(self) -> bytes:
        """The report as JSON."""
        return msgspec.json.encode(self)


def drift(
    values: Source,
    features: Sequence[FeatureMeta],
    *,
    reference: tuple[int, int],
    delays: Sequence[Delays] = (),
    day_of: DayOf = utc_day,
    thresholds: Thresholds | None = None,
) -> DriftReport:
    """Compares every day with the reference days.

    Rows of one user with one value count as one observation, because they are not independent. What this does not see: an
    item everybody is shown on one day.

    Args:
        values: A value table, as logged or as recomputed.
        features: What to watch.
        reference: First and last day the bins are fitted on.
        delays: Label delays and freshness, already paired by the caller.
        day_of: Times in milliseconds to day numbers; UTC days unless told.
        thresholds: When a day is an alarm.

    Raises:
        FeatureError: No row is in the reference (``parity-049``), or the table is no value table.
    """
    limits = thresholds or Thresholds()
    metas = checked_features(features)
    table = ValueTable(values, "value")
    table.check(metas)
    keys = table.columns(["time_ms", "user_id", "item_id"])
    time_ms, user, item = (_ints(keys[name]) for name in ("time_ms", "user_id", "item_id"))
    day = np.asarray(day_of(time_ms))
    fit = (day >= reference[0]) & (day <= reference[1])
    if not fit.any():
        raise FeatureError(
            f"no row is on the reference days {reference[0]} to {reference[1]}",
            code="parity-049",
            hint=f"the table has the days {day.min()} to {day.max()}" if len(day) else "the table is empty",
        )
    rows = [one for meta in metas for one in _feature_days(meta, table, day, fit, user, item, limits)]
    late = [one for sample in delays for one in _delay_days(sample, day_of)]
    alarms = [*_feature_alarms(rows, limits), *_delay_alarms(late, reference, limits)]
    alarms.sort(key=lambda one: (-one.value / one.limit if one.limit else -np.inf, one.name, one.day))
    outside = tuple(one for one in rows if not reference[0] <= one.day <= reference[1])
    return DriftReport(_sentence(alarms, len(metas), outside), tuple(alarms), outside, tuple(late), limits)


def _ints(column: pa.ChunkedArray) -> Ints:
    return column.cast(pa.int64()).to_numpy()


def _sentence(alarms: Sequence[Alarm], features: int, rows: Sequence[FeatureDay]) -> str:
    days = len({row.day for row in rows})
    if not alarms:
        return f"No alarm: {_counted(features, 'feature')} on {_counted(days, 'day')} as in the reference."
    names = _counted(len({alarm.name for alarm in alarms}), "name")
    alarmed = _counted(len({(alarm.kind, alarm.name, alarm.day) for alarm in alarms}), "alarm")
    return f"{alarmed} on {names} over {_counted(days, 'day')}; strongest: {alarms[0].sentence}."


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _observed(meta: FeatureMeta, table: ValueTable) -> tuple[Floats, Ints, NDArray[np.bool_]]:
    """Each row's number (of a list its length), why it is none (-1: it is one), and where there is no value at all."""
    column = column_at(table.column(meta.name), None, meta.name)
    absent = np.zeros(len(column.lengths if isinstance(column, Lists) else column.values), bool)
    if column.present is not None:
        absent = ~column.present
    numbers = (column.lengths if isinstance(column, Lists) else column.values).astype(np.float64)
    special = np.where(np.isnan(numbers), 0, -1)
    logged = table.state(meta.name)
    if logged is not None:
        state = column_at(logged, None, meta.name)
        assert isinstance(state, Numbers)
        special[state.values == EMPTY] = 1
        special[state.values == FAILED] = 2
    special[absent & (special != 1)] = 2
    return np.where(special >= 0, np.nan, numbers), special, absent


def _feature_days(
    meta: FeatureMeta,
    table: ValueTable,
    day: Ints,
    fit: NDArray[np.bool_],
    user: Ints,
    item: Ints,
    limits: Thresholds,
) -> list[FeatureDay]:
    numbers, special, absent = _observed(meta, table)
    applies = np.ones(len(day), bool)
    about_user = item == USER_ROW
    for part in (about_user, ~about_user):
        # A feature of users has no value on rows about items, and the other way round.
        if part.any() and absent[part].all() and not absent.all():
            applies &= ~part
    bins = fitted(numbers[fit & applies])
    before = counts(bins, numbers[fit & applies], special[fit & applies])
    weight = _weight(user, numbers, fit & applies)
    independent = weight * int((fit & applies).sum())
    missing = float((special[fit & applies] >= 0).mean()) if (fit & applies).any() else 0.0
    found = []
    for one in np.unique(day[~fit & applies]).tolist():
        at = (day == one) & applies
        own = _weight(user, numbers, at)
        moved = stability(before, counts(bins, numbers[at], special[at]), limits.rate, (weight, own))
        share = float((special[at] >= 0).mean())
        found.append(
            FeatureDay(
                meta.name,
                one,
                int(at.sum()),
                moved.rows,
                independent,
                moved.index,
                moved.chance,
                moved.limit,
                share,
                missing,
            )
        )
    return found


def _weight(user: Ints, numbers: Floats, at: NDArray[np.bool_]) -> float:
    """The share of rows that are not a repetition of the same user with the same value."""
    rows = int(at.sum())
    if not rows:
        return 1.0
    value = codes(numbers[at])
    order = np.lexsort((value, user[at]))
    one, other = user[at][order], value[order]
    return float(1 + ((one[1:] != one[:-1]) | (other[1:] != other[:-1])).sum()) / rows


def _feature_alarms(rows: Sequence[FeatureDay], limits: Thresholds) -> list[Alarm]:
    found = []
    z = NormalDist().inv_cdf(1 - limits.rate)
    for row in rows:
        moved = row.index - row.chance
        if moved > limits.moved and row.index > row.limit:
            sentence = (
                f"{row.feature!r} moved: stability index {row.index:.3f}, of which {row.chance:.3f} is chance "
                f"(alarm above {limits.moved + row.chance:.3f})"
            )
            found.append(Alarm("distribution", row.feature, row.day, moved, limits.moved, sentence))
        rise = row.missing_share - row.reference_missing_share
        likely = min(max(row.reference_missing_share, 1 / (row.independent + 1)), 0.5)
        scale = 1 / max(row.independent, 1) + 1 / max(row.reference_independent, 1)
        noise = z * (likely * (1 - likely) * scale) ** 0.5
        if rise > max(limits.missing_rise, noise):
            sentence = (
                f"{row.feature!r} is no number on {row.missing_share:.1%} of rows, {row.reference_missing_share:.1%} in the "
                "reference"
            )
            found.append(Alarm("missing", row.feature, row.day, rise, max(limits.missing_rise, noise), sentence))
    return found


def _delay_days(sample: Delays, day_of: DayOf) -> list[DelayDay]:
    day = np.asarray(day_of(sample.time_ms))
    found = []
    for one in np.unique(day).tolist():
        values = sample.values[day == one]
        known = values[~np.isnan(values)]
        spread = np.quantile(known, [0.5, 0.9, 0.99, 1.0]).tolist() if len(known) else [None] * 4
        unknown = 1 - len(known) / len(values)
        found.append(DelayDay(sample.name, sample.kind, one, len(values), unknown, *spread))
    return found


def _delay_alarms(rows: Sequence[DelayDay], reference: tuple[int, int], limits: Thresholds) -> list[Alarm]:
    found = []
    for row in rows:
        value, limit = row.p99, limits.freshness_p99_ms if row.kind == "freshness" else limits.lag_p99_offsets
        if row.kind == "label_delay":
            usual = [
                one.p90
                for one in rows
                if one.name == row.name and reference[0] <= one.day <= reference[1] and one.p90 is not None
            ]
            value, limit = row.p90, limits.label_delay_times * float(np.median(usual)) if usual else float("inf")
        if value is not None and value > limit and not reference[0] <= row.day <= reference[1]:
            part = "p90" if row.kind == "label_delay" else "p99"
            unit = _UNIT[row.kind]
            sentence = (
                f"{row.name!r} {row.kind.replace('_', ' ')} {part} is {value:,.0f} {unit} (alarm above {limit:,.0f})"
            )
            found.append(Alarm(row.kind, row.name, row.day, value, limit, sentence))
    return found
