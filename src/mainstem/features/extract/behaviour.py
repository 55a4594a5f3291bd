"""What a person's sequence of items says: the direction of the items they go for, and which kind follows which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extracted, Json, State, arrays_hash, need_columns, unit_extracted
from mainstem.features.extract.fixed import SCALE, quantise, unit_rows
from mainstem.features.extract.tokens import salt_of, value_hashes
from mainstem.features.factors import co_engagement


def sequences(events: pl.DataFrame, user: str, item: str, order: str, last: int) -> pl.DataFrame:
    """Each user's last items, oldest first: one row a user, by ascending user; equal times go by ascending item.

    Returns:
        Columns ``user`` and ``items`` (a list).
    """
    ordered = events.select(user=user, item=item, order=order).drop_nulls().sort("user", "order", "item")
    return ordered.group_by("user", maintain_order=True).agg(items=pl.col("item").tail(last))


def transitions(table: pl.DataFrame, items: str) -> pl.DataFrame:
    """How often each item directly follows each other one in a column of sequences.

    Returns:
        Columns ``before``, ``after`` and ``times``, by ascending pair.
    """
    _, before, after = _steps(table[items])
    pairs = pl.DataFrame({"before": before, "after": after})
    return pairs.group_by("before", "after").agg(times=pl.len().cast(pl.Int64)).sort("before", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoEngagement:
    """The direction of a person's items, where items that the same people go for lie close. Make one with ``fit``.

    Items that were not in the fit say nothing; a sequence without any known item is empty.

    Args:
        items: The column of sequences.
        last: How many of the newest (last) items count; all of them weigh the same.
    Shapes:
        ``item_ids[m]`` ascending; ``vectors[m, dim]`` fixed point, unit rows.
    """

    name: str
    version: str
    items: str
    item_ids: NDArray[np.int64]
    vectors: NDArray[np.float64]
    last: int = 50
    state_hash: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Takes the hash of the fitted state."""
        object.__setattr__(self, "state_hash", arrays_hash(self.fitted()))

    @classmethod
    def fit(
        cls,
        name: str,
        version: str,
        table: pl.DataFrame,
        *,
        items: str = "items",
        dim: int = 32,
        last: int = 50,
        seed: int = 0,
    ) -> CoEngagement:
        """Learns one vector an item from a table of sequences, one row a user, in any order of rows.

        Raises:
            ExtractionError: ``feature-064`` when fewer than two users or two items are there.
        """
        need_columns(table, (items,), name)
        row, item = _exploded(table[items])
        ids, at = np.unique(item, return_inverse=True)
        if len(ids) < 2 or len(np.unique(row)) < 2:
            raise ExtractionError(
                f"co-engagement needs at least two users and two items, found {len(np.unique(row))} and {len(ids)}",
                code="feature-064",
                hint="fit on more sequences",
            )
        rank = _canonical_users(row, at, table.height)
        pairs = np.unique(rank[row] * len(ids) + at)
        users, columns = (pairs // len(ids)).astype(np.int32), (pairs % len(ids)).astype(np.int32)
        learned = co_engagement(users, columns, table.height, len(ids), dim, seed).astype(np.float64)
        largest = learned[np.argmax(np.abs(learned), axis=0), np.arange(dim)]
        vectors = quantise(unit_rows(learned * np.where(largest < 0, -1.0, 1.0))[0])
        return cls(name=name, version=version, items=items, item_ids=ids, vectors=vectors, last=last)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of sequences."""
        return (self.items,)

    @property
    def dim(self) -> int:
        """Of the items' vectors."""
        return self.vectors.shape[1]

    @property
    def scale(self) -> float:
        """Fixed point."""
        return SCALE

    def definition(self) -> dict[str, Json]:
        """The column, how many items count, and the hash of what was fitted."""
        return {"items": self.items, "last": self.last, "fitted": self.state_hash, "form": 1}

    def fitted(self) -> dict[str, NDArray[Any]]:
        """The fitted state as named arrays, for ``save_fitted``."""
        return {"item_ids": self.item_ids, "vectors": self.vectors}

    @classmethod
    def from_fitted(
        cls, name: str, version: str, fitted: Mapping[str, NDArray[Any]], *, items: str = "items", last: int = 50
    ) -> CoEngagement:
        """The extractor of a saved state."""
        ids, vectors = fitted["item_ids"], fitted["vectors"]
        return cls(name=name, version=version, items=items, item_ids=ids, vectors=vectors, last=last)

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The directions of these rows: whole-number sums of the items' vectors, then one division by the length."""
        need_columns(rows, self.columns, self.name)
        row, item = _exploded(rows[self.items].list.tail(self.last))
        at = np.minimum(np.searchsorted(self.item_ids, item), len(self.item_ids) - 1)
        known = self.item_ids[at] == item
        sums = np.zeros((rows.height, self.dim))
        np.add.at(sums, row[known], self.vectors[at[known]])
        return unit_extracted(sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionCounts:
    """How often one value follows another in a person's sequence, each ordered pair in a hashed slot. No pair is empty.

    Give it sequences of something coarse (categories, kinds, scenarios): pairs of items are nearly all distinct.

    Args:
        items: A column of lists of whole numbers or strings, oldest first.
        slots: How many slots the pairs share.
        last: How many of the newest values count.
    """

    name: str
    version: str
    items: str
    slots: int = 64
    last: int = 50
    salt: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of sequences."""
        return (self.items,)

    @property
    def dim(self) -> int:
        """One count a slot."""
        return self.slots

    @property
    def scale(self) -> float:
        """Counts are whole."""
        return 1.0

    def definition(self) -> dict[str, Json]:
        """Every argument."""
        return {"items": self.items, "slots": self.slots, "last": self.last, "salt": self.salt, "form": 1}

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The counts of these rows."""
        need_columns(rows, self.columns, self.name)
        row, before, after = _steps(rows[self.items].list.tail(self.last))
        left = value_hashes(before, salt_of("before", self.salt))
        state = left ^ value_hashes(after, salt_of("after", self.salt))
        cell = row * self.slots + (state % np.uint64(self.slots)).astype(np.int64)
        counts = (
            np.bincount(cell, minlength=rows.height * self.slots).astype(np.float64).reshape(rows.height, self.slots)
        )
        told = counts.sum(axis=1) > 0  # whole numbers: exact in any order
        return Extracted(counts, np.where(told, State.KNOWN, State.EMPTY).astype(np.int8), {})


def _exploded(lists: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    table = pl.DataFrame({"row": np.arange(len(lists)), "item": lists}).explode("item").drop_nulls()
    return table["row"].to_numpy(), table["item"].cast(pl.Int64).to_numpy()


def _steps(lists: pl.Series) -> tuple[NDArray[np.int64], pl.Series, pl.Series]:
    """(row, value, next value) of every step inside a row; null values are left out first."""
    table = pl.DataFrame({"row": np.arange(len(lists)), "after": lists}).explode("after").drop_nulls()
    same = (table["row"] == table["row"].shift(1)).fill_null(False)
    before = table["after"].shift(1).alias("before")
    return table["row"].filter(same).to_numpy(), before.filter(same), table["after"].filter(same)


def _canonical_users(row: NDArray[np.int64], at: NDArray[np.int64], users: int) -> NDArray[np.int64]:
    """Each user's place when users are ordered by what they went for, so that the order of rows cannot matter."""
    lists: list[list[int]] = [[] for _ in range(users)]
    for user, item in zip(row.tolist(), at.tolist(), strict=True):
        lists[user].append(item)
    rank = np.empty(users, np.int64)
    rank[np.array(sorted(range(users), key=lambda user: sorted(lists[user])), np.int64)] = np.arange(users)
    return rank
