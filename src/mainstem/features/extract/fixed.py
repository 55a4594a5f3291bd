"""Vectors in fixed point: whole numbers of 2**-20, kept as float64, so that sums and dot products are exact in any order."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.features.extract.errors import UnfitValueError

SCALE: Final = 2.0**-20
"""What one unit of a quantised value is worth."""

LARGEST: Final = 2047.0
"""The largest magnitude that is quantised: it fits 32 bits on disk."""

EXACT_NORMS: Final = 2.0**13
"""Dot products are exact while the product of the two vectors' norms (before quantising) stays below this: 2**53 / 2**40."""


def quantise(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Each component as the nearest whole number of 2**-20 (ties to even).

    The error is at most 2**-21 a component, so the dot product of two unit vectors of ``dim`` components is off by less
    than 2**-20 · sqrt(dim) + dim · 2**-42: 1.1e-5 at 128. It is the same bits in any order
    of summation, with any BLAS and any batch.

    Args:
        vectors: Finite values of magnitude at most 2047, any shape.
    Returns:
        Integer-valued float64 of the same shape; multiply by ``SCALE`` for the value.
    Raises:
        UnfitValueError: ``feature-060`` for a value that is not finite or is too large.
    """
    wide = np.asarray(vectors, np.float64)
    if not np.all(np.abs(wide) <= LARGEST):
        raise UnfitValueError(
            f"a value that is not finite, or beyond {LARGEST:.0f}, has no fixed-point form",
            hint="scale the vector (unit length is usual), or fail the row with a reason",
        )
    return np.rint(wide / SCALE) + 0.0


def dot_error_bound(dim: int) -> float:
    """By how much the dot product of two quantised unit vectors can be off, at most.

    Units: the product's own, after multiplying by ``SCALE`` twice.
    """
    return SCALE * float(np.sqrt(dim)) + dim * SCALE * SCALE / 4.0


def unit_rows(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows of unit length, and which rows had a length at all. A row's result depends on that row alone, to the bit."""
    return _unit_rows(np.ascontiguousarray(vectors, np.float64))


@njit(cache=True, nogil=True)
def _unit_rows(vectors: Any) -> Any:
    rows, dim = vectors.shape
    out = np.zeros((rows, dim))
    has = np.zeros(rows, np.bool_)
    for row in range(rows):
        total = 0.0
        for at in range(dim):  # one fixed order: a vectorised sum may differ with the shape of the batch
            total += vectors[row, at] * vectors[row, at]
        if total > 0.0:
            has[row] = True
            length = np.sqrt(total)
            for at in range(dim):
                out[row, at] = vectors[row, at] / length
    return out, has
