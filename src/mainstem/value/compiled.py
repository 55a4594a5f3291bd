"""A checked expression made into calls on arrays: one multiplication where a term is a number times a head."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mainstem.base.request import Floats

Evaluate = Callable[[Mapping[str, Floats]], Any]

_TINY: Final = float(np.finfo(np.float64).tiny)
_CALLS: Final[Mapping[str, Callable[..., Any]]] = {
    "min": np.minimum,
    "max": np.maximum,
    "log1p": lambda x: np.log1p(np.maximum(x, 0.0)),
    "exp": lambda x: np.exp(np.clip(x, -50.0, 50.0)),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0.0)),
    # The bounds were checked; a prediction outside its bounds must not end a request.
    "log": lambda x: np.log(np.maximum(x, _TINY)),
}
_BINARY: Final[Mapping[type, Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True, slots=True)
class Linear:
    """A number times a head; a head without a name is the number alone."""

    factor: float
    head: str = ""


def linear(node: ast.expr, weights: Mapping[str, float]) -> Linear | None:
    """The node as a number times one head; None where it is more than that."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return Linear(float(number))
        case ast.Name(id=name):
            return Linear(weights[name]) if name in weights else Linear(1.0, name)
        case ast.UnaryOp(operand=operand):
            inner = linear(operand, weights)
            return None if inner is None else Linear(-inner.factor, inner.head)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
            a, b = linear(left, weights), linear(right, weights)
            if a is None or b is None or (a.head and b.head):
                return None
            if isinstance(op, ast.Mult):
                return Linear(a.factor * b.factor, a.head or b.head)
            return None if b.head else Linear(a.factor / b.factor, a.head)
    return None


def compiled(node: ast.expr, weights: Mapping[str, float]) -> Evaluate:
    """A function of columns that computes the node. The node was checked before."""
    simple = linear(node, weights)
    if simple is not None:
        factor, head = simple.factor, simple.head
        return (lambda columns: factor * columns[head]) if head else (lambda columns: factor)
    match node:
        case ast.UnaryOp(operand=operand):
            inner = compiled(operand, weights)
            return lambda columns: -inner(columns)
        case ast.BinOp(left=left, op=op, right=right):
            apply, a, b = _BINARY[type(op)], compiled(left, weights), compiled(right, weights)
            return lambda columns: apply(a(columns), b(columns))
        case ast.Call(func=ast.Name(id=name), args=args):
            call, given = _CALLS[name], [compiled(one, weights) for one in args]
            return lambda columns: call(*(one(columns) for one in given))
    raise AssertionError(ast.unparse(node))
