"""What an extractor is: a named, versioned, deterministic function from raw rows to fixed-point vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.fixed import quantise, unit_rows

Json = str | int | float | bool | None | list[Any] | dict[str, Any]


class State(IntEnum):
    """What is known of a row's vector. A vector that is not ``KNOWN`` is NaN throughout, so that nobody takes it for a zero."""

    MISSING = -1
    """The row was never extracted."""
    EMPTY = 0
    """The row was extracted and tells nothing: no text, no tag, no known item."""
    KNOWN = 1
    FAILED = 2
    """Extraction raised; the reason is kept."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The vectors of a batch of rows, in the order of the rows.

    Shapes:
        ``vectors[n, dim]`` integer-valued float64 in units of the extractor's ``scale``; rows that are not known are ignored.
        ``state[n]`` of ``State``. ``reasons`` by row number, for failed rows.
    """

    vectors: NDArray[np.float64]
    state: NDArray[np.int8]
    reasons: Mapping[int, str]


@runtime_checkable
class Extractor(Protocol):
    """A pure function of one row at a time, computed in batches: batch size, row order and process must not change a bit.

    ``version`` is the author's; two definitions may never share one. ``scale`` is what one unit of a value is worth:
    ``SCALE`` for vectors, 1.0 for slots and counts.
    """

    @property
    def name(self) -> str:
        """The folder its results lie in."""
        ...

    @property
    def version(self) -> str:
        """The author's version of the definition."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, and no others."""
        ...

    @property
    def dim(self) -> int:
        """How many values a row gets."""
        ...

    @property
    def scale(self) -> float:
        """What one unit of a value is worth."""
        ...

    def definition(self) -> dict[str, Json]:
        """Everything that decides the values: parameters, and the content hash of a fitted state or a model's files."""
        ...

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The vectors of these rows.

        Raises:
            MainstemError: The extractor itself cannot run; the whole run stops. Any other exception means that a row is bad.
        """
        ...


@runtime_checkable
class Fitted(Protocol):
    """An extractor that learned something: a store keeps the state beside the results."""

    def fitted(self) -> dict[str, NDArray[Any]]:
        """The fitted state as named arrays."""
        ...


def fingerprint(extractor: Extractor) -> str:
    """Which definition this is: equal for two extractors that give equal bits, 32 hex digits."""
    named: dict[str, Json] = {
        "columns": list(extractor.columns),
        "dim": extractor.dim,
        "scale": extractor.scale,
        "kind": type(extractor).__name__,
        "definition": extractor.definition(),
    }
    return hashlib.blake2b(msgspec.json.encode(named, order="deterministic"), digest_size=16).hexdigest()


def arrays_hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    """What a set of named arrays holds, as 32 hex digits: names, types, shapes and bytes, whatever the byte order here."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}|{little.dtype.str}|{little.shape}|".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def need_columns(rows: pl.DataFrame, columns: tuple[str, ...], of: str) -> None:
    """Refuses a table without the columns an extractor reads.

    Raises:
        ExtractionError: ``feature-061``.
    """
    missing = [name for name in columns if name not in rows.columns]
    if missing:
        raise ExtractionError(
            f"extractor {of!r} reads {', '.join(map(repr, missing))}, and the table has no such column",
            code="feature-061",
            hint="the table has: " + ", ".join(rows.columns),
        )


def unit_extracted(sums: NDArray[np.float64]) -> Extracted:
    """Directions of raw sums in fixed point; a row without any length is empty."""
    unit, has = unit_rows(sums)
    return Extracted(quantise(unit), np.where(has, State.KNOWN, State.EMPTY).astype(np.int8), {})
