"""The evidence of a workspace: one file that every desk appends to when it has measured, and that gates read.

Each record is given what it has to carry to be judged later: the version, the log, the model, and the hash of its file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from mainstem.base.errors import DataError, EvidenceError
from mainstem.base.evidence import Evidence, doubts_of, hash_of
from mainstem.base.evidence_chain import append_records, read_records
from mainstem.data.manifest import read_manifest
from mainstem.program.evidence import read_evidence
from mainstem.workspace.layout import Workspace

LOG = logging.getLogger("mainstem.evidence")
NAME: Final = "records.jsonl"
_FOLDER: Final = "evidence"
_OF_A_LOG: Final = frozenset(("parity", "drill", "risk", "responsible", "launch", "rollback", "slo"))
"""Kinds that are of the workspace's log and of the model that serves; capacity is of neither."""


@dataclass(frozen=True, slots=True)
class Held:
    """Evidence as a gate takes it.

    Attributes:
        records: Oldest first.
        doubts: By a record's id, why it no longer counts.
        head: Hash of the last line; empty for a file of another tool.
        torn: Bytes that a killed writer left behind the last line; the next record puts them aside.
    """

    records: tuple[Evidence, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)
    head: str = ""
    torn: int = 0


def records_file(workspace: Workspace) -> Path:
    """Where it lies."""
    return workspace.folder / _FOLDER / NAME


def append_evidence(workspace: Workspace, *records: Evidence) -> tuple[Evidence, ...]:
    """Appends what was measured, and gives it back with what was filled in.

    Empty fields are filled: the id, the version, the hash of the file, and, for what is measured on the log with the model that
    serves, those two and whether the log is made. A file inside the workspace is named relative to it.

    Args:
        workspace: Whose.
        records: At least kind, value and time; ``file_bytes`` for a file that only grows.

    Raises:
        EvidenceError: The file of records was tampered with (``evidence-020``, ``evidence-021``), an id is there already
            (``evidence-022``), a value is no finite number (``evidence-023``), or a record names a file that is not there or is
            shorter than it says (``evidence-024``).
        StoreError: The disk refused (``store-010``).
    """
    if not records:
        return ()
    file = records_file(workspace)
    done = append_records(file, [_filled(workspace, one) for one in records])
    if done.mended:
        LOG.warning("a writer was killed in %s: %d bytes are put aside in records.torn", file.name, done.mended)
    return done.records


def held_evidence(workspace: Workspace, head: str = "") -> Held:
    """The evidence of a workspace, every line judged again, with the records whose files no longer fit.

    Raises:
        EvidenceError: The file was tampered with, or does not hold the head (``evidence-020``, ``evidence-021``).
    """
    file = records_file(workspace)
    found = read_records(file, head)
    return Held(found.records, doubts_of(found.records, workspace.folder), found.head, found.torn)


def evidence_for(workspace: Workspace, file: Path | None = None, head: str = "") -> Held:
    """The evidence a gate is to go by: of a named file, else the workspace's own, else none.

    Args:
        workspace: Whose.
        file: A file of records: another workspace's ``evidence/records.jsonl``, or lines of another tool.
        head: A hash that must be in it.

    Raises:
        ProgramError: The named file is not there or cannot be read (``program-040``, ``program-041``).
        EvidenceError: It was tampered with, or does not hold the head (``evidence-020``, ``evidence-021``).
    """
    if file is None:
        return held_evidence(workspace, head)
    if file.is_file() and file.name == NAME and file.parent.name == _FOLDER:
        return held_evidence(Workspace(file.parent.parent, workspace.settings), head)
    records = tuple(read_evidence(file))
    return Held(records, doubts_of(records, file.parent))


def _filled(workspace: Workspace, record: Evidence) -> Evidence:
    """The record with what it has to carry."""
    fields: dict[str, str | bool] = {"version": record.version or version("mainstem")}
    if record.file:
        fields |= _file_of(workspace, record)
    if record.kind in _OF_A_LOG:
        log, made = _log_of(workspace)
        fields |= {
            "log": record.log or log,
            "made": record.made or made,
            "model": record.model or workspace.models().current,
        }
    return msgspec.structs.replace(record, **fields)


def _file_of(workspace: Workspace, record: Evidence) -> dict[str, str | bool]:
    """The file's name as it is written, and its hash."""
    folder = workspace.folder.resolve()
    file = (workspace.folder / record.file).resolve()
    found = hash_of(file, record.file_bytes)
    if not found:
        raise EvidenceError(
            f"{record.what} rests on {record.file}, which is not there or is shorter than it says",
            code="evidence-024",
            hint="write the file first, then the record",
        )
    name = str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)
    return {"file": name, "sha256": record.sha256 or found}


def _log_of(workspace: Workspace) -> tuple[str, bool]:
    """Content hash of the workspace's log, and whether it is made; nothing where there is none."""
    try:
        manifest = read_manifest(workspace.log)
    except DataError:
        return "", False
    return manifest.sha256, manifest.made
