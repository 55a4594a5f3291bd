"""The weights that are worth most while every guardrail holds, found in few costly evaluations.

Constrained Bayesian optimisation: a Gaussian process for the objective and one for each guardrail; the next weights to try are
those with the most expected improvement times the chance that all guardrails hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ConfigError, did_you_mean
from mainstem.base.request import Floats
from mainstem.value.surrogate import Surrogate, surrogate

Weights = Mapping[str, float]
_FIRST_EACH, _CANDIDATES, _NEAR = 2, 1_500, 500
_SIZES: Final = 1_000.0
"""How many times smaller than its bounds a weight that may change its sign is searched for."""
_REFIT: Final = 4
"""The processes are fitted anew after so many evaluations."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What some weights lead to: the objective, and the metrics guardrails are about."""

    value: float
    metrics: Mapping[str, float]


Objective = Callable[[Weights], Measured]


@dataclass(frozen=True, slots=True)
class Knob:
    """One weight that is tuned, searched by order of size: between two bounds of one sign, or through 0 where they differ."""

    name: str
    start: float
    low: float
    high: float

    def at(self, place: float) -> float:
        """The weight at a place from 0 to 1."""
        low, high = (self._size(end) for end in (self.low, self.high))
        size = low + place * (high - low)
        if self.low * self.high > 0:
            return math.copysign(math.exp(size), self.low)
        return self._unit * math.sinh(size)

    def place(self, weight: float) -> float:
        """Where from 0 to 1 a weight stands."""
        low, high = (self._size(end) for end in (self.low, self.high))
        return min(max((self._size(weight) - low) / (high - low), 0.0), 1.0)

    @property
    def _unit(self) -> float:
        return max(abs(self.low), abs(self.high)) / _SIZES

    def _size(self, weight: float) -> float:
        return math.log(abs(weight) or 1e-300) if self.low * self.high > 0 else math.asinh(weight / self._unit)


def knob(name: str, start: float, reach: float = 10.0, sign: int = 0, most: float = 0.0) -> Knob:
    """A weight searched up to ``reach`` times and down to the ``reach``-th part of where it stands.

    Args:
        name: Its name.
        start: Where it stands.
        reach: How far it may go.
        sign: Which sign it should have: where it starts with the other one it may change, else it may not. 0: any it has.
        most: How large it may become where it starts at 0.

    Raises:
        ConfigError: It starts at 0, where there is no size to begin at (``value-031``).
    """
    if start == 0.0 and not (most > 0.0 and sign):
        raise ConfigError(
            f"weight {name!r} is 0: there is no size to begin the search at",
            code="value-031",
            hint=f"mainstem surface set gives {name} a small number first",
        )
    if start == 0.0:
        ends = sorted((sign * most / _SIZES, sign * most))
        return Knob(name, 0.0, ends[0], ends[1])
    if sign * start < 0:
        return Knob(name, start, -reach * abs(start), reach * abs(start))
    ends = sorted((start / reach, start * reach))
    return Knob(name, start, ends[0], ends[1])


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that must stay on one side of a bound."""

    metric: str
    most: bool
    bound: float

    def slack(self, metrics: Mapping[str, float]) -> float:
        """How much room is left; below 0 it is broken."""
        return (self.bound - metrics[self.metric]) * (1.0 if self.most else -1.0)

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.most else '>='} {self.bound:.6g}"


_WRITTEN: Final = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([0-9.eE+-]+)?\s*(\*?)\s*(start)?\s*")


def guardrail(text: str, start: Mapping[str, float]) -> Guardrail:
    """A guardrail as it is written: ``hate <= 0.002``, ``hate <= start`` or ``watch >= 0.95 * start``.

    Args:
        text: The guardrail.
        start: The metrics by the present weights.

    Raises:
        ConfigError: It cannot be read, or names no metric (``value-030``).
    """
    found = _WRITTEN.fullmatch(text)
    number = _number(found[3]) if found and found[3] else None
    if (
        found is None
        or (found[3] and number is None)
        or not (found[3] or found[5])
        or bool(found[4]) != bool(found[3] and found[5])
    ):
        raise ConfigError(
            f"guardrail {text!r} cannot be read", code="value-030", hint="hate <= 0.002, or watch >= 0.95 * start"
        )
    if found[1] not in start:
        raise ConfigError(
            f"guardrail {text!r} names no metric of the objective",
            code="value-030",
            hint=did_you_mean(found[1], start),
        )
    factor = 1.0 if number is None else number
    return Guardrail(found[1], found[2] == "<=", factor * start[found[1]] if found[5] else factor)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluation: the weights, what came of them, whether every guardrail held, and whether no other trial beats it."""

    weights: Mapping[str, float]
    measured: Measured
    kept: bool
    front: bool = False


@dataclass(frozen=True, slots=True)
class Tuned:
    """Every trial in its order.

    Attributes:
        best: The kept trial of the largest value; None where the guardrails were never kept.
    """

    trials: tuple[Trial, ...]
    best: Trial | None

    @property
    def front(self) -> tuple[Trial, ...]:
        """The trials that no other beats in value and every guarded metric, by value."""
        return tuple(sorted((one for one in self.trials if one.front), key=lambda one: -one.measured.value))


def tune(
    objective: Objective,
    knobs: Sequence[Knob],
    guardrails: Sequence[Guardrail] = (),
    evaluations: int = 100,
    seed: int = 0,
    at_random: bool = False,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> Tuned:
    """Searches for the weights that are worth most while every guardrail holds. Same seed, same trials.

    Args:
        objective: What some weights lead to; costly.
        knobs: The weights that are searched; the first trial is where they stand.
        guardrails: What must hold.
        evaluations: How many trials, the first included.
        seed: Of every draw.
        at_random: Draws every trial, to see what the search is worth.
        progress: Told what is done.

    Raises:
        ConfigError: There is no weight to tune (``value-031``).

    Source: Gardner et al., Bayesian optimization with inequality constraints, 2014.
    """
    if not knobs:
        raise ConfigError(
            "the value names no weight that could be tuned",
            code="value-031",
            hint='name them: value = "long_view + like_worth * like", weights.like_worth = 2',
        )
    rng = np.random.default_rng(seed)
    places = np.array([[one.place(one.start) for one in knobs]])
    first = min(evaluations, 1 + max(6, _FIRST_EACH * len(knobs)))
    places = np.concatenate([places, _spread_out(rng, first - 1, len(knobs))])
    found: list[Measured] = []
    processes: list[Surrogate] = []
    while len(found) < evaluations:
        number = len(found)
        if number >= len(places):
            if not at_random and (not processes or (number - first) % _REFIT == 0):
                processes = _fitted(places, found, guardrails, seed + number)
            elif not at_random:
                told = zip(processes, _columns(found, guardrails), strict=True)
                processes = [one.with_values(places, values) for one, values in told]
            new = rng.random(len(knobs)) if at_random else _next(rng, places, found, guardrails, processes)
            places = np.concatenate([places, new[None]])
        found.append(objective(_weights(knobs, places, number)))
        progress(
            (number + 1) / evaluations, f"{number + 1} of {evaluations}, best {_best_value(found, guardrails):.6g}"
        )
    return _tuned(knobs, places, found, guardrails)


def _tuned(knobs: Sequence[Knob], places: Floats, found: Sequence[Measured], guardrails: Sequence[Guardrail]) -> Tuned:
    front = _front(found, guardrails)
    trials = tuple(
        Trial(
            _weights(knobs, places, number),
            measured,
            all(rail.slack(measured.metrics) >= 0 for rail in guardrails),
            bool(on_front),
        )
        for number, (measured, on_front) in enumerate(zip(found, front, strict=True))
    )
    kept = [one for one in trials if one.kept]
    return Tuned(trials, max(kept, key=lambda one: one.measured.value) if kept else None)


def _weights(knobs: Sequence[Knob], places: Floats, number: int) -> dict[str, float]:
    """The weights of a trial; the first is where they stand, to the last bit."""
    if number == 0:
        return {one.name: one.start for one in knobs}
    return {one.name: one.at(place) for one, place in zip(knobs, places[number].tolist(), strict=True)}


def _spread_out(rng: np.random.Generator, count: int, knobs: int) -> Floats:
    """A Latin hypercube: each knob tried once in each of ``count`` equal parts of its range."""
    order = np.stack([rng.permutation(count) for _ in range(knobs)], axis=1)
    return (order + rng.random((count, knobs))) / max(count, 1)


def _columns(found: Sequence[Measured], guardrails: Sequence[Guardrail]) -> list[Floats]:
    """Objective, then the room left at each guardrail. Shapes: each [n]."""
    values = np.array([one.value for one in found])
    return [values, *(np.array([rail.slack(one.metrics) for one in found]) for rail in guardrails)]


def _fitted(places: Floats, found: Sequence[Measured], guardrails: Sequence[Guardrail], seed: int) -> list[Surrogate]:
    return [surrogate(places, column, seed) for column in _columns(found, guardrails)]


def _next(
    rng: np.random.Generator,
    places: Floats,
    found: Sequence[Measured],
    guardrails: Sequence[Guardrail],
    processes: Sequence[Surrogate],
) -> Floats:
    """Where to try next: most expected improvement over the best that kept, times the chance to keep."""
    columns = _columns(found, guardrails)
    kept = np.all([one >= 0 for one in columns[1:]], axis=0) if guardrails else np.ones(len(found), bool)
    centre = places[np.flatnonzero(kept)[columns[0][kept].argmax()]] if kept.any() else places[0]
    near = np.clip(
        centre + rng.standard_normal((_NEAR, places.shape[1])) * rng.choice([0.02, 0.06, 0.15], (_NEAR, 1)), 0, 1
    )
    tried = np.concatenate([rng.random((_CANDIDATES, places.shape[1])), near])
    chance = np.ones(len(tried))
    for process in processes[1:]:
        mean, spread = process.at(tried)
        chance *= _below(mean / spread)
    if not kept.any():
        return tried[chance.argmax()]
    mean, spread = processes[0].at(tried)
    ahead = (mean - columns[0][kept].max()) / spread
    gain = spread * (ahead * _below(ahead) + np.exp(-0.5 * ahead**2) / math.sqrt(2 * math.pi))
    return tried[(gain * chance).argmax()]


def _below(x: Floats) -> Floats:
    """The chance that a normal number is below x."""
    return np.array([0.5 * math.erfc(-one / math.sqrt(2.0)) for one in x.tolist()])


def _best_value(found: Sequence[Measured], guardrails: Sequence[Guardrail]) -> float:
    kept = [one.value for one in found if all(rail.slack(one.metrics) >= 0 for rail in guardrails)]
    return max(kept, default=float("nan"))


def _front(found: Sequence[Measured], guardrails: Sequence[Guardrail]) -> NDArray[np.bool_]:
    """Which trials no other beats: at least as good in everything and better in something."""
    columns = _columns(found, guardrails)
    as_good, better = np.ones((len(found),) * 2, bool), np.zeros((len(found),) * 2, bool)
    for column in columns:
        as_good &= column[None] >= column[:, None]
        better |= column[None] > column[:, None]
    return np.logical_not((as_good & better).sum(axis=1))
