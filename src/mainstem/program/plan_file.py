"""How a plan is read from text and written back: ``program.toml`` and ``program/*.toml``, in one canonical order."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.program.checks import check_program
from mainstem.program.openslo import with_openslo, without_openslo
from mainstem.program.records import TABLES, Program

FILE: Final = "program.toml"
FOLDER: Final = "program"
_BARE = re.compile(r"^[A-Za-z0-9_-]+$")


def read_program(where: Path) -> Program:
    """The plan in a file, or in a folder's ``program.toml`` and ``program/*.toml`` together.

    Raises:
        ProgramError: There is no plan, or what ``parse_program`` raises.
    """
    file = where / FILE if where.is_dir() else where
    if not file.is_file():
        raise ProgramError(
            f"found no {file}, expected a plan", code="program-001", hint="docs/guides/program-as-code.md shows one"
        )
    more = sorted((file.parent / FOLDER).glob("*.toml")) if file.name == FILE else []
    texts = {str(one): one.read_text(encoding="utf-8") for one in [file, *more]}
    return parse_program(texts, lambda name: (file.parent / name).read_text(encoding="utf-8"))


def parse_program(texts: dict[str, str] | str, beside: Callable[[str], str] | None = None) -> Program:
    """The plan that one text, or several by the name of their file, hold.

    Args:
        texts: The text or texts.
        beside: The text of a file in the plan's folder, for gates that name one.

    Raises:
        ProgramError: Not TOML (``program-001``), a name nobody knows (``program-002``), a value of the wrong type
            (``program-003``), one id twice (``program-004``), a gate's OpenSLO file cannot be used (``program-060``), or what
            ``check_program`` raises.
    """
    texts = {FILE: texts} if isinstance(texts, str) else texts
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for where, text in texts.items():
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ProgramError(
                f"{where} is not TOML: {error}", code="program-001", hint="strings need quotes"
            ) from None
        _merge(merged, origin, given, where)
    return convert_program(with_openslo(merged, beside, " + ".join(texts)), " + ".join(texts))


def convert_program(given: dict[str, Any], where: str) -> Program:
    """The plan that plain tables hold, checked; see ``parse_program``."""
    _refuse_unknown(given, where)
    try:
        program = msgspec.convert(given, Program)
    except msgspec.ValidationError as error:
        raise ProgramError(
            f"{where}: {error}", code="program-003", hint="docs/reference/program-schema.md lists the keys"
        ) from None
    check_program(program, where)
    return program


def _merge(merged: dict[str, Any], origin: dict[str, str], given: dict[str, Any], where: str) -> None:
    for kind, table in given.items():
        if kind == "program" or not isinstance(table, dict):
            if kind in merged:
                raise ProgramError(
                    f"{where} and {origin[kind]} both hold [{kind}], expected one",
                    code="program-004",
                    hint="keep it in program.toml",
                )
            merged[kind] = table
            origin[kind] = where
            continue
        held = merged.setdefault(kind, {})
        for name, record in table.items():
            if name in held:
                raise ProgramError(
                    f"{where} and {origin[f'{kind}.{name}']} both hold [{kind}.{name}], expected one record an id",
                    code="program-004",
                    hint="rename one of them, or delete it",
                )
            held[name] = record
            origin[f"{kind}.{name}"] = where


def _refuse_unknown(given: dict[str, Any], where: str) -> None:
    known = Program.__struct_fields__
    hints = {name: _record_of(name) for name in known}
    for kind, table in given.items():
        if kind not in known:
            raise _unknown(where, f"[{kind}]", kind, known)
        records = {"": table} if kind == "program" else table
        if not isinstance(records, dict):
            continue
        for name, record in records.items():
            for key in record if isinstance(record, dict) else ():
                if key not in hints[kind].__struct_fields__:
                    raise _unknown(where, f"{kind}.{name}.{key}".replace("..", "."), key, hints[kind].__struct_fields__)


def _record_of(kind: str) -> type[msgspec.Struct]:
    info = next(one for one in msgspec.structs.fields(Program) if one.name == kind)
    return info.type if kind == "program" else info.type.__args__[1]


def _unknown(where: str, what: str, key: str, known: tuple[str, ...]) -> ProgramError:
    return ProgramError(f"{where}: {what} is nothing a plan has", code="program-002", hint=did_you_mean(key, known))


def write_program(program: Program) -> str:
    """The plan as text in canonical order: kinds as in the register, ids sorted, defaults left out."""
    plain = msgspec.to_builtins(program, builtin_types=(date,))
    lines = _section("program", plain["program"])
    for kind in TABLES:
        for name in sorted(plain.get(kind, {})):
            if "gates" in plain[kind][name]:
                plain[kind][name]["gates"] = without_openslo(plain[kind][name]["gates"])
            lines += ["", *_section(f"{kind}.{_key(name)}", plain[kind][name])]
    return "\n".join(lines) + "\n"


def program_schema() -> dict[str, Any]:
    """The published JSON schema of a plan."""
    return msgspec.json.schema(Program)


def _section(title: str, record: dict[str, Any]) -> list[str]:
    return [f"[{title}]", *(f"{key} = {_value(value)}" for key, value in record.items())]


def _key(name: str) -> str:
    return name if _BARE.match(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return "[" + ", ".join(_value(one) for one in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in sorted(value.items())) + " }"
        case _:
            return str(value)
