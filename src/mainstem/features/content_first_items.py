"""What the content-first stack knows of each item before anybody has seen it: its original's facts, and its place by content."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.request import Floats, Rows
from mainstem.base.seeds import mix
from mainstem.features.catalog import Catalog

CONTENT_DIM: Final = 64
CATEGORY_SLOTS: Final = 64
"""Slot 0 is an item without a category, and also the unknown item."""
LENGTH_EDGES_S: Final = (0.001, 7.0, 12.0, 20.0, 35.0, 60.0, 120.0)
LENGTH_SLOTS: Final = len(LENGTH_EDGES_S) + 1

_STEP: Final = 0x9E3779B97F4A7C15
_TAG_FAMILY: Final = 6


@dataclass(frozen=True, slots=True)
class ContentItems:
    """Facts by catalog row, every repost with those of its original; the last row (row -1) is the unknown item, all zero.

    Shapes: ``vectors[n + 1, 64]`` of unit length, or zero without any content; ``offered`` are the rows of originals, by
    ascending id.
    """

    ids: NDArray[np.int64]
    original: Rows
    creator: NDArray[np.int64]
    category: NDArray[np.int64]
    length_slot: NDArray[np.int64]
    length_s: Floats
    created_ms: NDArray[np.int64]
    is_ad: Floats
    violating: NDArray[np.bool_]
    vectors: Floats
    offered: Rows

    @classmethod
    def of(cls, items: pl.DataFrame, catalog: Catalog) -> ContentItems:
        """The facts of a catalog that was made of this table. An unknown creator (-1) is a creator like any other."""
        head = catalog.items.canonical_row[:-1]
        length_s = items["duration_ms"].fill_null(0).cast(pl.Float64).to_numpy() / 1000.0
        length_slot = np.searchsorted(LENGTH_EDGES_S, length_s, side="right")
        category = _whole(items, "category", -1)
        _, creator = np.unique(_whole(items, "creator_id", -1)[head], return_inverse=True)

        def of_original(values: NDArray[Any]) -> NDArray[Any]:
            return np.append(values[head], np.zeros(1, values.dtype))

        vectors = content_vectors(items, length_slot)[head]
        return cls(
            ids=catalog.items.ids,
            original=np.append(head, -1),
            creator=np.append(creator + 1, 0),
            category=of_original(np.where(category < 0, 0, category % (CATEGORY_SLOTS - 1) + 1)),
            length_slot=of_original(length_slot),
            length_s=of_original(length_s),
            created_ms=of_original(_whole(items, "created_ms", 0)),
            is_ad=of_original((items["kind"].fill_null("") == "AD").to_numpy().astype(np.float64)),
            violating=of_original(_whole(items, "integrity", -1) == 1),
            vectors=np.concatenate([vectors, np.zeros((1, CONTENT_DIM))]),
            offered=np.flatnonzero(head == np.arange(len(head))),
        )


def with_originals(items: pl.DataFrame) -> pl.DataFrame:
    """The items by ascending id, so that rows break ties as ids do, with a row for each original that only reposts tell of."""
    missing = items.filter(~pl.col("canonical_id").is_in(items["item_id"].implode())).sort("item_id")
    stand_in = missing.unique("canonical_id", keep="first", maintain_order=True).with_columns(item_id="canonical_id")
    return pl.concat([items, stand_in]).sort("item_id")


def content_vectors(items: pl.DataFrame, length_slot: NDArray[np.int64]) -> Floats:
    """Where each item lies in content space: the weighted sum of the directions of everything it is made of.

    Shapes: [n, 64], unit length; zero for an item of which nothing is told. A missing ``kind`` is a kind of its own.
    """
    kinds = np.array([zlib.crc32(kind.encode()) for kind in items["kind"].fill_null("").to_list()], np.int64)
    families = (
        (_whole(items, "category", -1), 1.0),
        (kinds, 0.4),
        (_whole(items, "audio_id", -1), 0.6),
        (length_slot, 0.7),
        (_whole(items, "creator_id", -1), 0.8),
    )
    out = np.zeros((items.height, CONTENT_DIM))
    for number, (tokens, weight) in enumerate(families, start=1):
        out += np.where(tokens >= 0, weight, 0.0)[:, None] * _directions(tokens, number)
    tags = items.select(row=pl.int_range(pl.len()), tag=pl.col("tags").cast(pl.List(pl.Int64))).explode("tag")
    tags = tags.filter(pl.col("tag") >= 0)
    np.add.at(out, tags["row"].to_numpy(), 0.8 * _directions(tags["tag"].to_numpy(), _TAG_FAMILY))
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return out / np.where(length > 0, length, 1.0)


def _directions(tokens: NDArray[np.int64], family: int) -> Floats:
    """One corner of a small cube for each token: a sign for each bit of its hash. Shapes: [n, 64]."""
    salted = np.asarray(tokens, np.int64).astype(np.uint64) + np.uint64((family - 1) * _STEP % 2**64)
    signs = np.unpackbits(mix(salted).astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return np.where(signs, 0.125, -0.125)


def _whole(table: pl.DataFrame, name: str, unknown: int) -> NDArray[np.int64]:
    return table[name].cast(pl.Int64).fill_null(unknown).to_numpy()
