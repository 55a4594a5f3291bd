"""What a finished extraction says of itself: which definition, from which input, which files, how many rows of each state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extractor, fingerprint

FORM: Final = 1
"""The form of the files; a reader of another form refuses them."""

MANIFEST: Final = "manifest.json"
DEFINITION: Final = "definition.json"


class PartEntry(msgspec.Struct, frozen=True):
    """One part: its file (empty without rows), its rows, and the hash of its input's keys and content."""

    file: str
    rows: int
    known: int
    empty: int
    failed: int
    content: str


class Definition(msgspec.Struct, frozen=True):
    """Which extractor a version is, and into how many parts keys are cut. Written when a version starts; never changed."""

    form: int
    name: str
    version: str
    kind: str
    fingerprint: str
    columns: tuple[str, ...]
    key: str
    dim: int
    scale: float
    parts: int
    definition: dict[str, Any]

    @classmethod
    def of(cls, extractor: Extractor, key: str, parts: int) -> Definition:
        """The record of an extractor."""
        return cls(
            form=FORM,
            name=extractor.name,
            version=extractor.version,
            kind=type(extractor).__name__,
            fingerprint=fingerprint(extractor),
            columns=extractor.columns,
            key=key,
            dim=extractor.dim,
            scale=extractor.scale,
            parts=parts,
            definition=extractor.definition(),
        )


class Manifest(msgspec.Struct, frozen=True):
    """A definition and the parts that are its result now."""

    code_version: str
    definition: Definition
    rows: int
    known: int
    empty: int
    failed: int
    parts: tuple[PartEntry, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run did: rows in the table, rows computed, rows taken over, rows dropped, and how they stand now."""

    rows: int
    computed: int
    kept: int
    dropped: int
    failed: int
    manifest: Manifest


def write_json(path: Path, record: msgspec.Struct) -> None:
    """Writes a record, whole or not at all; equal records give equal bytes."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=2) + b"\n")
    scratch.replace(path)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a version's folder; None before the first run has finished.

    Raises:
        ExtractionError: ``feature-069`` when it is not one.
    """
    return _read(folder / MANIFEST, Manifest)


def agree(folder: Path, wanted: Definition) -> None:
    """Starts a version with a definition, or finds the same one there.

    Raises:
        ExtractionError: ``feature-070`` when the version has another definition.
    """
    found = _read(folder / DEFINITION, Definition)
    if found is None:
        write_json(folder / DEFINITION, wanted)
    elif found != _again(wanted):
        raise ExtractionError(
            f"version {wanted.version!r} of {wanted.name!r} is already another definition: "
            + ", ".join(_differences(found, wanted)),
            code="feature-070",
            hint="give the changed extractor a new version; readers choose when they move to it",
        )


def _again(record: Definition) -> Definition:
    """A record as it comes back from disk, tuples and lists alike."""
    return msgspec.json.decode(msgspec.json.encode(record), type=Definition)


def _differences(found: Definition, wanted: Definition) -> list[str]:
    there, here = _flat("", msgspec.to_builtins(found)), _flat("", msgspec.to_builtins(_again(wanted)))
    names = [name for name in sorted(there.keys() | here.keys()) if there.get(name) != here.get(name)]
    return [f"{name} was {there.get(name)!r}, is {here.get(name)!r}" for name in names if name != "fingerprint"][:4]


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    out: dict[str, Any] = {}
    for name, inner in value.items():
        out |= _flat(f"{prefix}.{name}" if prefix else name, inner)
    return out


def _read(path: Path, kind: Any) -> Any:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ExtractionError(
            f"{path.name!r} is not a record of this form: {error}",
            code="feature-069",
            hint="remove the version's folder and run the extraction again",
        ) from error
