"""The features of the rows a model learns from: in memory, or in files when there are more of them than memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ModelError
from mainstem.features.timeline import Values

Ints = NDArray[np.int64]
Scales = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Mean and spread of each column, by side."""

SIDES: Final = ("user", "item", "cross")
CHUNK: Final = 16_384
"""Rows that are held at once while they are written, and over which moments are summed, in memory too."""

BLOCK: Final = 8_192
POOL: Final = 262_144
"""Rows that are shuffled together: whole blocks, so that reads stay near each other."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The features of n rows, and how each column spreads over those that are learned from.

    Attributes:
        values: The columns; of a folder they are memory maps, and whoever asks for all rows at once gets them all into memory.
        scales: Mean and spread of each column over the training rows; a column that never moves keeps its size.
        folder: Where the files are; None in memory.
    """

    values: Values
    scales: Scales
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.values.item_row)

    def take(self, at: Ints) -> Values:
        """The features of some rows, read in the order of the files and given back in the order asked."""
        if self.folder is None:
            return _of(self.values, at)
        order = np.argsort(at, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        some = _of(self.values, at[order])
        self.release()
        return _of(some, back)

    def release(self) -> None:
        """Lets go of what was read: pages of files count as this process's memory until then. ``take`` does it by itself."""
        for side in SIDES:
            let_go(getattr(self.values, side))


def shuffled(rows: Ints, size: int, seed: Sequence[int], pool: int = POOL, block: int = BLOCK) -> Iterator[Ints]:
    """Batches of rows in a drawn order: blocks are drawn, then the rows of some blocks together.

    The order depends on the seed alone, so that a training that goes on skips as many batches as it has done. A last batch that is
    not full is left out, unless it is the only one.

    Args:
        rows: Which rows, ascending.
        size: Rows of a batch.
        seed: Of the draw: the training's seed and the epoch.
        pool: Rows that are shuffled together; with no more rows than this the order is a plain permutation.
        block: Rows that lie side by side.
    """
    draw = np.random.default_rng(list(seed))
    blocks = draw.permutation(-(-len(rows) // block))
    held: Ints = np.empty(0, np.int64)
    first = True
    together = max(1, pool // block)
    for start in range(0, len(blocks), together):
        some = np.concatenate([rows[at * block : (at + 1) * block] for at in blocks[start : start + together]])
        held = np.concatenate([held, draw.permutation(some)])
        while len(held) >= size:
            yield held[:size]
            held, first = held[size:], False
    if first and len(held):
        yield held


class Moments:
    """Mean and spread of columns, added up a chunk at a time.

    Source: Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """

    def __init__(self, columns: int) -> None:
        self.n = 0
        self._mean, self._squares = np.zeros(columns), np.zeros(columns)

    def add(self, values: NDArray[np.float32]) -> None:
        """Takes some rows in."""
        n = len(values)
        if not n:
            return
        mean = values.mean(axis=0, dtype=np.float64)
        squares = values.var(axis=0, dtype=np.float64) * n
        away, whole = mean - self._mean, self.n + n
        self._mean += away * (n / whole)
        self._squares += squares + away**2 * (self.n * n / whole)
        self.n = whole

    def scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and spread to standardise by; a column that never moves keeps its size, and none is blown up."""
        std = np.sqrt(self._squares / max(self.n, 1))
        return self._mean.astype(np.float32), np.where(std < 1e-4, 1.0, np.maximum(std, 0.05)).astype(np.float32)


def rows_in_memory(values: Values, train: NDArray[np.bool_]) -> Rows:
    """Rows that are there already."""
    moments = {side: Moments(getattr(values, side).shape[1]) for side in SIDES}
    for start in range(0, len(train), CHUNK):
        _add(moments, values, train, start, start)
    return Rows(values, {side: one.scale() for side, one in moments.items()})


def rows_in_files(
    sides: Iterable[dict[str, NDArray[np.float32]]],
    widths: dict[str, int],
    user_row: NDArray[np.int32],
    item_row: NDArray[np.int32],
    train: NDArray[np.bool_],
    folder: Path,
) -> Rows:
    """Rows written to files as they come, ``CHUNK`` of them at a time.

    Args:
        sides: ``user``, ``item`` and ``cross`` of the next ``CHUNK`` rows, in the order of the rows.
        widths: Columns of each side.
        user_row: The catalog's row of each row's user.
        item_row: The same of its item.
        train: Which rows are learned from.
        folder: Where the files go; nothing of them is left there when the disk refuses one.

    Raises:
        ModelError: The disk refused them (``model-043``), or values are of another type than the features declare (``model-046``).
    """
    n = len(train)
    paths = {side: folder / f"{side}.npy" for side in SIDES}
    moments = {side: Moments(width) for side, width in widths.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {side: path.open("wb") for side, path in paths.items()}
        try:
            for side, file in files.items():
                _header(file, (n, widths[side]))
            done = 0
            for part in sides:
                _check(part, widths)
                end = done + len(part["user"])
                for side, file in files.items():
                    moments[side].add(part[side][train[done:end]])
                    file.write(np.ascontiguousarray(part[side], "<f4").data)
                done = end
        finally:
            for file in files.values():
                file.close()
    except OSError as error:
        for path in paths.values():
            path.unlink(missing_ok=True)
        raise ModelError(
            f"the rows to learn from were not written to {folder.name!r}: {error.strerror or error}",
            code="model-043",
            hint="make room, or let it learn in memory: `mainstem train`",
        ) from None
    maps = {side: np.load(path, mmap_mode="r") for side, path in paths.items()}
    values = Values(user_row=user_row, item_row=item_row, **maps)
    return Rows(values, {side: one.scale() for side, one in moments.items()}, folder)


def _check(part: dict[str, NDArray[Any]], widths: dict[str, int]) -> None:
    for side, width in widths.items():
        found = part[side]
        if found.ndim != 2 or found.shape[1] != width or found.dtype.kind != "f":
            raise ModelError(
                f"the {side} side of the rows is {found.dtype} of shape {found.shape}, expected {width} columns of numbers",
                code="model-046",
                hint="a feature's dtype says what it holds; `mainstem features` shows it",
            )


def _header(file: Any, shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _add(moments: dict[str, Moments], values: Values, train: NDArray[np.bool_], start: int, first: int) -> None:
    some = train[start : start + CHUNK]
    for side, one in moments.items():
        one.add(getattr(values, side)[first : first + CHUNK][some])


def _of(values: Values, at: Ints) -> Values:
    return Values(
        user=np.asarray(values.user[at]),
        item=np.asarray(values.item[at]),
        cross=np.asarray(values.cross[at]),
        user_row=values.user_row[at],
        item_row=values.item_row[at],
    )


def let_go(array: NDArray[Any]) -> None:
    """Lets go of the pages of a memory map that were read; of any other array nothing."""
    held = getattr(array, "_mmap", None)
    if held is not None and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)


__all__ = [
    "BLOCK",
    "CHUNK",
    "POOL",
    "SIDES",
    "Moments",
    "Rows",
    "Scales",
    "rows_in_files",
    "rows_in_memory",
    "shuffled",
]
