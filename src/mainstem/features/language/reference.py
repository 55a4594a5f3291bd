"""The plain twin of the machine: one number at a time, straight from the tree. Slow and obviously right.

`scalar` is also what the compiler folds constants with, so a folded operation gives the bits that the machine would have given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mainstem.features.language.expression import REDUCERS, SCANS, Node

Inputs = Mapping[str, NDArray[np.float64]]


def true(x: float) -> bool:
    """Does a number count as true? Not zero and not empty."""
    return abs(x) > 0.0


def whole(x: float, up: float) -> float:
    """A whole number with the sign bit of what it was made of (the machine's rounding keeps -0.0)."""
    return math.copysign(up, x) if up == 0.0 else up


def _floor(x: float) -> float:
    return whole(x, float(math.floor(x)))


def _power(x: float, y: float) -> float:
    special: dict[float, Callable[[], float]] = {
        0.0: lambda: 1.0 if x == x else x,
        1.0: lambda: x,
        2.0: lambda: x * x,
        0.5: lambda: math.sqrt(x),
        -1.0: lambda: 1.0 / x,
    }
    return special[y]() if y in special else math.pow(x, y)


_SCALAR: Mapping[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "floordiv": lambda x, y: _floor(x / y),
    "mod": lambda x, y: x - y * _floor(x / y),
    "lt": lambda x, y: float(x < y),
    "le": lambda x, y: float(x <= y),
    "gt": lambda x, y: float(x > y),
    "ge": lambda x, y: float(x >= y),
    "eq": lambda x, y: float(x == y),
    "ne": lambda x, y: float(x < y or x > y),
    "and": lambda x, y: float(true(x) and true(y)),
    "or": lambda x, y: float(true(x) or true(y)),
    "lesser": lambda x, y: math.nan if x != x or y != y else (x if x < y else y),
    "greater": lambda x, y: math.nan if x != x or y != y else (x if x > y else y),
    "coalesce": lambda x, y: x if x == x else y,
    "neg": lambda x: -x,
    "not": lambda x: float(not true(x)),
    "truth": lambda x: float(true(x)),
    "known": lambda x: float(x == x),
    "abs": lambda x: abs(x),
    "floor": _floor,
    "round": lambda x: whole(x, float(round(x))),
    "sign": lambda x: x if x != x else float((x > 0) - (x < 0)),
    "sqrt": lambda x: math.sqrt(x),
    "log": lambda x: math.log(x),
    "log1p": lambda x: math.log1p(x),
    "log2": lambda x: math.log2(x),
    "exp": lambda x: math.exp(x),
    "sin": lambda x: math.sin(x),
    "cos": lambda x: math.cos(x),
    "where": lambda c, x, y: x if true(c) else y,
    "pow": _power,
}


def scalar(op: str, *numbers: float) -> float:
    """What does one operation give for these numbers? Empty when the result is not finite or not defined."""
    try:
        result = _SCALAR[op](*numbers)
    except (ValueError, OverflowError, ZeroDivisionError):
        return math.nan
    return result if math.isfinite(result) else math.nan


def value(node: Node, inputs: Inputs, b: int, k: int, j: int) -> float:
    """The value of an expression at request ``b``, list place ``k`` and candidate ``j``.

    Args:
        node: The tree.
        inputs: Arrays by name: ``[B]``, ``[B, K]``, ``[B, n]``, ``[B, K, n]``, vectors with their width behind.
        b: Request.
        k: Place; of no matter where the value has none.
        j: Candidate; of no matter where the value has none.
    """
    if node.op == "const":
        return node.value
    if node.op == "name":
        return float(_at(node, inputs, b, k, j))
    if node.op == "dot":
        x, y = (_at(arg, inputs, b, k, j) for arg in node.args)
        return scalar("add", float(sum((float(p) * float(q) for p, q in zip(x, y, strict=True)), 0.0)), 0.0)
    if node.op in REDUCERS:
        return _reduced(node, inputs, b, j)
    if node.op in SCANS:
        return _scanned(node, inputs, b, k, j)
    numbers = [value(arg, inputs, b, k, j) for arg in node.args]
    return scalar("pow", numbers[0], node.value) if node.op == "pow" else scalar(node.op, *numbers)


def _at(node: Node, inputs: Inputs, b: int, k: int, j: int) -> NDArray[np.float64]:
    shape = node.kind.shape
    place = (b, *((k,) if shape.listed else ()), *((j,) if shape.candidate else ()))
    return inputs[node.name][place]


def leaves(node: Node) -> list[Node]:
    """Which columns decide whether a place is there: the list columns under a node; pairs only where there is no plain one."""
    found = _leaves(node)
    plain = [leaf for leaf in found if not leaf.kind.shape.candidate]
    return plain or found


def _leaves(node: Node) -> list[Node]:
    if not node.kind.shape.listed:
        return []
    if node.op in ("name", "dot"):
        return [node]
    return [leaf for arg in node.args for leaf in _leaves(arg)]


def _places(inputs: Inputs, node: Node) -> int:
    leaf = _leaves(node)[0]
    if leaf.op == "dot":
        leaf = next(arg for arg in leaf.args if arg.kind.shape.listed)
    return inputs[leaf.name].shape[1]


def _there(node: Node, inputs: Inputs, b: int, k: int, j: int) -> float:
    """The argument of a list function at a place; empty where no column it reads is known."""
    known = any(value(leaf, inputs, b, k, j) == value(leaf, inputs, b, k, j) for leaf in leaves(node))
    return value(node, inputs, b, k, j) if known else math.nan


def _reduced(node: Node, inputs: Inputs, b: int, j: int) -> float:
    at = [_there(node.args[0], inputs, b, k, j) for k in range(_places(inputs, node.args[0]))]
    there = [x for x in at if x == x]
    if node.op == "at":
        return at[int(node.value)] if node.value < len(at) else math.nan
    if node.op in ("any", "all", "count"):
        truths = [true(x) for x in there]
        return float({"any": any, "all": all, "count": sum}[node.op](truths))
    total = 0.0
    for x in there:
        total = total + x
    if node.op == "sum":
        return scalar("add", total, 0.0)
    if not there:
        return math.nan
    if node.op == "mean":
        return scalar("div", total, float(len(there)))
    pick = {"max_of": max, "min_of": min, "first_value": lambda row: row[0]}[node.op]
    return pick(there)


def _scanned(node: Node, inputs: Inputs, b: int, k: int, j: int) -> float:
    at = [_there(node.args[0], inputs, b, place, j) for place in range(k + 1)]
    if node.op == "first":
        return at[k] if k < node.value else math.nan
    if node.op == "run":
        return float(all(true(x) for x in at))
    if node.op == "gaps":
        return at[0] if k == 0 else scalar("sub", at[k], at[k - 1])
    total = 0.0
    for x in at:
        total = total + x if x == x else total
    return scalar("add", total, 0.0) if at[k] == at[k] else math.nan
