"""Who changed what a surface values or forbids, when, why, from what to what: a file that tells when it was tampered with.

Each entry holds the hash of the one before, so that none can be changed or taken out between others unseen. It also holds the
surfaces as they stood in ``mainstem.toml`` afterwards, so that a change by hand is named, key by key.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.base.clock import Clock, SystemClock
from mainstem.base.errors import ConfigError, StoreError, did_you_mean
from mainstem.base.settings import Settings, parse_settings
from mainstem.stacks.neutral import surface_values
from mainstem.workspace.layout import Workspace
from mainstem.workspace.value_edit import edited, leaves

FIRST: Final = "0" * 64
"""What the first entry names as the hash before it."""
BEGAN, DECLARED, FOUND = "began", "declared", "found"
"""Kinds of entries: how the surfaces stood at first, a change somebody answers for, and one made by hand that nobody declared."""


class Change(msgspec.Struct, frozen=True):
    """One key of one surface; None where there was, or is, none of its own."""

    key: str
    before: Any
    after: Any


class Entry(msgspec.Struct, frozen=True):
    """One line of the ledger.

    Attributes:
        surfaces: The surfaces' settings after it, as ``mainstem.toml`` writes them.
        previous: The hash of the line before.
    """

    kind: str
    when: str
    who: str
    owner: str
    reason: str
    changes: tuple[Change, ...]
    surfaces: dict[str, Any]
    previous: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every entry, oldest first, and what the settings file says beyond the last one.

    Attributes:
        broken: The number of the first entry that does not follow from the one before, from 1; 0 when all do.
        undeclared: What was changed by hand since.
    """

    entries: tuple[Entry, ...]
    broken: int
    undeclared: tuple[Change, ...]


def ledger_file(workspace: Workspace) -> Path:
    """Where it lies."""
    return workspace.folder / "ledger" / "surfaces.jsonl"


def read_ledger(workspace: Workspace) -> Ledger:
    """The ledger, its chain verified and compared with the settings file."""
    entries, broken, _ = _read(ledger_file(workspace))
    now = _surfaces(_text(workspace))
    return Ledger(entries, broken, _differences(entries[-1].surfaces, now) if entries else ())


def set_values(
    workspace: Workspace,
    surface: str,
    assignments: Sequence[str],
    reason: str,
    owner: str = "",
    clock: Clock | None = None,
) -> tuple[Entry, ...]:
    """Changes settings of one surface in ``mainstem.toml`` and enters that; nothing else of the file moves.

    A change that somebody made by hand before is entered first, as found. The new settings are read and every value is compiled
    before a byte is written.

    Args:
        workspace: Whose.
        surface: One of the file, ``base`` too.
        assignments: Such as ``weights.like=3`` or ``value=long_view + like``.
        reason: Why; must not be empty.
        owner: Who answers for it; empty takes the surface's ``owner``.
        clock: What time it is.

    Raises:
        ConfigError: No reason or owner (``value-012``), no change (``value-011``), settings that are refused, or a file that
            cannot be changed safely (``value-013``).
        StoreError: The ledger was tampered with (``value-010``), or the disk refused (``store-010``).
    """
    with _held(workspace):
        text = _text(workspace)
        new = _with_built_in(text, tuple(workspace.settings.served()))
        for path, value in (_assigned(workspace, surface, one) for one in assignments):
            new = edited(new, path, value)
        settings = parse_settings(new, str(workspace.file))
        surface_values(settings)
        owner = owner or _owner(settings, surface)
        if not assignments or not _differences(_surfaces(text), _surfaces(new)):
            raise ConfigError(
                f"{surface} has {', '.join(assignments)} already: nothing to change",
                code="value-011",
                hint="mainstem surface log",
            )
        _answered(reason, owner)
        _whole(workspace)  # before the settings move: a broken ledger takes no change
        _written(workspace.file, new)
        return _entered(workspace, text, new, reason, owner, clock or SystemClock())


def declare(workspace: Workspace, reason: str, owner: str, clock: Clock | None = None) -> tuple[Entry, ...]:
    """Enters what was changed in ``mainstem.toml`` by hand, with a reason and somebody who answers for it.

    Raises:
        ConfigError: No reason or owner (``value-012``), or nothing was changed (``value-011``).
        StoreError: The ledger was tampered with (``value-010``).
    """
    with _held(workspace):
        _answered(reason, owner)
        _whole(workspace)
        entries, _, _ = _read(ledger_file(workspace))
        text = _text(workspace)
        if entries and not _differences(entries[-1].surfaces, _surfaces(text)):
            raise ConfigError(
                "mainstem.toml says what the last entry says: nothing to declare",
                code="value-011",
                hint="mainstem surface log",
            )
        return _entered(workspace, None, text, reason, owner, clock or SystemClock())


def _entered(
    workspace: Workspace, before: str | None, after: str, reason: str, owner: str, clock: Clock
) -> tuple[Entry, ...]:
    """Appends the declared change, and before it what the ledger did not know of."""
    file = ledger_file(workspace)
    entries, _, previous = _read(file)
    when = datetime.fromtimestamp(clock.now_ms() / 1_000, UTC).isoformat(timespec="seconds")
    told, known = [], entries[-1].surfaces if entries else {}
    if before is not None:
        stood = _surfaces(before)
        unknown = _differences(known, stood)
        if not entries:
            told.append(Entry(BEGAN, when, _who(), "", "the first entry of this ledger", (), stood, previous))
        elif unknown:
            told.append(Entry(FOUND, when, _who(), "", "changed by hand, declared by nobody", unknown, stood, previous))
        known = stood
    now = _surfaces(after)
    told.append(Entry(DECLARED, when, _who(), owner, reason, _differences(known, now), now, previous))
    lines, chained = [], []
    for entry in told:
        entry = msgspec.structs.replace(entry, previous=previous)
        lines.append(msgspec.json.encode(entry, order="sorted"))
        previous = _hash(lines[-1])
        chained.append(entry)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as sink:
            sink.write(b"\n".join(lines) + b"\n")
            sink.flush()
            os.fsync(sink.fileno())
    except OSError as error:
        raise StoreError(f"the ledger {file.name} was not written: {error}", code="store-010") from None
    return tuple(chained)


def _read(file: Path) -> tuple[tuple[Entry, ...], int, str]:
    """Entries, the first that does not follow, and the hash of the last line."""
    previous, broken = FIRST, 0
    entries: list[Entry] = []
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
            return tuple(entries), broken or len(entries) + 1, previous
        entries.append(entry)
        if entry.previous != previous and not broken:
            broken = len(entries)
        previous = _hash(line)
    return tuple(entries), broken, previous


def _whole(workspace: Workspace) -> None:
    _, broken, _ = _read(ledger_file(workspace))
    if broken:
        raise StoreError(
            f"entry {broken} of {ledger_file(workspace).name} does not follow from the one before: the ledger was changed",
            code="value-010",
            hint="mainstem surface log names it; put the file back from a copy, or begin a new one beside it",
            status=409,
        )


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    old, new = leaves(before), leaves(after)
    keys = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
    return tuple(Change(f"surfaces.{key}", old.get(key), new.get(key)) for key in keys)


def _assigned(workspace: Workspace, surface: str, assignment: str) -> tuple[tuple[str, ...], Any]:
    key, equals, written = assignment.partition("=")
    known = {*workspace.settings.served(), *workspace.settings.surfaces, "base"}
    if surface not in known or not equals or not key.strip():
        raise ConfigError(
            f"{surface} {assignment!r} sets no setting of a surface",
            code="value-011",
            hint=did_you_mean(surface, known) if surface not in known else "such as weights.like=3",
        )
    try:
        value = tomllib.loads(f"x = {written.strip()}")["x"]
    except tomllib.TOMLDecodeError:
        value = written.strip()
    return ("surfaces", surface, *key.strip().split(".")), value


def _answered(reason: str, owner: str) -> None:
    if not reason.strip() or not owner.strip():
        missing = "reason" if not reason.strip() else "owner"
        raise ConfigError(
            f"a change of what a surface values needs a {missing}",
            code="value-012",
            hint='mainstem surface set feed weights.like=3 --reason "…" --owner …; owner = "…" in [surfaces.feed] stands in',
        )


def _owner(settings: Settings, surface: str) -> str:
    found = settings.surfaces.get(surface)
    return found.owner if found else ""


def _with_built_in(text: str, served: Sequence[str]) -> str:
    """The text with the built-in surfaces written out where it names none: naming one of them would end the others."""
    named = _surfaces(text)
    if named.keys() & set(served):
        return text
    base = [] if "base" in named else ["[surfaces.base]\n"]
    blocks = [*base, *(f'[surfaces.{name}]\nextends = "base"\n' for name in served)]
    return text + ("" if not text or text.endswith("\n") else "\n") + "\n" + "\n".join(blocks)


def _surfaces(text: str) -> dict[str, Any]:
    return tomllib.loads(text).get("surfaces", {})


def _text(workspace: Workspace) -> str:
    return workspace.file.read_text(encoding="utf-8") if workspace.file.is_file() else ""


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _written(file: Path, text: str) -> None:
    """The file whole or not at all."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as sink:
            sink.write(text)
            sink.flush()
            os.fsync(sink.fileno())
        scratch.replace(file)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise StoreError(f"{file.name} was not written: {error}", code="store-010") from None


@contextmanager
def _held(workspace: Workspace) -> Iterator[None]:
    """One writer at a time, over processes."""
    folder = ledger_file(workspace).parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
