"""The log folder, as arrays. Every loader of other people's tables in this program is here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

TOUCHES = ("like", "follow", "comment", "forward")
CLICK_DEPTH = 0.4  # a click says less than a long view or a hand-made touch
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class FolderError(Exception):
    """The log folder cannot be used."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Shown items, one a row, in the order they happened."""

    request_id: np.ndarray
    user_id: np.ndarray
    item_id: np.ndarray
    surface: np.ndarray
    scenario: np.ndarray
    time_ms: np.ndarray
    day: np.ndarray
    depth: np.ndarray
    """0 no touch, 0.4 a click, 1 a long view or a like, follow, comment, forward."""
    long_view: np.ndarray
    joined: np.ndarray
    """The user liked, followed, commented or forwarded: a topic of their own choice."""

    def __len__(self) -> int:
        return len(self.item_id)

    def take(self, which: np.ndarray) -> Rows:
        """Some of the rows, in the order asked for."""
        return Rows(*(getattr(self, name)[which] for name in Rows.__slots__))

    def then(self, later: Rows) -> Rows:
        """These rows, followed by others."""
        return Rows(*(np.concatenate([getattr(self, name), getattr(later, name)]) for name in Rows.__slots__))


def _table(folder: Path, name: str, needed: tuple[str, ...]) -> pl.DataFrame:
    path = folder / name
    if not path.is_file():
        raise FolderError(f"{name} is not in the log folder {folder}")
    try:
        frame = pl.read_parquet(path)
    except Exception as error:
        raise FolderError(f"{name} cannot be read as Parquet: {error}") from error
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise FolderError(f"{name} lacks {', '.join(missing)}; it has {', '.join(frame.columns)}")
    return frame


def _flag(frame: pl.DataFrame, column: str) -> np.ndarray:
    if column not in frame.columns:
        return np.zeros(frame.height, dtype=bool)
    return (frame[column].fill_null(0) == 1).to_numpy()


def depth_of(long_view: np.ndarray, click: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """How deep each touch went, 0 to 1."""
    return np.where(long_view | joined, 1.0, np.where(click, CLICK_DEPTH, 0.0))


def _rows(
    frame: pl.DataFrame, request_id: np.ndarray, surface: np.ndarray, scenario: np.ndarray, day: np.ndarray
) -> Rows:
    long_view = _flag(frame, "long_view")
    joined = np.logical_or.reduce([_flag(frame, column) for column in TOUCHES])
    return Rows(
        request_id=request_id,
        user_id=frame["user_id"].cast(pl.Int64).to_numpy(),
        item_id=frame["item_id"].cast(pl.Int64).to_numpy(),
        surface=surface,
        scenario=scenario,
        time_ms=frame["time_ms"].cast(pl.Int64).to_numpy(),
        day=day,
        depth=depth_of(long_view, _flag(frame, "click"), joined),
        long_view=long_view.astype(np.float64),
        joined=joined,
    )


def read_impressions(folder: Path, until: int) -> Rows:
    """Every impression of the days before `until` (yyyymmdd), in time order. Served is shown: `viewed` is not asked."""
    frame = _table(
        folder,
        "impressions.parquet",
        ("request_id", "user_id", "item_id", "surface", "time_ms", "day", "click", "like", "long_view"),
    )
    frame = frame.filter(pl.col("day") < until).sort("time_ms", maintain_order=True)
    scenario = frame["scenario"].fill_null(-1).to_numpy() if "scenario" in frame.columns else np.full(frame.height, -1)
    return _rows(
        frame,
        frame["request_id"].cast(pl.Int64).to_numpy(),
        frame["surface"].fill_null("").to_numpy().astype(object),
        scenario.astype(np.int64),
        frame["day"].to_numpy(),
    )


def read_history(folder: Path) -> Rows:
    """What users saw before the log, oldest first. Their time is the table's upper bound: nothing better is known."""
    if not (folder / "history.parquet").is_file():
        schema = {"user_id": pl.Int64, "item_id": pl.Int64, "time_ms": pl.Int64}
        return _rows(pl.DataFrame(schema=schema), *(np.zeros(0, dtype=np.int64) for _ in range(4)))
    frame = _table(folder, "history.parquet", ("user_id", "item_id", "back", "time_ms", "long_view", "like"))
    frame = frame.drop_nulls(["user_id", "item_id", "back", "time_ms"])
    frame = frame.sort(["user_id", "back"], descending=[False, True], maintain_order=True)
    unknown = np.full(frame.height, -1, dtype=np.int64)
    return _rows(frame, unknown, np.full(frame.height, "", dtype=object), unknown, unknown)


@dataclass(frozen=True, slots=True)
class Items:
    """The posts, by ascending id. A repost is a post of its own: `canonical_id` is not read at all."""

    item_id: np.ndarray
    entity_id: np.ndarray
    category: np.ndarray
    created_ms: np.ndarray
    duration_ms: np.ndarray
    is_ad: np.ndarray
    integrity: np.ndarray
    """1 violating, 0 fine, -1 not answered."""
    tag_item: np.ndarray
    """Row of the post, one entry a tag; beside `tag`."""
    tag: np.ndarray


def read_items(folder: Path) -> Items:
    """The posts of the folder."""
    frame = _table(folder, "items.parquet", ("item_id", "entity_id", "created_ms", "category", "integrity"))
    frame = frame.unique("item_id", keep="first", maintain_order=True).sort("item_id")
    whole = {name: pl.lit(0) for name in ("duration_ms",) if name not in frame.columns}
    frame = frame.with_columns(**whole, row=pl.int_range(pl.len()))
    tags = frame.select("row", "tags").explode("tags").drop_nulls() if "tags" in frame.columns else None
    kinds = frame["kind"].fill_null("") if "kind" in frame.columns else pl.Series([""] * frame.height, dtype=pl.String)
    return Items(
        item_id=frame["item_id"].cast(pl.Int64).to_numpy(),
        entity_id=frame["entity_id"].fill_null(-1).cast(pl.Int64).to_numpy(),
        category=frame["category"].fill_null(-1).cast(pl.Int64).to_numpy(),
        created_ms=frame["created_ms"].fill_null(0).cast(pl.Int64).to_numpy(),
        duration_ms=frame["duration_ms"].fill_null(0).cast(pl.Int64).to_numpy(),
        is_ad=(kinds == "AD").to_numpy(),
        integrity=frame["integrity"].fill_null(-1).cast(pl.Int8).to_numpy(),
        tag_item=tags["row"].to_numpy() if tags is not None else np.zeros(0, dtype=np.int64),
        tag=tags["tags"].cast(pl.Int64).to_numpy() if tags is not None else np.zeros(0, dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class People:
    """What is known of each user beside what they did."""

    row_of: dict[int, int]
    offset_ms: np.ndarray
    cohort: np.ndarray
    """Row in `cohorts`."""
    cohorts: tuple[str, ...]

    def offset_of(self, user_id: int) -> int:
        """How far the user's local time is ahead of UTC, in ms; 0 for users that are not listed."""
        row = self.row_of.get(user_id)
        return 0 if row is None else int(self.offset_ms[row])

    def cohort_of(self, user_id: int) -> int:
        """The user's cohort; 0 for users that are not listed."""
        row = self.row_of.get(user_id)
        return 0 if row is None else int(self.cohort[row])


def read_people(folder: Path) -> People:
    """The users of the folder; the first cohort, '', is for users that it does not list."""
    frame = _table(folder, "users.parquet", ("user_id", "utc_offset_min", "activity"))
    frame = frame.unique("user_id", keep="first", maintain_order=True)
    activity = frame["activity"].fill_null("").to_numpy().astype(object)
    cohorts = ("", *sorted(set(activity) - {""}))
    place = {name: at for at, name in enumerate(cohorts)}
    return People(
        row_of={int(user): at for at, user in enumerate(frame["user_id"].to_numpy())},
        offset_ms=frame["utc_offset_min"].fill_null(0).cast(pl.Int64).to_numpy() * 60_000,
        cohort=np.array([place[name] for name in activity], dtype=np.int64),
        cohorts=cohorts,
    )
