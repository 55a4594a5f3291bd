"""The items and users this stack knows, one row each, reposts folded into their originals."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from content_first.content import content_vectors
from content_first.folder import table

CATEGORY_BUCKETS = 64
DURATION_EDGES_S = np.array([0.001, 7.0, 12.0, 20.0, 35.0, 60.0, 120.0])
DURATION_BUCKETS = len(DURATION_EDGES_S) + 1
ACTIVITY_BUCKETS = 6


@dataclass(frozen=True, slots=True)
class Items:
    """Row 0 is the unknown item: all zero, never learned about. Rows 1.. are canonical items by ascending id."""

    ids: NDArray[np.int64]
    row_of: dict[int, int]
    creator: NDArray[np.int64]
    creator_ids: NDArray[np.int64]
    category: NDArray[np.int64]
    duration_s: NDArray[np.float64]
    duration_bucket: NDArray[np.int64]
    created_ms: NDArray[np.int64]
    is_ad: NDArray[np.float64]
    integrity: NDArray[np.int8]
    vectors: NDArray[np.float64]
    rows_of_creator: dict[int, list[int]]

    def rows(self, item_ids: list[int]) -> NDArray[np.intp]:
        """The canonical row behind each id; 0 for an id nobody has told this stack about."""
        get = self.row_of.get
        return np.array([get(i, 0) for i in item_ids], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Users:
    """Row 0 is the unknown user: all zero."""

    row_of: dict[int, int]
    about: NDArray[np.float64]


def load_items(folder: Path) -> Items:
    """Every canonical item of the folder, with its content vector."""
    frame = table(folder, "items").with_columns(original=pl.col("item_id") == pl.col("canonical_id"))
    heads = (
        frame.sort(["canonical_id", "original", "item_id"], descending=[False, True, False])
        .group_by("canonical_id", maintain_order=True)
        .first()
    )
    row_of_canonical = {int(c): row for row, c in enumerate(heads["canonical_id"].to_list(), start=1)}
    canonical = zip(frame["item_id"].to_list(), frame["canonical_id"].to_list(), strict=True)
    row_of = dict(row_of_canonical) | {int(i): row_of_canonical[int(c)] for i, c in canonical}
    creator_ids, creator = np.unique(heads["creator_id"].to_numpy(), return_inverse=True)
    seconds = heads["duration_ms"].cast(pl.Float64).fill_null(0).to_numpy() / 1000.0
    bucket = np.searchsorted(DURATION_EDGES_S, seconds, side="right")
    category = heads["category"].cast(pl.Int64).fill_null(-1).to_numpy()
    kind = heads["kind"].fill_null("").to_list()
    vectors = content_vectors(
        {
            "category": category,
            "kind": np.array([zlib.crc32(k.encode()) for k in kind], dtype=np.int64),
            "audio": heads["audio_id"].cast(pl.Int64).fill_null(-1).to_numpy(),
            "duration": bucket.astype(np.int64),
            "creator": heads["creator_id"].cast(pl.Int64).to_numpy(),
        },
        [list(t) if t is not None else [] for t in heads["tags"].to_list()],
    )
    vectors = _with_blank(vectors)
    by_creator: dict[int, list[int]] = {}
    for row, code in enumerate(creator.tolist(), start=1):
        by_creator.setdefault(code + 1, []).append(row)
    return Items(
        ids=_with_blank(heads["canonical_id"].cast(pl.Int64).to_numpy()),
        row_of=row_of,
        creator=_with_blank(creator.astype(np.int64) + 1),
        creator_ids=_with_blank(creator_ids.astype(np.int64)),
        category=_with_blank(np.where(category < 0, 0, category % (CATEGORY_BUCKETS - 1) + 1)),
        duration_s=_with_blank(seconds),
        duration_bucket=_with_blank(bucket.astype(np.int64)),
        created_ms=_with_blank(heads["created_ms"].cast(pl.Int64).fill_null(0).to_numpy()),
        is_ad=_with_blank(np.array([float(k == "AD") for k in kind])),
        integrity=_with_blank(heads["integrity"].cast(pl.Int8).fill_null(-1).to_numpy()),
        vectors=vectors,
        rows_of_creator=by_creator,
    )


def load_users(folder: Path) -> Users:
    """What is known about each user apart from what they did: activity class, follows, followers, age of the account."""
    frame = table(folder, "users").sort("user_id")
    counts = frame.select(
        pl.col("following_count", "follower_count", "registered_days").cast(pl.Float64).fill_null(0)
    ).to_numpy()
    activity = np.array(
        [zlib.crc32((a or "").encode()) % ACTIVITY_BUCKETS for a in frame["activity"].to_list()], dtype=np.int64
    )
    about = np.concatenate([np.log1p(np.maximum(counts, 0.0)), np.eye(ACTIVITY_BUCKETS)[activity]], axis=1)
    row_of = {int(u): row for row, u in enumerate(frame["user_id"].to_list(), start=1)}
    return Users(row_of=row_of, about=_with_blank(about))


def _with_blank(column: NDArray) -> NDArray:  # type: ignore[type-arg]
    return np.concatenate(
        [np.zeros_like(column[:1]) if len(column) else np.zeros((1, *column.shape[1:]), column.dtype), column]
    )
