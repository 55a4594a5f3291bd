"""Who took which item, in what order: the one form in which retrieval models learn and are judged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ItemContent:
    """What items are, as marks: each item has none, one or several of a vocabulary (genre, brand, category, tag).

    Shapes: ``starts[items + 1]``, ``marks[n]`` (0 to ``vocabulary`` - 1); item i has ``marks[starts[i]:starts[i + 1]]``.
    """

    starts: NDArray[np.int64]
    marks: NDArray[np.int32]
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Sequences:
    """One row of items a user, oldest first.

    Attributes:
        name: Of the set, as tables print it.
        starts: User u has the events ``starts[u]`` to ``starts[u + 1]``.
        rows: Item row of each event, 0 to ``items`` - 1.
        items: How many items there are, seen or not.
        times_ms: When each event was, where the set knows it.
        content: What the items are, where the set knows it.
        item_ids: The set's own id of each item row.
        user_ids: The set's own id of each user.
        sha256: Of the file or log they were read from.

    Shapes: ``starts[users + 1]`` int64, ``rows[events]`` int32, ``times_ms[events]`` int64.
    """

    name: str
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    items: int
    item_ids: NDArray[np.int64]
    user_ids: NDArray[np.int64]
    times_ms: NDArray[np.int64] | None = None
    content: ItemContent | None = None
    sha256: str = ""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Events of each user."""
        return np.diff(self.starts)

    def of(self, user: int) -> NDArray[np.int32]:
        """One user's items, oldest first."""
        return self.rows[self.starts[user] : self.starts[user + 1]]

    def without_last(self, last: int) -> Sequences:
        """The same users, each without the latest events; a user who had no more keeps an empty row."""
        kept = np.maximum(self.lengths - last, 0)
        starts = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        at = np.repeat(self.starts[:-1] - starts[:-1], kept) + np.arange(starts[-1])
        times = None if self.times_ms is None else self.times_ms[at]
        return replace(self, starts=starts, rows=self.rows[at], times_ms=times)

    def take(self, users: NDArray[np.integer]) -> Sequences:
        """Only these users, in this order."""
        kept = self.lengths[users]
        starts = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        at = np.repeat(self.starts[users] - starts[:-1], kept) + np.arange(starts[-1])
        times = None if self.times_ms is None else self.times_ms[at]
        return replace(self, starts=starts, rows=self.rows[at], times_ms=times, user_ids=self.user_ids[users])


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """The leave-one-out split: each user's last event is the test target, the one before it the validation target.

    Attributes:
        fit: What is learned from, in every protocol: all but the last two events.
        with_validation: All but the last event: what a model may *read* as history at test time, and what the looser
            protocol also learns from.
        users: Users with at least three events, whose targets are judged.
        validation, test: Their targets. Shapes: [users].
        times_ms: Of the validation and the test targets where known. Shapes: [2, users].
        md5: Of the sequences and both targets, so that two tables are known to be about the same split.
    """

    sequences: Sequences
    fit: Sequences
    with_validation: Sequences
    users: NDArray[np.int64]
    validation: NDArray[np.int32]
    test: NDArray[np.int32]
    times_ms: NDArray[np.int64] | None
    md5: str


def leave_one_out(sequences: Sequences) -> LeaveOneOut:
    """Each judged user's last two events as targets, everything before them to learn from."""
    users = np.flatnonzero(sequences.lengths >= 3)
    ends = sequences.starts[1:][users]
    test, validation = sequences.rows[ends - 1], sequences.rows[ends - 2]
    times = sequences.times_ms
    digest = hashlib.md5(usedforsecurity=False)
    for part in (sequences.starts, sequences.rows.astype(np.int64), users, validation, test):
        digest.update(np.ascontiguousarray(part).tobytes())
    return LeaveOneOut(
        sequences=sequences,
        fit=sequences.without_last(2),
        with_validation=sequences.without_last(1),
        users=users,
        validation=validation,
        test=test,
        times_ms=None if times is None else np.stack([times[ends - 2], times[ends - 1]]),
        md5=digest.hexdigest(),
    )
