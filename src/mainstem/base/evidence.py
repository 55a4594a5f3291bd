"""What a machine measured, as one record that every desk writes and every gate reads.

A record says what kind of thing was measured, of what, the number, when, by which command, and what would have to be the same
for it to still hold: the file the number is from, by its hash, the version of the product, the log and the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One measurement: what, of what, how much, when, and what it rests on."""

    id: str = ""
    """By which reports cite it; given when it is written where it is empty. Records are never replaced."""
    kind: str
    """parity, launch, slo, capacity, rollback, responsible, or a word of one's own."""
    about: str = ""
    """Of what: a surface, a stack, the id of an SLO; empty for the whole."""
    value: float
    """What was measured; for a yes or no, 1 or 0."""
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    """When it was measured, with its zone."""
    source: str = ""
    """The command it came from."""
    file: str = ""
    """The file that holds the whole of it: relative to the workspace's folder, or absolute when it lies elsewhere."""
    sha256: str = ""
    """Of that file's bytes when the record was written."""
    file_bytes: int = 0
    """How many of its first bytes were hashed, for a file that only grows; 0 hashed all of it."""
    version: str = ""
    """Of the product."""
    log: str = ""
    """Content hash of the log it was measured on."""
    model: str = ""
    """The version of the model that was measured."""
    made: bool = False
    """Whether it comes from a made world: never a number of real users."""
    note: str = ""
    """What was found, in a sentence."""

    @property
    def day(self) -> date:
        """The day it was measured, in UTC."""
        return self.at.astimezone(UTC).date()

    @property
    def what(self) -> str:
        """Kind and subject, as a sentence names them."""
        return f"{self.kind} of {self.about}" if self.about else self.kind


def hash_of(file: Path, first: int = 0) -> str:
    """SHA-256 of a file, or of its first bytes; empty when it cannot be read or is shorter than that.

    Args:
        file: Its path.
        first: How many bytes; 0 for all.
    """
    try:
        with file.open("rb") as held:
            if not first:
                return hashlib.file_digest(held, "sha256").hexdigest()
            found = held.read(first)
    except OSError:
        return ""
    return hashlib.sha256(found).hexdigest() if len(found) == first else ""


def doubts_of(records: Iterable[Evidence], folder: Path) -> dict[str, str]:
    """Why records no longer count, by id: their file changed since, or is no longer there. A file is read once.

    Args:
        records: With ids.
        folder: Against which a relative file is read: the workspace's.
    """
    hashed = cache(hash_of)
    out = {}
    for one in records:
        if not one.file or not one.sha256:
            continue
        file = folder / one.file
        if not file.is_file():
            out[one.id] = f"{one.file} is no longer there"
        elif hashed(file, one.file_bytes) != one.sha256:
            out[one.id] = f"{one.file} changed since"
    return out
