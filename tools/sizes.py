"""Fails when a file or a function has grown past what one idea needs, or when two test files bear one name."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE_LINES = 600
FUNCTION_LINES = 60
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the name to the end."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def inner_functions(node: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The outermost functions inside: they are judged on their own."""
    found = []
    for child in ast.iter_child_nodes(node):
        found += [child] if isinstance(child, FUNCTION) else inner_functions(child)
    return found


def too_long() -> list[str]:
    """Every file over 600 lines and every function over 60."""
    found = []
    for folder in ("src", "tests", "legacy", "benchmarks", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            name = path.relative_to(ROOT)
            lines = len(text.splitlines())
            if lines > FILE_LINES:
                found.append(f"{name}: {lines} lines, at most {FILE_LINES}")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, FUNCTION):
                    length = lines_of(node) - sum(lines_of(inner) for inner in inner_functions(node))
                    if length > FUNCTION_LINES:
                        found.append(f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}")
    return found


def same_names() -> list[str]:
    """Test files of one name in two folders: pytest collects only the first."""
    seen: dict[str, Path] = {}
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path.name in seen:
            found.append(f"{path.relative_to(ROOT)} has the name of {seen[path.name].relative_to(ROOT)}")
        seen.setdefault(path.name, path)
    return found


if __name__ == "__main__":
    problems = too_long() + same_names()
    print("\n".join(problems) or "sizes: every file and function holds one idea")
    sys.exit(bool(problems))
