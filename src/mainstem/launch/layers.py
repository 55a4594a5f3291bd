"""Which layer caused a change? Main effects of layers swapped one by one, from the arms of a factorial experiment.

Every unit tells of every layer: half of all units have any one layer from the new stack, whatever the others are, so no arm need be
large. An effect is the change from swapping one layer, averaged over all settings of the others.

Source: 2^k factorial designs (Box, Hunter and Hunter, Statistics for Experimenters, 2005); sandwich variance (White 1980).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval

FEWEST: Final = 20
"""Units an arm must have."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerEffects:
    """What each layer changed, as shares of the old stack's mean.

    Attributes:
        layers: Each layer's effect with its interval, simultaneous over the layers.
        pairs: What two layers do together beyond the sum of both; simultaneous over the pairs.
        old: The mean of the arm with no new layer.
        units: How many.
    """

    layers: dict[str, Interval]
    pairs: dict[tuple[str, str], Interval]
    old: float
    units: int


@dataclass(frozen=True, slots=True)
class Blame:
    """Which layer did the harm: its name, empty where none can be named, and why in a sentence."""

    layer: str
    sentence: str


def layer_effects(
    layers: Sequence[str],
    new: ArrayLike,
    outcomes: ArrayLike,
    covariate: ArrayLike | None = None,
    *,
    alpha: float = 0.05,
) -> LayerEffects:
    """What did each layer change?

    Args:
        layers: Their names.
        new: For each unit and layer, whether the unit was served by the new one.
        outcomes: Each unit's outcome.
        covariate: What explains it from before the start.
        alpha: Two-sided, shared over the layers.

    Raises:
        LaunchError: Shapes do not fit or values are not finite (``launch-100``), an arm has fewer than ``FEWEST`` units
            (``launch-101``), or the old stack's mean is 0 (``launch-102``).

    Shapes: new ``[units, layers]``, outcomes and covariate ``[units]``.
    """
    which, y, x = _checked(layers, new, outcomes, covariate)
    sides = np.where(which, 0.5, -0.5)
    pairs = list(combinations(range(len(layers)), 2))
    together = [4 * sides[:, a] * sides[:, b] * 0.5 for a, b in pairs]
    columns = [np.ones(len(y)), *sides.T, *together]
    if x is not None:
        columns.append(x - x.mean())
    design = np.column_stack(columns)
    fitted, covariance = _least_squares(design, y)
    first = len(layers) + 1
    # The arm with no new layer stands at -.5 of every layer and, both its signs being the same, at +.5 of every pair.
    at_old = np.zeros(design.shape[1])
    at_old[0], at_old[1:first], at_old[first : first + len(pairs)] = 1.0, -0.5, 0.5
    old = float(at_old @ fitted)
    if not abs(old) > 1e-12:
        raise LaunchError(
            "found a mean of 0 on the old stack, expected one to be relative to",
            code="launch-102",
            hint="choose a metric that the old stack has some of",
        )

    def interval(at: int, tests: int, times: float = 1.0) -> Interval:
        mid = times * float(fitted[at]) / abs(old)
        pull = -mid * np.sign(old) * at_old / abs(old)  # the old mean is measured too
        pull[at] += times / abs(old)
        reach = float(ndtri(1 - alpha / (2 * tests)) * np.sqrt(pull @ covariance @ pull))
        return Interval(
            mid - reach, mid, mid + reach, 1 - alpha, len(y), "factorial arms, sandwich variance, simultaneous"
        )

    return LayerEffects(
        {name: interval(at + 1, len(layers)) for at, name in enumerate(layers)},
        # Both new, less each alone, is twice the coefficient of a column that is half where they are alike.
        {(layers[a], layers[b]): interval(first + at, max(len(pairs), 1), 2.0) for at, (a, b) in enumerate(pairs)},
        old,
        len(y),
    )


def blame(effects: LayerEffects, direction: str = "up") -> Blame:
    """Which layer did the harm, if one can be named?

    A layer is named when its whole interval is harm and no pair with it is harm beyond the sum of both that is worse; of harm that
    two do only together each shows half, so neither is to blame alone. Of several that harm, the worst is named.
    """
    sign = 1.0 if direction == "up" else -1.0
    harmful = {name: one for name, one in effects.layers.items() if max(sign * one.low, sign * one.high) < 0}
    if not harmful:
        return Blame("", "no layer by itself is shown to have done harm")
    name = min(harmful, key=lambda one: sign * harmful[one].mid)
    found = harmful[name]
    joint = {
        pair: one
        for pair, one in effects.pairs.items()
        if name in pair and max(sign * one.low, sign * one.high) < 0 and sign * one.mid < sign * found.mid
    }
    if joint:
        pair = min(joint, key=lambda one: sign * joint[one].mid)
        return Blame("", f"{pair[0]} and {pair[1]} together do more harm than any layer alone")
    return Blame(name, f"{name} changed it by {found.mid:+.1%} ({found.low:+.1%} to {found.high:+.1%})")


def _checked(
    layers: Sequence[str], new: ArrayLike, outcomes: ArrayLike, covariate: ArrayLike | None
) -> tuple[NDArray[np.bool_], Floats, Floats | None]:
    which, y = np.asarray(new, bool), np.asarray(outcomes, np.float64)
    x = None if covariate is None else np.asarray(covariate, np.float64)
    good = which.shape == (len(y), len(layers)) and len(layers) > 0 and (x is None or x.shape == y.shape)
    if not good or not np.isfinite(y).all() or (x is not None and not np.isfinite(x).all()):
        raise LaunchError(
            f"found {which.shape} swaps and {y.shape} outcomes of {len(layers)} layers, expected a row a unit, finite",
            code="launch-100",
            hint="one row a unit: which layers were new, and what came of it",
        )
    arms = which @ (1 << np.arange(len(layers)))
    counts = np.bincount(arms, minlength=1 << len(layers))
    if counts.min() < FEWEST:
        raise LaunchError(
            f"found {counts.min()} units in the smallest of {len(counts)} arms, expected {FEWEST} or more",
            code="launch-101",
            hint="wait for more units, or swap fewer layers",
        )
    return which, y, x


def _least_squares(design: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coefficients, and their covariance when units differ in their noise (HC1)."""
    inner = np.linalg.inv(design.T @ design)
    fitted = inner @ (design.T @ y)
    scaled = design * (y - design @ fitted)[:, None]
    spare = len(y) / (len(y) - design.shape[1])
    return fitted, inner @ (scaled.T @ scaled) @ inner * spare
