"""Heads to one number by a checked expression: parsed, never run as code.

An expression is a sum of terms over the predicted heads, such as ``long_view + 2 * like - 20 * hate``. Numbers,
``+ - * /``, a constant power, brackets, and ``min max log1p exp sqrt`` are allowed; anything else is refused with its place.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mainstem.base.errors import ConfigError, did_you_mean
from mainstem.base.request import Floats, Request, Rows

Evaluate = Callable[[Mapping[str, Floats]], Any]

_FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], int]]] = {
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
    "log1p": (lambda x: np.log1p(np.maximum(x, 0.0)), 1),
    "exp": (lambda x: np.exp(np.clip(x, -50.0, 50.0)), 1),
    "sqrt": (lambda x: np.sqrt(np.maximum(x, 0.0)), 1),
}
_BINARY: Final[dict[type, Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_LONGEST: Final = 2_000


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of an expression: how it is written and how it is computed."""

    text: str
    evaluate: Evaluate


class Expression:
    """What a surface values, as arrays in and an array out.

    Args:
        text: The expression.
        names: Heads it may read.
        where: Named in errors, such as ``surfaces.feed.value``.

    Raises:
        ConfigError: It cannot be parsed or holds what is not allowed (``value-001``), or reads an unknown name (``value-002``).

    Example:
        >>> import numpy as np
        >>> Expression("click + 2 * like", ("click", "like")).of({"click": np.array([0.5]), "like": np.array([0.1])})
        array([0.7])
    """

    def __init__(self, text: str, names: tuple[str, ...], where: str = "value") -> None:
        self.text = text
        self.names = names
        self._where = where
        if len(text) > _LONGEST:
            raise ConfigError(f"{where} has {len(text)} characters, at most {_LONGEST} are allowed", code="value-001")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ConfigError(f"{where} cannot be read: {error}", code="value-001") from None
        self.reads: set[str] = set()
        self.terms = tuple(Term(written, self._compile(node)) for written, node in _summands(tree))

    def of(self, columns: Mapping[str, Floats]) -> Floats:
        """The value of each candidate. Shapes: each column [n], the answer [n]."""
        total = self.terms[0].evaluate(columns)
        for term in self.terms[1:]:
            total = total + term.evaluate(columns)
        return total

    def parts(self, columns: Mapping[str, Floats]) -> dict[str, Floats]:
        """The value split into its summands, by how each is written."""
        parts: dict[str, Floats] = {}
        for term in self.terms:
            share = np.asarray(term.evaluate(columns), np.float64) + np.zeros(len(next(iter(columns.values()))))
            parts[term.text] = parts[term.text] + share if term.text in parts else share
        return parts

    def _compile(self, node: ast.expr) -> Evaluate:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return lambda columns, number=float(number): number
            case ast.Name(id=name):
                return self._read(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self._compile(operand)
                return lambda columns: -inner(columns)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._binary(type(op), left, right)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                return self._call(name, args)
        raise ConfigError(
            f"{self._where} holds {ast.unparse(node)!r}, which is not allowed",
            code="value-001",
            hint="numbers, heads, + - * /, a constant power, and " + " ".join(_FUNCTIONS),
        )

    def _read(self, name: str) -> Evaluate:
        if name not in self.names:
            raise ConfigError(
                f"{self._where} reads {name!r}, which no head predicts",
                code="value-002",
                hint=did_you_mean(name, self.names),
            )
        self.reads.add(name)
        return lambda columns: columns[name]

    def _binary(self, kind: type, left: ast.expr, right: ast.expr) -> Evaluate:
        if kind is ast.Pow and not isinstance(right, ast.Constant):
            raise ConfigError(
                f"{self._where}: a power must be a number, found {ast.unparse(right)!r}", code="value-001"
            )
        apply, a, b = _BINARY[kind], self._compile(left), self._compile(right)
        return lambda columns: apply(a(columns), b(columns))

    def _call(self, name: str, args: list[ast.expr]) -> Evaluate:
        apply, arity = _FUNCTIONS[name]
        if len(args) != arity:
            raise ConfigError(f"{self._where}: {name} takes {arity} values, found {len(args)}", code="value-001")
        inner = [self._compile(arg) for arg in args]
        return lambda columns: apply(*(one(columns) for one in inner))


def _summands(node: ast.expr, sign: int = 1) -> list[tuple[str, ast.expr]]:
    """The top-level terms of a sum, each with its sign, left to right."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        right = sign if isinstance(node.op, ast.Add) else -sign
        return _summands(node.left, sign) + _summands(node.right, right)
    if sign < 0:
        node = ast.UnaryOp(op=ast.USub(), operand=node)
    return [(ast.unparse(node), node)]


class SurfaceValues:
    """The value model of a stack: one expression a surface.

    Args:
        expressions: By surface.
        heads: The columns of the ranker's predictions.
    """

    def __init__(self, expressions: Mapping[str, Expression], heads: tuple[str, ...]) -> None:
        self.expressions = dict(expressions)
        self._heads = heads

    def values(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> Floats:
        """What showing each candidate on this surface is worth; a value that is not finite sinks to the bottom."""
        value = np.asarray(self.expressions[request.surface].of(self._columns(predictions)), np.float64)
        value = np.broadcast_to(value, (len(rows),))
        return np.where(np.isfinite(value), value, -np.inf) if not np.isfinite(value).all() else value

    def terms(self, request: Request, user: Any, rows: Rows, predictions: Floats) -> dict[str, Floats]:
        """The value split into the expression's summands."""
        return self.expressions[request.surface].parts(self._columns(predictions))

    def _columns(self, predictions: Floats) -> dict[str, Floats]:
        return {head: predictions[:, column] for column, head in enumerate(self._heads)}
