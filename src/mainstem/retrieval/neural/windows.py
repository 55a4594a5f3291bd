"""All windows of all sequences as rectangles of equal length: nothing is cut off, and little is padded.

Peers keep the last L events of a user and learn from a quarter of MovieLens-1M so. Here a long sequence is cut into
windows, at another place each epoch, so that an event is now early in a window (little before it) and now late.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.data.sequences import Sequences


@dataclass(frozen=True, slots=True)
class Windows:
    """Pieces of sequences, each of which has a next event after every place.

    Shapes: ``starts[n]`` (place in the events of all users), ``lengths[n]``.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of about one length.

    Shapes: ``items[n, length]`` padded with the number of items, ``targets[n, length, ahead]`` padded with -1,
        ``lengths[n]``, ``times_ms[n, length]`` or None.
    """

    items: NDArray[np.int64]
    targets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    times_ms: NDArray[np.int64] | None


def cut(sequences: Sequences, length: int, rng: np.random.Generator | None = None) -> Windows:
    """The windows of one epoch: every event but each user's first is a target exactly once.

    Args:
        sequences: Users with fewer than two events give none.
        length: Most events a window reads.
        rng: Where long sequences are first cut; None cuts after full windows from the start.
    """
    places = np.maximum(sequences.lengths - 1, 0)
    first = np.full(len(places), length, np.int64)
    if rng is not None:
        first = rng.integers(1, length + 1, size=len(places))
    first = np.where(places <= length, places, np.minimum(first, places))
    counts = np.where(places > 0, 1 + -(-(places - first) // length), 0)
    user = np.repeat(np.arange(len(places)), counts)
    nth = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = np.where(nth == 0, 0, first[user] + (nth - 1) * length)
    end = np.minimum(first[user] + nth * length, places[user])
    return Windows(starts=sequences.starts[:-1][user] + begin, lengths=end - begin)


def batches(
    sequences: Sequences, windows: Windows, places: int, rng: np.random.Generator, ahead: int = 1
) -> Iterator[Batch]:
    """The windows in random order, those of about one length together.

    Args:
        sequences: What the windows were cut from.
        windows: Of one epoch.
        places: Most places a batch holds, padding counted.
        rng: Order of the windows and of the batches.
        ahead: How many following events each place is given as targets.
    """
    order = rng.permutation(len(windows))
    widths = _widths(windows.lengths)
    order = order[np.argsort(widths[order], kind="stable")]
    pieces = _pieces(widths[order], places)
    owner_end = sequences.starts[np.searchsorted(sequences.starts, windows.starts, side="right")]
    for at in rng.permutation(len(pieces)):
        begin, end, width = pieces[at]
        chosen = order[begin:end]
        yield _batch(sequences, windows.starts[chosen], windows.lengths[chosen], width, owner_end[chosen], ahead)


def _widths(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lengths rounded up to one of a dozen or so, which wastes a few places.

    A library of products compiles and keeps a program for every shape it meets: with a new shape each step that takes
    half of the time, and gigabytes.
    """
    longest = int(lengths.max(initial=1))
    step = max(1, longest // 12)
    return np.minimum(-(-lengths // step) * step, longest)


def _pieces(widths: NDArray[np.int64], places: int) -> list[tuple[int, int, int]]:
    """Begin, end and width of each batch: as many windows as its width allows, too few of one width join the next."""
    kinds, pieces, begin = np.unique(widths), [], 0
    while begin < len(widths):
        end, width = len(widths), int(widths[-1])
        for kind in kinds[kinds >= widths[begin]].tolist():
            full = begin + max(1, places // kind)
            if full <= len(widths) and widths[full - 1] <= kind:
                end, width = full, kind
                break
        pieces.append((begin, end, width))
        begin = end
    return pieces


def _batch(
    sequences: Sequences,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    width: int,
    ends: NDArray[np.int64],
    ahead: int,
) -> Batch:
    each = np.arange(width)
    inside = each < lengths[:, None]
    at = starts[:, None] + np.minimum(each, lengths[:, None] - 1)
    items = np.where(inside, sequences.rows[at], sequences.items)
    following = at[:, :, None] + 1 + np.arange(ahead)
    known = inside[:, :, None] & (following < ends[:, None, None])
    targets = np.where(known, sequences.rows[np.minimum(following, len(sequences.rows) - 1)], -1)
    times = None if sequences.times_ms is None else sequences.times_ms[at]
    return Batch(items=items.astype(np.int64), targets=targets.astype(np.int64), lengths=lengths, times_ms=times)


def latest(sequences: Sequences, length: int, users: NDArray[np.integer] | None = None) -> Batch:
    """The last events of each user as one rectangle, for asking; a user without events has length 0 and one padded place."""
    users = np.arange(len(sequences)) if users is None else users
    ends, have = sequences.starts[1:][users], sequences.lengths[users]
    lengths = np.minimum(have, length)
    width = max(1, int(lengths.max(initial=0)))
    each = np.arange(width)
    inside = each < lengths[:, None]
    at = np.clip((ends - lengths)[:, None] + np.minimum(each, np.maximum(lengths, 1)[:, None] - 1), 0, None)
    padded = np.append(sequences.rows, sequences.items)
    items = np.where(inside, padded[np.minimum(at, len(sequences.rows))], sequences.items)
    times = None
    if sequences.times_ms is not None:
        times = np.append(sequences.times_ms, 0)[np.minimum(at, len(sequences.rows))]
    return Batch(items.astype(np.int64), np.full((*items.shape, 1), -1, np.int64), lengths.astype(np.int64), times)
