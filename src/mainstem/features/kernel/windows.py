"""Windows as the compiled readers take them: checked against a shape once, then arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.kernel.shape import CLOCK, COVER, DECAY, EVER, GroupShape, Window


@dataclass(frozen=True, slots=True)
class WindowSet:
    """The windows of one read, encoded.

    Args:
        shape: The shape they were checked against.
        codes: int64 [windows, 4]: level, reach, kind, where its weights start.
        weights: float64, those of all DECAY windows; never empty.
        exact: Whether int64 accumulators can be read: no DECAY among them.
    """

    shape: GroupShape
    codes: NDArray[np.int64]
    weights: NDArray[np.float64]
    exact: bool

    @property
    def size(self) -> int:
        """How many windows."""
        return len(self.codes)

    @classmethod
    def of(cls, shape: GroupShape, windows: Sequence[Window]) -> WindowSet:
        """The windows of one read of one group.

        Raises:
            FeatureError: ``feature-026`` when a window reads a level or a tile that the group does not keep.
        """
        codes = np.zeros((len(windows), 4), np.int64)
        weights: list[float] = []
        for at, window in enumerate(windows):
            _check(shape, window)
            codes[at] = (window.level, window.reach, window.kind, len(weights))
            weights.extend(window.weights)
        exact = all(window.kind != DECAY for window in windows)
        return cls(shape, codes, np.array(weights or [0.0], np.float64), exact)


def _check(shape: GroupShape, window: Window) -> None:
    if window.level == EVER and window.kind != DECAY:
        return
    if not 0 <= window.level < len(shape.keeps):
        raise _refuse(f"window level {window.level} of a group with {len(shape.keeps)} levels", "declare the level")
    if window.kind not in (COVER, CLOCK, DECAY) or window.reach < 0:
        raise _refuse(
            f"window kind {window.kind} with reach {window.reach}", "use COVER, CLOCK or DECAY and reach >= 0"
        )
    tiles = window.reach if window.kind == CLOCK else window.reach + 1
    if tiles > shape.keeps[window.level]:
        raise _refuse(
            f"a window of {tiles} tiles at level {window.level} that keeps {shape.keeps[window.level]}",
            f"keep at least {tiles} tiles there",
        )
    wanted = window.reach + 1 if window.kind == DECAY else 0
    if len(window.weights) != wanted or not all(math.isfinite(weight) for weight in window.weights):
        raise _refuse(
            f"{len(window.weights)} weights, expected {wanted} finite ones", "one weight for each age in tiles"
        )


def _refuse(message: str, hint: str) -> FeatureError:
    return FeatureError(message, code="feature-026", hint=hint)
