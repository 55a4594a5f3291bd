"""What an expression means before anything is predicted: its unit, and between which bounds it lies.

Bounds come from interval arithmetic over what heads can be. They are never too narrow and may be too wide: ``x - x`` lies
between -1 and 1 here. That is the safe side for the two questions they answer: can this be divided by, can an item be worth
more than nothing.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

from mainstem.base.errors import ConfigError, did_you_mean
from mainstem.base.heads import WATCH
from mainstem.value.quantity import FUNCTIONS, Quantity


@dataclass(frozen=True, slots=True)
class Meaning:
    """Bounds and unit.

    Attributes:
        seconds: The power of seconds it carries.
    """

    low: float
    high: float
    seconds: float = 0.0

    @property
    def unit(self) -> str:
        """In words."""
        return {0.0: "no unit", 1.0: "seconds", -1.0: "per second"}.get(
            self.seconds, f"seconds to the {self.seconds:g}"
        )


CHANCE: Final = Meaning(0.0, 1.0)
READ: Final[Mapping[str, Meaning]] = {WATCH: Meaning(0.0, math.inf, 1.0), "neutral": Meaning(-math.inf, math.inf)}
"""What a name means that is no chance."""

_ARITY: Final = {"min": 2, "max": 2}
_EXP_LIMIT: Final = 50.0


class Reading:
    """Checks one expression, node by node.

    Args:
        names: What it may read.
        weights: Named numbers.
        where: Named in errors.
    """

    def __init__(self, names: tuple[str, ...], weights: Mapping[str, Quantity], where: str) -> None:
        self._names = names
        self._weights = weights
        self._where = where
        self.reads: set[str] = set()
        self.weighed: set[str] = set()

    def of(self, node: ast.expr) -> Meaning:
        """The meaning of one node.

        Raises:
            ConfigError: What is not allowed (``value-001``), an unknown name (``value-002``), units that do not go together
                (``value-004``), a division, power or logarithm that can be undefined (``value-005``).
        """
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return Meaning(float(number), float(number))
            case ast.Name(id=name):
                return self._named(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.of(operand)
                return Meaning(-inner.high, -inner.low, inner.seconds)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self._power(node, left, right)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as op, right=right):
                return self._binary(node, left, op, right)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                return self._call(node, name, args)
        raise ConfigError(
            f"{self._where} holds {ast.unparse(node)!r}, which is not allowed",
            code="value-001",
            hint="numbers, heads, weights, + - * /, a constant power, and " + " ".join(FUNCTIONS),
        )

    def together(self, one: ast.expr, other: ast.expr, a: Meaning, b: Meaning, doing: str = "adds") -> None:
        """Refuses two parts of different units; zero is zero in any unit."""
        if a.seconds == b.seconds or a.low == a.high == 0.0 or b.low == b.high == 0.0:
            return
        timed = other if b.seconds else one
        raise ConfigError(
            f"{self._where} {doing} {ast.unparse(other)!r} ({b.unit}) and {ast.unparse(one)!r} ({a.unit})",
            code="value-004",
            hint=f'a weight with a unit joins them: weights.worth = "0.02 / s" and worth * {ast.unparse(timed)}',
        )

    def _named(self, name: str) -> Meaning:
        if name in self._weights:
            self.weighed.add(name)
            weight = self._weights[name]
            return Meaning(weight.number, weight.number, weight.seconds)
        if name not in self._names:
            raise ConfigError(
                f"{self._where} reads {name!r}, which no head predicts and no weight names",
                code="value-002",
                hint=did_you_mean(name, (*self._names, *self._weights)),
            )
        self.reads.add(name)
        return READ.get(name, CHANCE)

    def _binary(self, node: ast.BinOp, left: ast.expr, op: ast.operator, right: ast.expr) -> Meaning:
        a, b = self.of(left), self.of(right)
        match op:
            case ast.Add() | ast.Sub():
                self.together(left, right, a, b)
                seconds = a.seconds or b.seconds
                if isinstance(op, ast.Sub):
                    b = Meaning(-b.high, -b.low, b.seconds)
                return Meaning(_sum(a.low, b.low, -math.inf), _sum(a.high, b.high, math.inf), seconds)
            case ast.Mult():
                return Meaning(*_spanned(_times, a, b), a.seconds + b.seconds)
        if b.low <= 0.0 <= b.high:
            self._undefined(
                node, f"divides by {ast.unparse(right)!r}, which can be 0", f"max({ast.unparse(right)}, 0.01)"
            )
        return Meaning(*_spanned(_over, a, b), a.seconds - b.seconds)

    def _power(self, node: ast.BinOp, left: ast.expr, right: ast.expr) -> Meaning:
        base, exponent = self.of(left), self.of(right)
        if exponent.low != exponent.high or exponent.seconds:
            raise ConfigError(
                f"{self._where}: a power must be a number, found {ast.unparse(right)!r}", code="value-001"
            )
        power = exponent.low
        if base.low < 0.0 and power != int(power):
            self._undefined(node, f"takes a root of {ast.unparse(left)!r}, which can be negative", "max(…, 0)")
        if power < 0.0 and base.low <= 0.0 <= base.high:
            self._undefined(
                node, f"divides by {ast.unparse(left)!r}, which can be 0", f"max({ast.unparse(left)}, 0.01)"
            )
        ends = [_to(end, power) for end in (base.low, base.high)]
        inside = [0.0] if base.low < 0.0 < base.high and power > 0 else []
        return Meaning(min(*ends, *inside), max(*ends, *inside), base.seconds * power)

    def _call(self, node: ast.Call, name: str, args: list[ast.expr]) -> Meaning:
        arity = _ARITY.get(name, 1)
        if len(args) != arity:
            raise ConfigError(f"{self._where}: {name} takes {arity} values, found {len(args)}", code="value-001")
        a = self.of(args[0])
        if arity == 2:
            b = self.of(args[1])
            self.together(args[0], args[1], a, b, "compares")
            pick = min if name == "min" else max
            return Meaning(pick(a.low, b.low), pick(a.high, b.high), a.seconds or b.seconds)
        if name == "sqrt":
            return Meaning(math.sqrt(max(a.low, 0.0)), math.sqrt(max(a.high, 0.0)), a.seconds / 2)
        if a.seconds:
            raise ConfigError(
                f"{self._where} takes {name} of {ast.unparse(args[0])!r} ({a.unit}), expected no unit",
                code="value-004",
                hint=f'weights.rate = "1 / s" and {name}(rate * {ast.unparse(args[0])})',
            )
        if name == "log" and a.low <= 0.0:
            self._undefined(node, f"takes log of {ast.unparse(args[0])!r}, which can be 0", "log(max(…, 0.001))")
        return Meaning(_called(name, a.low), _called(name, a.high))

    def _undefined(self, node: ast.expr, what: str, instead: str) -> None:
        raise ConfigError(
            f"{self._where} {what}, in {ast.unparse(node)!r}", code="value-005", hint=f"such as {instead}"
        )


def _called(name: str, x: float) -> float:
    if name == "exp":
        return math.exp(min(max(x, -_EXP_LIMIT), _EXP_LIMIT))
    if name == "log":
        return math.log(x)
    return math.log1p(max(x, 0.0))


def _sum(a: float, b: float, otherwise: float) -> float:
    total = a + b
    return otherwise if math.isnan(total) else total


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0.0 or b == 0.0 else a * b


def _over(a: float, b: float) -> float:
    return 0.0 if math.isinf(b) else a / b


def _to(base: float, power: float) -> float:
    try:
        return float(base**power)
    except OverflowError:
        return math.copysign(math.inf, base) if power % 2 else math.inf


def _spanned(apply: Callable[[float, float], float], a: Meaning, b: Meaning) -> tuple[float, float]:
    """The least and most a monotone operation makes of two intervals."""
    ends = [apply(x, y) for x, y in product((a.low, a.high), (b.low, b.high))]
    return min(ends), max(ends)
