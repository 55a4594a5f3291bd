"""One setting of a ``mainstem.toml`` changed in place: every other line, comments too, stays as it is.

The edit is textual and then checked: the new text must hold exactly the old settings with the one changed, else nothing is
written. What this cannot edit safely it refuses, and a person edits the file.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from mainstem.base.errors import ConfigError

_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_KEY = re.compile(r"^(\s*)([A-Za-z0-9_\-\"'. ]+?)(\s*=\s*)(.*)$")


def edited(text: str, path: Sequence[str], value: Any) -> str:
    """The TOML text with one key set, in place where it stands already.

    Args:
        text: The file as it is.
        path: The key, such as ``("surfaces", "feed", "weights", "like")``.
        value: A number, text, bool, or list or table of them.

    Raises:
        ConfigError: The file is written in a way that cannot be changed safely (``value-013``).
    """
    wanted = _with(tomllib.loads(text), path, value)
    for attempt in (_replaced, _inserted):
        new = attempt(text, path, value)
        if new is not None and _reads_as(new, wanted):
            return new
    raise ConfigError(
        f"{'.'.join(path)} cannot be set without touching other lines of the file",
        code="value-013",
        hint="edit mainstem.toml by hand, then mainstem surface declare",
    )


def literal(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "{ " + ", ".join(f"{_key(name)} = {literal(one)}" for name, one in value.items()) + " }"
    return "[" + ", ".join(literal(one) for one in value) + "]"


def leaves(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every setting of nested tables by its dotted name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{path}.{key}" if path else key
        found |= leaves(value, name) if isinstance(value, Mapping) and value else {name: value}
    return found


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _with(table: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    table = copy.deepcopy(table)
    at = table
    for key in path[:-1]:
        at = at.setdefault(key, {})
    at[path[-1]] = value
    return table


def _reads_as(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _lines(text: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...] | None]]:
    """Each line with the table it stands in and, where it sets a key, that key's whole path."""
    header: tuple[str, ...] = ()
    found = []
    for line in text.splitlines(keepends=True):
        if head := _HEADER.match(line):
            header = _path(head[1])
            found.append((line, header, None))
        elif (key := _KEY.match(line)) and not line.lstrip().startswith("#"):
            found.append((line, header, (*header, *_path(key[2]))))
        else:
            found.append((line, header, None))
    return found


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _replaced(text: str, path: Sequence[str], value: Any) -> str | None:
    """The text with the value changed on the line that sets the key, or the inline table that holds it."""
    lines = _lines(text)
    for at, (line, _, key) in enumerate(lines):
        if key is None or tuple(path[: len(key)]) != key:
            continue
        matched = _KEY.match(line.rstrip("\r\n"))
        assert matched is not None
        old, comment = _split(matched[4])
        if old is None:
            continue
        rest = path[len(key) :]
        new = literal(_with(old, rest, value) if rest else value)
        ending = line[len(line.rstrip("\r\n")) :]
        changed = matched[1] + matched[2] + matched[3] + new + comment + ending
        return "".join([*(one for one, _, _ in lines[:at]), changed, *(one for one, _, _ in lines[at + 1 :])])
    return None


def _split(written: str) -> tuple[Any, str]:
    """The value on a line, and the comment behind it with the space before; None when it goes on on the next line."""
    ends = [len(written), *(at for at, letter in enumerate(written) if letter == "#")]
    for end in sorted(ends):
        try:
            value = tomllib.loads(f"x = {written[:end]}")["x"]
        except tomllib.TOMLDecodeError:
            continue
        return value, written[len(written[:end].rstrip()) :]
    return None, ""


def _inserted(text: str, path: Sequence[str], value: Any) -> str | None:
    """The text with a new line in the deepest table there is for the key, or in a new table at the end."""
    lines = _lines(text)
    for depth in range(len(path) - 1, 0, -1):
        table = tuple(path[:depth])
        inside = [
            at for at, (line, header, key) in enumerate(lines) if header == table and (key or _HEADER.match(line))
        ]
        if inside:
            rest = ".".join(_key(part) for part in path[depth:])
            before = [line for line, _, _ in lines[: inside[-1] + 1]]
            if not before[-1].endswith("\n"):
                before[-1] += "\n"
            return "".join([*before, f"{rest} = {literal(value)}\n", *(line for line, _, _ in lines[inside[-1] + 1 :])])
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    deep = min(2, len(path) - 1)
    header = ".".join(_key(part) for part in path[:deep])
    return f"{text}{gap}[{header}]\n{'.'.join(_key(part) for part in path[deep:])} = {literal(value)}\n"
