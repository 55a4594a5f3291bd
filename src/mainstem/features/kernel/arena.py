"""The online executor: the state of all groups in one int64 memory, applied to and read in one compiled call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.kernel import memory as m
from mainstem.features.kernel.arena_kernel import (
    apply_rows,
    drop_key,
    expire_keys,
    find_record,
    group_keys,
    known_keys,
    put_record,
    read_keys,
    read_lists,
)
from mainstem.features.kernel.describe import describe, rewrite_columns
from mainstem.features.kernel.index import rebuild_index
from mainstem.features.kernel.pack import fits_group, pack_record, packed_words
from mainstem.features.kernel.shape import EventLayout, GroupShape, Window
from mainstem.features.kernel.windows import WindowSet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FORMAT = 1
"""Version of packed keys and snapshots; another one is refused."""
BLOB_HEADER = 2
FIRST_INDEX = 1 << 10
FIRST_DIRTY = 1 << 10
NO_ROWS = np.zeros((0, 0), np.int64)
NO_RAW = np.zeros((0, 0, 0), np.int64)
NO_VALUES = np.zeros((0, 0, 0), np.float64)


class ArenaFullError(FeatureError):
    """No room for one more whole event within the limit (``feature-022``).

    Args:
        message: Which limit, and which group holds the most keys.
        applied: Rows of the call that were applied before.
    """

    def __init__(self, message: str, applied: int) -> None:
        hint = "raise the limit, shorten the time to live of that group or shard its keys"
        super().__init__(message, code="feature-022", hint=hint, status=503)
        self.applied = applied


class Arena:
    """All live feature state of one process. One writer at a time; reads may run side by side with each other.

    Args:
        shapes: One shape for each group; a group is its place here.
        layout: Where event rows hold each group's words; ``EventLayout.dense`` when None.
        ttls_ms: Per group the age of a key's newest event after which `expire` drops it; None keeps it.
        capacity_words: int64 words to start with; the memory doubles when they are used.
        limit_words: Words it never grows beyond; None for no limit. The key table is not counted.
        track: Whether touched keys are noted for `dirty`.

    Raises:
        FeatureError: ``feature-020`` when the layout or the times to live do not fit the shapes.
    """

    def __init__(
        self,
        shapes: Sequence[GroupShape],
        *,
        layout: EventLayout | None = None,
        ttls_ms: Sequence[int | None] | None = None,
        capacity_words: int = 1 << 16,
        limit_words: int | None = None,
        track: bool = False,
    ) -> None:
        self.shapes = tuple(shapes)
        self.layout = layout or EventLayout.dense(shapes)
        self.layout.check(shapes)
        self.ttls_ms = tuple(ttls_ms) if ttls_ms is not None else (None,) * len(shapes)
        if len(self.ttls_ms) != len(self.shapes):
            raise FeatureError(
                f"{len(self.ttls_ms)} times to live for {len(self.shapes)} groups",
                code="feature-020",
                hint="give one for each group, None to keep its keys",
            )
        self._limit = limit_words
        self._mem = describe(self.shapes, self.layout, self.ttls_ms, capacity_words, limit_words, track)
        self._index = np.zeros(FIRST_INDEX, np.int64)
        self._dirty = np.zeros((max(FIRST_DIRTY, 2 * len(self.shapes)), 4), np.int64)
        self._width = self.layout.width
        self._prints = tuple(shape.fingerprint for shape in self.shapes)
        self._encoded: dict[tuple[int, tuple[Window, ...]], WindowSet] = {}

    @property
    def words_used(self) -> int:
        """How many int64 words hold live state and its descriptions (free lists not counted)."""
        return int(self._mem[m.USED])

    @property
    def words_held(self) -> int:
        """How many int64 words the memory has, used or not."""
        return len(self._mem)

    @property
    def keys(self) -> tuple[int, ...]:
        """How many keys each group holds."""
        return tuple(int(self._mem[self._describes(group) + m.GROUP_KEYS]) for group in range(len(self.shapes)))

    @property
    def newest(self) -> tuple[int, ...]:
        """The newest shifted time each group has applied; ``UNTIMED`` before the first."""
        return tuple(int(self._mem[self._describes(group) + m.GROUP_NEWEST]) for group in range(len(self.shapes)))

    def apply(self, rows: Ints, *, before: int = -1) -> Ints:
        """Applies events in log order, each to every group it concerns.

        Args:
            rows: The events, as the layout says.
            before: A group whose ever accumulators are returned as they were before each event; -1 for none.

        Returns:
            The accumulators of group `before`, the identity where an event does not concern it; empty without one.

        Raises:
            FeatureError: ``feature-021`` for another dtype or width.
            ArenaFullError: ``feature-022`` when an event has no room; earlier rows are applied, that one not at all.

        Shapes:
            rows: [events, layout.width]; result [events, inputs].
        """
        if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != self._width or not rows.flags.c_contiguous:
            raise _not_rows("event rows", rows, f"[events, {self._width}]")
        out = NO_ROWS if before < 0 else np.empty((len(rows), self.shapes[before].inputs), np.int64)
        done = apply_rows(self._mem, self._index, self._dirty, rows, 0, before, out)
        while done < len(rows):
            self._make_way(done)
            done = apply_rows(self._mem, self._index, self._dirty, rows, done, before, out)
        return out

    def windows(self, group: int, windows: tuple[Window, ...]) -> WindowSet:
        """The encoded windows of a read of a group, made once; pass them instead of the tuple on a hot path."""
        found = self._encoded.get((group, windows))
        if found is None:
            found = self._encoded[group, windows] = WindowSet.of(self.shapes[group], windows)
        return found

    def read(
        self,
        group: int,
        keys: Ints,
        now: Ints | int,
        windows: tuple[Window, ...] | WindowSet,
        out: Floats | None = None,
    ) -> Floats:
        """The windows of keys as feature values.

        Args:
            group: Which state table.
            keys: Key words; an unknown key reads as one without events.
            now: Shifted time of each request or of all; ``UNTIMED`` where it is not known.
            windows: What to combine.
            out: Where to write, instead of a new array.

        Returns:
            float64; an empty minimum or maximum and packed registers are NaN.

        Raises:
            FeatureError: ``feature-021`` for other arrays, ``feature-026`` for windows the group does not keep.

        Shapes:
            keys: [n, key_width]; now: [n]; result: [n, windows, inputs].
        """
        encoded = windows if isinstance(windows, WindowSet) else self.windows(group, windows)
        keys, times = self._asked(group, keys, now)
        values = np.empty((len(keys), encoded.size, self.shapes[group].inputs)) if out is None else out
        if values.shape != (len(keys), encoded.size, self.shapes[group].inputs) or values.dtype != np.float64:
            raise _not_rows("out", values, "float64 [keys, windows, inputs]")
        read_keys(self._mem, self._index, group, keys, times, encoded.codes, encoded.weights, values, NO_RAW, False)
        return values

    def read_registers(self, group: int, keys: Ints, now: Ints | int, windows: tuple[Window, ...] | WindowSet) -> Ints:
        """The windows of keys as the int64 accumulators they are: packed registers, exact sums.

        Raises:
            FeatureError: ``feature-021`` for other arrays, ``feature-026`` for a DECAY window.

        Shapes:
            keys: [n, key_width]; now: [n]; result: [n, windows, inputs].
        """
        encoded = windows if isinstance(windows, WindowSet) else self.windows(group, windows)
        refuse_decay(encoded)
        keys, times = self._asked(group, keys, now)
        raw = np.empty((len(keys), encoded.size, self.shapes[group].inputs), np.int64)
        read_keys(self._mem, self._index, group, keys, times, encoded.codes, encoded.weights, NO_VALUES, raw, True)
        return raw

    def read_list(self, group: int, keys: Ints, k: int | None = None) -> tuple[Ints, Ints, Ints]:
        """The newest `k` listed events of keys (all that the group lists when None), newest first.

        Returns:
            How many there are, their times and their fields; unused places are ``UNTIMED`` and zeros.

        Shapes:
            keys: [n, key_width]; result: [n], [n, k], [n, k, list_fields].
        """
        shape = self.shapes[group]
        keys, _ = self._asked(group, keys, 0)
        k = shape.list_k if k is None else k
        counts = np.empty(len(keys), np.int64)
        whens = np.empty((len(keys), k), np.int64)
        fields = np.empty((len(keys), k, shape.list_fields), np.int64)
        read_lists(self._mem, self._index, group, keys, k, counts, whens, fields)
        return counts, whens, fields

    def known(self, group: int, keys: Ints) -> NDArray[np.bool_]:
        """Which keys hold state.

        Shapes:
            keys: [n, key_width]; result: [n].
        """
        keys, _ = self._asked(group, keys, 0)
        out = np.empty(len(keys), np.bool_)
        known_keys(self._mem, self._index, group, keys, out)
        return out

    def keys_of(self, group: int) -> Ints:
        """Every key of a group, in no order that means anything.

        Shapes:
            result: [keys, key_width].
        """
        out = np.empty((self.keys[group], self.shapes[group].key_width), np.int64)
        group_keys(self._mem, self._index, group, out)
        return out

    def blob(self, group: int, key: Sequence[int]) -> bytes | None:
        """One key's live state as bytes (little-endian words: format, shape, state); None when it is not known."""
        record = find_record(self._mem, self._index, group, self._one(group, key), 0)
        if record == 0:
            return None
        described = self._describes(group)
        out = np.empty(BLOB_HEADER + packed_words(self._mem, described, record), np.int64)
        out[:BLOB_HEADER] = (FORMAT, self._prints[group])
        pack_record(self._mem, described, record, out[BLOB_HEADER:])
        return out.astype("<i8", copy=False).tobytes()

    def put_blob(self, group: int, key: Sequence[int], blob: bytes) -> None:
        """Makes a packed state the state of a key, in place of what it had; it does not count as touched.

        Raises:
            FeatureError: ``feature-023`` when the bytes are of another format or shape, or damaged.
            ArenaFullError: ``feature-022`` when there is no room; the key keeps what it had.
        """
        row = self._one(group, key)
        words = np.frombuffer(blob, "<i8").astype(np.int64) if len(blob) % 8 == 0 else np.zeros(0, np.int64)
        if len(words) < BLOB_HEADER or tuple(words[:BLOB_HEADER]) != (FORMAT, self._prints[group]):
            raise _not_blob(group, "is of another format or shape")
        words = words[BLOB_HEADER:]
        if not fits_group(self._mem, self._describes(group), words):
            raise _not_blob(group, "is damaged")
        put_record(self._mem, self._index, group, row, words)
        while self._mem[m.STOP] != m.STOP_DONE:
            self._make_way(0)
            put_record(self._mem, self._index, group, row, words)

    def drop(self, group: int, key: Sequence[int]) -> bool:
        """Forgets a key; it counts as touched. False when it was not known."""
        row = self._one(group, key)
        gone = drop_key(self._mem, self._index, self._dirty, group, row)
        if self._mem[m.STOP] != m.STOP_DONE:
            self._make_way(0)
            gone = drop_key(self._mem, self._index, self._dirty, group, row)
        return bool(gone)

    def dirty(self) -> list[tuple[int, tuple[int, ...]]]:
        """The (group, key) touched since the last call, first touched first; a dropped key is among them."""
        rows = self.dirty_rows()
        widths = [shape.key_width for shape in self.shapes]
        return list(dict.fromkeys((row[0], tuple(row[1 : 1 + widths[row[0]]])) for row in rows.tolist()))

    def dirty_rows(self) -> Ints:
        """The same as rows of group and three key words; a key dropped and made again may stand there twice."""
        rows = self._dirty[: self._mem[m.DIRTY]].copy()
        self._mem[m.DIRTY] = 0
        self._mem[m.EPOCH] += 1
        return rows

    def expire(self, now: Sequence[int] | Callable[[int], int] | None = None) -> int:
        """Drops keys past their time to live and frees tiles past their keep; their words go to the free lists.

        Args:
            now: Shifted time by group, or what gives it; the newest time each group has applied when None. It must
                not be ahead of the requests still to come: a request before it may miss freed tiles.

        Returns:
            How many keys went. A key whose events are all untimed has no age and stays; expired keys are not touched
            ones: a store expires them by its own clock.
        """
        groups = range(len(self.shapes))
        clock = self.newest if now is None else now
        times = np.array([clock(group) if callable(clock) else clock[group] for group in groups], np.int64)
        return int(expire_keys(self._mem, self._index, times))

    def snapshot(self) -> dict[str, Ints]:
        """The whole state as arrays that `restore` takes."""
        prints = list(self._prints)
        return {
            "header": np.array([FORMAT, *prints], np.int64),
            "memory": self._mem[: self._mem[m.TOP]].copy(),
            "index": self._index.copy(),
            "dirty": self._dirty[: self._mem[m.DIRTY]].copy(),
        }

    def restore(self, arrays: Mapping[str, Ints]) -> None:
        """Takes a snapshot's state in place of this one; reads are the same to the bit.

        Raises:
            FeatureError: ``feature-024`` for a snapshot of other shapes or another format.
        """
        wanted = [FORMAT, *(shape.fingerprint for shape in self.shapes)]
        if [int(word) for word in arrays["header"]] != wanted:
            raise FeatureError(
                "a snapshot of other groups or another format",
                code="feature-024",
                hint="rebuild the state from the log",
            )
        memory, dirty = arrays["memory"], arrays["dirty"]
        track = self._mem[m.TRACK]
        fresh = np.zeros(max(len(memory), len(self._mem)), np.int64)
        fresh[: len(memory)] = memory
        fresh[m.TRACK] = track
        rewrite_columns(fresh, self.layout, self.ttls_ms)
        self._mem, self._index = fresh, arrays["index"].astype(np.int64)
        self._dirty = np.zeros((max(FIRST_DIRTY, 2 * (len(dirty) + len(self.shapes))), 4), np.int64)
        self._dirty[: len(dirty)] = dirty

    def _describes(self, group: int) -> int:
        return int(self._mem[m.GROUP_TABLE + group])

    def _one(self, group: int, key: Sequence[int]) -> Ints:
        row = np.array(key, np.int64).reshape(1, -1)
        return self._asked(group, row, 0)[0]

    def _asked(self, group: int, keys: Ints, now: Ints | int) -> tuple[Ints, Ints]:
        width = self.shapes[group].key_width
        if keys.dtype != np.int64 or keys.ndim != 2 or keys.shape[1] != width:
            raise _not_rows("keys", keys, f"[keys, {width}]")
        times = np.full(len(keys), now, np.int64) if isinstance(now, int) else now
        if times.dtype != np.int64 or times.shape != (len(keys),):
            raise _not_rows("now", times, "[keys]")
        return np.ascontiguousarray(keys), np.ascontiguousarray(times)

    def _make_way(self, applied: int) -> None:
        """Grows what the kernel stopped for; at the limit expires first, then refuses."""
        stop = int(self._mem[m.STOP])
        if stop == m.STOP_INDEX:
            index = np.zeros(2 * len(self._index), np.int64)
            rebuild_index(self._mem, m.GROUP_TABLE, self._index, index)
            self._index = index
        elif stop == m.STOP_DIRTY:
            self._dirty = np.concatenate([self._dirty, np.zeros_like(self._dirty)])
        elif not self._grow_memory() and self._expire_once(applied) == 0:
            raise self._full(applied)
        self._mem[m.STOP] = m.STOP_DONE

    def _grow_memory(self) -> bool:
        had = len(self._mem)
        size = max(2 * had, had + int(self._mem[m.WORST]))
        if self._limit is not None:
            size = min(size, self._limit)
        if size <= had:
            return False
        fresh = np.zeros(size, np.int64)
        fresh[:had] = self._mem
        self._mem = fresh
        return True

    def _expire_once(self, applied: int) -> int:
        """Words that expiry freed."""
        used = self.words_used
        self.expire()
        return used - self.words_used

    def _full(self, applied: int) -> ArenaFullError:
        largest = max(range(len(self.shapes)), key=lambda group: self.keys[group])
        return ArenaFullError(
            f"no room in {self._limit} words after {applied} rows of the call; "
            f"group {largest} holds the most keys, {self.keys[largest]}",
            applied,
        )


def refuse_decay(encoded: WindowSet) -> None:
    """Refuses a read of int64 accumulators through a DECAY window.

    Raises:
        FeatureError: ``feature-026``.
    """
    if not encoded.exact:
        raise FeatureError(
            "a DECAY window has no int64 accumulators", code="feature-026", hint="read it as feature values"
        )


def _not_rows(what: str, found: NDArray[np.generic], wanted: str) -> FeatureError:
    return FeatureError(
        f"{what} are {found.dtype} {found.shape}, expected int64 {wanted} in C order",
        code="feature-021",
        hint="fill the matrix that the layout describes",
    )


def _not_blob(group: int, what: str) -> FeatureError:
    return FeatureError(
        f"the packed state of a key of group {group} {what}",
        code="feature-023",
        hint="drop it and rebuild the key from the log",
    )
