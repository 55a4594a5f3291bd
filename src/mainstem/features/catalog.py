"""Which row of every array an item or a user has, and what is known about it that no feedback changes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import DataError
from mainstem.features.content import content_codes, hashed_content

KIND_SLOTS = 8
ACTIVITY_SLOTS = 16
TRAIT_SLOTS = 64
DURATION_BUCKETS = 24


@dataclass(frozen=True, slots=True)
class Items:
    """Static facts of items. Every array has one row more than there are items: row -1 stands for an unknown item."""

    ids: NDArray[np.int64]
    canonical_row: NDArray[np.int32]
    creator: NDArray[np.int32]
    entity: NDArray[np.int32]
    category: NDArray[np.int32]
    creator_id: NDArray[np.int64]
    entity_id: NDArray[np.int64]
    category_id: NDArray[np.int32]
    kind: NDArray[np.int8]
    duration_s: NDArray[np.float32]
    duration_bucket: NDArray[np.int8]
    created_ms: NDArray[np.int64]
    integrity: NDArray[np.int8]
    content: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Users:
    """Static facts of users, with the unknown user in the last row (row -1)."""

    ids: NDArray[np.int64]
    utc_offset_ms: NDArray[np.int64]
    activity: NDArray[np.int8]
    counts: NDArray[np.float32]
    traits: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The dense rows of items and users, and their static arrays.

    Rows of items are in the order of the table they came from; items that are appended get the next rows, so that
    rows handed out before stay true.
    """

    items: Items
    users: Users
    _item_order: NDArray[np.int64]
    _user_order: NDArray[np.int64]
    _tables: tuple[pl.DataFrame, pl.DataFrame]

    @classmethod
    def from_tables(cls, items: pl.DataFrame, users: pl.DataFrame) -> Catalog:
        """The catalog of a log folder's ``items`` and ``users`` tables.

        Raises:
            DataError: An id appears twice (``data-041``).
        """
        held_items, held_users = _items(items), _users(users)
        return cls(
            items=held_items,
            users=held_users,
            _item_order=_order(held_items.ids, "items"),
            _user_order=_order(held_users.ids, "users"),
            _tables=(items, users),
        )

    @property
    def item_table(self) -> pl.DataFrame:
        """The items table, its rows in the catalog's order."""
        return self._tables[0]

    def item_rows(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """The row of each item, -1 where the catalog does not know it."""
        return _rows(self.items.ids, self._item_order, np.asarray(ids, np.int64))

    def user_rows(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """The row of each user, -1 where the catalog does not know them."""
        return _rows(self.users.ids, self._user_order, np.asarray(ids, np.int64))

    def with_items(self, items: pl.DataFrame) -> Catalog:
        """The same catalog with new items after the ones it has; items it already has are left as they are."""
        known = self.item_rows(items["item_id"].to_numpy().astype(np.int64)) >= 0
        held, users = self._tables
        return Catalog.from_tables(_below(held, items.filter(~pl.Series(known))), users)

    def with_users(self, user_ids: NDArray[np.int64]) -> Catalog:
        """The same catalog with rows for users of whom nothing but the id is known."""
        fresh = np.unique(np.asarray(user_ids, np.int64))
        fresh = fresh[self.user_rows(fresh) < 0]
        items, held = self._tables
        return Catalog.from_tables(items, _below(held, pl.DataFrame({"user_id": fresh})))


def slot(text: str, slots: int) -> int:
    """A fixed slot of a text, the same in every process; slot 0 is kept for what is missing."""
    return 1 + zlib.crc32(text.encode()) % (slots - 1) if text else 0


def _below(held: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    fresh = fresh.select([name for name in held.columns if name in fresh.columns])
    fresh = fresh.with_columns([pl.col(name).cast(held.schema[name]) for name in fresh.columns])
    return pl.concat([held, fresh], how="diagonal")


def _items(table: pl.DataFrame) -> Items:
    ids = table["item_id"].to_numpy().astype(np.int64)
    creator_id = _column(table, "creator_id", np.int64, -1)
    entity_id = _column(table, "entity_id", np.int64, -1)
    category_id = _column(table, "category", np.int32, -1)
    duration_s = (_column(table, "duration_ms", np.int64, 0) / 1000.0).astype(np.float32)
    kinds = _texts(table, "kind")
    canonical = _column(table, "canonical_id", np.int64, -1)
    order = np.argsort(ids, kind="stable")
    canonical_row = _rows(ids, order, np.where(canonical < 0, ids, canonical))
    own = np.arange(len(ids), dtype=np.int32)
    return Items(
        ids=ids,
        canonical_row=_end(np.where(canonical_row < 0, own, canonical_row).astype(np.int32), -1),
        creator=_dense(creator_id),
        entity=_dense(entity_id),
        category=_dense(category_id),
        creator_id=_end(creator_id, -1),
        entity_id=_end(entity_id, -1),
        category_id=_end(category_id, -1),
        kind=_end(np.array([slot(kind, KIND_SLOTS) for kind in kinds], np.int8), 0),
        duration_s=_end(duration_s, 0.0),
        duration_bucket=_end(duration_buckets(duration_s), 0),
        created_ms=_end(_column(table, "created_ms", np.int64, -1), -1),
        integrity=_end(_column(table, "integrity", np.int8, -1), -1),
        content=hashed_content(content_codes(table, duration_buckets(duration_s)), len(ids)),
    )


def _users(table: pl.DataFrame) -> Users:
    names = ("following_count", "follower_count", "registered_days")
    counts = np.stack([_end(_column(table, name, np.int64, 0), 0) for name in names], axis=1)
    return Users(
        ids=table["user_id"].to_numpy().astype(np.int64),
        utc_offset_ms=_end(_column(table, "utc_offset_min", np.int64, 0) * 60_000, 0),
        activity=_end(np.array([slot(text, ACTIVITY_SLOTS) for text in _texts(table, "activity")], np.int8), 0),
        counts=np.log1p(np.maximum(counts, 0)).astype(np.float32),
        traits=_traits(table),
    )


def _traits(table: pl.DataFrame) -> NDArray[np.int16]:
    """The hashed slot of each (trait, value); -1 where unknown."""
    if "traits" not in table.columns or table.height == 0:
        return np.full((table.height + 1, 0), -1, np.int16)
    width = int(table["traits"].list.len().max() or 0)  # type: ignore[arg-type]
    values = (
        np.stack(
            [table["traits"].list.get(i, null_on_oob=True).fill_null(-1).to_numpy() for i in range(width)], axis=1
        ).astype(np.int64)
        if width
        else np.empty((table.height, 0), np.int64)
    )
    hashed = (values * 2654435761 + np.arange(width) * 40503) % (2**32) % TRAIT_SLOTS
    slots = np.where(values < 0, -1, hashed).astype(np.int16)
    return np.concatenate([slots, np.full((1, width), -1, np.int16)])


def duration_buckets(duration_s: NDArray[np.float32]) -> NDArray[np.int8]:
    """Half-octave buckets of a length; 0 is unknown."""
    with np.errstate(divide="ignore"):
        steps = np.floor(2.0 * np.log2(np.maximum(duration_s, 1e-3))) + 1
    return np.where(duration_s > 0, np.clip(steps, 1, DURATION_BUCKETS - 1), 0).astype(np.int8)


def _column(table: pl.DataFrame, name: str, dtype: type[np.signedinteger], unknown: int) -> NDArray:
    if name not in table.columns:
        return np.full(table.height, unknown, dtype)
    return table[name].fill_null(unknown).to_numpy().astype(dtype)


def _texts(table: pl.DataFrame, name: str) -> list[str]:
    return table[name].fill_null("").to_list() if name in table.columns else [""] * table.height


def _end(values: NDArray, unknown: float) -> NDArray:
    return np.append(values, np.asarray(unknown, values.dtype))


def _dense(ids: NDArray) -> NDArray[np.int32]:
    """Codes from 1 in order of first appearance, so that appended items change none; 0 is unknown (negative ids)."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    first = np.where(ids[first] < 0, -1, first)
    codes = np.empty(len(first), np.int64)
    codes[np.argsort(first, kind="stable")] = np.arange(len(first)) + (0 if (first < 0).any() else 1)
    return _end(codes[inverse].astype(np.int32), 0)


def _order(ids: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    order = np.argsort(ids, kind="stable")
    twice = ids[order][1:] == ids[order][:-1]
    if twice.any():
        example = int(ids[order][1:][twice][0])
        raise DataError(
            f"{what} table holds id {example} more than once ({int(twice.sum())} repeated rows); ids must be unique",
            code="data-041",
            hint="mainstem data check PATH",
        )
    return order


def _rows(ids: NDArray[np.int64], order: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
    if len(ids) == 0:
        return np.full(len(wanted), -1, np.int32)
    at = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    found = order[at]
    return np.where(ids[found] == wanted, found, -1).astype(np.int32)
