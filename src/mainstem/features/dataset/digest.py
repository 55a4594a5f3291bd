"""Do two tables hold the same values: a hash that sees every value and null, and no chunk, file or thread."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mainstem.base.errors import FeatureError


class ColumnDigest:
    """The hash of one column, fed piece by piece.

    Nulls, lengths and values go into hashes of their own, so that where a piece ends leaves no trace. Floats count by their
    bits: 0.0 and -0.0 differ.

    Args:
        name: Of the column.
        kind: Its type; texts count the same in every Arrow layout.

    Raises:
        FeatureError: The type holds no plain values (``feature-090``).
    """

    def __init__(self, name: str, kind: pa.DataType) -> None:
        self.kind = plain_type(name, kind)
        self._head = f"{name}:{self.kind}"
        self._rows = 0
        self._streams: list[Any] = []

    def update(self, column: pa.Array | pa.ChunkedArray) -> None:
        """Takes the next rows."""
        for piece in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            self._rows += len(piece)
            self._feed(0, piece if piece.type == self.kind else piece.cast(self.kind))

    def hexdigest(self) -> str:
        """SHA-256 over name, type, number of rows and everything that was fed."""
        whole = hashlib.sha256(f"{self._head}:{self._rows}".encode())
        for stream in self._streams:
            whole.update(stream.digest())
        return whole.hexdigest()

    def _feed(self, depth: int, array: pa.Array) -> None:
        self._add(depth, np.asarray(array.is_valid()).astype(np.uint8))
        if pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
            self._add(
                depth + 1, _numbers(pc.fill_null(pc.call_function("list_value_length", [array]), 0)).astype("<i8")
            )
            self._feed(depth + 2, pc.call_function("list_flatten", [array]))
        elif pa.types.is_string(array.type) or pa.types.is_binary(array.type):
            values = pc.fill_null(array.cast(pa.large_binary()), b"")
            ends = np.frombuffer(values.buffers()[1], "<i8", len(values) + 1, values.offset * 8)
            text = values.buffers()[2]
            self._add(depth + 1, np.diff(ends))
            self._add(depth + 2, np.frombuffer(text, np.uint8)[ends[0] : ends[-1]] if text else ends[:0])
        else:
            self._add(depth + 1, _numbers(pc.fill_null(array, False if pa.types.is_boolean(array.type) else 0)))

    def _add(self, place: int, values: np.ndarray[Any, Any]) -> None:
        while len(self._streams) <= place:
            self._streams.append(hashlib.sha256())
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self._streams[place].update(little.view(np.uint8) if little.size else b"")


class TableDigest:
    """The hash of every column of a table, fed piece by piece; columns on threads when there is an executor."""

    def __init__(self, schema: pa.Schema, threads: Executor | None = None) -> None:
        self.columns = {field.name: ColumnDigest(field.name, field.type) for field in schema}
        self._threads = threads

    def update(self, table: pa.Table) -> None:
        """Takes the next rows."""
        run = self._threads.map if self._threads else map
        names = list(self.columns)
        list(run(lambda name: self.columns[name].update(table.column(name)), names))

    def by_column(self) -> dict[str, str]:
        """The hash of each column."""
        return {name: column.hexdigest() for name, column in self.columns.items()}


def table_sha256(pieces: Iterable[pa.Table], schema: pa.Schema) -> str:
    """One hash over a table that comes in pieces."""
    digest = TableDigest(schema)
    for piece in pieces:
        digest.update(piece)
    return joined(digest.by_column().items())


def joined(parts: Iterable[Sequence[str]]) -> str:
    """One SHA-256 over texts in their order."""
    return hashlib.sha256("\n".join("\t".join(part) for part in parts).encode()).hexdigest()


def plain_type(name: str, kind: pa.DataType) -> pa.DataType:
    """The one layout in which a column of this type is written and hashed.

    Raises:
        FeatureError: The type holds no plain values (``feature-090``).
    """
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        return pa.string()
    if pa.types.is_dictionary(kind):
        return plain_type(name, kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain_type(name, kind.value_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_type(name, kind.value_type), kind.list_size)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_binary(kind):
        return kind
    raise FeatureError(
        f"column {name!r} holds {kind}, expected numbers, texts, or lists of them",
        code="feature-090",
        hint="cast the column first: times to milliseconds, decimals to float64",
    )


def plain_table(table: pa.Table) -> pa.Table:
    """The table in the layouts of ``plain_type``."""
    fields = [pa.field(field.name, plain_type(field.name, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _numbers(array: pa.Array) -> np.ndarray[Any, Any]:
    values = array.to_numpy(zero_copy_only=False)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values
