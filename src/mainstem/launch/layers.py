"""Which layer caused a change? Main effects of layers swapped one by one, from the arms of a factorial experiment.

Every unit tells of every layer: half of all units have any one layer from the new stack, whatever the others are, so no arm need
be large. An effect is the change from swapping one layer, averaged over the settings of the others that are served.

Source: 2^k factorial designs (Box, Hunter and Hunter, Statistics for Experimenters, 2005); sandwich variance (White 1980); CUPED
(Deng et al. 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from mainstem.base.errors import LaunchError
from mainstem.evaluate.intervals import Interval
from mainstem.launch.layer_design import LayerDesign, Pair
from mainstem.launch.sample_ratio import SampleRatio, check_sample_ratio

FEWEST: Final = 20
"""Units an arm must have."""
SOURCE: Final = "factorial arms, sandwich variance, simultaneous"
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerEffects:
    """What each layer changed, as shares of the old stack's mean. Nothing at all where units were not split as promised.

    Attributes:
        layers: Each layer's effect with its interval, simultaneous over the layers.
        pairs: What two layers do together beyond the sum of both; simultaneous over the numbers there are. Pairs that the design
            cannot tell apart (``design.mixed``) have one number between them.
        beside: A layer's effect while another one is the old stack's; simultaneous over the layers.
        old: The mean of the arm with no new layer.
        units: How many.
        design: Which combinations were served.
        ratio: Whether units were split over them as promised.
        explained: The share of the noise that was known from before the start, and is gone.
    """

    layers: dict[str, Interval]
    pairs: dict[Pair, Interval]
    beside: dict[Pair, Interval]
    old: float
    units: int
    design: LayerDesign
    ratio: SampleRatio
    explained: float = 0.0


@dataclass(frozen=True, slots=True)
class Blame:
    """Which layer did the harm: its name, empty where none can be named, and why in a sentence.

    Attributes:
        alone: Whether it is shown to harm by itself: beside the old one of each other layer too.
    """

    layer: str
    sentence: str
    alone: bool = False


def layer_effects(
    layers: Sequence[str] | LayerDesign,
    new: ArrayLike,
    outcomes: ArrayLike,
    covariate: ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    shares: Sequence[float] | None = None,
) -> LayerEffects:
    """What did each layer change?

    Args:
        layers: Their names, where every combination is served; else the design.
        new: For each unit and layer, whether the unit was served by the new one.
        outcomes: Each unit's outcome.
        covariate: What explains it from before the start, one or several. What never varies explains nothing.
        alpha: Two-sided, shared over the layers.
        shares: What each arm of the design was promised of all units; equal where it is left out.

    Raises:
        LaunchError: Shapes do not fit or values are not finite (``launch-100``), an arm has fewer than ``FEWEST`` units
            (``launch-101``), the old stack's mean is 0 (``launch-102``), a unit was served by a combination that the design does
            not have (``launch-141``), or shares are not chances, one an arm (``launch-011``).

    Shapes: new ``[units, layers]``, outcomes ``[units]``, covariate ``[units]`` or ``[units, covariates]``.
    """
    design = layers if isinstance(layers, LayerDesign) else LayerDesign.full(layers)
    which, y, x = _checked(design, new, outcomes, covariate)
    arm = _arms(design, which)
    counts = np.bincount(arm, minlength=len(design.arms))
    promised = np.full(len(counts), 1 / len(counts)) if shares is None else shares
    ratio = SampleRatio("all", 0.0, 1.0, False, (1.0,), (len(y),))
    if len(counts) > 1:
        ratio = check_sample_ratio(counts, promised)
    if ratio.alarm:
        return LayerEffects({}, {}, {}, float("nan"), len(y), design, ratio)
    if counts.min() < FEWEST:
        raise LaunchError(
            f"found {counts.min()} units in the smallest of {len(counts)} arms, expected {FEWEST} or more",
            code="launch-101",
            hint="wait for more units, or swap fewer layers",
        )
    shown = design.matrix[arm]
    fit = _least_squares(shown if x is None else np.column_stack([shown, x]), y)
    explained = 0.0 if x is None else 1.0 - fit.left / max(_left(shown, y), np.finfo(float).tiny)
    return _told(design, fit, alpha, ratio, explained)


def blame(effects: LayerEffects, direction: str = "up") -> Blame:
    """Which layer did the harm, if one can be named?

    Nobody is named where units were not split as promised. Else a layer is named when its whole interval is harm and no pair with
    it is harm beyond the sum of both that is worse; of harm that two do only together each shows half, so neither is to blame
    alone. Of several that harm, the worst is named; ``alone`` says whether company is ruled out.
    """
    if effects.ratio.alarm:
        counts = effects.ratio.counts
        told = f"units were not split over the {len(counts)} arms as promised ({min(counts)} to {max(counts)} an arm)"
        return Blame("", f"{told}: no layer is named before assignment and logging are mended")
    sign = 1.0 if direction == "up" else -1.0
    harmful = {name: one for name, one in effects.layers.items() if _harms(one, sign)}
    if not harmful:
        return Blame("", "no layer by itself is shown to have done harm")
    name = min(harmful, key=lambda one: sign * harmful[one].mid)
    found = harmful[name]
    worse = {
        pairs: one
        for pairs in effects.design.mixed
        if any(name in pair for pair in pairs)
        and _harms(one := effects.pairs[pairs[0]], sign)
        and sign * one.mid < sign * found.mid
    }
    if worse:
        pairs = min(worse, key=lambda one: sign * worse[one].mid)
        which = ", or ".join(" and ".join(pair) for pair in pairs)
        apart = ", which these arms cannot tell apart," if len(pairs) > 1 else ""
        return Blame("", f"{which} together{apart} do more harm than any layer alone")
    company = [other for (layer, other), one in effects.beside.items() if layer == name and not _harms(one, sign)]
    told = f"{name} changed it by {found.mid:+.1%} ({found.low:+.1%} to {found.high:+.1%})"
    if not effects.design.whole:
        told += ", or the other layers did all together, which these arms cannot tell apart"
    if company:
        told += f"; whether by itself or only beside the new {' or '.join(company)} is not shown"
    return Blame(name, told, not company)


def _harms(one: Interval, sign: float) -> bool:
    return max(sign * one.low, sign * one.high) < 0


def _checked(
    design: LayerDesign, new: ArrayLike, outcomes: ArrayLike, covariate: ArrayLike | None
) -> tuple[NDArray[np.bool_], Floats, Floats | None]:
    which, y = np.asarray(new, bool), np.asarray(outcomes, np.float64)
    x = None if covariate is None else np.asarray(covariate, np.float64)
    good = which.shape == (len(y), len(design.layers)) and (x is None or (x.ndim in (1, 2) and len(x) == len(y)))
    if not good or not np.isfinite(y).all() or (x is not None and not np.isfinite(x).all()):
        raise LaunchError(
            f"found {which.shape} swaps and {y.shape} outcomes of {len(design.layers)} layers, expected a row a unit, finite",
            code="launch-100",
            hint="one row a unit: which layers were new, and what came of it",
        )
    return which, y, None if x is None else _standard(x.reshape(len(y), -1))


def _standard(x: Floats) -> Floats:
    """Around 0 with a spread of 1, so that milliseconds and shares can be added up side by side; 0 where nothing varies."""
    away = x - x.mean(axis=0)
    spread = away.std(axis=0)
    varies = spread > 1e-12 * np.abs(x).max(axis=0, initial=0.0)
    return np.where(varies, away / np.where(varies, spread, 1.0), 0.0)


def _arms(design: LayerDesign, which: NDArray[np.bool_]) -> NDArray[np.int64]:
    arm = design.arm_of(which)
    if (arm < 0).any():
        odd = which[int(np.flatnonzero(arm < 0)[0])]
        names = ", ".join(name for name, one in zip(design.layers, odd, strict=True) if one)
        raise LaunchError(
            f"found {int((arm < 0).sum())} units served by combinations that the design does not have, such as new {names}",
            code="launch-141",
            hint="take the design that was served; units of another experiment do not belong here",
        )
    return arm


@dataclass(frozen=True, slots=True)
class _Fit:
    """Coefficients, their covariance when units differ in their noise (HC1), and what is left of the squares."""

    fitted: Floats
    covariance: Floats
    left: float
    units: int


def _least_squares(design: Floats, y: Floats) -> _Fit:
    inner = np.linalg.pinv(design.T @ design, hermitian=True)
    fitted = inner @ (design.T @ y)
    missed = y - design @ fitted
    scaled = design * missed[:, None]
    spare = len(y) / (len(y) - design.shape[1])
    return _Fit(fitted, inner @ (scaled.T @ scaled) @ inner * spare, float(missed @ missed), len(y))


def _left(design: Floats, y: Floats) -> float:
    fitted = np.linalg.pinv(design.T @ design, hermitian=True) @ (design.T @ y)
    return float(((y - design @ fitted) ** 2).sum())


def _told(design: LayerDesign, fit: _Fit, alpha: float, ratio: SampleRatio, explained: float) -> LayerEffects:
    """Effects as shares of the old stack's mean, whose own noise counts."""
    k, wide = len(design.layers), design.matrix.shape[1]
    at_old = np.zeros(len(fit.fitted))
    at_old[:wide] = design.matrix[next(at for at, arm in enumerate(design.arms) if not any(arm))]
    old = float(at_old @ fit.fitted)
    if not abs(old) > 1e-12:
        raise LaunchError(
            "found a mean of 0 on the old stack, expected one to be relative to",
            code="launch-102",
            hint="choose a metric that the old stack has some of",
        )

    def interval(weights: dict[int, float], tests: int) -> Interval:
        pull = np.zeros(len(fit.fitted))
        pull[list(weights)] = list(weights.values())
        mid = float(pull @ fit.fitted) / abs(old)
        pull = (pull - mid * np.sign(old) * at_old) / abs(old)
        reach = float(ndtri(1 - alpha / (2 * tests)) * np.sqrt(pull @ fit.covariance @ pull))
        return Interval(mid - reach, mid, mid + reach, 1 - alpha, fit.units, SOURCE)

    # Both new, less each alone, is twice the coefficient of a column that is half where they are alike.
    places = {pair: 1 + k + at for at, pairs in enumerate(design.mixed) for pair in pairs}
    main = {name: 1 + at for at, name in enumerate(design.layers)}
    return LayerEffects(
        layers={name: interval({at: 1.0}, k) for name, at in main.items()},
        pairs={pair: interval({at: 2.0}, len(design.mixed)) for pair, at in places.items()},
        beside={
            (layer, other): interval({main[layer]: 1.0, at: -1.0}, k)
            for pair, at in places.items()
            for layer, other in (pair, pair[::-1])
        },
        old=old,
        units=fit.units,
        design=design,
        ratio=ratio,
        explained=explained,
    )
