"""Rows computed so that one bad row fails alone: batches, halved around a row that raises, and checked for what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import MainstemError
from mainstem.features.extract.errors import ExtractionError, UnfitValueError
from mainstem.features.extract.extractor import Extracted, Extractor, State

_REASON_LETTERS: Final = 200
_LARGEST: Final = 2.0**31 - 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How a run goes: rows of a batch, and the share (0 to 1) of the table's rows that may fail before the run stops."""

    batch_rows: int = 4096
    max_failed_share: float = 0.01

    def __post_init__(self) -> None:
        """Refuses an empty batch and a share that is none."""
        if self.batch_rows < 1 or not 0.0 <= self.max_failed_share <= 1.0:
            raise ExtractionError(
                f"a run needs batches of 1 row or more and a share of 0 to 1, found {self}",
                code="feature-063",
                hint="Limits()",
            )


DEFAULT: Final = Limits()


def computed_rows(extractor: Extractor, rows: pl.DataFrame, batch_rows: int) -> Extracted:
    """The vectors of rows, batch by batch; a row that raises is failed with its reason.

    Raises:
        ExtractionError: ``feature-075`` when the extractor answers something else than it declares.
        MainstemError: The extractor itself cannot run.
    """
    done = [_fault_by_fault(extractor, batch) for batch in rows.iter_slices(batch_rows)]
    reasons: dict[int, str] = {}
    start = 0
    for batch in done:
        reasons |= {start + place: reason for place, reason in batch.reasons.items()}
        start += len(batch.state)
    return Extracted(
        _stacked([batch.vectors for batch in done], extractor.dim), np.concatenate([b.state for b in done]), reasons
    )


def _fault_by_fault(extractor: Extractor, rows: pl.DataFrame) -> Extracted:
    try:
        return checked(extractor, extractor.extract(rows), rows.height)
    except (MemoryError, MainstemError) as error:
        if not isinstance(error, UnfitValueError):
            raise
        raised: Exception = error
    except Exception as error:
        raised = error
    if rows.height == 1:
        reason = f"{type(raised).__name__}: {raised}"[:_REASON_LETTERS]
        return Extracted(np.zeros((1, extractor.dim)), np.array([State.FAILED], np.int8), {0: reason})
    half = rows.height // 2
    first, second = _fault_by_fault(extractor, rows[:half]), _fault_by_fault(extractor, rows[half:])
    reasons = dict(first.reasons) | {half + place: reason for place, reason in second.reasons.items()}
    return Extracted(
        np.concatenate([first.vectors, second.vectors]), np.concatenate([first.state, second.state]), reasons
    )


def checked(extractor: Extractor, found: Extracted, rows: int) -> Extracted:
    """What an extractor answered, if it is what it declares; rows that are not known hold zeros.

    Raises:
        ExtractionError: ``feature-075``.
    """
    states_fit = found.state.shape == (rows,) and bool(np.isin(found.state, (0, 1, 2)).all())
    if not states_fit or found.vectors.shape != (rows, extractor.dim):
        raise _broken(
            extractor, f"{found.vectors.shape} values and {found.state.shape} states for {rows} rows of {extractor.dim}"
        )
    failed = set(np.flatnonzero(found.state == State.FAILED).tolist())
    if failed != set(found.reasons):
        raise _broken(extractor, "reasons for other rows than those that failed")
    vectors = np.where((found.state == State.KNOWN)[:, None], found.vectors, 0.0)
    if not (np.all(np.abs(vectors) <= _LARGEST) and np.all(vectors == np.rint(vectors))):
        raise _broken(extractor, "values that are not whole numbers of 32 bits")
    return Extracted(
        vectors, found.state.astype(np.int8), {at: why[:_REASON_LETTERS] for at, why in found.reasons.items()}
    )


def _stacked(vectors: list[NDArray[np.float64]], dim: int) -> NDArray[np.float64]:
    return np.concatenate(vectors) if vectors else np.empty((0, dim))


def _broken(extractor: Extractor, what: str) -> ExtractionError:
    return ExtractionError(
        f"extractor {extractor.name!r} answered {what}",
        code="feature-075",
        hint="return quantise(vectors), one state a row, and a reason for each failed row",
    )
