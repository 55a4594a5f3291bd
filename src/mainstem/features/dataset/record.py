"""What does a training set say of itself: the ``dataset.json`` beside its rows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final, Literal

import msgspec
import pyarrow as pa

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.digest import joined
from mainstem.features.dataset.label_rule import LabelRule
from mainstem.features.dataset.split import Split

FORMAT: Final = 1
FILE_NAME: Final = "dataset.json"

Role = Literal["row", "context", "feature", "label", "delay"]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: what it is for, its type, and the hash of its values in each part of the split."""

    name: str
    type: str
    role: Role
    sha256: dict[str, str]


class Defined(msgspec.Struct, frozen=True, kw_only=True):
    """One definition behind the features: its name, version and the fingerprint of its meaning."""

    name: str
    version: int
    fingerprint: str


class MadeBy(msgspec.Struct, frozen=True, kw_only=True):
    """What computes the features of a training set.

    Attributes:
        features_version: Names the definitions together; what a model and an impression say of theirs.
        definitions: Each of them.
        inputs: What else they read, by name, with the hash of it: learned constants, tables.
    """

    features_version: str
    definitions: tuple[Defined, ...] = ()
    inputs: dict[str, str] = {}


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the split: its bounds, the rows that were kept, and the positives by rule."""

    name: str
    from_ms: int | None
    until_ms: int | None
    rows: int
    positives: dict[str, int]
    negatives: dict[str, int]


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """Labels that were not taken, by rule, part and reason: what they would have said, positives and negatives alike."""

    rule: str
    part: str
    reason: str
    positives: int
    negatives: int
    unknown: int


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at in every row that was written."""

    name: str
    rows: int
    about: str


class LogSlice(msgspec.Struct, frozen=True, kw_only=True):
    """Which log, and which of its offsets."""

    name: str
    sha256: str
    first_offset: int
    last_offset: int
    rows: int
    seen_until_ms: int
    made: bool = False


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file and the hash of its bytes."""

    path: str
    part: str
    rows: int
    bytes: int
    sha256: str


class DatasetRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that made a training set. It names no time, machine or folder: the same input gives the same hash.

    Attributes:
        sha256: Over everything here but ``files`` and ``written_by``: values and definitions, however they were chunked.
        values_sha256: Over the values alone.
        definitions: Every feature in it or behind it, as it was declared.
        inputs: What else the features were computed from, by name, with the hash of it.
        outcomes: What became of the outcomes, by rule.
        rows_removed: Rows for which no rule has a label.
        feedback_delay_ms: Events younger than this at the request were not seen by features.
    """

    name: str
    sha256: str
    values_sha256: str
    features_version: str
    definitions: tuple[Defined, ...]
    inputs: dict[str, str]
    rules: tuple[LabelRule, ...]
    split: Split
    log: LogSlice
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    removed: tuple[Removed, ...]
    outcomes: dict[str, dict[str, int]]
    rows_removed: int
    checks: tuple[Check, ...]
    feedback_delay_ms: int
    files: tuple[File, ...]
    written_by: str
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Rows that were kept."""
        return sum(part.rows for part in self.parts)

    def names(self, role: Role) -> tuple[str, ...]:
        """The columns of one role, in order."""
        return tuple(column.name for column in self.columns if column.role == role)

    def sealed(self) -> DatasetRecord:
        """The record with its hash filled in."""
        bare = msgspec.structs.replace(self, sha256="", files=(), written_by="")
        return msgspec.structs.replace(
            self, sha256=hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
        )

    def summary(self) -> str:
        """One line: rows by part, columns, rows removed, hash."""
        parts = " · ".join(f"{part.name} {part.rows:,}" for part in self.parts)
        left_out = f"{len(self.names('feature'))} features; {self.rows_removed:,} rows removed"
        return f"{self.name}: {parts} ({left_out}) {self.sha256[:12]}"


def field_of(name: str, kind: pa.DataType, role: Role) -> pa.Field:
    """A column of a training set's files, with what it is for."""
    return pa.field(name, kind, metadata={"role": role})


def role_of(field: pa.Field) -> Role:
    """What a column of a file is for."""
    return (field.metadata or {}).get(b"role", b"context").decode()


def values_sha256(columns: tuple[Column, ...]) -> str:
    """One hash over the values of all columns and parts."""
    return joined((part, column.name, sha) for column in columns for part, sha in column.sha256.items())


def write_record(folder: Path, record: DatasetRecord) -> None:
    """Writes ``dataset.json``, on disk before it has its name."""
    part = folder / f".{FILE_NAME}.partial"
    with part.open("wb") as handle:
        handle.write(_encoded(record))
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(folder / FILE_NAME)


def read_record(folder: Path) -> DatasetRecord:
    """What a folder says it holds.

    Raises:
        FeatureError: There is no record or it cannot be read (``feature-088``), or it was changed (``feature-089``).
    """
    path = folder / FILE_NAME
    try:
        raw = path.read_bytes()
        record = msgspec.json.decode(raw, type=DatasetRecord)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FeatureError(
            f"found no {FILE_NAME} that can be read in {folder}: {error}",
            code="feature-088",
            hint="a training set is complete or it is not there; build it again",
        ) from error
    if record.sealed().sha256 != record.sha256 or _encoded(record) != raw:
        raise changed(path)
    return record


def changed(path: Path) -> FeatureError:
    """The refusal of a file whose bytes are not what was written."""
    return FeatureError(
        f"{path} is not what was written: its hash differs from the record's",
        code="feature-089",
        hint="build the training set again, or bring the file back from where the set was copied",
    )


def _encoded(record: DatasetRecord) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
