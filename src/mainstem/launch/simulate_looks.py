"""What one metric's looks do: errors, power, sample and days, beside a fixed horizon and a confidence sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mainstem.launch.boundaries import Boundaries, boundaries, course, equal_looks, inflation
from mainstem.launch.characteristic import Characteristic, false_rate, share
from mainstem.launch.confidence_sequence import mixture_bound
from mainstem.launch.planner import Measured, Wish, factor
from mainstem.launch.spending import ALPHA, EXTENSION_RESERVE

Floats = NDArray[np.float64]
POWER = 0.9
IRREGULAR = (0.02, 0.05, 0.11, 0.12, 0.3, 0.33, 0.5, 0.72, 0.75, 0.93, 1.0)
"""Shares of information at looks that nobody planned."""


@dataclass(frozen=True, slots=True)
class Looking:
    """How one metric is looked at.

    Args:
        looks: How many, at equal steps.
        spending: By name.
        alpha: One-sided.
    """

    looks: int = 28
    spending: str = "t2"
    alpha: float = ALPHA

    def bounds(self, reserve: float = 0.0) -> Boundaries:
        """The bounds as the verdict uses them."""
        planned = boundaries(equal_looks(self.looks), self.alpha - reserve, self.spending)
        if not reserve:
            return planned
        lower = np.minimum(planned.bound, mixture_bound(planned.information, reserve, 1.0))
        return Boundaries(planned.information, lower, planned.spent)

    @property
    def single(self) -> float:
        """How far margin and truth must be apart, in standard errors, for a single look."""
        return float(ndtri(1 - self.alpha) + ndtri(POWER))


def walks(runs: int, information: Floats, rng: np.random.Generator) -> Floats:
    """Z statistics of paths without an effect.

    Shapes: ``[runs, looks]``.
    """
    steps = rng.standard_normal((runs, len(information))) * np.sqrt(np.diff(information, prepend=0.0))
    return steps.cumsum(1) / np.sqrt(information)


def false_passes(runs: int, seed: int, plan: Looking | None = None) -> Iterator[Characteristic]:
    """Type I errors by paths: what is exactly a margin worse, and passes."""
    rng = np.random.default_rng(seed)
    spendings = (plan.spending,) if plan else ("t2", "hsd", "obf")
    for looks in (plan.looks,) if plan else (7, 14, 28):
        z = walks(runs, equal_looks(looks), rng)
        for spending in spendings:
            alpha = plan.alpha if plan else ALPHA
            hits = (z >= boundaries(equal_looks(looks), alpha, spending).bound).any(1).sum()
            yield false_rate("one metric", f"passes a margin worse, {looks} looks, {spending}", hits, runs, alpha)
    irregular = np.array(IRREGULAR)
    z = walks(runs, irregular, rng)
    for spending in spendings:
        alpha = plan.alpha if plan else ALPHA
        hits = (z >= boundaries(irregular, alpha, spending).bound).any(1).sum()
        yield false_rate("one metric", f"passes a margin worse, irregular looks, {spending}", hits, runs, alpha)
    yield _extended(runs, rng, plan or Looking())


def _extended(runs: int, rng: np.random.Generator, looking: Looking) -> Characteristic:
    """With the reserve, and looks that go on to twice the planned maximum."""
    at = np.concatenate([equal_looks(looking.looks), 1 + equal_looks(looking.looks)])
    bound = boundaries(at, looking.alpha - EXTENSION_RESERVE, looking.spending).bound
    bound = np.minimum(bound, mixture_bound(at, EXTENSION_RESERVE, 1.0))
    hits = (walks(runs, at, rng) >= bound).any(1).sum()
    return false_rate("one metric", "passes a margin worse, extended to twice the maximum", hits, runs, looking.alpha)


def costs(looking: Looking) -> Iterator[Characteristic]:
    """Power, largest sample and expected days, integrated; days are in units of the fixed horizon."""
    plain, kept, single = looking.bounds(), looking.bounds(EXTENSION_RESERVE), looking.single
    topic = "one metric"
    yield Characteristic(topic, "power at the fixed horizon's sample", course(plain, single).power, low=0.875)
    largest = inflation(plain, POWER, looking.alpha)
    yield Characteristic(topic, "largest sample over fixed", largest, high=1.10)
    reserved = inflation(kept, POWER, looking.alpha)
    yield Characteristic(topic, "largest sample over fixed, with the reserve", reserved, high=1.13)
    sized = Measured("x", 0.01, 1.0, spending=looking.spending, looks=looking.looks)
    planned = factor(sized, Wish(power=POWER, alpha=looking.alpha), 1)
    name = "largest sample of a plan, reserve and false alarms in it"
    yield Characteristic(topic, name, planned / single**2)
    expected = course(kept, math.sqrt(planned)).expected * planned / single**2
    yield Characteristic(topic, "days to NON-INFERIOR of such a plan, of fixed", expected)
    days = expected_days(plain, looking)
    yield Characteristic(topic, "days to NON-INFERIOR at no effect, of fixed", days, high=0.67)
    yield Characteristic(topic, "the same with the reserve", expected_days(kept, looking), high=0.67)
    tuned = expected_days(_sequence(looking, 1.0), looking)
    least = min(expected_days(_sequence(looking, at), looking) for at in np.linspace(0.1, 1.0, 10))
    yield Characteristic(topic, "days of a confidence sequence tuned to its largest sample", tuned)
    yield Characteristic(topic, "ours over those", days / tuned, high=0.70)
    yield Characteristic(topic, "ours over those of one tuned for the fewest days at no effect", days / least)
    few = course(plain, 0.0).crossing[plain.information <= 0.1 + 1e-9].sum()
    yield Characteristic(topic, "passes a margin worse with a tenth of the information", float(few), high=looking.alpha)


def expected_days(bounds: Boundaries, looking: Looking) -> float:
    """Mean information until the verdict when nothing changed, planned for the wanted power."""
    much = inflation(bounds, POWER, looking.alpha)
    return course(bounds, looking.single * math.sqrt(much)).expected * much


def _sequence(looking: Looking, best_at: float) -> Boundaries:
    at = equal_looks(looking.looks)
    return Boundaries(at, mixture_bound(at, looking.alpha, best_at), np.zeros(len(at)))


def neutral(runs: int, seed: int, looking: Looking) -> Iterator[Characteristic]:
    """Both one-sided tests: errors at either margin, and days to NEUTRAL, in units of the fixed non-inferiority horizon."""
    bounds = looking.bounds()
    z, root = walks(runs, bounds.information, np.random.default_rng(seed)), np.sqrt(bounds.information)
    low, apart = looking.single, 2 * looking.single
    for _ in range(14):
        middle = (low + apart) / 2
        enough = (_both(z, middle * root, bounds.bound, 0.0) < len(root)).mean() >= POWER
        low, apart = (low, middle) if enough else (middle, apart)
    ends = _both(z, apart * root, bounds.bound, 0.0)
    much = (apart / looking.single) ** 2
    at = np.append(bounds.information, 1.0)[ends]
    yield Characteristic("one metric", "largest sample for NEUTRAL over fixed", much, math.nan)
    yield Characteristic(
        "one metric",
        "days to NEUTRAL at no effect, of fixed",
        float(at.mean() * much),
        float(at.std() * much / math.sqrt(runs)),
        high=1.02,
    )
    for side in (-1.0, 1.0):
        hits = (_both(z, apart * root, bounds.bound, side) < len(root)).sum()
        yield false_rate("one metric", f"NEUTRAL at {side:+g} margin", hits, runs, looking.alpha)


def _both(z: Floats, drift: Floats, bound: Floats, effect: float) -> NDArray[np.int64]:
    """The look by which both tests have crossed; the number of looks if never."""
    ends = [
        np.where(crossed.any(1), crossed.argmax(1), len(bound))
        for crossed in (z + (1 + effect) * drift >= bound, -z + (1 - effect) * drift >= bound)
    ]
    return np.maximum(*ends)


def naive(runs: int, seed: int) -> Characteristic:
    """What looking every day without a rule does."""
    hits = (walks(runs, equal_looks(28), np.random.default_rng(seed)) >= ndtri(1 - ALPHA)).any(1).sum()
    return share("one metric", "passes a margin worse if every day's interval is believed", hits, runs)
