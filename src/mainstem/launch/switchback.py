"""What does a change do that everybody feels at once, such as load on shared machines? Whole blocks of time switch arms.

Within a block all are in one arm, so blocks are the units: there are few, and both the interval and the p-value say so.
The interval treats a block's sums as one observation of a ratio; the p-value re-draws the design itself and so needs no
distribution. The first minutes of a block still carry the one before: leave them out.

Source: Bojinov, Simchi-Levi and Zhao, arXiv 2009.00148.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval
from mainstem.launch.metrics import Arm, Effect

Floats = NDArray[np.float64]

FEWEST_BLOCKS = 4
"""In each arm."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Sums of each block of time.

    Attributes:
        totals: Of the metric.
        weights: Of what it is divided by: requests, users, seconds.
        new: Whether the block had the new stack.
        dropped: Rows of the carry-over at the start of blocks, which were left out.

    Shapes: the first three ``[blocks]``.
    """

    totals: Floats
    weights: Floats
    new: NDArray[np.bool_]
    dropped: int


@dataclass(frozen=True, slots=True)
class Switchback:
    """What switching showed.

    Attributes:
        effect: New minus old, a unit of weight, with its interval over blocks.
        p_value: Two-sided, by re-drawing which blocks had the new stack.
        draws: How often.
        blocks: Of the old and the new stack.
    """

    effect: Interval
    p_value: float
    draws: int
    blocks: tuple[int, int]


def blocks_of(
    time_ms: NDArray[np.int64],
    values: Floats,
    new: NDArray[np.bool_],
    block_ms: int,
    *,
    weights: Floats | None = None,
    start_ms: int = 0,
    carry_ms: int = 0,
    place: NDArray[np.int64] | None = None,
) -> Blocks:
    """Rows summed to blocks.

    Args:
        time_ms: When.
        values: Of the metric.
        new: Whether the row had the new stack.
        block_ms: Length of a block.
        weights: What the metric is divided by; each row counts once when not given.
        start_ms: When the first block began.
        carry_ms: This much of each block's start is left out.
        place: Where (market, surface, cell), when places switch apart.

    Raises:
        LaunchError: Lengths differ, values are not finite, or blocks cannot be that long (``launch-072``), or rows of one
            block are of both arms (``launch-073``).

    Shapes: all arrays ``[n]``.
    """
    heavy = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    where = np.zeros(len(values), np.int64) if place is None else np.asarray(place, np.int64)
    fits = len(time_ms) == len(values) == len(new) == len(heavy) == len(where)
    if not fits or not 0 <= carry_ms < block_ms or not (np.isfinite(values).all() and np.isfinite(heavy).all()):
        raise LaunchError(
            f"found {len(time_ms)} times, {len(values)} values, {len(new)} arms, blocks of {block_ms} ms with {carry_ms} ms "
            "of carry-over; expected one finite value and arm a row, and blocks longer than their carry-over",
            code="launch-072",
            hint="blocks must be longer than what one block leaves behind for the next",
        )
    late = (np.asarray(time_ms) - start_ms) % block_ms >= carry_ms
    keys = np.stack([where, (np.asarray(time_ms) - start_ms) // block_ms], axis=1)[late]
    _, codes = np.unique(keys, axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    mine = np.asarray(new, bool)[late]
    rows = np.bincount(codes)
    fresh = np.bincount(codes, mine.astype(np.float64))
    mixed = int(((fresh > 0) & (fresh < rows)).sum())
    if mixed:
        raise LaunchError(
            f"found {mixed} of {len(rows)} blocks with rows of both arms, expected one arm a block",
            code="launch-073",
            hint="was the assignment by the same block length and start? see assignment.block_keys",
        )
    return Blocks(
        np.bincount(codes, np.asarray(values, np.float64)[late]).astype(np.float64),
        np.bincount(codes, heavy[late]).astype(np.float64),
        fresh > 0,
        int((~late).sum()),
    )


def judge_switchback(blocks: Blocks, *, seed: int = 7, draws: int = 4_999, level: float = 0.95) -> Switchback:
    """What the new stack changed, over blocks.

    Args:
        blocks: From ``blocks_of``.
        seed: Of the re-drawn designs.
        draws: How many designs are drawn, each with as many new blocks as there were.
        level: Of the interval.

    Raises:
        LaunchError: Fewer than four blocks of an arm, or an arm without weight (``launch-073``).
    """
    new = blocks.new
    counts = (int((~new).sum()), int(new.sum()))
    if min(counts) < FEWEST_BLOCKS or not all(blocks.weights[side].sum() > 0 for side in (new, ~new)):
        raise LaunchError(
            f"found {counts[0]} blocks of the old and {counts[1]} of the new stack, expected {FEWEST_BLOCKS} or more of each, "
            "with something in them",
            code="launch-073",
            hint="switch more often, or for longer",
        )
    effect = Effect("switchback", _arm(blocks, ~new), _arm(blocks, new))
    found = effect.interval(level)
    random = np.random.default_rng(seed)
    seen = abs(effect.difference)
    order = random.permuted(np.broadcast_to(new, (draws, len(new))), axis=1)
    apart = _differences(blocks, order)
    p_value = (1 + int((np.abs(apart) >= seen * (1 - 1e-12)).sum())) / (1 + draws)
    return Switchback(
        Interval(found.low, found.mid, found.high, level, len(new), "blocks of time, Welch's t"), p_value, draws, counts
    )


def _arm(blocks: Blocks, mine: NDArray[np.bool_]) -> Arm:
    totals, weights = blocks.totals[mine], blocks.weights[mine]
    ratio = float(totals.sum() / weights.sum())
    linear = (totals - ratio * weights) / weights.mean()
    return Arm(int(mine.sum()), ratio, float(linear.var(ddof=1)), ratio)


def _differences(blocks: Blocks, new: NDArray[np.bool_]) -> Floats:
    """The effect under many designs. Shapes: new ``[draws, blocks]``, answer ``[draws]``."""
    with np.errstate(invalid="ignore", divide="ignore"):
        fresh = (new @ blocks.totals) / (new @ blocks.weights)
        stale = (~new @ blocks.totals) / (~new @ blocks.weights)
    return np.nan_to_num(fresh - stale, nan=np.inf)
