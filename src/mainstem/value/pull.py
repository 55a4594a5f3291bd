"""How hard each term of a value pulls: not by its weight, but by what it does to the order.

A weight multiplies a probability. A term moves the order by how much it differs between the candidates of one request, so its
pull is weight times spread, and its weight times base rate is what it adds to the average item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mainstem.base.errors import EvidenceError
from mainstem.base.request import Floats
from mainstem.value.expression import Expression

TOP = 10


@dataclass(frozen=True, slots=True)
class TermPull:
    """One term of a surface's value.

    Attributes:
        weight: Its number, where it is a number times a head.
        rate: How often the head happens in the log (seconds for ``watch``); None where the log does not tell.
        typical: What the term adds to the average candidate.
        spread: By how much it differs between the candidates of one request (standard deviation).
        share: Its part of the variance of the value within requests; all terms add up to 1. Negative: it works against the rest.
        moved: How many of the first ten would be others without it.
    """

    term: str
    weight: float | None
    rate: float | None
    typical: float
    spread: float
    share: float
    moved: float


@dataclass(frozen=True, slots=True)
class SurfacePull:
    """The effective pull of every term of one surface.

    Attributes:
        at_rates: The value of an item whose heads are just the log's base rates; None where a head's is unknown.
        unused: Weights that the value does not read.
        warnings: What is wrong with these weights, in sentences.
    """

    surface: str
    value: str
    requests: int
    candidates: float
    at_rates: float | None
    terms: tuple[TermPull, ...]
    unused: tuple[str, ...]
    warnings: tuple[str, ...]


def surface_pull(
    surface: str,
    expression: Expression,
    parts: Sequence[Mapping[str, Floats]],
    rates: Mapping[str, float | None],
) -> SurfacePull:
    """The pull of each term over replayed requests.

    Args:
        surface: Its name.
        expression: What it values.
        parts: Of each request, every term's share of each candidate's value, as ``Expression.parts`` tells it.
        rates: How often each head happens on the surface.

    Raises:
        EvidenceError: No request has two candidates (``value-020``).
    """
    usable = [one for one in parts if len(next(iter(one.values()))) > 1]
    if not usable:
        raise EvidenceError(
            f"none of {len(parts)} requests on {surface!r} has two candidates to compare",
            code="value-020",
            hint="mainstem train, then mainstem surface pull",
        )
    shares = _shares(usable)
    terms = []
    for term in expression.terms:
        factor = term.linear.factor if term.linear and term.linear.head else None
        rate = rates.get(term.linear.head) if term.linear and term.linear.head else None
        spread, share = shares[term.text]
        typical = float(np.mean([one[term.text].mean() for one in usable]))
        moved = float(np.mean([_moved(one, term.text) for one in usable]))
        terms.append(TermPull(term.text, factor, rate, typical, spread, share, moved))
    at = expression.at({k: v or 0.0 for k, v in rates.items()}) if _all_known(expression, rates) else None
    unused = tuple(sorted(set(expression.weights) - expression.weighed))
    count = float(np.mean([len(next(iter(one.values()))) for one in usable]))
    return SurfacePull(
        surface,
        expression.text,
        len(usable),
        count,
        at,
        tuple(terms),
        unused,
        _warnings(surface, at if expression.logless else None, terms),
    )


def _all_known(expression: Expression, rates: Mapping[str, float | None]) -> bool:
    return all(rates.get(name) is not None for name in expression.reads)


def _shares(parts: Sequence[Mapping[str, Floats]]) -> dict[str, tuple[float, float]]:
    """Of each term: standard deviation within requests, and its covariance with the value over the value's variance."""
    names = list(parts[0])
    own, joint, total = np.zeros(len(names)), np.zeros(len(names)), 0.0
    for one in parts:
        terms = np.stack([one[name] for name in names])
        flat = np.ptp(terms, axis=1) == 0.0  # exactly: the mean of equal numbers is rounded
        terms = np.where(flat[:, None], 0.0, terms - terms.mean(axis=1, keepdims=True))
        value = terms.sum(axis=0)
        own += (terms**2).mean(axis=1)
        joint += (terms * value).mean(axis=1)
        total += float((value**2).mean())
    spread = np.sqrt(own / len(parts))
    share = joint / total if total > 0 else np.zeros(len(names))
    return {name: (float(spread[at]), float(share[at])) for at, name in enumerate(names)}


def _moved(parts: Mapping[str, Floats], without: str) -> int:
    """How many of the first ten are others when a term is left out; ties stand in the order of the candidates."""
    value = sum(parts.values(), start=np.zeros(len(parts[without])))
    first = np.argsort(-value, kind="stable")[:TOP]
    second = np.argsort(-(value - parts[without]), kind="stable")[:TOP]
    return len(np.setdiff1d(first, second))


def _warnings(surface: str, at: float | None, terms: Sequence[TermPull]) -> tuple[str, ...]:
    said = []
    if at is not None and at < 0:
        worst = min(terms, key=lambda term: term.typical)
        rate = "" if worst.rate is None else f" (base rate {worst.rate:.4g})"
        said.append(
            f"on {surface} the average item is worth {at:.4g}, less than nothing: {worst.term}{rate} drowns the rest"
        )
    said += [f"{one.term} moves nothing: it is the same for all candidates" for one in terms if one.spread == 0.0]
    return tuple(said)
