"""Heads to one number by a checked expression: parsed, never run as code.

An expression is a sum of terms over the predicted heads and named weights, such as ``long_view + like_worth * like - 20 * hate``.
Numbers, ``+ - * /``, a constant power, brackets, and ``min max log1p exp sqrt log`` are allowed; anything else is refused with
its place. So are sums of seconds and chances, and divisions by what can be 0 (``value/meaning.py``).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mainstem.base.errors import ConfigError
from mainstem.base.request import Floats, Request, Rows
from mainstem.value.compiled import Evaluate, Linear, compiled, linear
from mainstem.value.meaning import Meaning, Reading
from mainstem.value.quantity import quantities

_LONGEST: Final = 2_000
Fact = Callable[[Request, Any, Rows], Floats]
"""Something known of candidates that no head predicts, such as whether the viewer follows their creator."""


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of an expression: how it is written and how it is computed.

    Attributes:
        linear: The number and the head it is a product of; None where it is more than that.
    """

    text: str
    evaluate: Evaluate
    linear: Linear | None


class Expression:
    """What a surface values, as arrays in and an array out.

    The value is the sum of its terms from left to right, and ``parts`` are those terms, so that parts add up to the value to the
    last bit. A term that is written twice is one term.

    Args:
        text: The expression.
        names: Heads it may read.
        where: Named in errors, such as ``surfaces.feed.value``.
        weights: Named numbers, such as ``{"like_worth": 2, "watch_worth": "0.02 / s"}``.

    Raises:
        ConfigError: It cannot be parsed or holds what is not allowed (``value-001``), reads an unknown name (``value-002``), mixes
            units (``value-004``), can divide by 0 (``value-005``), or its weights are not what they should be (``value-007``,
            ``value-008``).

    Example:
        >>> import numpy as np
        >>> Expression("click + 2 * like", ("click", "like")).of({"click": np.array([0.5]), "like": np.array([0.1])})
        array([0.7])
    """

    def __init__(
        self,
        text: str,
        names: tuple[str, ...],
        where: str = "value",
        weights: Mapping[str, float | str] | None = None,
    ) -> None:
        self.text = text
        self.names = names
        self.where = where
        self.weights = quantities(weights or {}, names, f"{where.removesuffix('.value')}.weights")
        reading = Reading(names, self.weights, where)
        try:
            terms = _summands(_parsed(text, where))
            self.meaning = _meaning(reading, terms)
        except RecursionError:
            raise ConfigError(f"{where} is nested too deeply to be read", code="value-001") from None
        self.reads: set[str] = reading.reads
        self.weighed: set[str] = reading.weighed
        numbers = {name: one.number for name, one in self.weights.items()}
        self.terms = tuple(Term(said, compiled(node, numbers), linear(node, numbers)) for said, node in _merged(terms))

    def of(self, columns: Mapping[str, Floats]) -> Floats:
        """The value of each candidate. Shapes: each column [n], the answer [n]."""
        held = self._read(columns)
        total = self.terms[0].evaluate(held)
        for term in self.terms[1:]:
            total = total + term.evaluate(held)
        return total

    def parts(self, columns: Mapping[str, Floats]) -> dict[str, Floats]:
        """The value split into its terms, by how each is written; added up in this order they are the value exactly."""
        held, count = self._read(columns), len(next(iter(columns.values())))
        return {one.text: np.broadcast_to(np.asarray(one.evaluate(held), np.float64), (count,)) for one in self.terms}

    def at(self, rates: Mapping[str, float]) -> float:
        """The value of an item whose heads are just these rates; a head without one counts as 0."""
        columns = {name: np.array([float(rates.get(name) or 0.0)]) for name in self.names}
        return float(np.broadcast_to(self.of(columns), (1,))[0])

    @property
    def logless(self) -> bool:
        """Whether its sign says something: a sum of logarithms of chances is below 0 by nature."""
        return "log(" not in self.text

    def with_weights(self, weights: Mapping[str, float | str]) -> Expression:
        """The same expression with other named numbers; those not named stay."""
        kept = {name: str(one) if one.seconds else one.number for name, one in self.weights.items()}
        return Expression(self.text, self.names, self.where, {**kept, **weights})

    def _read(self, columns: Mapping[str, Floats]) -> dict[str, Floats]:
        """What it reads, as doubles: a sum in single precision would not be the sum of its parts."""
        return {name: np.asarray(columns[name], np.float64) for name in self.reads}


def _parsed(text: str, where: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise ConfigError(f"{where} has {len(text)} characters, at most {_LONGEST} are allowed", code="value-001")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{where} cannot be read: {error}", code="value-001") from None


def _summands(node: ast.expr, sign: int = 1) -> list[tuple[str, ast.expr]]:
    """The top-level terms of a sum, each with its sign, left to right."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        right = sign if isinstance(node.op, ast.Add) else -sign
        return _summands(node.left, sign) + _summands(node.right, right)
    if sign < 0:
        node = ast.UnaryOp(op=ast.USub(), operand=node)
    return [(ast.unparse(node), node)]


def _meaning(reading: Reading, terms: list[tuple[str, ast.expr]]) -> Meaning:
    """Bounds and unit of the whole sum; terms of different units are refused, both named."""
    low, high, seconds = 0.0, 0.0, 0.0
    kept: tuple[ast.expr, Meaning] | None = None
    for _, node in terms:
        found = reading.of(node)
        if kept is not None:
            reading.together(kept[0], node, kept[1], found)
        if kept is None or (kept[1].low == kept[1].high == 0.0):
            kept = (node, found)
        low, high, seconds = low + found.low, high + found.high, seconds or found.seconds
    return Meaning(low, high, seconds)


def _merged(terms: list[tuple[str, ast.expr]]) -> list[tuple[str, ast.expr]]:
    """Terms by how they are written; one that comes twice is twice as much, once."""
    nodes = dict(terms)
    times = {said: sum(one == said for one, _ in terms) for said in nodes}
    return [
        (said, node if times[said] == 1 else ast.BinOp(left=ast.Constant(times[said]), op=ast.Mult(), right=node))
        for said, node in nodes.items()
    ]


class SurfaceValues:
    """The value model of a stack: one expression a surface.

    Args:
        expressions: By surface.
        heads: The columns of the ranker's predictions.
        facts: What else an expression may read, asked for only where it does.
    """

    def __init__(
        self, expressions: Mapping[str, Expression], heads: tuple[str, ...], facts: Mapping[str, Fact] | None = None
    ) -> None:
        self.expressions = dict(expressions)
        self._heads = heads
        self.facts = dict(facts or {})

    def values(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> Floats:
        """What showing each candidate on this surface is worth; a value that is not finite sinks to the bottom."""
        value = self.expressions[request.surface].of(self._columns(request, user, rows, predictions))
        value = np.broadcast_to(np.asarray(value, np.float64), (len(rows),))
        return np.where(np.isfinite(value), value, -np.inf) if not np.isfinite(value).all() else value

    def terms(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        """The value split into the expression's summands."""
        return self.expressions[request.surface].parts(self._columns(request, user, rows, predictions))

    def _columns(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        columns = {head: predictions[:, column] for column, head in enumerate(self._heads)}
        reads = self.expressions[request.surface].reads
        return columns | {name: fact(request, user, rows) for name, fact in self.facts.items() if name in reads}


def refuse_worthless(expression: Expression) -> None:
    """Refuses an expression by which no item can ever be worth more than 0, whatever is predicted.

    A sum of logarithms of chances is below 0 by nature, and its sign says nothing.

    Raises:
        ConfigError: So it is (``value-006``).
    """
    if expression.meaning.high <= 0.0 and expression.logless:
        raise ConfigError(
            f"{expression.where} is at most {expression.meaning.high:g} whatever is predicted: no item is worth showing",
            code="value-006",
            hint="give at least one outcome that is wanted a weight above 0",
        )
