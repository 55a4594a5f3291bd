"""Which names does an expression read, and what does it say once every derived name is written out?"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from mainstem.base.errors import FeatureError

Resolve = Callable[[str], str | None]


def dotted(node: ast.AST) -> str | None:
    """The name a node stands for: ``a`` or ``a.b``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def parsed(text: str, where: str) -> ast.expr:
    """The expression's tree.

    Raises:
        FeatureError: It is no expression (``feature-030``).
    """
    try:
        return ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FeatureError(
            f"the expression of {where} cannot be read: {error.args[0] if error.args else error} in {text[:80]!r}",
            code="feature-030",
            hint="write arithmetic, comparisons and functions of names; `mainstem features` checks it",
        ) from error


def names_in(text: str, where: str) -> tuple[str, ...]:
    """The names an expression reads, each once, in the order of their places."""
    found: dict[str, None] = {}

    def visit(node: ast.AST) -> None:
        name = dotted(node)
        if name is not None:
            found[name] = None
            return
        for child in ast.iter_child_nodes(node):
            if not (isinstance(node, ast.Call) and child is node.func):
                visit(child)

    visit(parsed(text, where))
    return tuple(found)


class _WriteOut(ast.NodeTransformer):
    def __init__(self, resolve: Resolve, where: str) -> None:
        self._resolve = resolve
        self._where = where

    def _swap(self, node: ast.expr) -> ast.expr:
        name = dotted(node)
        text = None if name is None else self._resolve(name)
        return node if text is None else parsed(text, self._where)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._swap(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._swap(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(argument) for argument in node.args]
        return node


def written_out(text: str, resolve: Resolve, where: str) -> str:
    """The expression with each name replaced by what ``resolve`` gives for it; names it gives None for stay."""
    tree = _WriteOut(resolve, where).visit(parsed(text, where))
    return ast.unparse(tree)


def in_order(reads: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names so that each comes after those it reads.

    Raises:
        FeatureError: Some read each other in a circle (``feature-002``).
    """
    done: dict[str, bool] = {}
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if done.get(name):
            return
        if name in path:
            circle = " reads ".join((*path[path.index(name) :], name))
            raise FeatureError(
                f"the features go in a circle: {circle}",
                code="feature-002",
                hint="let one of them read events or attributes instead",
            )
        for inner in reads[name]:
            if inner in reads:
                visit(inner, (*path, name))
        done[name] = True
        order.append(name)

    for name in reads:
        visit(name, ())
    return order
