"""Precomputed feature vectors by id: packed float32 rows in any state store, read for one user and many items at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mainstem.base.errors import StoreError
from mainstem.store.state.protocol import StateStore

Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_ID: Final = np.dtype(">i8")
_ROW: Final = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class VectorTable:
    """One table of vectors in a namespace; a row is ``width`` little-endian float32 values under ``name`` and the id.

    Args:
        store: Where the rows lie.
        namespace: The version the rows belong to; several tables may share one, and then share its offset.
        width: Values per row.
        name: What keeps the tables of a namespace apart; short, because it is in every key.
    """

    store: StateStore
    namespace: str
    width: int
    name: bytes = b""

    def put_rows(self, ids: Ids, matrix: Rows, applied: int, expect: int) -> None:
        """Stores rows and the offset they stand at, exactly once; see ``StateStore.commit``.

        Args:
            ids: One per row; the last of equal ids stays.
            matrix: Kept to the bit.
            applied: The offset of the last event in the rows.
            expect: The offset before.

        Raises:
            StoreError: ``store-076`` ids and rows do not fit together or this table.

        Shapes:
            ids [n], matrix [n, width].
        """
        self.store.commit(self.namespace, self._changes(ids, matrix), applied, expect)

    def fill_rows(self, ids: Ids, matrix: Rows) -> None:
        """Stores rows as one part of a bulk load, which a later ``put_rows`` or ``commit`` closes; as ``put_rows``."""
        self.store.fill(self.namespace, self._changes(ids, matrix))

    def read_rows(self, ids: Ids, out: Rows) -> Mask:
        """Which ids have a row: ``out`` gets the rows in the order of the ids, NaN where there is none.

        Raises:
            StoreError: ``store-076`` ``out`` does not fit; ``store-064`` a stored row has another width.

        Shapes:
            ids [n], out [n, width], the answer [n].
        """
        return read_tables([Ask(self, ids, out)])[0]

    def keys(self, ids: Ids) -> list[bytes]:
        """Under which keys the rows of these ids lie."""
        if not self.name:
            return np.ascontiguousarray(ids, _ID).view("V8").tolist()
        # Name and id side by side in one array, cut into keys in one call: half the time of adding bytes to bytes.
        packed = np.empty(len(ids), np.dtype([("name", f"V{len(self.name)}"), ("id", _ID)]))
        packed["name"] = np.void(self.name)
        packed["id"] = ids
        return packed.view(f"V{packed.itemsize}").tolist()

    def _changes(self, ids: Ids, matrix: Rows) -> dict[bytes, bytes | None]:
        self._check(ids, matrix)
        rows = np.ascontiguousarray(matrix, _ROW).tobytes()
        size = self.width * _ROW.itemsize
        return {key: rows[at * size : (at + 1) * size] for at, key in enumerate(self.keys(ids))}

    def _check(self, ids: Ids, matrix: Rows) -> None:
        fits = ids.ndim == 1 and matrix.shape == (len(ids), self.width)
        if fits and ids.dtype == np.int64 and matrix.dtype == np.float32:
            return
        raise StoreError(
            f"found ids {ids.dtype}{list(ids.shape)} and rows {matrix.dtype}{list(matrix.shape)}, "
            f"expected int64[n] and float32[n, {self.width}]",
            code="store-076",
            status=400,
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """Rows wanted from one table, and the array they go to."""

    table: VectorTable
    ids: Ids
    out: Rows


def read_tables(asks: Sequence[Ask]) -> list[Mask]:
    """Rows of several tables of one namespace in one round trip: the viewer's row and the candidates', of one moment.

    Args:
        asks: All of the first one's store and namespace.

    Returns:
        For each ask, which ids have a row.

    Raises:
        StoreError: As ``VectorTable.read_rows``.
    """
    keys: list[bytes] = []
    for ask in asks:
        ask.table._check(ask.ids, ask.out)
        keys += ask.table.keys(ask.ids)
    if not asks:
        return []
    first = asks[0].table
    if any(ask.table.store is not first.store or ask.table.namespace != first.namespace for ask in asks):
        raise StoreError(
            "found tables of several stores or namespaces, expected those of one", code="store-076", status=400
        )
    blobs = first.store.get(first.namespace, keys)
    masks: list[Mask] = []
    for ask in asks:
        mine, blobs = blobs[: len(ask.ids)], blobs[len(ask.ids) :]
        masks.append(_unpack(ask, mine))
    return masks


def _unpack(ask: Ask, blobs: list[bytes | None]) -> Mask:
    size = ask.table.width * _ROW.itemsize
    present = np.ones(len(blobs), np.bool_)
    whole = [blob for blob in blobs if blob is not None]
    if len(whole) < len(blobs):
        present[:] = [blob is not None for blob in blobs]
    if any(length != size for length in set(map(len, whole))):
        raise StoreError(
            f"found stored rows of {sorted(set(map(len, whole)))} bytes in {ask.table.namespace!r}, expected {size}",
            code="store-064",
            hint="the table was written with another width: build it again in a new namespace",
        )
    rows = np.frombuffer(b"".join(whole), _ROW).reshape(len(whole), ask.table.width)
    if len(whole) == len(blobs):
        ask.out[:] = rows
    else:
        ask.out[:] = np.nan
        ask.out[present] = rows
    return present
