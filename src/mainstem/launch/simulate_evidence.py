"""Do the parts that verdicts rest on keep their word? Sample ratio, heavy tails, quantiles, and waiting told from ranking."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mainstem.launch.characteristic import Characteristic, false_rate, share
from mainstem.launch.contrast import ArmMean, contrast
from mainstem.launch.latency_split import DelayArm, LatencySplit, price_delay, split_latency
from mainstem.launch.pulls import quantile_arm
from mainstem.launch.quantiles import Measurements
from mainstem.launch.sample_ratio import ALARM_AT, log_e_value
from mainstem.launch.spending import ALPHA

Floats = NDArray[np.float64]
_DAILY, _DAYS = 100_000, 28
HEAVY = ((0.05, 1.0), (0.02, 1.0), (0.02, 1.17), (0.03, 0.8))
"""Share of payers, and spread of the logarithm of what they pay; the coefficients of variation reach 14."""
_USERS = 7_000
_HEAVY_MARGIN = 0.4
_SPLIT_USERS = 600
_DOSE_USERS, _DOSE_MS = 500_000, 300.0
_QUANTILES, _QUANTILE_USERS, _SLOWER = (0.5, 0.9, 0.99), 800, 0.1


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


def dose_price(runs: int, seed: int) -> Iterator[Characteristic]:
    """What the dose arm says: the price of 100 ms where it is a straight line, and how often a line is doubted that is none.

    The matched arm waits 100 ms in the mean, exponentially; the dose arm 300 ms always. Means of 500,000 users are normal.
    """
    rng = np.random.default_rng(seed)
    for shape, bend in (("linear", 1.0), ("curved", 2.0)):
        # In units of 100 ms: .005 each, or a square that costs the matched arm as much.
        losses = 0.005 * np.array([0.0, 1.0, (_DOSE_MS / 100) ** bend / math.gamma(1 + bend)])
        error = 0.81 / math.sqrt(_DOSE_USERS)
        means = 1.0 - losses + error * rng.standard_normal((runs, 3))
        found = [
            price_delay(
                [DelayArm(ms, ArmMean(_DOSE_USERS, mean, 0.81**2)) for ms, mean in zip(_ADDED, row, strict=True)]
            )
            for row in means.tolist()
        ]
        doubted = sum(not one.is_straight for one in found)
        hits = sum(one.per_100_ms.low <= -0.005 <= one.per_100_ms.high for one in found)
        if shape == "linear":
            yield share("dose arm", "coverage of the price per 100 ms, linear", hits, runs, low=0.94, high=0.96)
            yield false_rate("dose arm", "a line that is true is doubted", doubted, runs, 0.05)
        else:
            yield share("dose arm", "a line that is none is doubted, curved", doubted, runs)
            yield share("dose arm", "coverage of the matched arm's loss by that line, curved", hits, runs)


_ADDED = (0.0, 100.0, _DOSE_MS)


def quantiles(runs: int, seed: int) -> Iterator[Characteristic]:
    """Type I error of quantiles exactly a margin slower; users have one to a dozen requests each, and tastes of their own."""
    rng, limit = np.random.default_rng(seed), float(ndtri(1 - ALPHA))
    hits = np.zeros(len(_QUANTILES))
    for _ in range(runs):
        old, new = _latencies(1.0, rng), _latencies(1.0 + _SLOWER, rng)
        for k, quantile in enumerate(_QUANTILES):
            arms = (quantile_arm(one.figure(quantile)) for one in (new, old))
            slow, usual = (ArmMean(one.units, one.mean, one.variance) for one in arms)
            hits[k] += contrast(slow, usual, _SLOWER, "down").not_worse >= limit
    for quantile, found in zip(_QUANTILES, hits.tolist(), strict=True):
        name = f"p{100 * quantile:g} passes a margin slower, {_QUANTILE_USERS} users"
        yield false_rate("quantiles", name, found, runs, ALPHA)


def _latencies(slower: float, rng: np.random.Generator) -> Measurements:
    units = np.repeat(np.arange(_QUANTILE_USERS), 1 + rng.poisson(5, _QUANTILE_USERS))
    own = rng.normal(0, 0.4, _QUANTILE_USERS)[units]
    return Measurements(slower * np.exp(4.5 + own + rng.normal(0, 0.3, len(units))), units)
