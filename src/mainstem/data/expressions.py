"""What does a line such as ``watch_ms >= 0.7 * duration_ms`` compute: column arithmetic and comparisons, never code.

The text is parsed by Python's own grammar and then walked over a short list of allowed forms; nothing is evaluated.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection
from typing import Any, Final

import polars as pl

from mainstem.base.errors import DataError, did_you_mean

MAX_LENGTH: Final = 500

_BINARY: Final[dict[type[ast.AST], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}


def column_expression(text: str, names: Collection[str], where: str) -> pl.Expr:
    """The polars expression of a mapping line: a column's name, or arithmetic and comparisons of columns.

    Args:
        names: The columns it may use. A text that is one of them is that column, whatever its spelling.
        where: The setting, for the message.

    Raises:
        DataError: ``data-011`` a column that is not there, ``data-012`` anything that is not allowed.
    """
    if text in names:
        return pl.col(text)
    if len(text) > MAX_LENGTH:
        raise DataError(f"found {len(text)} characters in {where}, expected at most {MAX_LENGTH}", code="data-012")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(
            f"found {text!r} in {where}, expected a column or a comparison of columns",
            code="data-012",
            hint=did_you_mean(text, names),
        ) from error
    return _walk(tree.body, names, f"{where} = {text!r}")


def _walk(node: ast.AST, names: Collection[str], where: str) -> pl.Expr:
    match node:
        case ast.Name(id=name):
            if name not in names:
                raise DataError(
                    f"found no column {name!r} for {where}", code="data-011", hint=did_you_mean(name, names)
                )
            return pl.col(name)
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return pl.lit(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_walk(operand, names, where)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_walk(operand, names, where)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_walk(left, names, where), _walk(right, names, where))
        case ast.BoolOp(op=op, values=values):
            parts = [_walk(value, names, where) for value in values]
            return pl.all_horizontal(parts) if isinstance(op, ast.And) else pl.any_horizontal(parts)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _BINARY for op in ops):
            sides = [_walk(side, names, where) for side in (left, *others)]
            return pl.all_horizontal([_BINARY[type(op)](sides[n], sides[n + 1]) for n, op in enumerate(ops)])
    raise DataError(
        f"found {type(node).__name__} in {where}, expected columns, numbers, text, + - * / and comparisons",
        code="data-012",
        hint='such as long_view = "watch_ms >= 0.7 * duration_ms"',
    )
