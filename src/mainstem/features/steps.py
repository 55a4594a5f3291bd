"""Runs the steps that fill names with arrays, the same way for an event and for a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.attributes import AttributeTable
from mainstem.features.kernel.match import matched
from mainstem.features.language.plan import FoldGroup, Group
from mainstem.features.language.resolve import Call, Compute, LookUp, Match, ReadGroup, Step
from mainstem.features.running import run_program

Arrays = dict[str, NDArray[Any]]
Tables = Mapping[str, AttributeTable]
Read = Callable[[Group | FoldGroup, Arrays], None]
NO_KEY = -1
"""What stands for a key that is not there: nothing is kept for it, nothing is read."""


def run_steps(
    steps: Sequence[Step], values: Arrays, tables: Tables, read: Read, rows: Arrays, past: bool = False
) -> None:
    """Fills in names, step by step.

    Args:
        steps: What to do, in order.
        values: The names that are there; the others are added, and what an earlier run left is not made again.
        tables: Where attributes come from.
        read: Reads a state table for the keys in ``values`` and adds its numbers.
        rows: Rows of tables already found, as ``table/key``; the others are added.
        past: Functions of our own are left empty: their past values are those that were logged.
    """
    for step in steps:
        if step.name in values:
            continue
        if isinstance(step, LookUp):
            values[step.name] = _looked_up(step, values, tables, rows)
        elif isinstance(step, ReadGroup):
            read(step.group, values)
        elif isinstance(step, Match):
            _match(step, values)
        elif isinstance(step, Call):
            values[step.name] = _called(step, values, past)
        else:
            assert isinstance(step, Compute)
            values.update(run_program(step.program, values))


def _called(step: Call, values: Arrays, past: bool) -> NDArray[np.float64]:
    """What the function says, one number for each of what it reads.

    Raises:
        FeatureError: It raised, or answered with another shape (``feature-016``).
    """
    reads = [values[name] for name in step.of.reads]
    shape = np.broadcast_shapes(*(array.shape for array in reads))
    if past:
        return np.full(shape, np.nan)
    try:
        found = np.asarray(step.of.function(*reads), np.float64)
    except Exception as error:
        raise _bad_function(step, f"raised {type(error).__name__}: {error}") from error
    if found.shape != shape:
        raise _bad_function(step, f"answered shape {list(found.shape)}, expected {list(shape)}")
    return np.where(np.isfinite(found), found, np.nan)


def _bad_function(step: Call, what: str) -> FeatureError:
    return FeatureError(
        f"the function of feature {step.name!r} {what}",
        code="feature-016",
        status=503,
        hint="a function gets one array for each name in `reads` and answers one number for each of their places",
    )


def as_key(values: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers as keys; what is empty or below 0 is no key."""
    if values.dtype == np.int64:
        return np.maximum(values, NO_KEY)
    if values.dtype.kind in "iu":
        return np.maximum(values.astype(np.int64), NO_KEY)
    return np.where(values >= 0, values, NO_KEY).astype(np.int64)


def is_vector(tables: Tables) -> Callable[[str, str], bool]:
    """Answers whether a table's column holds vectors.

    Raises:
        FeatureError: There is no such table or column (``feature-012``).
    """

    def answer(table: str, column: str) -> bool:
        held = tables.get(table)
        if held is None or column not in held.columns:
            what = f"no table {table!r}" if held is None else f"no column {column!r} in table {table!r}"
            raise FeatureError(
                f"an attribute reads {table}.{column}, but there is {what}",
                code="feature-012",
                hint=did_you_mean(column if held else table, held.columns if held else tables),
            )
        return held.columns[column].ndim > 1

    return answer


def _match(step: Match, values: Arrays) -> None:
    """Names what the places of a list with each asked key add up to."""
    asked = np.asarray(values[step.of.to])
    held = np.array([values[name] for name in step.of.values], np.float64)
    keys = as_key(np.asarray(values[step.of.key]))
    found = matched(keys, as_key(asked.reshape(len(keys), -1)), held, len(step.of.sums))
    values.update(zip(step.columns, found.reshape(len(found), *asked.shape), strict=True))


def _looked_up(step: LookUp, values: Arrays, tables: Tables, rows: Arrays) -> NDArray[Any]:
    table = tables[step.table]
    place = f"{step.table}/{step.key}"
    held = rows.get(place)
    if held is None:
        at_ms = values.get("now_ms", values.get("time_ms")) if table.valid_from_ms is not None else None
        held = rows[place] = table.rows(as_key(values[step.key]), _beside(at_ms, values[step.key]))
    return table.columns[step.column][held]


def _beside(at_ms: NDArray[Any] | None, key: NDArray[Any]) -> NDArray[np.int64] | None:
    """The time of each request beside each of its keys."""
    if at_ms is None:
        return None
    times = np.where(at_ms >= 0, at_ms, -1).astype(np.int64)
    return times.reshape(times.shape + (1,) * (key.ndim - times.ndim))
