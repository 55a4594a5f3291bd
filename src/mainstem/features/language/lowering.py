"""From typed trees to machine steps: rules written out, constants folded, common parts found once, registers shared."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from mainstem.features.language.expression import REDUCERS, SCANS, Node, Shape
from mainstem.features.language.reference import leaves, scalar

CONST, INPUT, REGISTER, OUTPUT = range(4)
"""Where an operand lies: a constant, an input array, a register of the block, an output array or matrix column."""

_BOOLEAN = {"lt", "le", "eq", "ne", "and", "or", "not", "truth", "known", "run"}
_COMMUTES = {"add", "mul", "eq", "ne", "and", "or"}
_SWAPPED = {"gt": "lt", "ge": "le"}
_STRICT = {
    *("add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg", "abs", "floor", "round", "sign", "sqrt"),
    *("log", "log1p", "log2", "exp", "sin", "cos", "lesser", "greater"),
}
"""Operations that are empty as soon as one operand is."""


class Place(NamedTuple):
    """Where a value lies: the space, its number there and its shape."""

    space: int
    number: int
    shape: int


class Step(NamedTuple):
    """One machine step: operation, immediate, number of the list it runs over (-1 for none), result, operands."""

    op: str
    immediate: int
    over: int
    out: Place
    args: tuple[Place, ...]


@dataclass(slots=True)
class Value:
    """One distinct value of a program, before it has a place."""

    op: str
    args: tuple[int, ...]
    immediate: int
    shape: Shape
    over: str
    name: str = ""
    bits: int = 0


@dataclass(slots=True)
class Builder:
    """Collects the distinct values of many trees."""

    values: list[Value] = field(default_factory=list)
    _seen: dict[tuple[object, ...], int] = field(default_factory=dict)
    _same: dict[str, str] = field(default_factory=dict)

    def root(self, over: str) -> str:
        """The one name of all lists that were mixed with this one."""
        while self._same.get(over, over) != over:
            over = self._same[over]
        return over

    def constant(self, number: float) -> int:
        """The value of a number."""
        bits = struct.unpack("<q", struct.pack("<d", number if number == number else math.nan))[0]
        return self._add(("const", bits), Value("const", (), 0, Shape.R, "", bits=bits))

    def emit(self, op: str, *args: int, immediate: int = 0) -> int:
        """The value of an operation on values; an old one when it is there already."""
        if op in _SWAPPED:
            op, args = _SWAPPED[op], args[::-1]
        if op == "truth" and self.values[args[0]].op in _BOOLEAN:
            return args[0]
        if all(self.values[arg].op == "const" for arg in args):
            return self.constant(scalar(op, *(self.number(arg) for arg in args)))
        if op in _COMMUTES:
            args = tuple(sorted(args))
        shape = 0
        for arg in args:
            shape |= self.values[arg].shape
        if op in REDUCERS:
            shape &= ~1
        over = self._joined(args)
        return self._add((op, args, immediate), Value(op, args, immediate, Shape(shape), over if shape & 1 else ""))

    def number(self, value: int) -> float:
        """The number of a constant."""
        return struct.unpack("<d", struct.pack("<q", self.values[value].bits))[0]

    def lower(self, node: Node) -> int:
        """The value of a tree."""
        if node.op == "const":
            return self.constant(node.value)
        if node.op == "name":
            over = (node.kind.over or node.name) if node.kind.shape.listed else ""
            return self._add(("name", node.name), Value("name", (), 0, node.kind.shape, over, name=node.name))
        if node.op in REDUCERS or node.op in SCANS:
            return self._over_list(node)
        args = [self.lower(arg) for arg in node.args]
        return self._power(args[0], node.value) if node.op == "pow" else self.emit(node.op, *args)

    def _add(self, key: tuple[object, ...], value: Value) -> int:
        if key not in self._seen:
            self._seen[key] = len(self.values)
            self.values.append(value)
        return self._seen[key]

    def _joined(self, args: Iterable[int]) -> str:
        over = ""
        for arg in args:
            other = self.values[arg].over
            if other and over and self.root(other) != self.root(over):
                first, second = sorted((self.root(other), self.root(over)))
                self._same[second] = first
            over = over or other
        return over

    def _power(self, x: int, exponent: float) -> int:
        if exponent == 0.0:
            return self.emit("where", self.emit("known", x), self.constant(1.0), self.constant(math.nan))
        if exponent == 2.0:
            return self.emit("mul", x, x)
        if exponent == 0.5:
            return self.emit("sqrt", x)
        if exponent == -1.0:
            return self.emit("div", self.constant(1.0), x)
        return x if exponent == 1.0 else self.emit("pow", x, self.constant(exponent))

    def _there(self, node: Node, *, adds: bool) -> int | None:
        """Which places are there for this argument? None when that makes no difference.

        Args:
            node: The argument of a list function.
            adds: Whether a false place means the same as none (sum, count, any, run).
        """
        columns = leaves(node)
        plain = not columns[0].kind.shape.candidate
        if _strict(node, plain=plain) or (adds and _false(node, plain=plain)):
            return None
        known = [self.emit("known", self.lower(leaf)) for leaf in columns]
        mask = known[0]
        for other in known[1:]:
            mask = self.emit("or", mask, other)
        return mask

    def _over_list(self, node: Node) -> int:
        arg, mask = self.lower(node.args[0]), self._there(node.args[0], adds=node.op in ("sum", "count", "any", "run"))
        empty = self.constant(math.nan)
        if node.op in ("count", "any", "run"):
            holds = self.emit("truth", arg) if mask is None else self.emit("and", mask, arg)
            return self.emit({"count": "sum", "any": "max_of", "run": "run"}[node.op], holds)
        if node.op == "all":
            judged = [self.emit("known", arg)] if self.values[arg].op not in _BOOLEAN else []
            judged += [mask] if mask is not None else []
            among = self.emit("and", *judged) if len(judged) == 2 else judged[0]
            holds = self.emit("where", among, self.emit("truth", arg), empty)
            return self.emit("coalesce", self.emit("min_of", holds), self.constant(1.0))
        held = arg if mask is None else self.emit("where", mask, arg, empty)
        return self.emit(node.op, held, immediate=int(node.value))


def _strict(node: Node, *, plain: bool) -> bool:
    """Is a tree empty wherever all its deciding columns are? `plain`: only columns without candidates decide."""
    if not node.kind.shape.listed:
        return False
    if node.op in ("name", "dot"):
        return not (plain and node.kind.shape.candidate)
    if node.op in ("first", "so_far", "gaps"):
        return not (plain and leaves(node)[0].kind.shape.candidate)
    judged = (_strict(arg, plain=plain) for arg in node.args[1 if node.op == "where" else 0 :])
    if node.op in ("where", "coalesce"):
        return all(judged)
    return node.op in _STRICT and any(judged)


def _false(node: Node, *, plain: bool) -> bool:
    """Is a tree false wherever all its deciding columns are empty?"""
    if node.op in ("lt", "le", "gt", "ge", "eq", "ne", "known"):
        return any(_strict(arg, plain=plain) for arg in node.args)
    judged = (_false(arg, plain=plain) or _strict(arg, plain=plain) for arg in node.args)
    return any(judged) if node.op == "and" else node.op == "or" and all(judged)


@dataclass(slots=True)
class Allocation:
    """Steps with places: what `place_values` hands out."""

    constants: list[int] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    registers: list[tuple[int, int]] = field(default_factory=list)
    """Shape and list number of each register."""
    steps: list[Step] = field(default_factory=list)


def place_values(builder: Builder, outputs: list[tuple[int, Shape]], lists: list[str]) -> Allocation:
    """Which steps run in which order, and in which registers?

    Args:
        builder: The values.
        outputs: Value and shape of each output, in their order.
        lists: The root name of every list, which gives it its number.

    Returns:
        Steps without candidates first; a result is written as soon as it is there.
    """
    values, order = builder.values, _order(builder, outputs)
    last = {arg: at for at, (value, _) in enumerate(order) for arg in (_args(builder, value, outputs))}
    out, place, free = Allocation(), {}, {}
    for value in sorted({arg for item, _ in order for arg in _args(builder, item, outputs)}):
        if values[value].op == "const":
            place[value] = Place(CONST, len(out.constants), 0)
            out.constants.append(values[value].bits)
        elif values[value].op == "name":
            place[value] = Place(INPUT, len(out.inputs), int(values[value].shape))
            out.inputs.append(value)
    for at, (item, is_output) in enumerate(order):
        args = _args(builder, item, outputs)
        if is_output:
            target, shape = Place(OUTPUT, -item - 1, int(outputs[-item - 1][1])), outputs[-item - 1][1]
            over = values[outputs[-item - 1][0]].over
            step = Step(
                "copy" if shape.listed else "write", 0, _number(builder, lists, over), target, (place[args[0]],)
            )
        else:
            own = values[item]
            over = _number(builder, lists, own.over or values[args[0]].over if own.op in REDUCERS else own.over)
            kind = (int(own.shape), over if own.shape.listed else -1)
            place[item] = Place(REGISTER, free[kind].pop() if free.get(kind) else len(out.registers), int(own.shape))
            if place[item].number == len(out.registers):
                out.registers.append(kind)
            step = Step(own.op, own.immediate, over, place[item], tuple(place[arg] for arg in args))
        out.steps.append(step)
        for arg in set(args):
            if last[arg] == at and place[arg].space == REGISTER:
                free.setdefault(out.registers[place[arg].number], []).append(place[arg].number)
    return out


def _number(builder: Builder, lists: list[str], over: str) -> int:
    return lists.index(builder.root(over)) if over else -1


def _args(builder: Builder, item: int, outputs: list[tuple[int, Shape]]) -> tuple[int, ...]:
    return (outputs[-item - 1][0],) if item < 0 else builder.values[item].args


def _order(builder: Builder, outputs: list[tuple[int, Shape]]) -> list[tuple[int, bool]]:
    """Values to compute, and outputs (as -1 - number) right behind their value; what has no candidates first."""
    values, done, order = builder.values, set(), []
    for number, (root, _) in enumerate(outputs):
        stack = [(root, False)]
        while stack:
            value, ready = stack.pop()
            if ready:
                order.append((value, False))
            elif value not in done:
                done.add(value)
                if values[value].args:
                    stack.append((value, True))
                    stack += [(arg, False) for arg in reversed(values[value].args)]
        order.append((-1 - number, True))
    late = [outputs[-1 - v][1].candidate if is_output else values[v].shape.candidate for v, is_output in order]
    staged = sorted(zip(late, range(len(order)), strict=True))
    return [order[at] for _, at in staged]
