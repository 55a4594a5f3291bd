"""The file evidence is appended to: one line a record, each with the hash of the line before, so that no edit goes unseen.

A line is ``{"n": …, "previous": …, "record": {…}, "hash": …}``. Beside ``records.jsonl`` lies ``records.head``: how many lines
there are and the last one's hash, so that a line cut off at the end is missed too. Who rewrites both is only found by a head
that was kept elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from mainstem.base.errors import EvidenceError, StoreError
from mainstem.base.evidence import Evidence

START: Final = "0" * 64
"""What the first line names as the hash before it."""
_HASH: Final = b',"hash":"'
_TAIL: Final = len(_HASH) + 64 + 2


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: int
    previous: str
    record: Evidence
    hash: str


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lines: int
    hash: str


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a file, every hash checked.

    Attributes:
        records: Oldest first.
        head: The last line's hash: kept elsewhere, it shows later that lines were cut off.
        torn: Bytes behind the last whole line: a writer was killed there. The next one puts them aside.
    """

    records: tuple[Evidence, ...]
    head: str
    torn: int


@dataclass(frozen=True, slots=True)
class Written:
    """What an append did: the records with their ids, the new head, and how many torn bytes it put aside."""

    records: tuple[Evidence, ...]
    head: str
    mended: int


def read_records(file: Path, head: str = "") -> Records:
    """The records of a file, each line judged again. A file that is not there holds none.

    Args:
        file: ``records.jsonl`` of a workspace.
        head: A hash that one of its lines must have, such as last week's report's.

    Raises:
        EvidenceError: A line was edited, moved or taken away (``evidence-020``, with its number), lines were cut off at the
            end, or the head asked for is in none (``evidence-021``).
    """
    try:
        with file.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH)
            found, hashes = _whole(file, held.read())
    except FileNotFoundError:
        found, hashes = _whole(file, b"")
    if head and head not in hashes:
        raise _cut(file, f"no line has the hash {head[:12]}, which it once had")
    return found


def append_records(file: Path, records: Sequence[Evidence]) -> Written:
    """Appends records; two writers at once take turns. What is refused is refused before anything is written.

    Bytes that a killed writer left behind the last whole line are moved to ``records.torn``, so that nothing vanishes.

    Args:
        file: ``records.jsonl`` of a workspace; made with its folder.
        records: Those without an id get one: the kind and the number of their line.

    Raises:
        EvidenceError: The file is not whole (``evidence-020``, ``evidence-021``), an id is there already (``evidence-022``), or
            a value is no finite number (``evidence-023``). Nothing is written then.
        StoreError: The disk refused (``store-010``).
    """
    try:
        with _alone(file) as held:
            before, _ = _whole(file, held.read())
            named = _named(records, before.records, file)
            mended = _mend(file, held, before.torn)
            lines, head = _lines(named, len(before.records), before.head)
            held.write(lines)
            held.flush()
            os.fsync(held.fileno())
            _write_head(file, _Head(len(before.records) + len(named), head))
    except OSError as error:
        raise StoreError(f"{file.name} was not written: {error}", code="store-010") from None
    return Written(named, head, mended)


@contextmanager
def _alone(file: Path) -> Iterator[BinaryIO]:
    """The file, open for reading and appending, while no other process has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.seek(0)
        yield held


def _whole(file: Path, text: bytes) -> tuple[Records, set[str]]:
    """The records of a file's bytes, and the hash of every line."""
    body, _, torn = text.rpartition(b"\n")
    records, hashes, previous = [], {START}, START
    for at, line in enumerate(body.split(b"\n") if body else ()):
        told = _line(file, at, line)
        if told.n != at or told.previous != previous:
            raise _broken(file, at, "does not follow the line before it")
        records.append(told.record)
        previous = told.hash
        hashes.add(previous)
    head = _read_head(file)
    if head is not None and head.hash not in hashes:
        raise _cut(file, f"{len(records)} whole lines, and it once had {head.lines}")
    return Records(tuple(records), previous, len(torn)), hashes


def _line(file: Path, at: int, line: bytes) -> _Line:
    try:
        told = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        raise _broken(file, at, "is no record") from None
    if line != _sealed(line[:-_TAIL]):
        raise _broken(file, at, "was edited")
    return told


def _sealed(body: bytes) -> bytes:
    """A line from its beginning: its own hash comes last."""
    return body + _HASH + hashlib.sha256(body).hexdigest().encode() + b'"}'


def _lines(records: Sequence[Evidence], first: int, previous: str) -> tuple[bytes, str]:
    out = []
    for at, record in enumerate(records, first):
        told = msgspec.json.encode({"n": at, "previous": previous, "record": record})
        out.append(_sealed(told[:-1]))
        previous = out[-1][-66:-2].decode()
    return b"".join(line + b"\n" for line in out), previous


def _named(records: Sequence[Evidence], before: Sequence[Evidence], file: Path) -> tuple[Evidence, ...]:
    """The records with ids that none before has."""
    known, out = {one.id for one in before}, []
    for at, record in enumerate(records, len(before)):
        if not isfinite(record.value):
            raise EvidenceError(
                f"{record.what} has the value {record.value}",
                code="evidence-023",
                hint="a record holds a finite number",
            )
        one = record if record.id else msgspec.structs.replace(record, id=f"{record.kind}-{at + 1}")
        if one.id in known:
            raise EvidenceError(
                f"{file.name} has a record {one.id!r} already",
                code="evidence-022",
                hint="records are never replaced; leave the id empty to get a new one",
            )
        known.add(one.id)
        out.append(one)
    return tuple(out)


def _mend(file: Path, held: BinaryIO, torn: int) -> int:
    """Moves what a killed writer left to a file beside, and cuts it off."""
    if not torn:
        return 0
    end = held.seek(0, os.SEEK_END)
    held.seek(end - torn)
    with file.with_suffix(".torn").open("ab") as aside:
        aside.write(held.read(torn) + b"\n")
        aside.flush()
        os.fsync(aside.fileno())
    held.truncate(end - torn)
    return torn


def _read_head(file: Path) -> _Head | None:
    try:
        return msgspec.json.decode(file.with_suffix(".head").read_bytes(), type=_Head)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise _cut(file, "the file beside it with its last hash cannot be read") from None


def _write_head(file: Path, head: _Head) -> None:
    """Written after the lines: a writer killed between the two leaves a head that is one append old, which still fits."""
    target = file.with_suffix(".head")
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    scratch.write_bytes(msgspec.json.encode(head) + b"\n")
    scratch.replace(target)


def _broken(file: Path, at: int, what: str) -> EvidenceError:
    return EvidenceError(
        f"{file.name}:{at + 1} {what}, expected the line that was written",
        code="evidence-020",
        hint="no record counts until the file is as it was written: bring it back from a copy, or put it aside and measure again",
    )


def _cut(file: Path, found: str) -> EvidenceError:
    return EvidenceError(
        f"{file.name}: {found}; lines were cut off, or the file was replaced",
        code="evidence-021",
        hint="bring the file back from a copy, or put it and its .head aside and measure again",
    )
