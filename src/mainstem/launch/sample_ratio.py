"""Did assignment give each arm its share? An e-value that may be read after every user without a false alarm too many.

Under the declared shares the e-value is a martingale that starts at 1: the chance that it ever reaches 1,000 is at most
1/1,000, over all looks. So a fault of assignment or of logging is seen on the day it shows, and a healthy test stays valid.

Source: Lindon and Malek 2020 (arXiv 2011.03567), Dirichlet mixture over multinomial shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from mainstem.base.errors import LaunchError

ALARM_AT: Final = 1_000.0
STRENGTHS: Final = (200.0, 2_000.0, 20_000.0)
"""How many users' worth a mixture is drawn to the declared shares; of 20,000, two equal arms get 10,000 each.

The strong one finds .2 % of imbalance among many users, the weak ones 30 % among a thousand; their mean is an e-value too, and
costs no more than a factor of 3."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """One segment's counts against its declared shares.

    Attributes:
        segment: ``all``, or a surface, platform or day.
        log_e: Natural logarithm of the e-value.
        p: An always-valid p-value, 1 over the largest e-value.
        alarm: Whether it has ever reached its threshold.
        observed: Share of each arm.
        counts: Of each arm, at the last look.
        alarm_at: The e-value that is an alarm.
    """

    segment: str
    log_e: float
    p: float
    alarm: bool
    observed: tuple[float, ...]
    counts: tuple[int, ...] = ()
    alarm_at: float = ALARM_AT


def log_e_value(counts: ArrayLike, shares: ArrayLike, strengths: Sequence[float] = STRENGTHS) -> NDArray[np.float64]:
    """The logarithm of the e-value of counts so far against declared shares; two arms are the beta-binomial case.

    Args:
        counts: Users of each arm, cumulative.
        shares: What was declared; they sum to 1.
        strengths: See ``STRENGTHS``; e-values of several are averaged.

    Raises:
        LaunchError: Counts are negative or not finite, or shares are not chances that sum to 1 (``launch-011``).

    Shapes: counts ``[..., arms]``, shares ``[arms]``, answer ``[...]``.
    """
    x, declared = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    good = declared.ndim == 1 and len(declared) > 1 and (declared > 0).all() and abs(declared.sum() - 1) < 1e-9
    if not good or x.shape[-1:] != declared.shape or not np.isfinite(x).all() or (x < 0).any():
        raise LaunchError(
            f"found counts of shape {x.shape} against shares {declared.tolist()}, expected counts of 0 or above, one for "
            "each arm, and shares above 0 that sum to 1",
            code="launch-011",
            hint="leave out arms that get no traffic, and divide shares by their sum",
        )
    return logsumexp([_mixed(x, declared, one) for one in strengths], axis=0) - np.log(len(strengths))


def _mixed(x: NDArray[np.float64], declared: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """The Dirichlet mixture of one strength against the declared shares."""
    prior = strength * declared
    mixed = gammaln(prior + x).sum(-1) - gammaln(strength + x.sum(-1)) - gammaln(prior).sum() + gammaln(strength)
    return mixed - x @ np.log(declared)


def check_sample_ratio(
    counts: ArrayLike, shares: ArrayLike, *, segment: str = "all", alarm_at: float = ALARM_AT
) -> SampleRatio:
    """Is the ratio broken, at any of the looks so far?

    Args:
        counts: Cumulative users of each arm at each look; one row if there was one look.
        shares: Declared shares.
        segment: What is counted.
        alarm_at: E-value that is an alarm.

    Shapes: counts ``[looks, arms]`` or ``[arms]``.
    """
    x = np.atleast_2d(np.asarray(counts, np.float64))
    path = log_e_value(x, shares)
    most = float(path.max())
    total = float(x[-1].sum())
    observed = tuple(float(one) / total if total else 0.0 for one in x[-1])
    return SampleRatio(
        segment,
        float(path[-1]),
        min(1.0, math.exp(-max(most, 0.0))),
        most >= math.log(alarm_at),
        observed,
        tuple(int(one) for one in x[-1]),
        alarm_at,
    )


def check_segments(
    counts: Mapping[str, ArrayLike], shares: ArrayLike, *, alarm_at: float = ALARM_AT
) -> tuple[SampleRatio, ...]:
    """The same by surface, platform or day.

    The threshold grows with the number of segments, so that the chance of a false alarm does not.
    """
    return tuple(
        check_sample_ratio(one, shares, segment=name, alarm_at=alarm_at * len(counts)) for name, one in counts.items()
    )


def ratios_of(
    units: pl.DataFrame,
    shares: Mapping[str, float],
    parts: Sequence[str] = (),
    *,
    start_ms: int = 0,
    arm: str = "arm",
    alarm_at: float = ALARM_AT,
) -> tuple[SampleRatio, ...]:
    """The sample ratio in all, by the day on which units came, and by surface, platform or whatever else was kept.

    Each is read as it stood on every day so far, so an alarm stays. In all, by day, and each part are families that get an equal
    share of the chance of a false alarm, and share it among their values.

    Args:
        units: One row a unit, with its arm and ``since_ms``, from ``exposure.triggered`` (``keep`` keeps a part's column).
        shares: What each arm was promised of the units of all these arms; units of another arm are not counted.
        parts: Columns.
        start_ms: When the first day began.
        arm: The column with the arm.
        alarm_at: The e-value that is an alarm, for all of it together.

    Raises:
        LaunchError: A column is missing, or nobody is in an arm (``launch-113``); shares are not chances that sum to 1
            (``launch-011``).
    """
    for name in (arm, "since_ms", *parts):
        if name not in units.columns:
            raise _no_counts(f"no column {name!r}, but {', '.join(units.columns)}")
    arms = list(shares)
    known = units.filter(pl.col(arm).is_in(arms)).with_columns(day=(pl.col("since_ms") - start_ms) // _DAY_MS + 1)
    if not known.height:
        raise _no_counts(f"nobody in {', '.join(arms)}")
    promised, each = [shares[one] for one in arms], alarm_at * (2 + len(parts))
    days = known["day"].unique().sort().to_list()
    found = [check_sample_ratio(_by_day(known, days, arm, arms), promised, alarm_at=each)]
    for part in ("day", *parts):
        values = known.partition_by(part, as_dict=True)
        counts = {
            f"{part} {value}": _by_day(values[(value,)], days, arm, arms)
            for value in sorted((key[0] for key in values), key=lambda one: (one is None, one))
        }
        found += check_segments(counts, promised, alarm_at=each)
    return tuple(found)


def _by_day(units: pl.DataFrame, days: Sequence[int], arm: str, arms: Sequence[str]) -> NDArray[np.float64]:
    """How many units of each arm had come by each day. Shapes: ``[days, arms]``."""
    counts = {(day, one): n for day, one, n in units.group_by("day", arm).len().iter_rows()}
    return np.array([[counts.get((day, one), 0) for one in arms] for day in days], np.float64).cumsum(axis=0)


def _no_counts(found: str) -> LaunchError:
    return LaunchError(
        f"found {found} among the units, expected their arm, since when, and the parts that are to be counted",
        code="launch-113",
        hint="exposure.triggered gives such a table; name a part in its `keep`",
    )
