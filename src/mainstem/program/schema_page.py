"""The reference page of ``program.toml``, made from the records and the sentences under their fields."""

from __future__ import annotations

import ast
from pathlib import Path

from mainstem.program import records
from mainstem.program.records import Program

_TITLE = """# What a plan holds

`program.toml`, and `program/*.toml` beside it, hold these tables. `mainstem program schema` prints the JSON schema. Made from
`program/records.py`.
"""


def schema_page() -> str:
    """The page as Markdown: one heading a kind of record, one row a field."""
    tree = ast.parse(Path(records.__file__).read_text(encoding="utf-8"))
    found = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}
    lines = [_TITLE]
    for kind, record in _kinds(found["Program"]):
        lines += [_section(f"[{kind}]" if kind == "program" else f"[{kind}.ID]", found[record])]
    lines += [_section("A gate, in `gates` of a milestone", found["Gate"])]
    return "\n".join(lines)


def _kinds(program: ast.ClassDef) -> list[tuple[str, str]]:
    out = []
    for one in program.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            kind = ast.unparse(one.annotation)
            out.append((one.target.id, kind.removeprefix("dict[str, ").removesuffix("]")))
    assert [name for name, _ in out] == list(Program.__struct_fields__)
    return out


def _section(title: str, record: ast.ClassDef) -> str:
    head = f"## `{title}`" if title.startswith("[") else f"## {title}"
    rows = [
        head,
        "",
        ast.get_docstring(record) or "",
        "",
        "| field | type | default | what it is |",
        "|---|---|---|---|",
    ]
    for one, told in zip(record.body, record.body[1:], strict=False):
        if isinstance(one, ast.AnnAssign) and isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant):
            default = f"`{ast.unparse(one.value)}`" if one.value is not None else "needed"
            kind = ast.unparse(one.annotation).replace("|", "\\|")
            rows.append(f"| `{ast.unparse(one.target)}` | `{kind}` | {default} | {told.value.value} |")
    return "\n".join(rows) + "\n"
