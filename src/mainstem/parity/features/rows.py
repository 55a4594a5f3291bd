"""Which row of the served table is which row of the recomputed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.parity.features.meta import KEYS
from mainstem.parity.features.tables import NONE, Ints, ValueTable
from mainstem.parity.features.values import Lists, codes, column_at

_ONE: Final = np.uint64(1)
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
"""The odd number nearest to 2**64 over the golden ratio: its products spread neighbouring keys over all bits."""


@dataclass(frozen=True, slots=True)
class Paired:
    """All rows of both sides, matched by request and item; the k-th copy of a row by the k-th.

    ``left[u]`` and ``right[u]`` are places in the tables, -1 where that side has no such row. The other columns are the
    served row's, or the recomputed one's where none was served. ``copy[u]`` counts the copies of one key from 0.

    Shapes: ``left, right, request, item_id, user_id, time_ms, offset, copy [rows]``; ``requests`` is what ``request`` indexes,
    in ascending order.
    """

    left: Ints
    right: Ints
    request: Ints
    item_id: Ints
    user_id: Ints
    time_ms: Ints
    offset: Ints
    copy: Ints
    requests: pa.Array
    in_place: tuple[bool, bool]
    apart: dict[str, Ints]

    def order(self, at: Ints) -> Ints:
        """These rows by offset, then request, item and copy: an order no shuffling of a table changes."""
        return at[np.lexsort((self.copy[at], self.item_id[at], self.request[at], self.offset[at]))]

    def first(self, at: Ints, count: int) -> Ints:
        """The first of these rows in that order."""
        if len(at) > count:
            offset = self.offset[at]
            at = at[offset <= np.partition(offset, count - 1)[count - 1]]
        return self.order(at)[:count]

    def spread(self, at: Ints, count: int) -> Ints:
        """As many of these rows at most, drawn by a hash of their keys, in that order: always the first and the same ones."""
        if len(at) <= count:
            return self.order(at)
        drawn = np.zeros(len(at), np.uint64)
        for key in (self.offset, self.request, self.item_id, self.copy):
            drawn = mixed(drawn ^ key[at].astype(np.uint64))
        # Equal hashes at the border stay or go together, so that the order of rows cannot choose among them.
        border = np.partition(drawn, count - 2)[count - 2]
        return self.order(np.union1d(at[drawn < border], self.first(at, 1)))

    def request_id(self, at: int) -> str:
        """The id of the request of a row, as text."""
        return str(self.requests[int(self.request[at])].as_py())

    def keys(self, at: Ints) -> pa.Table:
        """What some rows are asked for again with: request, item, user, time and offset."""
        return pa.table(
            {
                "request_id": self.requests.take(pa.array(self.request[at])),
                "item_id": self.item_id[at],
                "user_id": self.user_id[at],
                "time_ms": self.time_ms[at],
                "offset": self.offset[at],
            }
        )


def paired(served: ValueTable, recomputed: ValueTable, features: Sequence[str]) -> Paired:
    """Matches the rows of both sides.

    Args:
        served: What the server logged.
        recomputed: What was computed from the log.
        features: Told apart by their values when two copies of a row have the same key, offset and time.

    Raises:
        FeatureError: A key is null (``parity-044``), or of another kind than on the other side (``parity-045``).
    """
    tables = (served.columns(KEYS), recomputed.columns(KEYS))
    for table, side in zip(tables, (served, recomputed), strict=True):
        _refuse_nulls(table, side.side)
    request, requests = _ranks([table["request_id"] for table in tables], "request_id")
    sets, _ = _ranks([table["feature_set"] for table in tables], "feature_set")
    numbers = [{name: _ints(table[name]) for name in ("item_id", "user_id", "time_ms", "offset")} for table in tables]
    code = _codes(request, [side["item_id"] for side in numbers])
    copies = [_copies(one, numbers[at], sets[at], (served, recomputed)[at], features) for at, one in enumerate(code)]
    left, right = _join(code, copies)
    return _assembled(left, right, request, numbers, sets, copies, requests)


def _assembled(
    left: Ints,
    right: Ints,
    request: list[Ints],
    numbers: list[dict[str, Ints]],
    sets: list[Ints],
    copies: list[Ints],
    requests: pa.Array,
) -> Paired:
    def of(one: Ints, other: Ints) -> Ints:
        if not len(one):
            return other[right]
        got = one[left]
        absent = left == NONE
        got[absent] = other[right[absent]]
        return got

    both = (left != NONE) & (right != NONE)
    compared = {name: (numbers[0][name], numbers[1][name]) for name in ("time_ms", "offset", "user_id")}
    compared["feature_set"] = (sets[0], sets[1])
    apart = {
        name: np.flatnonzero(both)[one[left[both]] != other[right[both]]] for name, (one, other) in compared.items()
    }
    columns = {name: of(numbers[0][name], numbers[1][name]) for name in numbers[0]}
    in_place = (_is_range(left, len(sets[0])), _is_range(right, len(sets[1])))
    return Paired(
        left, right, of(request[0], request[1]), columns["item_id"], columns["user_id"], columns["time_ms"],
        columns["offset"], of(copies[0], copies[1]), requests, in_place, apart,
    )  # fmt: skip


def _is_range(at: Ints, rows: int) -> bool:
    return len(at) == rows and bool((at == np.arange(rows)).all())


def _refuse_nulls(table: pa.Table, side: str) -> None:
    for name in KEYS:
        if table[name].null_count:
            raise FeatureError(
                f"{table[name].null_count} rows of the {side} table have no {name}",
                code="parity-044",
                hint="every row names its request, time, offset, feature set, user and item (-1 for a row about the user)",
            )


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.ascontiguousarray(column.cast(pa.int64()).to_numpy())


def _ranks(columns: list[pa.ChunkedArray], name: str) -> tuple[list[Ints], pa.Array]:
    """Each side's values as their rank among those of both, and what the ranks stand for."""
    whole = [pa.types.is_integer(column.type) for column in columns]
    if whole[0] != whole[1]:
        raise FeatureError(
            f"{name} is {columns[0].type} in the served table and {columns[1].type} in the recomputed one",
            code="parity-045",
            hint="log and recompute requests under the same ids",
        )
    cut = len(columns[0])
    kind = pa.int64() if whole[0] else pa.large_string()
    together = pa.chunked_array([chunk for column in columns for chunk in column.cast(kind).chunks], type=kind)
    if whole[0]:
        values, ranks = np.unique(together.to_numpy(), return_inverse=True)
        found: pa.Array = pa.array(values)
    else:
        coded = together.dictionary_encode().combine_chunks()
        coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) and coded.num_chunks else coded
        if not len(together):
            return [np.empty(0, np.int64), np.empty(0, np.int64)], pa.array([], kind)
        order = pc.call_function("array_sort_indices", [coded.dictionary]).to_numpy().astype(np.int64)
        ranks = np.argsort(order, kind="stable")[coded.indices.to_numpy()]
        found = coded.dictionary.take(pa.array(order))
    ranks = np.ascontiguousarray(ranks, np.int64)
    return [ranks[:cut], ranks[cut:]], found


def _codes(request: list[Ints], item: list[Ints]) -> list[Ints]:
    """Request and item as one number, the same on both sides."""
    items, ranks = np.unique(np.concatenate(item), return_inverse=True)
    code = np.concatenate(request) * max(1, len(items)) + ranks
    return [code[: len(request[0])], code[len(request[0]) :]]


def _copies(code: Ints, numbers: dict[str, Ints], sets: Ints, table: ValueTable, features: Sequence[str]) -> Ints:
    """Which copy of its key each row is: 0 for the first; by offset, time and set, and by values where these are equal."""
    copy = np.zeros(len(code), np.int64)
    order = np.argsort(code, kind="stable")
    again = np.zeros(len(code), bool)
    again[1:] = code[order][1:] == code[order][:-1]
    if not again.any():
        return copy
    in_group = again.copy()
    in_group[:-1] |= again[1:]
    rows = np.sort(order[in_group])
    keys = (sets[rows], numbers["time_ms"][rows], numbers["offset"][rows], code[rows])
    rows = rows[np.lexsort((_digests(rows, table, features), *keys))]
    first = np.ones(len(rows), bool)
    first[1:] = code[rows][1:] != code[rows][:-1]
    starts = np.flatnonzero(first)
    copy[rows] = np.arange(len(rows)) - starts[np.cumsum(first) - 1]
    return copy


def _digests(rows: Ints, table: ValueTable, features: Sequence[str]) -> NDArray[np.uint64]:
    """A number from all values of a row, the same wherever the row stands."""
    found = np.zeros(len(rows), np.uint64)
    for name in features:
        column = column_at(table.column(name), rows, name)
        whole = column.values.dtype == np.int64
        own = (np.ascontiguousarray(column.values) if whole else codes(column.values)).view(np.uint64)
        if isinstance(column, Lists):
            place = np.arange(len(own)) - np.repeat(column.starts, column.lengths)
            ends = np.concatenate(
                [np.zeros(1, np.uint64), np.cumsum(mixed(own ^ mixed(place.astype(np.uint64) + _ONE)))]
            )
            own = ends[column.starts + column.lengths] - ends[column.starts] + column.lengths.astype(np.uint64)
        if column.present is not None:
            own = np.where(column.present, own, _MIX)
        found = mixed(found ^ own)
    return found


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers with their bits spread, so that neighbours fall far apart; wraps at 2**64 on purpose."""
    spread = (values + _ONE) * _MIX
    return spread ^ (spread >> np.uint64(29))


def _join(code: list[Ints], copies: list[Ints]) -> tuple[Ints, Ints]:
    """Places of every pair, in the served table's order, then the rows only the recomputed table has."""
    most = 1 + max((int(copy.max()) for copy in copies if len(copy)), default=0)
    if most > 1:
        _, ranks = np.unique(np.concatenate(code), return_inverse=True)
        code = [ranks[: len(code[0])] * most + copies[0], ranks[len(code[0]) :] * most + copies[1]]
    one, other = code
    if len(one) == len(other) and (one == other).all():
        return np.arange(len(one)), np.arange(len(one))
    order = np.argsort(other, kind="stable")
    found = np.searchsorted(other[order], one)
    inside = found < len(other)
    right_of = np.full(len(one), NONE, np.int64)
    candidate = order[found[inside]]
    right_of[inside] = np.where(other[candidate] == one[inside], candidate, NONE)
    lost = np.ones(len(other), bool)
    lost[right_of[right_of != NONE]] = False
    alone = np.flatnonzero(lost)
    return (
        np.concatenate([np.arange(len(one)), np.full(len(alone), NONE, np.int64)]),
        np.concatenate([right_of, alone]),
    )
