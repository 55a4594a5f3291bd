"""Do the parts that verdicts rest on keep their word? Sample ratio, heavy tails, and the split of waiting from ranking."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mainstem.launch.characteristic import Characteristic, false_rate, share
from mainstem.launch.contrast import ArmMean, contrast
from mainstem.launch.latency_split import LatencySplit, split_latency
from mainstem.launch.sample_ratio import ALARM_AT, log_e_value
from mainstem.launch.spending import ALPHA

Floats = NDArray[np.float64]
_DAILY, _DAYS = 100_000, 28
HEAVY = ((0.05, 1.0), (0.02, 1.0), (0.02, 1.17), (0.03, 0.8))
"""Share of payers, and spread of the logarithm of what they pay; the coefficients of variation reach 14."""
_USERS = 7_000
_HEAVY_MARGIN = 0.4
_SPLIT_USERS = 600


def sample_ratio(runs: int, seed: int) -> Iterator[Characteristic]:
    """False alarms over 28 days of 100,000 users, and how soon faults are found."""
    rng = np.random.default_rng(seed)
    for name, chance in (("false alarms over 28 days", 0.5), ("50.2 to 49.8", 0.502), ("2 % of one arm lost", 0.4949)):
        one = rng.binomial(_DAILY, chance, (runs, _DAYS)).cumsum(1)
        counts = np.stack([one, _DAILY * np.arange(1, _DAYS + 1) - one], -1)
        alarm = log_e_value(counts, [0.5, 0.5]) >= math.log(ALARM_AT)
        first = np.where(alarm.any(1), alarm.argmax(1) + 1, _DAYS + 1)
        if chance == 0.5:
            yield false_rate("sample ratio", name, alarm.any(1).sum(), runs, 1 / ALARM_AT)
        else:
            late = math.inf if chance > 0.5 else 7.0
            yield Characteristic(
                "sample ratio",
                f"mean day of the alarm, {name}",
                float(first.mean()),
                float(first.std() / runs**0.5),
                high=late,
            )
    yield share("sample ratio", "a fault of 2 % is INVALID within a week", (first <= 7).sum(), runs, low=0.99)


def heavy_tails(runs: int, seed: int) -> Iterator[Characteristic]:
    """Type I error of the linear contrast at its margin, 7,000 users an arm of whom few pay and some pay much."""
    rng, limit = np.random.default_rng(seed), float(ndtri(1 - ALPHA))
    for payers, spread in HEAVY:
        arms = [_paid(runs, payers, spread, scale, rng) for scale in (1 - _HEAVY_MARGIN, 1.0)]
        hits = sum(contrast(new, old, _HEAVY_MARGIN).not_worse >= limit for new, old in zip(*arms, strict=True))
        cv = math.sqrt(math.exp(spread**2) / payers - 1)
        yield share("heavy tails", f"passes a margin worse, CV {cv:.1f}, {_USERS} users", hits, runs, high=0.055)


def _paid(runs: int, payers: float, spread: float, scale: float, rng: np.random.Generator) -> list[ArmMean]:
    count = rng.binomial(_USERS, payers, runs)
    paid = scale * np.exp(spread * rng.standard_normal(int(count.sum())))
    run = np.repeat(np.arange(runs), count)
    mean = np.bincount(run, paid, runs) / _USERS
    variance = (np.bincount(run, paid**2, runs) / _USERS - mean**2) * _USERS / (_USERS - 1)
    return [ArmMean(_USERS, m, v) for m, v in zip(mean.tolist(), variance.tolist(), strict=True)]


def latency_split(runs: int, seed: int) -> Iterator[Characteristic]:
    """Coverage of both parts when users answer delay in a straight line and in a bent one; and that parts add up."""
    rng, off = np.random.default_rng(seed), 0.0
    for shape, bend in (("linear", 1.0), ("curved", 2.0)):
        # A delay of mean 1 costs .05 in the mean with either bend, since the mean of a squared exponential is 2.
        cost, gain = 0.05, 0.02
        found = _splits(runs, bend, cost, gain, rng)
        for part, truth in (("latency", -cost), ("ranking", gain), ("total", gain - cost)):
            hits = sum(within.low <= truth <= within.high for within in (getattr(one, part) for one in found))
            yield share("latency split", f"coverage of the {part} part, {shape}", hits, runs, low=0.94, high=0.96)
        off = max(off, max(abs(one.latency.mid + one.ranking.mid - one.total.mid) for one in found))
    yield Characteristic("latency split", "largest difference of parts and total", off, high=1e-12)


def _splits(runs: int, bend: float, cost: float, gain: float, rng: np.random.Generator) -> list[LatencySplit]:
    out = []
    for at in range(0, runs, 500):
        size = (min(500, runs - at), _SPLIT_USERS)
        arms = []
        for slowed, better in ((0.0, 0.0), (cost, 0.0), (cost, gain)):
            values = 1.0 + better + 0.81 * (rng.standard_gamma(1.0, size) - 1.0)
            if slowed:
                values -= slowed * rng.standard_exponential(size) ** bend / math.gamma(1 + bend)
            arms.append(zip(values.mean(1).tolist(), values.var(1, ddof=1).tolist(), strict=True))
        for old, matched, new in zip(*arms, strict=True):
            means = [ArmMean(_SPLIT_USERS, mean, variance) for mean, variance in (old, matched, new)]
            out.append(split_latency(means[0], means[1], means[2]))
    return out
