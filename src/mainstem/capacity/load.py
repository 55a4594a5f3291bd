"""Latency against load: an analytic bracket, a batch queue that is simulated, and the rate at which p99 breaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError


@dataclass(frozen=True, slots=True)
class Service:
    """How requests occupy workers, and what they wait beside that.

    What a request occupies and what it merely waits are two parameters on purpose: a latency at light load cannot tell
    one from the other, and the ceiling follows from the first alone.

    Args:
        launch_s: Seconds of a worker a batch.
        request_s: Seconds of a worker a request.
        fixed_s: Seconds a request takes beside, which occupy no worker: network, parsing, another pool.
        cv: Standard deviation over mean of the occupancy.
        workers: How many.
        batch: Most requests a batch.
        delay_s: How long a free worker waits for a full batch.
    """

    launch_s: float
    request_s: float
    fixed_s: float = 0.0
    cv: float = 0.0
    workers: int = 1
    batch: int = 1
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.launch_s, self.request_s, self.fixed_s, self.cv, self.delay_s)
        if not (min(numbers) >= 0.0 and self.occupancy(1) > 0.0 and self.workers >= 1 and self.batch >= 1):
            raise CapacityError(
                f"found {self}, expected a positive occupancy, at least one worker and request a batch, nothing negative",
                code="capacity-043",
                hint="a measured time a request and a time a batch are enough",
            )

    def occupancy(self, batch: int) -> float:
        """Seconds a batch of this size occupies a worker."""
        return self.launch_s + batch * self.request_s

    @property
    def ceiling(self) -> float:
        """Requests a second that all workers together complete with full batches."""
        return self.workers * self.batch / self.occupancy(self.batch)


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of latency at one rate, in seconds.

    Args:
        rate: Requests a second offered.
        p50: Median.
        p90: Ninth decile.
        p99: The slowest hundredth.
        mean: Mean.
        utilisation: Share of the workers' time that is occupied.
        batch: Mean requests a batch.
    """

    rate: float
    p50: float
    p90: float
    p99: float
    mean: float
    utilisation: float
    batch: float


def bracket(service: Service, rate: float) -> tuple[float, float]:
    """Between which two seconds the mean latency must lie, without simulating.

    Below stands a lone request that waits for nobody. Above stands a queue in which every request is served alone if
    that is stable, else one of full batches, by Allen and Cunneen, with the time a batch takes to fill.

    Returns:
        The two ends; the upper is infinite at or above the ceiling.

    Source: Allen, Probability, Statistics and Queueing Theory, 2nd ed., 1990, section 5.
    """
    low = service.fixed_s + service.occupancy(1)
    best = math.inf
    for size in {1, service.batch}:
        each, batches = service.occupancy(size), rate / size
        load = batches * each / service.workers
        if load < 1.0:
            queue = erlang_c(service.workers, batches * each) * each / (service.workers * (1.0 - load))
            fill = (size - 1) / rate if size > 1 else 0.0
            variety = (1.0 / size + service.cv**2) / 2.0
            best = min(
                best, service.fixed_s + each + fill + service.delay_s + queue * max(variety, 0.5 if size == 1 else 0.0)
            )
    return low, best


def erlang_c(workers: int, offered: float) -> float:
    """The chance that a request finds every worker busy, for Poisson arrivals and exponential times."""
    if offered >= workers:
        return 1.0
    blocked = 1.0
    for at in range(1, workers + 1):
        blocked = offered * blocked / (at + offered * blocked)
    return blocked / (1.0 - offered / workers * (1.0 - blocked))


Factors = NDArray[np.float64] | None
"""Measured occupancies over their mean, which are drawn from; None draws from a lognormal with the service's spread."""


def simulate(
    service: Service, rate: float, *, requests: int = 100_000, seed: int = 0, factors: Factors = None
) -> Latency:
    """Latency of Poisson arrivals at a rate, by simulation. The same seed draws the same customers at every rate.

    Raises:
        CapacityError: ``capacity-044`` for a rate that is not positive, or too few requests for a p99.
    """
    if not (rate > 0.0 and math.isfinite(rate)) or requests < 1_000:
        raise CapacityError(
            f"found rate {rate} and {requests} requests, expected a positive rate and at least 1000 requests",
            code="capacity-044",
            hint="a p99 of fewer requests is luck",
        )
    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(draw.exponential(size=requests)) / rate
    return replay(service, arrivals, seed=seed + 1, factors=factors)


def replay(service: Service, arrivals: NDArray[np.float64], *, seed: int = 0, factors: Factors = None) -> Latency:
    """The same for arrivals that were measured, in seconds, sorted. The first tenth warms up and is not counted."""
    draw, spread = np.random.default_rng(seed), math.sqrt(math.log1p(service.cv**2))
    if factors is None:
        noise = np.exp(draw.normal(size=arrivals.size) * spread - spread * spread / 2.0)
    else:
        noise = draw.choice(factors, arrivals.size)
    took, busy, batches = _queue(
        arrivals, noise, service.launch_s, service.request_s, service.workers, service.batch, service.delay_s
    )
    counted = took[arrivals.size // 10 :] + service.fixed_s
    p50, p90, p99 = np.quantile(counted, (0.5, 0.9, 0.99))
    stretch = float(arrivals[-1] - arrivals[0]) or 1.0
    return Latency(
        rate=arrivals.size / stretch,
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
        mean=float(counted.mean()),
        utilisation=min(1.0, busy / stretch / service.workers),
        batch=arrivals.size / batches,
    )


@njit(cache=True, nogil=True)
def _queue(arrivals, noise, launch, each, workers, cap, delay):
    """First come, first served: the worker that is free first takes what waits, up to a batch."""
    n = arrivals.shape[0]
    free, took = np.zeros(workers), np.empty(n)
    busy, batches, at = 0.0, 0, 0
    while at < n:
        worker = 0
        for other in range(1, workers):
            if free[other] < free[worker]:
                worker = other
        start = max(free[worker], arrivals[at])
        if delay > 0.0:
            full = arrivals[at + cap - 1] if at + cap - 1 < n else arrivals[at] + delay
            start = max(start, min(arrivals[at] + delay, full))
        end = at + 1
        while end < n and end - at < cap and arrivals[end] <= start:
            end += 1
        occupied = (launch + each * (end - at)) * noise[batches]
        free[worker] = start + occupied
        for one in range(at, end):
            took[one] = start + occupied - arrivals[one]
        busy += occupied
        batches += 1
        at = end
    return took, busy, batches


def knee(service: Service, slo_s: float, *, requests: int = 100_000, seed: int = 0, factors: Factors = None) -> Latency:
    """The largest rate at which p99 keeps the objective, within a thousandth.

    Raises:
        CapacityError: ``capacity-045`` when a lone request already misses it.
    """
    low, high = 0.0, service.ceiling
    slowest = simulate(service, high * 1e-3, requests=requests, seed=seed, factors=factors)
    if slowest.p99 > slo_s:
        raise CapacityError(
            f"found a p99 of {slowest.p99 * 1e3:.1f} ms without any queue, above the objective of {slo_s * 1e3:.1f} ms",
            code="capacity-045",
            hint="fewer candidates, a smaller model or a faster machine; more workers do not help",
        )
    found = slowest
    while high - low > 1e-3 * service.ceiling:
        middle = (low + high) / 2.0
        at = simulate(service, middle, requests=requests, seed=seed, factors=factors)
        if at.p99 <= slo_s:
            low, found = middle, at
        else:
            high = middle
    return found


def curve(service: Service, rates: Sequence[float], *, requests: int = 100_000, seed: int = 0) -> tuple[Latency, ...]:
    """Latency at each of several rates."""
    return tuple(simulate(service, rate, requests=requests, seed=seed) for rate in rates)


def fit_service(
    batches: NDArray[np.float64], seconds: NDArray[np.float64], fixed_s: float = 0.0, **more: int
) -> Service:
    """The service that measured batches show: time a batch, time a request, and their spread.

    Args:
        batches: Requests of each measured batch, of at least two sizes.
        seconds: How long each occupied a worker.
        fixed_s: Measured apart, at light load: latency less occupancy.
        more: ``workers`` and ``batch``.

    Raises:
        CapacityError: ``capacity-046`` for too few measurements to tell the two times apart.
    """
    if batches.size != seconds.size or np.unique(batches).size < 2 or (seconds <= 0.0).any():
        raise CapacityError(
            f"found {seconds.size} times of {np.unique(batches).size} batch sizes, expected positive times of at least two",
            code="capacity-046",
            hint="occupancy and fixed latency need runs of different kinds",
        )
    weight = 1.0 / seconds
    design = np.stack([weight, batches * weight], axis=1)
    (launch, each), *_ = np.linalg.lstsq(design, np.ones(seconds.size), rcond=None)
    launch, each = max(float(launch), 0.0), max(float(each), 0.0)
    apart = seconds / (launch + each * batches)
    return Service(launch, each, fixed_s, float(apart.std()), **more)
