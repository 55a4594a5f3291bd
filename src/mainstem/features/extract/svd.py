"""Text and tags as learned vectors: weighted hashed counts, a truncated SVD fitted once, and its state kept with a hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from mainstem.base.seeds import mix
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extracted, Json, arrays_hash, need_columns, unit_extracted
from mainstem.features.extract.fixed import SCALE
from mainstem.features.extract.text import Wording

_WEIGHT_UNIT: Final = 2.0**16
_COMPONENT_UNIT: Final = 2.0**26
"""Weights and components are whole numbers when a row is projected: below 2**62 for rows of norm 2**20, and exact."""

_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SvdText:
    """Text and tags as unit vectors in the space of a fitted latent semantic analysis. Make one with ``SvdText.fit``.

    A token counts sqrt(times) · idf in the slot it hashes to. A row none of whose tokens was in the fit is empty.

    Shapes:
        ``idf[slots]``; ``components[slots, dim]`` int64 in units of 2**-26.
    Source:
        Latent semantic analysis (Deerwester et al., JASIS 1990); randomised SVD (Halko, Martinsson, Tropp, SIAM Review 2011).
    """

    name: str
    version: str
    wording: Wording
    dim: int
    idf: NDArray[np.float64]
    components: NDArray[np.int64]
    salt: int = 0
    state_hash: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Takes the hash of the fitted state."""
        object.__setattr__(self, "state_hash", arrays_hash(self.fitted()))

    @classmethod
    def fit(
        cls,
        name: str,
        version: str,
        table: pl.DataFrame,
        *,
        wording: Wording,
        dim: int = 64,
        key: str = "item_id",
        slots: int = 1 << 14,
        sample: int = 200_000,
        salt: int = 0,
        seed: int = 0,
    ) -> SvdText:
        """Learns weights and directions from the rows of a table, whatever their order.

        Fit once and keep the state: two machines' linear algebra may differ in the last bit, one saved state does not.

        Args:
            name: The folder of the results.
            version: Yours.
            table: Rows with the key and the wording's columns.
            wording: Columns and runs.
            dim: Values a row gets.
            key: A whole-number column; it orders the rows, and its hash draws the sample.
            slots: Hashed vocabulary; tokens that share a slot count as one.
            sample: How many rows are learned from at most, those with the smallest hash of their key.
            salt: Another salt, other collisions.
            seed: Of the random start.
        Raises:
            ExtractionError: ``feature-064`` when there are fewer rows with words than ``dim``.
        """
        need_columns(table, (key, *wording.columns), name)
        drawn = _drawn(table, key, sample)
        row, slot, times = _slot_counts(wording, drawn, slots, salt)
        told = len(np.unique(row))
        if min(told, len(np.unique(slot))) < dim:
            raise ExtractionError(
                f"{dim} directions need as many rows with words, and as many words: found {told} rows",
                code="feature-064",
                hint="fit on more rows, or with a smaller dim; HashedText needs no fit at all",
            )
        seen_in = np.bincount(slot, minlength=slots)
        idf = np.where(seen_in > 0, np.log((1.0 + told) / (1.0 + seen_in)) + 1.0, 0.0)
        right = _right_vectors(row, slot, np.sqrt(times) * idf[slot], (drawn.height, slots), dim, seed)
        components = np.rint(right * _COMPONENT_UNIT).astype(np.int64)
        return cls(name=name, version=version, wording=wording, dim=dim, idf=idf, components=components, salt=salt)

    @property
    def columns(self) -> tuple[str, ...]:
        """The wording's columns."""
        return self.wording.columns

    @property
    def scale(self) -> float:
        """Fixed point."""
        return SCALE

    def definition(self) -> dict[str, Json]:
        """Wording, salt and the hash of what was fitted."""
        return {"wording": self.wording.definition(), "salt": self.salt, "fitted": self.state_hash, "form": 1}

    def fitted(self) -> dict[str, NDArray[Any]]:
        """The fitted state as named arrays, for ``save_fitted``."""
        return {"idf": self.idf, "components": self.components}

    @classmethod
    def from_fitted(
        cls, name: str, version: str, wording: Wording, fitted: Mapping[str, NDArray[Any]], salt: int = 0
    ) -> SvdText:
        """The extractor of a saved state."""
        components = fitted["components"]
        dim = components.shape[1]
        return cls(
            name=name, version=version, wording=wording, dim=dim, idf=fitted["idf"], components=components, salt=salt
        )

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The vectors of these rows: whole-number sums, then one division by the length."""
        need_columns(rows, self.columns, self.name)
        row, slot, times = _slot_counts(self.wording, rows, len(self.idf), self.salt)
        weight = np.rint(np.sqrt(times) * self.idf[slot] * _WEIGHT_UNIT).astype(np.int64)
        sums = np.zeros((rows.height, self.dim), np.int64)
        _project(row, slot, weight, self.components, sums)
        return unit_extracted(sums.astype(np.float64))


def _drawn(table: pl.DataFrame, key: str, sample: int) -> pl.DataFrame:
    """The rows with the smallest hashes of their keys, by ascending key."""
    keys = table[key].to_numpy().astype(np.int64)
    if table.height > sample:
        table = table[np.argsort(mix(keys.astype(np.uint64)), kind="stable")[:sample]]
    return table.sort(key)


def _slot_counts(
    wording: Wording, rows: pl.DataFrame, slots: int, salt: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(row, slot, times), by row and slot."""
    at, hashes = wording.tokens(rows, salt)
    cells, times = np.unique(at * slots + (hashes % np.uint64(slots)).astype(np.int64), return_counts=True)
    return cells // slots, cells % slots, times.astype(np.float64)


@njit(cache=True, nogil=True)
def _project(row: Any, slot: Any, weight: Any, components: Any, sums: Any) -> None:
    for at in range(len(row)):
        for place in range(sums.shape[1]):
            sums[row[at], place] += weight[at] * components[slot[at], place]


@njit(cache=True, nogil=True)
def _sparse_times(row: Any, column: Any, weight: Any, right: Any, out: Any) -> None:
    for at in range(len(row)):
        for place in range(out.shape[1]):
            out[row[at], place] += weight[at] * right[column[at], place]


def _right_vectors(
    row: NDArray[np.int64],
    slot: NDArray[np.int64],
    weight: NDArray[np.float64],
    shape: tuple[int, int],
    dim: int,
    seed: int,
) -> NDArray[np.float64]:
    """The top right singular vectors of a sparse matrix, each with its largest component positive. Shapes: [slots, dim]."""
    rows, slots = shape
    width = min(dim + 10, rows, slots)

    def times(right: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros((rows, width))
        _sparse_times(row, slot, weight, right, out)
        return out

    def back(left: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros((slots, width))
        _sparse_times(slot, row, weight, left, out)
        return out

    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((slots, width)))[0]
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(back(times(basis)))[0]
    _, _, turn = np.linalg.svd(times(basis), full_matrices=False)
    right = np.ascontiguousarray(basis @ turn[:dim].T)
    largest = right[np.argmax(np.abs(right), axis=0), np.arange(dim)]
    return right * np.where(largest < 0, -1.0, 1.0)
