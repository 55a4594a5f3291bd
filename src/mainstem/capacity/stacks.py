"""What whole stacks will take, told from small deployments of them, and how far that was from what they took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import CapacityError
from mainstem.capacity.load import Service, knee

Array = NDArray[np.float64]
METRICS = ("requests / s at the knee", "resident bytes", "bytes logged a request", "rows trained / CPU s")


@dataclass(frozen=True, slots=True)
class Sample:
    """One deployment of a stack, as it ran.

    Args:
        stack: Which stack.
        share: The share of the users whose rows it learned from and holds.
        scale: Its candidates over those of the stack that serves.
        request_s: CPU seconds of each request, by surface.
        resident: Bytes the process held after the requests.
        rows: Rows of the log that its training read.
        train_s: CPU seconds of that training; not a number when it was not trained here.
        logged: Bytes logged a request, by items a slate.
    """

    stack: str
    share: float
    scale: float
    request_s: Mapping[str, Array]
    resident: float
    rows: float
    train_s: float
    logged: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a stack needs, measured or told.

    Args:
        request_s: Mean CPU seconds a request, by surface.
        knee: Requests a second at which p99 breaks its objective, all cores together.
        resident: Bytes a process holds.
        logged: Bytes logged a request.
        train_s: CPU seconds of a training.
        rows_s: Rows trained a CPU second.
    """

    request_s: Mapping[str, float]
    knee: float
    resident: float
    logged: float
    train_s: float
    rows_s: float

    def metrics(self) -> dict[str, float]:
        """What is compared, by name; the training only where there was one."""
        found = dict(zip(METRICS, (self.knee, self.resident, self.logged, self.rows_s), strict=True))
        return {what: value for what, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True, slots=True)
class Saving:
    """What one stack saves over those it replaces, in shares of theirs.

    Args:
        what: Of what.
        told: From what was told of each.
        measured: From what each took.
    """

    what: str
    told: float
    measured: float

    @property
    def points(self) -> float:
        """How many points the first lies over the second."""
        return 100.0 * (self.told - self.measured)


def told(samples: Sequence[Sample], *, rows: float, count: int, cores: int, slo_s: float) -> Needs:
    """What the stack that serves will take, from deployments of it that held fewer users and scored fewer candidates.

    A request's seconds are a straight line in the candidates, bytes held and seconds of training one in the share of the
    users, bytes logged a plane in the items of a slate and the candidates. A request's cost does not follow the number of
    users: it reads its own viewer's state and a catalogue that is the same for all.

    Args:
        samples: Small deployments of one stack; none may be the one that is told.
        rows: Rows that the training will read.
        count: Items a slate.
        cores: Cores that serve, one process each.
        slo_s: The p99 to keep.

    Raises:
        CapacityError: ``capacity-068`` for samples of several stacks, of one size only, or of the full size.
    """
    _check(samples)
    surfaces = list(samples[0].request_s)
    scales = np.array([one.scale for one in samples])
    means = {name: np.array([float(one.request_s[name].mean()) for one in samples]) for name in surfaces}
    request_s = {name: _line(scales, values, 1.0) for name, values in means.items()}
    factors = np.concatenate(
        [one.request_s[name] * (request_s[name] / one.request_s[name].mean()) for one in samples for name in surfaces]
    )
    mixed = float(np.mean(list(request_s.values())))
    shares = np.array([one.share for one in samples])
    train_s = _line(np.array([one.rows for one in samples]), np.array([one.train_s for one in samples]), rows)
    return Needs(
        request_s=request_s,
        knee=knee(Service(0.0, mixed, workers=cores), slo_s, factors=factors / factors.mean()).rate,
        resident=_line(shares, np.array([one.resident for one in samples]), 1.0),
        logged=_logged(samples, count),
        train_s=train_s,
        rows_s=rows / train_s,
    )


def took(sample: Sample, *, count: int, cores: int, slo_s: float) -> Needs:
    """What a deployment took. Its knee is that of its own measured requests in a queue before its cores."""
    most = max(one.size for one in sample.request_s.values())
    each = np.concatenate([_as_many(one, most) for one in sample.request_s.values()])
    mean = float(each.mean())
    return Needs(
        request_s={name: float(one.mean()) for name, one in sample.request_s.items()},
        knee=knee(Service(0.0, mean, workers=cores), slo_s, seed=1, factors=each / mean).rate,
        resident=sample.resident,
        logged=sample.logged[count],
        train_s=sample.train_s,
        rows_s=sample.rows / sample.train_s,
    )


def savings(
    told_of: Mapping[str, Needs], took_of: Mapping[str, Needs], carries: Mapping[str, str], new: str
) -> list[Saving]:
    """What the new stack saves: CPU of a request, memory, training and bytes, each surface having the same traffic.

    Args:
        told_of: What was told of each stack.
        took_of: What each took.
        carries: Which old stack carries each surface today.
        new: The stack that replaces them.
    """

    def saved(needs: Mapping[str, Needs]) -> dict[str, float]:
        old = [needs[name] for name in dict.fromkeys(carries.values())]
        cpu = sum(needs[stack].request_s[surface] for surface, stack in carries.items())
        logged = sum(needs[stack].logged for stack in carries.values()) / len(carries)
        one = needs[new]
        return {
            "CPU of requests": 1.0 - sum(one.request_s[surface] for surface in carries) / cpu,
            "memory of a process of each": 1.0 - one.resident / sum(each.resident for each in old),
            "CPU of training": 1.0 - one.train_s / sum(each.train_s for each in old),
            "bytes logged": 1.0 - one.logged / logged,
        }

    first, second = saved(told_of), saved(took_of)
    return [Saving(what, first[what], second[what]) for what in first if math.isfinite(second[what])]


def errors(told_of: Mapping[str, Needs], took_of: Mapping[str, Needs]) -> dict[tuple[str, str], float]:
    """Relative error of every stack and metric."""
    return {
        (stack, what): told_of[stack].metrics()[what] / value - 1.0
        for stack, needs in took_of.items()
        for what, value in needs.metrics().items()
    }


def median_error(found: Mapping[tuple[str, str], float]) -> float:
    """Median of the relative errors, signs left out."""
    return median(abs(one) for one in found.values())


def _line(at: Array, values: Array, wanted: float) -> float:
    """The value of the straight line through these, fitted to relative errors, at a place that may lie outside."""
    if np.unique(at).size == 1 or not np.isfinite(values).all():
        return float(values.mean())
    design = np.stack([np.ones(at.size), at], axis=1) / values[:, None]
    (start, slope), *_ = np.linalg.lstsq(design, np.ones(at.size), rcond=None)
    return float(start + slope * wanted)


def _logged(samples: Sequence[Sample], count: int) -> float:
    """Bytes logged a request of this slate at full candidates."""
    rows = [(size, one.scale, bytes_) for one in samples for size, bytes_ in one.logged.items()]
    design = np.array([(1.0, size, scale) for size, scale, _ in rows])
    plane, *_ = np.linalg.lstsq(design, np.array([one[2] for one in rows]), rcond=None)
    return float(plane @ (1.0, count, 1.0))


def _as_many(values: Array, count: int) -> Array:
    """So many of them, in turn: surfaces of one traffic weigh the same."""
    return np.resize(values, count)


def _check(samples: Sequence[Sample]) -> None:
    names = {one.stack for one in samples}
    small = [one for one in samples if one.share < 1.0 and one.scale < 1.0]
    if (
        len(names) != 1
        or len(small) < len(samples)
        or len({one.share for one in samples}) < 2
        or len({one.scale for one in samples}) < 2
    ):
        raise CapacityError(
            f"found {len(samples)} deployments of {', '.join(sorted(names)) or 'nothing'}, {len(small)} of them small, "
            "expected one stack in at least two shares and two scales below 1",
            code="capacity-068",
            hint="what is told must not be among what it is told from",
        )
