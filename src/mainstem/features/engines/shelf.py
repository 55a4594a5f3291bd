"""Where are buckets of events, requests and answers kept meanwhile: in memory, or in files that a stopped job finds again?"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.engines.arrow import array_of, batch_of, table_of
from mainstem.features.engines.columns import Columns, with_keys
from mainstem.features.engines.spaces import ROW, Space, bucket_of

Arrays = dict[str, NDArray[Any]]


class Shelf(Protocol):
    """Keeps what goes from one stage to the next."""

    buckets: int

    def is_done(self, stage: str) -> bool:
        """Whether a stage was finished by an earlier run."""
        ...

    def finish(self, stage: str, told: dict[str, int]) -> None:
        """Notes that a stage is finished, with some numbers."""
        ...

    def told(self, stage: str) -> dict[str, int]:
        """The numbers of a finished stage."""
        ...

    def put_events(self, spaces: tuple[Space, ...], columns: Columns) -> None:
        """Keeps a batch of a source's events for all its spaces."""
        ...

    def put_requests(self, name: str, columns: Columns, words: tuple[str, ...]) -> None:
        """Keeps a batch under a name, by bucket of some key words."""
        ...

    def put_block(self, name: str, table: pa.Table) -> None:
        """Keeps a table as the next block under a name."""
        ...

    def sealed(self) -> None:
        """Everything that was put is to be found from now on."""
        ...

    def events(self, space: Space, bucket: int) -> pa.Table:
        """A bucket of a space's events."""
        ...

    def requests(self, name: str, bucket: int) -> pa.Table:
        """A bucket that ``put_requests`` filled."""
        ...

    def block(self, name: str, at: int) -> pa.Table:
        """Block number ``at`` of a name."""
        ...

    def has_answers(self, space: Space, bucket: int) -> bool:
        """Whether a task is done."""
        ...

    def put_answers(self, space: Space, bucket: int, answers: pa.Table | Arrays) -> None:
        """Keeps what a task said, its rows ascending."""
        ...

    def answers(self, space: Space, bucket: int, first: int, last: int) -> Arrays:
        """What a task said about the requests ``first`` to ``last`` (exclusive)."""
        ...

    def forget(self, space: Space) -> None:
        """A space's events are needed no more."""
        ...


class MemoryShelf:
    """Everything in memory, in one bucket: columns that several spaces read are kept once."""

    buckets = 1

    def __init__(self) -> None:
        self._batches: dict[str, list[Columns]] = {}
        self._spaces: dict[str, tuple[Space, ...]] = {}
        self._events: dict[str, Columns] = {}
        self._keyless: set[str] = set()
        self._requests: dict[str, list[pa.RecordBatch]] = {}
        self._blocks: dict[str, list[pa.Table]] = {}
        self._answers: dict[str, Arrays] = {}
        self._told: dict[str, dict[str, int]] = {}

    def is_done(self, stage: str) -> bool:
        """Whether a stage was finished by an earlier run."""
        return stage in self._told

    def finish(self, stage: str, told: dict[str, int]) -> None:
        """Notes that a stage is finished, with some numbers."""
        self._told[stage] = told

    def told(self, stage: str) -> dict[str, int]:
        """The numbers of a finished stage."""
        return self._told[stage]

    def put_events(self, spaces: tuple[Space, ...], columns: Columns) -> None:
        """Keeps a batch of a source's events for all its spaces."""
        source = spaces[0].source
        self._spaces[source] = spaces
        self._batches.setdefault(source, []).append({name: _narrow(array) for name, array in columns.items()})
        self._keyless |= {
            space.name for space in spaces if any(bool((columns[word] < 0).any()) for word in space.words)
        }

    def put_requests(self, name: str, columns: Columns, words: tuple[str, ...]) -> None:
        """Keeps a batch under a name, by bucket of some key words."""
        self._requests.setdefault(name, []).append(batch_of(columns))

    def put_block(self, name: str, table: pa.Table) -> None:
        """Keeps a table as the next block under a name."""
        self._blocks.setdefault(name, []).append(table)

    def sealed(self) -> None:
        """Everything that was put is to be found from now on."""
        for source, batches in self._batches.items():
            whole: Columns = {}
            for name in list(batches[0]):
                whole[name] = np.concatenate([batch.pop(name) for batch in batches])
            self._events[source] = whole
        self._batches.clear()

    def events(self, space: Space, bucket: int) -> pa.Table:
        """A bucket of a space's events."""
        columns = self._events[space.source]
        own = {name: columns[name] for name in space.columns}
        return table_of(with_keys(space, own) if space.name in self._keyless else own)

    def requests(self, name: str, bucket: int) -> pa.Table:
        """A bucket that ``put_requests`` filled."""
        return pa.Table.from_batches(self._requests.pop(name))

    def block(self, name: str, at: int) -> pa.Table:
        """Block number ``at`` of a name."""
        return self._blocks[name][at]

    def has_answers(self, space: Space, bucket: int) -> bool:
        """Whether a task is done."""
        return space.name in self._answers

    def put_answers(self, space: Space, bucket: int, answers: pa.Table | Arrays) -> None:
        """Keeps what a task said, its rows ascending."""
        self._answers[space.name] = _arrays(answers)

    def answers(self, space: Space, bucket: int, first: int, last: int) -> Arrays:
        """What a task said about the requests ``first`` to ``last`` (exclusive)."""
        return {name: array[first:last] for name, array in self._answers[space.name].items()}

    def forget(self, space: Space) -> None:
        """A space's events are needed no more."""
        spaces = tuple(one for one in self._spaces[space.source] if one.name != space.name)
        self._spaces[space.source] = spaces
        columns = self._events[space.source]
        needed = {name for one in spaces for name in one.columns}
        for name in [name for name in columns if name not in needed]:
            del columns[name]


class FileShelf:
    """Everything in files of one folder, by bucket; memory holds a batch, and the buckets that are being worked on.

    Args:
        folder: Where; it is made, and what an earlier run finished in it is used again.
        buckets: Into how many parts keys are divided.
        block: Requests that stand in one batch of an answer.
    """

    def __init__(self, folder: Path, buckets: int, block: int) -> None:
        self.buckets, self._folder, self._block = buckets, folder, block
        self._open: dict[str, tuple[Any, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def is_done(self, stage: str) -> bool:
        """Whether a stage was finished by an earlier run."""
        return (self._folder / f"{stage}.done").exists()

    def finish(self, stage: str, told: dict[str, int]) -> None:
        """Notes that a stage is finished, with some numbers."""
        words = " ".join(f"{name}={value}" for name, value in told.items())
        _whole(self._folder / f"{stage}.done", lambda path: path.write_text(words))

    def told(self, stage: str) -> dict[str, int]:
        """The numbers of a finished stage."""
        pairs = (word.split("=") for word in (self._folder / f"{stage}.done").read_text().split())
        return {name: int(value) for name, value in pairs}

    def put_events(self, spaces: tuple[Space, ...], columns: Columns) -> None:
        """Keeps a batch of a source's events for all its spaces."""
        for space in spaces:
            self._split(f"{space.name}.events", with_keys(space, columns), space.words)

    def put_requests(self, name: str, columns: Columns, words: tuple[str, ...]) -> None:
        """Keeps a batch under a name, by bucket of some key words."""
        self._split(name, columns, words)

    def put_block(self, name: str, table: pa.Table) -> None:
        """Keeps a table as the next block under a name."""
        batches = table.combine_chunks().to_batches()
        self._append(name, 0, batches[0])

    def sealed(self) -> None:
        """Everything that was put is to be found from now on."""
        for writer, file in self._open.values():
            writer.close()
            file.close()
        self._open.clear()

    def events(self, space: Space, bucket: int) -> pa.Table:
        """A bucket of a space's events."""
        return self._table(f"{space.name}.events", bucket)

    def requests(self, name: str, bucket: int) -> pa.Table:
        """A bucket that ``put_requests`` filled."""
        return self._table(name, bucket)

    def block(self, name: str, at: int) -> pa.Table:
        """Block number ``at`` of a name."""
        return pa.Table.from_batches([self._nth(self._path(name, 0), at)])

    def has_answers(self, space: Space, bucket: int) -> bool:
        """Whether a task is done."""
        return self._path(f"{space.name}.answers", bucket).exists()

    def put_answers(self, space: Space, bucket: int, answers: pa.Table | Arrays) -> None:
        """Keeps what a task said, its rows ascending."""
        found = _arrays(answers)

        def write(path: Path) -> None:
            rows = found[ROW]
            end = int(rows[-1]) // self._block + 1 if len(rows) else 0
            cuts = np.searchsorted(rows, np.arange(end + 1) * self._block)
            empty = batch_of({name: array[:0] for name, array in found.items()})
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, empty.schema) as writer:
                for first, last in pairwise(cuts.tolist()):
                    writer.write_batch(batch_of({name: array[first:last] for name, array in found.items()}))

        _whole(self._path(f"{space.name}.answers", bucket), write)

    def answers(self, space: Space, bucket: int, first: int, last: int) -> Arrays:
        """What a task said about the requests ``first`` to ``last`` (exclusive)."""
        path = self._path(f"{space.name}.answers", bucket)
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            at = first // self._block
            if at >= reader.num_record_batches:
                return {name: array_of(column) for name, column in _columns(reader.schema.empty_table())}
            return {name: array_of(column) for name, column in _columns(reader.get_batch(at))}

    def forget(self, space: Space) -> None:
        """A space's events are needed no more."""
        for bucket in range(self.buckets):
            for name in (f"{space.name}.events", f"{space.name}.asked"):
                self._path(name, bucket).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Closes what is open after a failure."""
        for writer, file in self._open.values():
            with contextlib.suppress(pa.ArrowException, OSError):
                writer.close()
                file.close()
        self._open.clear()

    def _split(self, name: str, columns: Columns, words: tuple[str, ...]) -> None:
        bucket = bucket_of([columns[word] for word in words], self.buckets)
        order = np.argsort(bucket, kind="stable")
        cuts = np.searchsorted(bucket[order], np.arange(self.buckets + 1))
        sorted_columns = {column: array[order] for column, array in columns.items()}
        for at in range(self.buckets):
            rows = slice(int(cuts[at]), int(cuts[at + 1]))
            self._append(name, at, batch_of({column: array[rows] for column, array in sorted_columns.items()}))

    def _append(self, name: str, bucket: int, batch: pa.RecordBatch) -> None:
        path = self._path(name, bucket)
        if path.name not in self._open:
            file = pa.OSFile(str(path), "wb")
            self._open[path.name] = (pa.ipc.new_file(file, batch.schema), file)
        self._open[path.name][0].write_batch(batch)

    def _path(self, name: str, bucket: int) -> Path:
        return self._folder / f"{name}.{bucket:04d}.arrow"

    def _table(self, name: str, bucket: int) -> pa.Table:
        with pa.memory_map(str(self._path(name, bucket))) as file:
            return pa.ipc.open_file(file).read_all()

    def _nth(self, path: Path, at: int) -> pa.RecordBatch:
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_file(file).get_batch(at)


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers in half the room, where they fit."""
    if array.dtype != np.int64 or not len(array) or array.min() < -(2**31) or array.max() >= 2**31:
        return array
    return array.astype(np.int32)


def _columns(table: pa.Table | pa.RecordBatch) -> Iterator[tuple[str, Any]]:
    return zip(table.schema.names, table.columns, strict=True)


def _arrays(answers: pa.Table | Arrays) -> Arrays:
    if isinstance(answers, pa.Table):
        return {name: array_of(column) for name, column in _columns(answers)}
    return answers


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file that is complete or not there.

    Raises:
        FeatureError: The disk refused it (``feature-045``).
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(scratch)
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise FeatureError(
            f"a part of the back-fill was not written: {error}",
            code="feature-045",
            status=507,
            hint="make room on the disk and start the same job again; it goes on where it stopped",
        ) from None
