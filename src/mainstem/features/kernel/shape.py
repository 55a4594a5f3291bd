"""What one state table keeps of each key, which windows are read from it, and where an event row holds its words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from mainstem.base.errors import FeatureError

ADD, MIN, MAX, BYTEMAX = 0, 1, 2, 3
"""How an accumulator takes a value in: sum, minimum, maximum, bytewise maximum of eight packed uint8 registers."""

COVER, CLOCK, DECAY = 0, 1, 2
"""Kind of a window: the running tile and `reach` tiles before it; `reach` tiles in all; a weighted sum of tiles."""

UNTIMED = -(2**63)
"""The time of an event of which only the order is known."""

LARGEST = 2**63 - 1
IDENTITIES = (0, LARGEST, UNTIMED, 0)
"""The value of an accumulator that has seen nothing, by op."""

MOST_KEY_WORDS = 3
EVER = -1
"""The level of a window that reads the accumulators of all time."""


def _refuse(message: str, hint: str) -> FeatureError:
    return FeatureError(message, code="feature-020", hint=hint)


@dataclass(frozen=True, slots=True)
class GroupShape:
    """What one state table keeps of each key.

    Args:
        key_width: int64 words in a key, 1 to 3.
        ops: One op for each accumulator (``ADD``, ``MIN``, ``MAX``, ``BYTEMAX``).
        hops_ms: Length of a tile, one for each level of tiles.
        keeps: How many tile indices of a level a key keeps, its newest one included.
        list_k: How many last events a key lists; 0 for none.
        list_fields: int64 fields of a listed event, besides its time and offset.
        by_time: Whether the list is sorted by time (ties by offset); else by arrival.

    Raises:
        FeatureError: ``feature-020`` when a width, op, hop or keep is out of bounds.
    """

    key_width: int
    ops: tuple[int, ...]
    hops_ms: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()
    list_k: int = 0
    list_fields: int = 0
    by_time: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.key_width <= MOST_KEY_WORDS:
            raise _refuse(f"a key of {self.key_width} words, expected 1 to 3", "declare 1 to 3 key columns")
        if any(op not in (ADD, MIN, MAX, BYTEMAX) for op in self.ops):
            raise _refuse(f"ops {self.ops} hold an unknown one", "use ADD, MIN, MAX or BYTEMAX")
        if len(self.hops_ms) != len(self.keeps) or any(n < 1 for n in self.hops_ms + self.keeps):
            raise _refuse(
                f"hops {self.hops_ms} and keeps {self.keeps} do not pair", "one keep of at least 1 for each hop"
            )
        if self.list_k < 0 or self.list_fields < 0:
            raise _refuse(f"a list of {self.list_k} x {self.list_fields}", "give a list no negative size")

    @property
    def inputs(self) -> int:
        """How many accumulators a key has."""
        return len(self.ops)

    @property
    def identity(self) -> tuple[int, ...]:
        """The accumulators of a key without events."""
        return tuple(IDENTITIES[op] for op in self.ops)

    @property
    def fingerprint(self) -> int:
        """Which shape a packed state belongs to: 63 bits that differ when any part of the shape does."""
        words = (self.key_width, self.ops, self.hops_ms, self.keeps, self.list_k, self.list_fields, bool(self.by_time))
        return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a key's state one read combines.

    Args:
        level: Level of tiles, or ``EVER`` (-1) for the accumulators of all time.
        reach: Tiles the window reaches back (``COVER``, ``DECAY``) or counts in all (``CLOCK``).
        kind: ``COVER``, ``CLOCK`` or ``DECAY``.
        weights: For ``DECAY`` the weight of a tile by its age in tiles, ``reach + 1`` of them.
    """

    level: int = EVER
    reach: int = 0
    kind: int = COVER
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupColumns:
    """Which columns of an event row one group reads; columns may be shared between groups.

    Args:
        keys: Columns of the key words.
        when: Column of the shifted event time, ``UNTIMED`` where there is none.
        inputs: Columns of the accumulator inputs, already quantised.
        fields: Columns of the listed fields.
        counts: Column that is 0 where the event does not concern the group; -1 when every event does.
    """

    keys: tuple[int, ...]
    when: int
    inputs: tuple[int, ...]
    fields: tuple[int, ...] = ()
    counts: int = -1


@dataclass(frozen=True, slots=True)
class EventLayout:
    """Where an int64 event row ``[width]`` holds the words of every group.

    Args:
        width: Columns of the matrix.
        offset: Column of the log offset.
        groups: Columns of each group, in the order of the shapes.
    """

    width: int
    offset: int
    groups: tuple[GroupColumns, ...]

    @classmethod
    def dense(cls, shapes: Sequence[GroupShape]) -> EventLayout:
        """The layout without sharing: offset, then per group counts, when, keys, inputs, fields."""
        groups: list[GroupColumns] = []
        at = 1
        for shape in shapes:
            keys = at + 2
            inputs = keys + shape.key_width
            fields = inputs + shape.inputs
            end = fields + shape.list_fields
            columns = (tuple(range(keys, inputs)), at + 1, tuple(range(inputs, fields)), tuple(range(fields, end)))
            groups.append(GroupColumns(*columns, counts=at))
            at = end
        return cls(at, 0, tuple(groups))

    def check(self, shapes: Sequence[GroupShape]) -> None:
        """Refuses a layout that does not fit the shapes.

        Raises:
            FeatureError: ``feature-020`` when a group is missing, a count of columns differs or a column is outside.
        """
        if len(self.groups) != len(shapes):
            raise _refuse(f"a layout of {len(self.groups)} groups for {len(shapes)} shapes", "one entry for each shape")
        for at, (columns, shape) in enumerate(zip(self.groups, shapes, strict=True)):
            found = (len(columns.keys), len(columns.inputs), len(columns.fields))
            wanted = (shape.key_width, shape.inputs, shape.list_fields)
            if found != wanted:
                raise _refuse(f"group {at} has columns {found} (keys, inputs, fields), expected {wanted}", "name each")
            every = (*columns.keys, *columns.inputs, *columns.fields, columns.when, self.offset)
            if not all(0 <= column < self.width for column in every) or not -1 <= columns.counts < self.width:
                raise _refuse(f"group {at} names a column outside 0..{self.width - 1}", "widen the layout")
