"""What may a record on the wire say: feedback and impressions, typed, bounded, and refused with the reason."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta
from numpy.typing import NDArray

from mainstem.base.errors import DataError, did_you_mean
from mainstem.data.log import read_parquet
from mainstem.data.sources import EARLIEST_MS, LATEST_MS, local_day
from mainstem.data.tables import IMPRESSIONS, conform

MAX_EVENTS: Final = 10_000
"""Feedback records in one body."""

MAX_ITEMS: Final = 1_000
"""Items in one impression."""

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TextId = Annotated[str, Meta(min_length=1, max_length=256)]
TimeMs = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS)]
Flag = Annotated[int, Meta(ge=0, le=1)]
SpanMs = Annotated[int, Meta(ge=0, le=7 * 86_400_000)]
Name = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]
Small = Annotated[int, Meta(ge=-1, le=32_767)]


class Feedback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of one shown item; see "One feedback record" in ``docs/reference/tables.md``.

    Attributes:
        time_ms: When the item was served.
        viewed: 1 when it was on screen, 0 when it was only served.
    """

    request_id: Id
    user_id: Id | TextId
    item_id: Id | TextId
    surface: Name
    time_ms: TimeMs
    event_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    scenario: Small = -1
    position: Small = -1
    viewed: Flag = 1
    click: Flag | None = None
    like: Flag | None = None
    follow: Flag | None = None
    comment: Flag | None = None
    forward: Flag | None = None
    hate: Flag | None = None
    long_view: Flag | None = None
    watch_ms: SpanMs | None = None
    duration_ms: SpanMs | None = None
    stack: Name | None = None
    arm: Name | None = None
    propensity: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None

    def key(self) -> str:
        """What makes two records the same: the event id, or without one the request and item."""
        return f"e:{self.event_id}" if self.event_id is not None else f"r:{self.request_id}:{self.item_id}"

    def payload(self) -> bytes:
        """The record as JSON."""
        return msgspec.json.encode(self)


class Impression(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One request as it was served, with what the ranker knew: arrays are packed little-endian bytes.

    Attributes:
        item_ids: int64[n], best first.
        positions: int16[n]; empty means 0..n-1.
        scores: float64[n], what the stack ordered by.
        propensities: float32[n], or empty when nothing was randomised.
        predictions: float32[n, heads], or empty.
        features: float32[n, columns] as served, or empty.
        feature_names_hash: Which columns they are.
        timings_ms: Milliseconds of each stage.
        as_of: Events with a smaller log offset had been applied when it was ranked; -1 where the stack does not tell.
        feature_set: Which definitions computed the features.
        viewer_features: float32[columns] of the viewer as served, deflated; or empty.
        candidates: Ids of everything that was ranked, ascending, as differences of int64, deflated; or empty.
        model: The version of the model that ranked it; empty where the stack does not tell, or no model was asked.
    """

    request_id: Id
    user_id: Id
    surface: Name
    time_ms: TimeMs
    item_ids: bytes
    stack: Name
    scenario: Small = -1
    arm: Name | None = None
    positions: bytes = b""
    scores: bytes = b""
    propensities: bytes = b""
    heads: tuple[Name, ...] = ()
    predictions: bytes = b""
    features: bytes = b""
    feature_names_hash: Annotated[str, Meta(max_length=64)] = ""
    timings_ms: dict[str, float] = {}
    degraded: tuple[Annotated[str, Meta(max_length=128)], ...] = ()
    as_of: int = -1
    feature_set: Annotated[str, Meta(max_length=64)] = ""
    viewer_features: bytes = b""
    candidates: bytes = b""
    model: Annotated[str, Meta(max_length=64)] = ""

    def key(self) -> None:
        """An impression is logged once and never sent again, so it has no key."""

    def payload(self) -> bytes:
        """The record as MessagePack."""
        return msgspec.msgpack.encode(self)

    def ids(self) -> NDArray[np.int64]:
        """The items, best first."""
        return np.frombuffer(self.item_ids, dtype="<i8")

    def viewer(self) -> NDArray[np.float32]:
        """The viewer's features as served; empty when they were not logged."""
        return (
            np.frombuffer(zlib.decompress(self.viewer_features), "<f4") if self.viewer_features else np.empty(0, "<f4")
        )

    def ranked_ids(self) -> NDArray[np.int64]:
        """Ids of everything that was ranked, ascending; empty when they were not logged."""
        if not self.candidates:
            return np.empty(0, np.int64)
        return np.cumsum(np.frombuffer(zlib.decompress(self.candidates), "<i8"))

    def array(self, field: str) -> NDArray[Any]:
        """One packed field as an array, with one row an item; ``predictions`` and ``features`` are matrices."""
        flat = np.frombuffer(getattr(self, field), dtype=_PACKED[field])
        rows = len(self.item_ids) // 8
        return flat.reshape(rows, -1) if field in ("predictions", "features") and rows else flat


_PACKED: Final[dict[str, str]] = {
    "positions": "<i2",
    "scores": "<f8",
    "propensities": "<f4",
    "predictions": "<f4",
    "features": "<f4",
}
"""Every packed field of an impression except the ids, and the type of one number."""


def pack_impression(item_ids: NDArray[np.int64], arrays: Mapping[str, NDArray[Any]], **fields: Any) -> Impression:
    """An impression from the runner's own arrays.

    Args:
        arrays: Any of ``positions``, ``scores``, ``propensities``, ``predictions``, ``features``.
        fields: The other fields of ``Impression``.
    """
    for name in arrays:
        if name not in _PACKED:
            raise DataError(f"found array {name!r}, expected a packed field", hint=did_you_mean(name, _PACKED))
    packed = {name: np.ascontiguousarray(array, _PACKED[name]).tobytes() for name, array in arrays.items()}
    return Impression(item_ids=np.ascontiguousarray(item_ids, "<i8").tobytes(), **packed, **fields)


def pack_viewer(side: NDArray[Any]) -> bytes:
    """A viewer's features for an impression: mostly zeros, so they are deflated."""
    return zlib.compress(np.ascontiguousarray(side, "<f4").tobytes(), 1)


def pack_ids(ids: NDArray[np.int64]) -> bytes:
    """The ids of what was ranked, for an impression: differences of sorted ids are small, so they are deflated."""
    return zlib.compress(np.diff(np.sort(ids), prepend=np.int64(0)).astype("<i8").tobytes(), 1)


class IdTable:
    """Which number stands for a text id: the log's own numbering, and a stable hash for texts it has not met.

    An unknown user or item is not an error on the wire, so an unknown text gets a number from 2**62 up, the same on
    every machine; the log's own numbers are dense and far below.
    """

    def __init__(self, users: Mapping[str, int], items: Mapping[str, int]) -> None:
        self._users = users
        self._items = items

    @classmethod
    def read(cls, folder: Path) -> IdTable | None:
        """The id tables of a log folder; ``None`` when its ids are numbers."""
        found = [folder / f"ids_{what}.parquet" for what in ("user", "item")]
        if not any(path.is_file() for path in found):
            return None
        maps = [dict(read_parquet(path).select("text", "id").iter_rows()) if path.is_file() else {} for path in found]
        return cls(maps[0], maps[1])

    def user(self, text: str) -> int:
        """The number of a user's text id."""
        number = self._users.get(text)
        return hashed_id(text) if number is None else number

    def item(self, text: str) -> int:
        """The number of an item's text id."""
        number = self._items.get(text)
        return hashed_id(text) if number is None else number


def hashed_id(text: str) -> int:
    """A number for a text id that no table knows: from 2**62 up, fixed by the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (1 << 62) | (int.from_bytes(digest, "big") >> 2)


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[Feedback], Meta(max_length=MAX_EVENTS)]


_ONE = msgspec.json.Decoder(Feedback)
_MANY = msgspec.json.Decoder(_Body)
_IMPRESSION = msgspec.msgpack.Decoder(Impression)


def decode_feedback(body: bytes, ids: IdTable | None = None) -> Feedback:
    """One feedback record from JSON; ``data-020`` to ``data-023`` say what is wrong with it and where."""
    try:
        return _numbered(_ONE.decode(body), ids)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _refuse(error, "a feedback record", Feedback)


def decode_events(body: bytes, ids: IdTable | None = None) -> list[Feedback]:
    """The records of ``{"events": [...]}``; one bad record refuses the whole body, so that nothing is half taken."""
    try:
        return [_numbered(record, ids) for record in _MANY.decode(body).events]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _refuse(error, "the events body", Feedback)


def decode_impression(payload: bytes) -> Impression:
    """One impression from MessagePack, with arrays of matching lengths."""
    try:
        record = _IMPRESSION.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _refuse(error, "an impression", Impression)
    check_impression(record)
    return record


def check_impression(record: Impression) -> None:
    """Do the arrays of an impression fit together; ``data-023`` names the one that does not."""
    rows = len(record.item_ids) // 8
    if len(record.item_ids) % 8 or rows > MAX_ITEMS:
        raise DataError(
            f"found {len(record.item_ids)} bytes of item ids, expected 8 for each of at most {MAX_ITEMS} items",
            code="data-023",
        )
    for name, kind in _PACKED.items():
        size = len(getattr(record, name))
        row_bytes = np.dtype(kind).itemsize * (len(record.heads) if name == "predictions" else 1)
        fits = size % (rows * row_bytes) == 0 if name == "features" and rows else size == rows * row_bytes
        if size and not fits:
            raise DataError(f"found {size} bytes of {name} for {rows} items in an impression", code="data-023")


def feedback_frame(records: Sequence[Feedback], utc_offset_min: int = 0) -> pl.DataFrame:
    """Feedback records as rows of ``impressions.parquet``; the day is local at the offset."""
    names = [name for name in Feedback.__struct_fields__ if name != "event_id"]
    columns = {name: [getattr(record, name) for record in records] for name in names}
    types = {name: dtype for name, dtype in IMPRESSIONS.schema.items() if name in columns}
    frame = pl.DataFrame(columns, schema=types).with_columns(day=local_day(pl.col("time_ms"), utc_offset_min))
    return conform(frame, IMPRESSIONS, "feedback records").sort(IMPRESSIONS.order, maintain_order=True)


def _numbered(record: Feedback, ids: IdTable | None) -> Feedback:
    if isinstance(record.user_id, int) and isinstance(record.item_id, int):
        return record
    if ids is None:
        text = record.user_id if isinstance(record.user_id, str) else record.item_id
        raise DataError(
            f"found the text id {text!r}, expected an integer from 0 to 2**63 - 1: this log's ids are numbers",
            code="data-022",
            hint="send the number without quotes, or import the log with text ids",
        )
    user = ids.user(record.user_id) if isinstance(record.user_id, str) else record.user_id
    item = ids.item(record.item_id) if isinstance(record.item_id, str) else record.item_id
    return msgspec.structs.replace(record, user_id=user, item_id=item)


def _refuse(error: msgspec.MsgspecError | UnicodeDecodeError, what: str, kind: type[msgspec.Struct]) -> NoReturn:
    text = str(error)
    unknown = re.search(r"unknown field `([^`]*)`", text)
    if unknown:
        hint = did_you_mean(unknown[1], kind.__struct_fields__)
        raise DataError(f"found {text} in {what}", code="data-021", hint=hint) from error
    hint = "docs/reference/tables.md shows one record with every field"
    raise DataError(f"found {what} that cannot be taken: {text}", code="data-020", hint=hint) from error
