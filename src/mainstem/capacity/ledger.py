"""The savings ledger: lines that hold the hash of the line before, read and judged anew each time."""

from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainstem.base.errors import CapacityError
from mainstem.capacity.claims import Book
from mainstem.capacity.savings import canonical

START = "0" * 64
_KEYS = ("seq", "day", "kind", "claim", "by", "body", "previous", "sha256")


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger as read.

    Args:
        book: Its claims.
        entries: How many lines.
        head: The last line's hash: kept elsewhere, it shows that lines were cut off.
    """

    book: Book
    entries: int
    head: str


def read_ledger(file: Path, *, head: str = "") -> Ledger:
    """The ledger of a file, every hash and every rule checked again. A file that is not there is an empty ledger.

    Args:
        file: One JSON object a line.
        head: A hash this ledger must hold, such as last week's report's.

    Raises:
        CapacityError: ``capacity-041`` for a line that was edited, removed, swapped or cut off, with its number;
            ``capacity-042`` when the head that must be there is not; and every refusal of `Book.take`.
    """
    text = file.read_bytes() if file.exists() else b""
    book, previous, seen = Book(), START, {START}
    lines = text.split(b"\n")
    if lines.pop():
        raise _broken(file, len(lines) + 1, "is cut off")
    for at, line in enumerate(lines):
        entry = _entry(file, at, line)
        if entry["seq"] != at or entry["previous"] != previous:
            raise _broken(file, at + 1, "does not follow the line before it")
        if _sha(entry) != entry["sha256"]:
            raise _broken(file, at + 1, "was edited")
        try:
            book.take(at, entry["day"], entry["kind"], entry["claim"], entry["by"], entry["body"])
        except CapacityError as no:
            raise CapacityError(f"{file}:{at + 1}: {no}", code=no.code, hint=no.hint) from no
        previous = entry["sha256"]
        seen.add(previous)
    if head and head not in seen:
        raise CapacityError(
            f"found no line with hash {head[:12]} in {file}, which it once had",
            code="capacity-042",
            hint="lines were cut off or the file was replaced; bring back the file the hash was taken from",
        )
    return Ledger(book, len(lines), previous)


def append(file: Path, kind: str, claim: str, by: str, day: str, body: Mapping[str, Any]) -> Ledger:
    """Appends one entry, if every line before it stands and the rules allow it; otherwise nothing is written.

    Args:
        file: The ledger.
        kind: One of ``claims.NEEDED``.
        claim: The claim's id.
        by: Who says so.
        day: The date, such as 2026-11-22.
        body: What ``claims.NEEDED`` asks for.

    Returns:
        The ledger with the entry.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = read_ledger(file)
        book = copy.deepcopy(before.book)
        try:
            body = json.loads(canonical(dict(body)))
        except (TypeError, ValueError) as no:
            raise CapacityError(
                f"found a body of {kind} that is no JSON: {no}",
                code="capacity-034",
                hint="give text and finite numbers",
            ) from no
        book.take(before.entries, day, kind, claim, by, body)
        entry = {
            "seq": before.entries,
            "day": day,
            "kind": kind,
            "claim": claim,
            "by": by,
            "body": body,
            "previous": before.head,
        }
        entry["sha256"] = _sha(entry)
        held.write(canonical(entry) + b"\n")
        held.flush()
        os.fsync(held.fileno())
    return Ledger(book, before.entries + 1, str(entry["sha256"]))


def _sha(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({key: value for key, value in entry.items() if key != "sha256"})).hexdigest()


def _entry(file: Path, at: int, line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line, parse_constant=_no_number)
    except ValueError as no:
        raise _broken(file, at + 1, "is no JSON") from no
    if not isinstance(entry, dict) or sorted(entry) != sorted(_KEYS) or not isinstance(entry["body"], dict):
        raise _broken(file, at + 1, "is no entry")
    return entry


def _no_number(text: str) -> float:
    raise ValueError(text)


def _broken(file: Path, line: int, what: str) -> CapacityError:
    return CapacityError(
        f"found line {line} of {file}, which {what}",
        code="capacity-041",
        hint="nothing of a ledger counts until the line is as it was written; corrections are new entries",
    )
