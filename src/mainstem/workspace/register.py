"""Every setting of a workspace with its value and where the value came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mainstem.base.settings import FILE, read_settings


def setting_rows(folder: Path) -> list[dict[str, str]]:
    """One row a setting: its dotted name, its value and its origin (default, the file, or an environment variable)."""
    settings = msgspec.to_builtins(read_settings(folder))
    file = folder / FILE
    given = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return [
        {"setting": name, "value": _shown(name, value), "origin": _origin(name, given, file)}
        for name, value in _leaves(settings, "")
    ]


def _leaves(table: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _shown(name: str, value: Any) -> str:
    """The value as text; a token is never shown."""
    if name == "serve.token":
        return "(set)" if value else "(made at start)"
    return "" if value in ("", [], {}) else str(value)


def _origin(name: str, given: dict[str, Any], file: Path) -> str:
    variable = f"MAINSTEM_{name.upper().replace('.', '_')}"
    if variable in os.environ:
        return f"environment {variable}"
    at: Any = given
    parts = name.split(".")
    for part in parts:
        if not isinstance(at, dict) or part not in at:
            inherited = _parent(given, parts)
            return f"inherited from {inherited}" if inherited and _has(given, parts, inherited) else "default"
        at = at[part]
    return str(file)


def _parent(given: dict[str, Any], parts: list[str]) -> str:
    """The surface that this setting's surface extends; empty when there is none."""
    if parts[0] != "surfaces" or len(parts) < 3:
        return ""
    return given.get("surfaces", {}).get(parts[1], {}).get("extends", "")


def _has(given: dict[str, Any], parts: list[str], parent: str) -> bool:
    """Whether the surface inherited from, or one above it, gives this setting."""
    at: Any = given["surfaces"].get(parent, {})
    above = at.get("extends", "")
    for part in parts[2:]:
        if not isinstance(at, dict) or part not in at:
            return bool(above) and _has(given, parts, above)
        at = at[part]
    return True
