"""Runs a program over few requests in arrays that are kept from call to call: laying them out costs more than the work."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.features.language.program import Bound, Program

_FEW: Final = 16
"""Requests up to which arrays are kept; a larger batch is worth arrays of its own."""
_FIRST_CANDIDATES: Final = 512
_MOST_HELD: Final = 512
"""Programs whose arrays a thread keeps; then it starts anew."""

_held = threading.local()


def run_program(program: Program, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Every output of a program, as ``Program.run`` gives it.

    Args:
        program: What to run.
        values: Arrays by name; more of them than the program reads do no harm.
    """
    if not program.inputs:
        return program.run(values)
    requests = len(values[program.inputs[0].name])
    if not 1 <= requests <= _FEW:
        return program.run(values)
    candidates = max((values[e.name].shape[_axis(e.kind)] for e in program.inputs if e.kind.shape.candidate), default=0)
    bound = _bound(program, values, candidates)
    bound.load(values)
    bound.run(requests, candidates or None)
    out: dict[str, NDArray[np.float64]] = {}
    for output in program.outputs:
        found = bound.result(output.name)[:requests]
        if output.kind.shape.candidate:
            found = found[:, :, :candidates] if output.kind.shape.listed else found[:, :candidates]
        out[output.name] = found.copy()
    return out


def _axis(kind: Any) -> int:
    return 2 if kind.shape.listed else 1


def _bound(program: Program, values: Mapping[str, NDArray[Any]], candidates: int) -> Bound:
    """This thread's arrays for a program, of the right widths and at least the wanted size."""
    kept: dict[int, tuple[Bound, tuple[int, ...]]] = _held.__dict__.setdefault("bounds", {})
    sizes = tuple(values[e.name].shape[-1 if e.kind.vector else 1] for e in program.inputs if _sized(e.kind))
    found = kept.get(id(program))
    if found is not None and found[0].program is program and found[0].candidates >= candidates and found[1] == sizes:
        return found[0]
    places = {e.over: values[e.name].shape[1] for e in program.inputs if e.kind.shape.listed}
    widths = {e.name: values[e.name].shape[-1] for e in program.inputs if e.kind.vector}
    size = max(candidates, _FIRST_CANDIDATES) if candidates else 1
    bound = program.bind(_FEW, _by_name(program, places), size, widths=widths)
    if len(kept) >= _MOST_HELD:
        kept.clear()
    kept[id(program)] = (bound, sizes)
    return bound


def _sized(kind: Any) -> bool:
    """Whether an input has a length of its own besides requests and candidates."""
    return bool(kind.vector or kind.shape.listed)


def _by_name(program: Program, places: Mapping[str, int]) -> dict[str, int]:
    return {e.over: places[e.over] for e in program.inputs if e.over}
