"""The expression language: text to a typed tree, by Python's own parser and never by ``eval``.

Values are float64; NaN is *empty*. Four shapes: R, one number per request ``[B]``; L, one per list place ``[B, K]``; C, one per
candidate ``[B, n]``; M, both ``[B, K, n]``. Mixing broadcasts (L with C gives M); list functions take the places away again
(L to R, M to C).

Rules that hold everywhere:

* An operator or function of an empty value is empty, except: comparisons (any comparison with empty is 0.0, ``!=`` and ``not in``
  too), ``and`` / ``or`` / ``not`` (empty counts as false), ``x if c else y``, ``where``, ``coalesce`` and ``known``.
* What is not finite becomes empty: division by zero, overflow, the logarithm of zero. Truth is 1.0 or 0.0.
* ``//`` is ``floor(x / y)`` and ``%`` is ``x - y * floor(x / y)``: exact for whole numbers below 2**53.
  ``round`` goes half to even.
* ``min`` and ``max`` of something empty are empty; ``max_of`` and ``min_of`` over a list skip empty places.
* A list function looks only at places that are *there*: where at least one list column that its argument reads is known. So
  ``mean(kept.watch_s > 10)`` is a share of the kept posts, not of the ``K`` places. Within those, empty values are skipped.
* Of nothing: ``sum``, ``count`` and ``any`` are 0, ``all`` is 1, ``mean``, ``max_of``, ``min_of``, ``first_value`` are empty.
* Lists run newest first; all sums add in that order, one after the other.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from mainstem.base.errors import FeatureError, did_you_mean

TEXT_LIMIT = 2000
DEPTH_LIMIT = 50


class Shape(IntEnum):
    """Over what does a value run: the request, list places, candidates, or both?"""

    R = 0
    """One number per request: ``[B]``."""
    L = 1
    """One per list place: ``[B, K]``, newest first."""
    C = 2
    """One per candidate: ``[B, n]``."""
    M = 3
    """One per list place and candidate: ``[B, K, n]``."""

    @property
    def listed(self) -> bool:
        """Does the shape have list places?"""
        return bool(self & 1)

    @property
    def candidate(self) -> bool:
        """Does the shape have candidates?"""
        return bool(self & 2)


R, L, C, M = Shape.R, Shape.L, Shape.C, Shape.M


def together(first: Shape, second: Shape) -> Shape:
    """Over what does a value run that is made of these two?"""
    return Shape(first | second)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a name stands for.

    Args:
        shape: Over what it runs.
        over: Which list its places belong to. Lists of different names do not mix; empty fits any list of the same length.
        vector: A row of numbers at each place, readable by ``dot`` only.
    """

    shape: Shape
    over: str = ""
    vector: bool = False


Env = Mapping[str, Shape | Kind]
"""The names an expression may use. A bare `Shape.L` or `Shape.M` belongs to the list before the name's dot, if it has one."""
Labels = Mapping[str, Mapping[str, int]]
"""For each name that may be compared with a string: the code of each label."""


@dataclass(frozen=True, slots=True)
class Node:
    """One typed operation of an expression.

    Args:
        op: ``const``, ``name`` or the operation.
        args: Its operands, already typed.
        kind: Shape and list of the result.
        value: The number of a ``const``; the ``k`` or ``i`` of ``first``, ``at`` and the exponent of ``pow``.
        name: The name of a ``name``.
    """

    op: str
    args: tuple[Node, ...] = ()
    kind: Kind = Kind(Shape.R)
    value: float = 0.0
    name: str = ""


REDUCERS = ("sum", "mean", "count", "any", "all", "max_of", "min_of", "first_value", "at")
"""List functions that take the places away: L to R, M to C."""
SCANS = ("first", "run", "so_far", "gaps")
"""List functions that keep the places."""
CONSTANTS: Mapping[str, float] = {"pi": math.pi, "empty": math.nan}

_UNARY = {"abs", "floor", "round", "sqrt", "log", "log1p", "exp", "log2", "sin", "cos", "sign", "known"}
_FOLDED = {"min": "lesser", "max": "greater", "coalesce": "coalesce"}
_ARITY: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(_UNARY, (1, 1)),
    **dict.fromkeys(_FOLDED, (2, 64)),
    **dict.fromkeys(REDUCERS, (1, 1)),
    **dict.fromkeys(SCANS, (1, 1)),
    "at": (2, 2),
    "first": (2, 2),
    "clip": (3, 3),
    "where": (3, 3),
    "dot": (2, 2),
}
FUNCTIONS = tuple(sorted(_ARITY))
"""Every function of the language."""

_BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
}
_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
}


def parse(text: str, env: Env, labels: Labels | None = None) -> Node:
    """What does this text compute? The typed tree of one expression.

    Args:
        text: At most 2000 characters, nested at most 50 deep.
        env: The names it may use.
        labels: Codes for strings, by the name they are compared with.

    Returns:
        The tree; ``count`` and the like are not yet lowered to machine operations.

    Raises:
        FeatureError: ``feature-030`` to ``feature-035`` and ``feature-038``, ``feature-039``; each says where in the text.
    """
    return _Parser(text, kinds_of(env), labels or {}).tree()


def kinds_of(env: Env) -> dict[str, Kind]:
    """What every name of an environment stands for, in full.

    Raises:
        FeatureError: ``feature-038`` for a name that is reserved or not of the form ``word`` or ``word.word``, or a vector over M.
    """
    return {name: _kind_of(name, entry) for name, entry in env.items()}


def _kind_of(name: str, entry: Shape | Kind) -> Kind:
    parts = name.split(".")
    if len(parts) > 2 or not all(part.isidentifier() for part in parts) or name in CONSTANTS:
        raise FeatureError(
            f"{name!r} cannot be a name in expressions",
            code="feature-038",
            hint="a name is a word or word.word, and not " + " or ".join(CONSTANTS),
        )
    kind = entry if isinstance(entry, Kind) else Kind(entry)
    if kind.vector and kind.shape is M:
        raise FeatureError(f"the vector {name!r} has shape M", code="feature-038", hint="a vector runs over R, L or C")
    over = (kind.over or (parts[0] if len(parts) == 2 else "")) if kind.shape.listed else ""
    return Kind(kind.shape, over, kind.vector)


def joined(kinds: Iterable[Kind]) -> Kind | None:
    """Which kind has a value made of these? None when they belong to two lists."""
    shape, over = 0, ""
    for kind in kinds:
        shape |= kind.shape
        if kind.over and over and kind.over != over:
            return None
        over = over or kind.over
    return Kind(Shape(shape), over)


class _Parser:
    """One walk over one text; keeps the text so that an error can point into it."""

    def __init__(self, text: str, env: Mapping[str, Kind], labels: Labels) -> None:
        self.text, self.env, self.labels = text, env, labels

    def tree(self) -> Node:
        if len(self.text) > TEXT_LIMIT:
            raise FeatureError(
                f"an expression of {len(self.text)} characters; at most {TEXT_LIMIT} are read",
                code="feature-030",
                hint="name a part of it",
            )
        try:
            body = ast.parse(self.text.strip(), mode="eval").body
        except SyntaxError as error:
            where = f" at column {error.offset}" if error.offset else ""
            raise FeatureError(
                f"not an expression{where}: {error.msg}; text {self.text!r}",
                code="feature-030",
                hint="write one Python-like expression",
            ) from None
        except (ValueError, RecursionError, MemoryError):
            raise FeatureError(
                "not an expression: nested too deeply", code="feature-030", hint="name a part of it"
            ) from None
        return self.number(body, self.node(body, 1))

    def refuse(self, at: ast.AST, code: str, message: str, hint: str) -> FeatureError:
        column = getattr(at, "col_offset", 0) + 1
        return FeatureError(f"{message}, at column {column} of {self.text.strip()!r}", code=code, hint=hint)

    def node(self, at: ast.expr, depth: int) -> Node:
        if depth > DEPTH_LIMIT:
            raise self.refuse(
                at,
                "feature-030",
                f"nested more than {DEPTH_LIMIT} deep",
                "name a part of it, or group a long sum with brackets",
            )
        visit: Callable[[ast.expr, int], Node] | None = getattr(self, "visit_" + type(at).__name__.lower(), None)
        if visit is None:
            raise self.refuse(
                at,
                "feature-034",
                f"{type(at).__name__} is not part of the language",
                "use names, numbers, operators and functions",
            )
        return visit(at, depth)

    def operand(self, at: ast.expr, depth: int) -> Node:
        return self.number(at, self.node(at, depth + 1))

    def number(self, at: ast.expr, node: Node) -> Node:
        if node.kind.vector:
            raise self.refuse(
                at, "feature-039", f"{node.name!r} is a vector, not a number", "compare vectors with dot(x, y)"
            )
        return node

    def make(self, at: ast.expr, op: str, args: tuple[Node, ...], value: float = 0.0) -> Node:
        kind = joined(arg.kind for arg in args)
        if kind is None:
            lists = sorted({arg.kind.over for arg in args if arg.kind.over})
            raise self.refuse(
                at,
                "feature-033",
                "the lists " + " and ".join(lists) + " do not mix",
                "reduce each list to a number first, e.g. with sum or mean",
            )
        return Node(op, args, kind, value)

    def balanced(self, at: ast.expr, op: str, args: list[Node]) -> Node:
        """A row of the same operation as a shallow tree: what is exact in any grouping only (and, or, lesser, coalesce)."""
        while len(args) > 1:
            pairs = [self.make(at, op, (args[i], args[i + 1])) for i in range(0, len(args) - 1, 2)]
            args = pairs + args[len(args) - len(args) % 2 :]
        return args[0]

    def visit_constant(self, at: ast.Constant, depth: int) -> Node:
        if isinstance(at.value, (bool, int, float)):
            try:
                value = float(at.value)
            except OverflowError:
                value = math.inf
            if math.isfinite(value):
                return Node("const", value=value)
        hint = (
            "a string may only be compared with a name that has labels"
            if isinstance(at.value, str)
            else "write a finite number"
        )
        raise self.refuse(at, "feature-034", f"{str(at.value)[:40]!r} is not a number", hint)

    def visit_name(self, at: ast.Name, depth: int) -> Node:
        if at.id in CONSTANTS:
            return Node("const", value=CONSTANTS[at.id])
        return self.known_name(at, at.id)

    def visit_attribute(self, at: ast.Attribute, depth: int) -> Node:
        if not isinstance(at.value, ast.Name):
            raise self.refuse(at, "feature-034", "a name has one dot at most", "write word or word.word")
        return self.known_name(at, f"{at.value.id}.{at.attr}")

    def known_name(self, at: ast.expr, name: str) -> Node:
        kind = self.env.get(name)
        if kind is None:
            raise self.refuse(at, "feature-031", f"unknown name {name!r}", _near(name, self.env))
        return Node("name", kind=kind, name=name)

    def visit_unaryop(self, at: ast.UnaryOp, depth: int) -> Node:
        arg = self.operand(at.operand, depth)
        if isinstance(at.op, ast.UAdd):
            return arg
        if isinstance(at.op, ast.Invert):
            raise self.refuse(at, "feature-034", "~ is not part of the language", "write not")
        if isinstance(at.op, ast.USub) and arg.op == "const":
            return Node("const", value=-arg.value)
        return self.make(at, "neg" if isinstance(at.op, ast.USub) else "not", (arg,))

    def visit_binop(self, at: ast.BinOp, depth: int) -> Node:
        left, right = self.operand(at.left, depth), self.operand(at.right, depth)
        if isinstance(at.op, ast.Pow):
            return self.make(at, "pow", (left,), self.constant(at.right, right, "the exponent"))
        op = _BINARY.get(type(at.op))
        if op is None:
            raise self.refuse(
                at, "feature-034", f"{type(at.op).__name__} is not part of the language", "use + - * / // % **"
            )
        return self.make(at, op, (left, right))

    def visit_boolop(self, at: ast.BoolOp, depth: int) -> Node:
        args = [self.operand(part, depth) for part in at.values]
        return self.balanced(at, "and" if isinstance(at.op, ast.And) else "or", args)

    def visit_ifexp(self, at: ast.IfExp, depth: int) -> Node:
        return self.make(at, "where", tuple(self.operand(part, depth) for part in (at.test, at.body, at.orelse)))

    def visit_compare(self, at: ast.Compare, depth: int) -> Node:
        sides = [at.left, *at.comparators]
        links = [self.link(op, sides[i], sides[i + 1], depth) for i, op in enumerate(at.ops)]
        return self.balanced(at, "and", links)

    def link(self, op: ast.cmpop, left: ast.expr, right: ast.expr, depth: int) -> Node:
        if isinstance(op, (ast.In, ast.NotIn)):
            return self.member(op, left, right, depth)
        name = _COMPARE.get(type(op))
        if name is None:
            raise self.refuse(
                left,
                "feature-034",
                f"{type(op).__name__} is not part of the language",
                "compare with < <= > >= == != in",
            )
        if name in ("eq", "ne") and _string(left) is not None:
            left, right = right, left
        first = self.operand(left, depth)
        return self.make(left, name, (first, self.labelled(right, first, depth, equal=name in ("eq", "ne"))))

    def member(self, op: ast.cmpop, left: ast.expr, right: ast.expr, depth: int) -> Node:
        if not isinstance(right, (ast.Tuple, ast.List, ast.Set)) or not right.elts:
            raise self.refuse(right, "feature-034", "in needs values in brackets", "write x in (1, 2, 3)")
        first = self.operand(left, depth)
        test, join = ("eq", "or") if isinstance(op, ast.In) else ("ne", "and")
        links = [self.make(left, test, (first, self.labelled(part, first, depth, equal=True))) for part in right.elts]
        return self.balanced(left, join, links)

    def labelled(self, at: ast.expr, other: Node, depth: int, *, equal: bool) -> Node:
        text = _string(at)
        codes = self.labels.get(other.name) if other.op == "name" and equal else None
        if text is None or codes is None:
            return self.operand(at, depth)
        if text not in codes:
            raise self.refuse(at, "feature-035", f"{other.name!r} has no label {text!r}", _near(text, codes))
        return Node("const", value=float(codes[text]))

    def visit_call(self, at: ast.Call, depth: int) -> Node:
        name = at.func.id if isinstance(at.func, ast.Name) else ast.unparse(at.func)[:40]
        if name not in _ARITY:
            raise self.refuse(at, "feature-032", f"unknown function {name!r}", _near(name, _ARITY))
        low, high = _ARITY[name]
        if at.keywords or any(isinstance(part, ast.Starred) for part in at.args) or not low <= len(at.args) <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            hint = (
                f"over a list write {name}_of(...)"
                if name in ("min", "max") and len(at.args) == 1
                else "give each argument by its place"
            )
            raise self.refuse(at, "feature-032", f"{name} takes {wanted} arguments", hint)
        if name == "dot":
            return self.dot(at, depth)
        return self.call(at, name, [self.operand(part, depth) for part in at.args])

    def call(self, at: ast.Call, name: str, args: list[Node]) -> Node:
        if name in REDUCERS or name in SCANS:
            return self.over_list(at, name, args)
        if name == "clip":
            return self.make(at, "lesser", (self.make(at, "greater", (args[0], args[1])), args[2]))
        if name in _FOLDED:
            return self.balanced(at, _FOLDED[name], args)
        return self.make(at, name, tuple(args))

    def over_list(self, at: ast.Call, name: str, args: list[Node]) -> Node:
        kind = args[0].kind
        if not kind.shape.listed:
            raise self.refuse(
                at,
                "feature-033",
                f"{name} needs a value over a list, not {kind.shape.name}",
                "read a list column in it",
            )
        place = 0.0
        if len(args) == 2:
            place = self.constant(at.args[1], args[1], f"the place of {name}")
            if place < 0 or place != math.floor(place) or place > 2**31:
                raise self.refuse(
                    at.args[1], "feature-032", f"the place of {name} is {place:g}", "count places from 0, newest first"
                )
        if name in REDUCERS:
            kind = Kind(Shape(kind.shape & ~1))
        return Node(name, (args[0],), kind, place)

    def constant(self, at: ast.expr, node: Node, what: str) -> float:
        if node.op != "const" or math.isnan(node.value):
            raise self.refuse(at, "feature-032", f"{what} is not a constant", "write a plain number")
        return node.value

    def dot(self, at: ast.Call, depth: int) -> Node:
        args = tuple(self.node(part, depth + 1) for part in at.args)
        if not all(arg.kind.vector for arg in args):
            raise self.refuse(at, "feature-039", "dot needs two vectors", "give two names that stand for vectors")
        return self.make(at, "dot", args)


def _string(at: ast.expr) -> str | None:
    return at.value if isinstance(at, ast.Constant) and isinstance(at.value, str) else None


def _near(found: str, known: Iterable[str]) -> str:
    """A hint with the nearest names; short where `did_you_mean` would list a whole catalogue."""
    names = sorted(known)
    if len(names) > 40 and not difflib.get_close_matches(found, names, n=1):
        return f"{len(names)} names are known, among them " + ", ".join(names[:8])
    return did_you_mean(found, names)
