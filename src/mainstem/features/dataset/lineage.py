"""Where does a served item come from: slate, request, model, training set, definitions, sources, and the rows of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.record import DatasetRecord

SHOWN: Final = 5
"""Rows that are named for each feature; all are counted."""


@dataclass(frozen=True, slots=True)
class SlateOrigin:
    """What was served.

    Attributes:
        as_of: Offset at the request: features saw events below it.
        items: Best first.
        context: Other values of the request that features are kept by, such as the surface's code.
    """

    request_id: int
    user_id: int
    time_ms: int
    as_of: int
    items: tuple[int, ...]
    stack: str
    model_version: str
    features_version: str
    context: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """What a model was made from."""

    version: str
    dataset_sha256: str


@dataclass(frozen=True, slots=True)
class FeatureOrigin:
    """What one feature reads.

    Attributes:
        source: The stream whose events enter it.
        by: The columns its state is kept by.
        window_ms: How far back it looks; ``None``: to the beginning, events without a time included.
        hop_ms: Length of the tiles that its window is made of.
        clock: The running tile and those before it that make up the window; otherwise every tile that the window touches.
        last: How many of the latest events it holds; ``None``: all in the window.
    """

    name: str
    source: str
    by: tuple[str, ...]
    window_ms: int | None = None
    hop_ms: int = 1
    clock: bool = False
    last: int | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One row of the log: the segment it lies in, its place there, its offset and time."""

    segment: str
    row: int
    offset: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Entered:
    """The events that entered one feature: how many, between which offsets, and the newest of them.

    Attributes:
        key: Whose state it is.
        first_offset: Of the oldest; -1 without one.
        last_offset: Of the newest; -1 without one.
        rows: The newest, newest first.
    """

    feature: FeatureOrigin
    key: Mapping[str, int]
    events: int
    first_offset: int
    last_offset: int
    rows: tuple[EventRow, ...]


Span = tuple[int, int]
"""The first and the last millisecond that count."""

EventRows = Callable[[str, Mapping[str, int], Span | None, int, int | None], tuple[int, int, tuple[EventRow, ...]]]
"""(source, key, span, as_of, last) to (how many, oldest offset, the newest rows newest first). Without a span every event
counts, one without a time too."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where each step of a trace is looked up; what lives in other rooms comes in as functions.

    Attributes:
        slate: A served request by its id.
        model: A model by its version.
        dataset: A training set's record by its hash.
        features: What each feature reads, by feature-set version.
        events: The rows of a source; ``SegmentRows`` reads tables.
        key: The value of a key column for an item: its creator, its category.
    """

    slate: Callable[[int], SlateOrigin | None]
    model: Callable[[str], ModelOrigin | None]
    dataset: Callable[[str], DatasetRecord | None]
    features: Callable[[str], Sequence[FeatureOrigin] | None]
    events: EventRows
    key: Callable[[str, int], int | None]


@dataclass(frozen=True, slots=True)
class Trace:
    """One served item, back to rows.

    Attributes:
        place: From 0, the item's place on the slate.
        entered: For every feature the events that entered it.
        gaps: Links that are missing or do not fit each other, in words.
    """

    slate: SlateOrigin
    item_id: int
    place: int
    model: ModelOrigin | None
    dataset: DatasetRecord | None
    entered: tuple[Entered, ...]
    gaps: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The streams that were read, by name."""
        return tuple(sorted({one.feature.source for one in self.entered}))

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def trace(request_id: int, item_id: int, links: Links) -> Trace:
    """Follows a served item back to the rows that entered its features.

    Raises:
        FeatureError: The request or the item on it is not known (``feature-094``). Later links that are missing are gaps.
    """
    slate = links.slate(request_id)
    if slate is None or item_id not in slate.items:
        what = "no slate" if slate is None else f"the items {slate.items[:5]} and no item {item_id}"
        raise FeatureError(
            f"found {what} for request {request_id}",
            code="feature-094",
            hint="the impression log holds what was served; look the request up there",
        )
    gaps: list[str] = []
    model = links.model(slate.model_version)
    if model is None:
        gaps.append(f"nothing is known of model {slate.model_version}")
    dataset = links.dataset(model.dataset_sha256) if model else None
    if model and dataset is None:
        gaps.append(f"nothing is known of training set {model.dataset_sha256[:12]}")
    if dataset is not None:
        gaps += _misfits(slate, dataset)
    features = links.features(slate.features_version)
    if features is None:
        gaps.append(f"nothing is known of feature set {slate.features_version}")
    entered = []
    for feature in features or ():
        key = _key(feature, slate, item_id, links)
        missing = [name for name in feature.by if name not in key]
        if missing:
            gaps.append(f"feature {feature.name}: item {item_id} has no {', '.join(missing)}")
        else:
            entered.append(_entered(feature, key, slate, links.events))
    place = slate.items.index(item_id)
    return Trace(slate, item_id, place, model, dataset, tuple(entered), tuple(gaps))


class SegmentRows:
    """The rows of sources that lie in tables: Parquet segments of a log, or frames in memory.

    Args:
        segments: By source, in log order: a name and its rows, with ``offset``, ``time_ms`` and the key columns.
    """

    def __init__(self, segments: Mapping[str, Sequence[tuple[str, pl.LazyFrame]]]) -> None:
        self._segments = segments

    def __call__(
        self, source: str, key: Mapping[str, int], span: Span | None, as_of: int, last: int | None
    ) -> tuple[int, int, tuple[EventRow, ...]]:
        """The events of a key with ``offset < as_of`` and, when there is a span, a time in it."""
        found: list[pl.DataFrame] = []
        for name, rows in self._segments.get(source, ()):
            wanted = pl.all_horizontal(pl.col("offset") < as_of, *(pl.col(n) == value for n, value in key.items()))
            if span is not None:
                wanted &= pl.col("time_ms").is_between(max(span[0], 0), span[1])
            narrow = (
                rows.with_row_index("row")
                .filter(wanted)
                .select(pl.lit(name).alias("segment"), "row", "offset", "time_ms")
            )
            found.append(narrow.collect())
        if not found:
            return 0, -1, ()
        events = pl.concat(found).sort("offset")
        events = events.tail(last) if last is not None else events
        newest = events.tail(SHOWN).reverse()
        return (
            events.height,
            int(events["offset"][0]) if events.height else -1,
            tuple(EventRow(*row) for row in newest.rows()),
        )


def _key(feature: FeatureOrigin, slate: SlateOrigin, item_id: int, links: Links) -> dict[str, int]:
    known = {"user_id": slate.user_id, "item_id": item_id, **slate.context}
    found = {name: known[name] if name in known else links.key(name, item_id) for name in feature.by}
    return {name: value for name, value in found.items() if value is not None}


def _entered(feature: FeatureOrigin, key: Mapping[str, int], slate: SlateOrigin, events: EventRows) -> Entered:
    count, first, rows = events(feature.source, key, _span(feature, slate.time_ms), slate.as_of, feature.last)
    return Entered(feature, key, count, first, rows[0].offset if rows else -1, rows)


def _span(feature: FeatureOrigin, now_ms: int) -> Span | None:
    """Which moments the feature's tiles cover."""
    if feature.window_ms is None:
        return None
    tile = now_ms // feature.hop_ms
    reach = feature.window_ms // feature.hop_ms - 1 if feature.clock else -(-feature.window_ms // feature.hop_ms)
    return (tile - reach) * feature.hop_ms, (tile + 1) * feature.hop_ms - 1


def _misfits(slate: SlateOrigin, dataset: DatasetRecord) -> list[str]:
    found = []
    if dataset.features_version != slate.features_version:
        found.append(f"served with features {slate.features_version}, trained on {dataset.features_version}")
    if dataset.log.last_offset >= slate.as_of:
        found.append(
            f"trained on offsets up to {dataset.log.last_offset}, served at {slate.as_of}: the model has seen the future"
        )
    return found


def _lines(found: Trace) -> list[str]:
    slate, data = found.slate, found.dataset
    lines = [
        f"item {found.item_id}, place {found.place} of {len(slate.items)} on request {slate.request_id} of user {slate.user_id}",
        f"  served   {_utc(slate.time_ms)} by {slate.stack}, as of offset {slate.as_of:,}",
        f"  model    {slate.model_version}",
    ]
    if data is not None:
        rules = ", ".join(f"{rule.name} ({rule.window_ms / 1000:g} s, {rule.join})" for rule in data.rules)
        lines.append(f"  trained  on {data.name} {data.sha256[:12]}: {data.rows:,} rows, labels {rules}")
        offsets = f"offsets {data.log.first_offset:,} to {data.log.last_offset:,}"
        lines.append(f"  from     log {data.log.name} {data.log.sha256[:12]}, {offsets}")
    lines.append(f"  features {slate.features_version}, from {', '.join(found.sources) or 'no source'}")
    for one in found.entered:
        key = ", ".join(f"{name} {value}" for name, value in one.key.items())
        spread = f", offsets {one.first_offset:,} to {one.last_offset:,}" if one.events else ""
        lines.append(f"    {one.feature.name} ({key}): {one.events:,} events of {one.feature.source}{spread}")
        lines += [
            f"      {row.segment} row {row.row:,}  offset {row.offset:,}  {_utc(row.time_ms)}" for row in one.rows
        ]
    lines += [f"  gap      {gap}" for gap in found.gaps]
    return lines


def _utc(time_ms: int) -> str:
    if time_ms < 0:
        return "time not known"
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
        + " UTC"
    )
