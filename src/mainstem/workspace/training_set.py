"""The workspace's log as a training set: what the ranker would have read at every impression, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.base.heads import HEADS
from mainstem.data.log import Log
from mainstem.features.attributes import AttributeTable
from mainstem.features.backfill import Backfill, Requests
from mainstem.features.catalog import Catalog
from mainstem.features.dataset.build import Options, build
from mainstem.features.dataset.dataset import Dataset
from mainstem.features.dataset.label_rule import CONTENT_FIRST, INTEREST_FIRST, LabelRule, one_per_outcome
from mainstem.features.dataset.record import Defined, MadeBy
from mainstem.features.dataset.split import Split
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.aggregate import Latest
from mainstem.features.language.feature import Context, Feature, PythonFunction, Role
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.fold import Fold
from mainstem.features.language.plan import Plan
from mainstem.features.reading import Reading
from mainstem.features.statics import Statics
from mainstem.features.timeline import request_context
from mainstem.features.unified_tables import unified_tables
from mainstem.ranking.lesson import constants
from mainstem.workspace.definitions import attribute_tables, declared_in, feature_set
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log, split

Progress = Callable[[float], None]
CHUNK_ROWS: Final = 65_536
"""Impressions whose features are held at once: 65,536 with 250 columns are 130 MB while they are computed."""

_VECTOR: Final = "feature-039"  # a vector of its own, which is no column
MISPLACED_SHARE: Final = 0.05
"""Of impressions may lie on the other side of a split's midnight than their day says: real logs have 1 %."""

_OWN: Final = LabelRule(
    name="own",
    window_ms=1,
    join="last_touch",
    by=("user_id", "request_id", "item_id"),
    outcomes=HEADS,
    viewable="served",
)
"""The outcomes of the row itself: nothing is joined, nothing is waited for."""

RULES: Final[Mapping[str, LabelRule]] = {"own": _OWN, "content-first": CONTENT_FIRST, "interest-first": INTEREST_FIRST}
"""By name: what makes a shown item a success. Each gives one label an outcome."""


@dataclass(frozen=True)
class Offline:
    """A log, its definitions and everything behind their values: asked for any rows of it.

    Attributes:
        past: Untimed events; the log's first offsets are theirs.
        timed: The impressions, in the log's order; their offsets follow.
        statics: What was learned once.
        learned_before: Offset below which impressions were learned from by that.
        own_tables: The workspace's tables of facts.
    """

    features: FeatureSet
    catalog: Catalog
    past: FeedbackBatch
    timed: FeedbackBatch
    surfaces: tuple[str, ...]
    statics: Statics
    learned_before: int
    own_tables: Mapping[str, AttributeTable]

    @classmethod
    def of(
        cls,
        log: Log,
        features: FeatureSet,
        surfaces: tuple[str, ...],
        validation_day: int,
        own_tables: Mapping[str, AttributeTable],
    ) -> Offline:
        """The log with the constants a ranker trained on the days before the validation day would have."""
        catalog = Catalog.from_tables(log.items, log.users)
        past, timed = FeedbackBatch.from_history(log.history), FeedbackBatch.from_frame(log.impressions, surfaces)
        taught = log.impressions["day"].to_numpy() < validation_day
        statics, first = constants(catalog, log.history, past, timed, taught)
        return cls(features, catalog, past, timed, surfaces, statics, len(past) + first, own_tables)

    @cached_property
    def feedback(self) -> FeedbackBatch:
        """Every event; its offset is its place."""
        return self.past.then(self.timed)

    @cached_property
    def tables(self) -> dict[str, AttributeTable]:
        """Where attributes come from."""
        return unified_tables(self.catalog, self.statics) | dict(self.own_tables)

    @cached_property
    def plan(self) -> Plan:
        """The compiled definitions."""
        return Plan(self.features)

    @cached_property
    def backfill(self) -> Backfill:
        """The events made ready."""
        return Backfill(self.plan, self.tables, {"feedback": Events.from_feedback(self.feedback, 0)})

    def columns(self, own: Sequence[Feature]) -> tuple[str, ...]:
        """Every column the ranker reads, then those of further features that have a value of their own."""
        roles: tuple[Role, ...] = get_args(Role)
        read = [name for role in roles if role for name in self.features.columns_of(role)]
        more = [name for one in own if not one.role and self._is_value(one) for name in one.columns]
        return (*read, *more)

    def _is_value(self, feature: Feature) -> bool:
        """Whether a feature is one number (or one list) a row that can be computed again for the past."""
        if isinstance(feature.of, Context | Latest | Fold | PythonFunction):
            return False
        try:
            reading = Reading(self.plan, self.tables, feature.columns)
            return not any(reading.shape_of(column).listed for column in reading.columns)
        except FeatureError as error:
            if error.code == _VECTOR:
                return False
            raise

    def inputs(self) -> dict[str, str]:
        """What features are computed from beside the log, each with its hash."""
        out = {"learned constants": arrays_sha256(self.statics.as_arrays()), "surfaces": ", ".join(self.surfaces)}
        for name, table in self.own_tables.items():
            out[f"table {name}"] = table_sha256(table)
        return out


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The hash of named arrays: names, types, shapes and bytes."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        whole.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def table_sha256(table: AttributeTable) -> str:
    """The hash of a table of facts."""
    times = {} if table.valid_from_ms is None else {"valid from": table.valid_from_ms}
    return arrays_sha256({"ids": table.ids, **times, **table.columns})


@dataclass(frozen=True, slots=True)
class _Values:
    """The feature function of a build: whole columns of some requests, as of their own places in the log."""

    offline: Offline
    reading: Reading

    def __call__(self, requests: pa.Table) -> pa.Table:
        asked, as_of = (np.asarray(requests.column(name)) for name in ("offset", "as_of"))
        context = request_context(self.offline.feedback, asked)
        found = self.offline.backfill.values(self.reading, Requests(context, as_of))
        columns = {
            column.name: _filled(found[column.name], column.feature.when_empty, column.feature.dtype)
            for column in self.reading.columns
        }
        lists = {one.name: pa.array(found[one.name].tolist(), pa.list_(pa.float64())) for one in self.reading.lists}
        return pa.table(columns | lists)


def _filled(values: NDArray[np.float64], empty: float, dtype: str) -> NDArray[np.floating]:
    return np.where(np.isnan(values), empty, values).astype(dtype)


def build_dataset(
    workspace: Workspace,
    rule: str = "own",
    out: Path | None = None,
    progress: Progress = lambda share: None,
    chunk_rows: int = CHUNK_ROWS,
) -> Dataset:
    """Makes the training set of the workspace's log.

    Args:
        workspace: Whose log and definitions.
        rule: A name of ``RULES``.
        out: Its folder; ``datasets/RULE`` of the workspace when not given.
        progress: Told the share of the impressions that is done.
        chunk_rows: Impressions computed at once; the set's hash does not depend on it.

    Raises:
        FeatureError: There is no such rule (``feature-100``), the log's days and times do not agree (``feature-101``), or what
            ``build`` raises.
        DataError: There is no log (``data-001``), or it has too few days (``data-006``).
    """
    chosen = rule_of(rule)
    features, log = feature_set(workspace), open_log(workspace)
    settings, days = workspace.settings, split(workspace, log)
    parts = parts_of(log, days.validation_day, days.test_days)
    offline = Offline.of(log, features, tuple(settings.served()), days.validation_day, attribute_tables(workspace))
    columns = offline.columns(declared_in(workspace))
    last = int(log.impressions["time_ms"].max() or 0)  # type: ignore[arg-type]
    return build(
        log,
        one_per_outcome(chosen),
        _Values(offline, Reading(offline.plan, offline.tables, columns)),
        out or workspace.folder / "datasets" / rule,
        features_version=made_by(features, columns, offline.inputs()),
        split=parts,
        items=log.items.with_columns(interest=pl.col("category")),
        options=Options(
            chunk_rows=chunk_rows,
            feedback_delay_ms=settings.training.feedback_delay_ms,
            first_offset=len(offline.past),
            # An outcome on its row is known with the row, the last one's too.
            seen_until_ms=last + 1 if chosen is _OWN else None,
            learned_before=offline.learned_before,
        ),
        progress=progress,
    )


def rule_of(name: str) -> LabelRule:
    """A label rule by its name.

    Raises:
        FeatureError: There is none (``feature-100``).
    """
    if name not in RULES:
        raise FeatureError(f"no label rule is called {name!r}", code="feature-100", hint=did_you_mean(name, RULES))
    return RULES[name]


def made_by(features: FeatureSet, columns: Sequence[str], inputs: dict[str, str]) -> MadeBy:
    """What a model or a training set says of the features it saw: each definition, in it or behind it."""
    return MadeBy(features_version=features.fingerprint, definitions=definitions_of(features, columns), inputs=inputs)


def definitions_of(features: FeatureSet, columns: Sequence[str]) -> tuple[Defined, ...]:
    """Every definition in some columns or behind them, by name."""
    names = {features.owner_of[column].name for column in columns}
    names |= {inner for name in list(names) for inner in features.everything_behind(name)}
    return tuple(
        Defined(name=name, version=features.by_name[name].version, fingerprint=features.fingerprints[name])
        for name in sorted(names)
    )


def parts_of(log: Log, validation_day: int, test_days: Sequence[int]) -> Split:
    """The workspace's split as local midnights: days between and after its parts are parts of their own.

    A row's part is that of its time: a label window is cut where a moment is, which a day's name does not say.

    Raises:
        FeatureError: The log's days do not follow its times (``feature-101``).
    """
    days = log.days
    names, starts = ["train"], list[int]()
    for name, day in (
        ("validation", validation_day),
        ("between", _next(days, validation_day)),
        ("test", test_days[0]),
        ("after", _next(days, test_days[-1])),
    ):
        if day is None or (name == "between" and day == test_days[0]):
            continue
        names.append(name)
        starts.append(day)
    offset_min = log.manifest.utc_offset_min
    parts = Split(tuple(names), tuple(_midnight_ms(day, offset_min) for day in starts))
    by_day = np.searchsorted(np.array(starts), log.impressions["day"].to_numpy(), side="right")
    other = float((by_day != parts.part_of(log.impressions["time_ms"].to_numpy())).mean())
    if other > MISPLACED_SHARE:
        raise FeatureError(
            f"the log's days do not follow its times: by its time {100 * other:.1f} % of the impressions lie in another part"
            " of the split than by its day",
            code="feature-101",
            hint="`mainstem data check` compares both; import the log with the time zone its days are in",
        )
    return parts


def _next(days: Sequence[int], day: int) -> int | None:
    return next((later for later in days if later > day), None)


def _midnight_ms(day: int, utc_offset_min: int) -> int:
    text = f"{day // 10_000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
    return int(np.datetime64(text, "ms").astype(np.int64)) - utc_offset_min * 60_000
