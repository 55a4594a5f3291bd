"""What was measured, one record a system and seed, kept as it comes: a run that was killed goes on where it stopped."""

from __future__ import annotations

import datetime
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import BenchError

Kind = Literal["ours", "anchor", "peer"]
Status = Literal["measured", "absent", "failed"]
KINDS: Final[tuple[Kind, ...]] = ("anchor", "peer", "ours")
"""Anchors are the two or three lines everybody has; peers are other people's packages in environments of their own."""


@dataclass(frozen=True, slots=True)
class Record:
    """One system with one seed under one protocol.

    Attributes:
        identity: What the figures depend on: the split, the settings, the seed, the versions of what computed them.
        status: ``absent``: not installed, or not part of this version; ``failed``: it ran and ended badly. Both are rows.
        why: Its last words, where it was not measured.
        state: What it learned from and what it was told when it was asked.
        fit_cpu_s: Processor seconds of the learning alone, as the process counts them.
        process_cpu_s: Processor seconds of the whole process, reading and judging included, as the parent counts them.
        peak_mb: Its largest resident memory, the imports included.
        card: What the system says about itself.
    """

    protocol: str
    system: str
    kind: Kind
    seed: int
    identity: str
    status: Status
    why: str = ""
    state: str = ""
    fit_cpu_s: float | None = None
    process_cpu_s: float | None = None
    peak_mb: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    made_at: str = ""

    @property
    def key(self) -> str:
        """The name of its files."""
        return f"{_plain(self.protocol)}.{_plain(self.system)}.{self.seed}"


class Records:
    """The records of a run, a folder of small files: each is written whole or not at all.

    Args:
        folder: Where they lie.
        resume: Keep what an earlier run left; else its records are thrown away protocol by protocol.
    """

    def __init__(self, folder: Path, *, resume: bool = False) -> None:
        self.folder = folder
        self.resume = resume
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, protocol: str) -> None:
        """Throws away what an earlier run measured under this protocol, unless this run goes on from it."""
        if not self.resume:
            for path in self.folder.glob(f"{_plain(protocol)}.*"):
                path.unlink() if path.is_file() else shutil.rmtree(path)

    def find(self, protocol: str, system: str, seed: int, identity: str) -> Record | None:
        """The record of an earlier run that measured exactly this; None when it did not, or something else."""
        path = self.folder / f"{_plain(protocol)}.{_plain(system)}.{seed}.json"
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return record if record.identity == identity and record.status == "measured" else None

    def keep(self, record: Record, arrays: Mapping[str, NDArray[Any]] | None = None) -> Record:
        """Writes a record, its arrays first: a record that can be read has its arrays."""
        stamped = replace(record, made_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        if arrays is not None:
            scratch = self.folder / f".{stamped.key}.{os.getpid()}.npz"
            with scratch.open("wb") as handle:
                np.savez_compressed(handle, allow_pickle=False, **arrays)
            scratch.replace(self.folder / f"{stamped.key}.npz")
        write_whole(self.folder / f"{stamped.key}.json", msgspec.json.format(msgspec.json.encode(stamped), indent=1))
        return stamped

    def arrays(self, record: Record) -> dict[str, NDArray[Any]]:
        """What was kept beside a record.

        Raises:
            BenchError: The file is not there or damaged (``bench-010``).
        """
        path = self.folder / f"{record.key}.npz"
        try:
            with np.load(path, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise BenchError(
                f"found no readable arrays beside the record {record.key} in {self.folder}: {error}",
                code="bench-010",
                hint="mainstem bench models without --resume measures again",
            ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader meets the old one or the new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch.write_bytes(content)
    scratch.replace(path)


def _plain(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name.lower())
