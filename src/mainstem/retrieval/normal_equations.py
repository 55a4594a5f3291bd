"""``(P'P + ridge)^-1 P'F``: whole for thousands of items, row by row within bounded memory beyond.

Plain numpy solves by LU and keeps several copies; a Cholesky factor in blocks, in place, is a few large products and takes
a third of the time. With more items than a matrix should hold, rows are found by conjugate gradients on the sparse sums:
each row of the answer is ``z P'F`` with ``z`` the same row of the inverse, and only its largest entries are kept.

Source: Golub and Van Loan, Matrix Computations, 4.2 and 11.3; Jacobi preconditioning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mainstem.base.errors import RetrievalError
from mainstem.retrieval.pair_sums import PairSums

SOLVED_WHOLE_MOST = 16_000
"""Up to so many items both matrices are held whole: 2 x 4 bytes x items squared, 2 GB at the bound."""
_BLOCK = 512
_ROWS_AT_ONCE = 128
_CLOSE_ENOUGH = 1e-3
_MOST_STEPS = 60

Floats = NDArray[np.float32]


def solved_rows(
    sums: PairSums,
    ridge: float,
    *,
    whole_most: int = SOLVED_WHOLE_MOST,
    overwrite: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[int, Floats]]:
    """The rows of ``(P'P + ridge)^-1 P'F``, a block of rows at a time with the place of its first.

    Args:
        whole_most: Up to how many items it is solved as one matrix; beyond, block by block from the sparse sums.
        overwrite: Let dense sums be destroyed instead of copied: half the memory.
        progress: Told how far the blocks are.

    Raises:
        RetrievalError: ``retrieval-012`` when the ridge is not above 0 or too small to be solved in 32 bits.
    """
    if not ridge > 0:
        raise RetrievalError(f"found a ridge of {ridge}, expected it above 0", code="retrieval-012", hint="try 200")
    if sums.is_dense or sums.items <= whole_most:
        whole = _whole(sums, ridge, overwrite)
        for start in range(0, sums.items, _BLOCK):
            yield start, whole[start : start + _BLOCK]
        return
    diagonal = _diagonal(sums) + np.float32(ridge)
    rows_of = np.repeat(np.arange(sums.items, dtype=np.int32), np.diff(sums.starts))
    for start in range(0, sums.items, _ROWS_AT_ONCE):
        wanted = np.arange(start, min(start + _ROWS_AT_ONCE, sums.items))
        inverse = _inverse_columns(sums, np.float32(ridge), diagonal, wanted)
        out = np.zeros((sums.items, len(wanted)), np.float32)
        _gather_transposed(rows_of, sums.columns, sums.follow, inverse, out)
        yield start, np.ascontiguousarray(out.T)
        if progress is not None:
            progress(min(1.0, (start + len(wanted)) / sums.items), "solving by blocks")


def _whole(sums: PairSums, ridge: float, overwrite: bool) -> Floats:
    near, follow = (sums.near, sums.follow) if sums.is_dense and overwrite else sums.matrices()
    near[np.diag_indices(sums.items)] += np.float32(ridge)
    try:
        return cholesky_solve(near, follow)
    except np.linalg.LinAlgError as error:
        raise RetrievalError(
            f"found sums that a ridge of {ridge} does not make solvable in 32 bits",
            code="retrieval-012",
            hint="use a larger ridge, or a shorter half-life of the past",
        ) from error


def cholesky_solve(matrix: Floats, right: Floats) -> Floats:
    """``matrix^-1 right`` for a symmetric positive matrix; both are overwritten, the answer lies in ``right``.

    Raises:
        numpy.linalg.LinAlgError: When the matrix is not positive.
    """
    n = len(matrix)
    inverses = []
    for low in range(0, n, _BLOCK):
        high = min(low + _BLOCK, n)
        matrix[low:high, low:high] -= matrix[low:high, :low] @ matrix[low:high, :low].T
        factor = np.linalg.cholesky(matrix[low:high, low:high])
        inverses.append(np.linalg.inv(factor))
        for start in range(high, n, 4 * _BLOCK):
            below = slice(start, start + 4 * _BLOCK)
            rest = matrix[below, low:high] - matrix[below, :low] @ matrix[low:high, :low].T
            matrix[below, low:high] = rest @ inverses[-1].T
    for place, inverse in enumerate(inverses):
        low = place * _BLOCK
        high = low + len(inverse)
        right[low:high] = inverse @ (right[low:high] - matrix[low:high, :low] @ right[:low])
    for place in range(len(inverses) - 1, -1, -1):
        low = place * _BLOCK
        high = low + len(inverses[place])
        right[low:high] = inverses[place].T @ (right[low:high] - matrix[high:, low:high].T @ right[high:])
    return right


def _diagonal(sums: PairSums) -> Floats:
    rows = np.repeat(np.arange(sums.items), np.diff(sums.starts))
    own = rows == sums.columns
    diagonal = np.zeros(sums.items, np.float32)
    diagonal[rows[own]] = sums.near[own]
    return diagonal


def _inverse_columns(sums: PairSums, ridge: np.float32, diagonal: Floats, wanted: NDArray[np.int64]) -> Floats:
    """Columns of the inverse by conjugate gradients, all at once. Shapes: [items, len(wanted)]."""
    each = np.arange(len(wanted))
    z = np.zeros((sums.items, len(wanted)), np.float32)
    rest = np.zeros_like(z)
    rest[wanted, each] = 1.0
    scaled = rest / diagonal[:, None]
    step = scaled.copy()
    product = np.empty_like(z)
    size = np.einsum("ij,ij->j", rest, scaled)
    aim = size * np.float32(_CLOSE_ENOUGH**2)
    for _ in range(_MOST_STEPS):
        _multiply(sums.starts, sums.columns, sums.near, ridge, step, product)
        length = size / np.maximum(np.einsum("ij,ij->j", step, product), np.float32(1e-30))
        z += length * step
        rest -= length * product
        np.divide(rest, diagonal[:, None], out=scaled)
        smaller = np.einsum("ij,ij->j", rest, scaled)
        if (smaller <= aim).all():
            break
        step *= smaller / np.maximum(size, np.float32(1e-30))
        step += scaled
        size = smaller
    return z


@njit(cache=True, nogil=True, fastmath=True)
def _multiply(starts: Any, columns: Any, values: Any, ridge: Any, x: Any, out: Any) -> None:
    """``(sums + ridge) x``, a row of all right-hand sides at a time."""
    for i in range(len(starts) - 1):
        out[i] = ridge * x[i]
        for k in range(starts[i], starts[i + 1]):
            value = values[k]
            source = x[columns[k]]
            for c in range(x.shape[1]):
                out[i, c] += value * source[c]


@njit(cache=True, nogil=True, fastmath=True)
def _gather_transposed(rows: Any, columns: Any, values: Any, x: Any, out: Any) -> None:
    """``follow' x``: what each row of the sums gives to its columns."""
    for k in range(len(rows)):
        value = values[k]
        if value != 0.0:
            source = x[rows[k]]
            target = out[columns[k]]
            for c in range(x.shape[1]):
                target[c] += value * source[c]
