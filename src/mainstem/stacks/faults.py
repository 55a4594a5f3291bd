"""Faults planted on purpose: the same stack with one part broken the way parts really break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mainstem.base.errors import RequestError, did_you_mean
from mainstem.base.request import Floats, Found, Request, Rows
from mainstem.stacks.stage import FeatureReader, Ranker, Stack, Value


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken stack, and what was broken in it.

    Args:
        stage: One of ``features``, ``source``, ``model``, ``value``, ``rule``: where a shadow diff must find it.
        culprit: The feature, source, head, term or rule.
        story: How such a fault comes about.
    """

    stack: Stack
    stage: str
    culprit: str
    story: str


def plant(stack: Stack, kind: str, seed: int, rules: Sequence[str] = ()) -> Fault:
    """The stack with one seeded fault of this kind.

    Args:
        stack: A healthy stack.
        kind: One of ``KINDS``.
        seed: Chooses which part breaks.
        rules: The rules that fire on the requests at hand; a rule that never fires can be lost without a trace. Empty is any.

    Raises:
        RequestError: No such kind (``request-006``).
    """
    if kind not in KINDS:
        raise RequestError(f"no fault is called {kind!r}", code="request-006", hint=did_you_mean(kind, KINDS))
    random = np.random.default_rng(seed)
    return _rule(stack, random, rules) if kind == "rule" else KINDS[kind](stack, random)


def _feature(stack: Stack, random: np.random.Generator) -> Fault:
    name = str(random.choice(stack.features.names))
    column = stack.features.names.index(name)
    broken = _ScaledFeature(stack.features, column)
    return Fault(replace(stack, features=broken), "features", name, "milliseconds where seconds were meant")


def _source(stack: Stack, random: np.random.Generator) -> Fault:
    at = int(random.integers(len(stack.sources)))
    sources = list(stack.sources)
    sources[at] = _EmptySource(sources[at].name)
    broken = replace(stack, sources=tuple(sources))
    return Fault(broken, "source", sources[at].name, "an index that was built empty")


def _model(stack: Stack, random: np.random.Generator) -> Fault:
    column = int(random.integers(len(stack.ranker.heads)))
    broken = replace(stack, ranker=_ShiftedHead(stack.ranker, column))
    return Fault(broken, "model", stack.ranker.heads[column], "one head served from an older model")


def _value(stack: Stack, random: np.random.Generator) -> Fault:
    broken = _FlippedTerm(stack.value, int(random.integers(1_000)))
    return Fault(replace(stack, value=broken), "value", "", "a weight with its sign lost")


def _rule(stack: Stack, random: np.random.Generator, rules: Sequence[str] = ()) -> Fault:
    name = str(random.choice(tuple(rules) or stack.control.rules))
    return Fault(replace(stack, control=stack.control.without(name)), "rule", name, "a rule lost in a merge")


KINDS: Final[dict[str, Callable[[Stack, np.random.Generator], Fault]]] = {
    "feature": _feature,
    "source": _source,
    "model": _model,
    "value": _value,
    "rule": _rule,
}
"""What can be broken, in the river's order."""


@dataclass(frozen=True, slots=True)
class _ScaledFeature:
    reader: FeatureReader
    column: int

    @property
    def names(self) -> tuple[str, ...]:
        return self.reader.names

    def user(self, request: Request) -> Any:
        return self.reader.user(request)

    def items(self, request: Request, user: Any, rows: Rows) -> Floats:
        values = self.reader.items(request, user, rows).copy()
        values[:, self.column] = 1_000 * values[:, self.column] + 1
        return values


@dataclass(frozen=True, slots=True)
class _EmptySource:
    name: str

    def retrieve(self, request: Request, user: Any, limit: int) -> Found:
        return Found(rows=np.empty(0, np.int64), scores=np.empty(0))


@dataclass(frozen=True, slots=True)
class _ShiftedHead:
    ranker: Ranker
    column: int

    @property
    def heads(self) -> tuple[str, ...]:
        return self.ranker.heads

    def predict(self, request: Request, user: Any, rows: Rows, features: Floats) -> Floats:
        predictions = self.ranker.predict(request, user, rows, features).copy()
        shifted = predictions[:, self.column]
        predictions[:, self.column] = shifted**0.7 if self.heads[self.column] != "watch" else shifted * 1.5
        return predictions


@dataclass(frozen=True, slots=True)
class _FlippedTerm:
    value: Value
    draw: int

    def values(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> Floats:
        return np.sum(list(self.terms(request, user, rows, predictions).values()), axis=0)

    def terms(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        terms = self.value.terms(request, user, rows, predictions)
        flipped = list(terms)[self.draw % len(terms)]
        return {name: -part if name == flipped else part for name, part in terms.items()}
