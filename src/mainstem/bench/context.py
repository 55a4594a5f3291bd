"""What a run of the benchmark carries from protocol to protocol, and how one piece of it is measured."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.bench.packs import Packs
from mainstem.bench.peers import Peers
from mainstem.bench.process import ABSENT, Ended, run_fresh
from mainstem.bench.records import Record, Records

Progress = Callable[[float, str], None]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Context:
    """One run.

    Args:
        packs: Where data is.
        records: Where results are kept.
        peers: Other people's packages; None leaves them out.
        seeds: How many seeds a system gets whose result depends on one.
        scratch: For files that nobody needs afterwards.
        progress: Told the share of the run that is done.
        limit_s: Seconds by the clock that one system with one seed may take.
    """

    packs: Packs
    records: Records
    peers: Peers | None
    seeds: int
    scratch: Path
    progress: Progress = lambda share, what: None
    limit_s: float = 7_200.0

    def measured(
        self,
        wanted: Record,
        command: Sequence[str],
        job: Mapping[str, Any],
        read: Callable[[Path], Arrays],
    ) -> Record:
        """The record of one system and seed: an earlier run's where it was the same, else measured now and kept.

        Args:
            wanted: Who and what; its figures are filled in.
            command: The program to run in a fresh process.
            job: What it is asked.
            read: Makes the arrays to keep from the folder the process wrote into.
        """
        found = self.records.find(wanted.protocol, wanted.system, wanted.seed, wanted.identity)
        if found is not None:
            return found
        folder = self.scratch / wanted.key
        ended = run_fresh(command, dict(job), folder, self.limit_s)
        record = _record(wanted, ended)
        return self.records.keep(record, read(folder) if record.status == "measured" else None)

    def absent(self, wanted: Record, why: str) -> Record:
        """The record of a system that cannot be measured here."""
        return self.records.keep(replace(wanted, status="absent", why=why))


def _record(wanted: Record, ended: Ended) -> Record:
    if ended.code == ABSENT:
        return replace(wanted, status="absent", why=str(ended.told.get("why", ended.last_words)))
    if ended.code or "fit_cpu_s" not in ended.told:
        why = str(ended.told.get("why", f"exit code {ended.code}: {ended.last_words}"))
        return replace(wanted, status="failed", why=why, card=dict(ended.told.get("card", {})))
    return replace(
        wanted,
        status="measured",
        fit_cpu_s=float(ended.told["fit_cpu_s"]),
        process_cpu_s=ended.cpu_s,
        peak_mb=ended.peak_mb,
        versions=dict(ended.told.get("versions", {})),
        card=dict(ended.told.get("card", {})),
    )


def identity(**parts: object) -> str:
    """One short name for everything a figure depends on: other parts, another name."""
    told = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def source_of(*parts: str) -> str:
    """One name for the code of some rooms or files of this package: a record made by other code is measured again."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for part in parts:
        place = root / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def machine() -> dict[str, str]:
    """Where figures were measured: processor seconds compare only on one machine."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = " · ".join(f"{name} {installed(name)}" for name in ("numpy", "polars", "numba", "torch"))
    return {"machine": f"{cpu}, one thread a system", "versions": f"Python {platform.python_version()} · {versions}"}


def installed(name: str) -> str:
    """The version of a package; a dash where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "–"


def seeds_of(seeded: bool, seeds: int) -> range:
    """Which seeds a system is run with: one where nothing depends on it."""
    return range(seeds if seeded else 1)


def load_array(folder: Path, name: str) -> NDArray[Any]:
    """One array a process wrote."""
    return np.load(folder / f"{name}.npy", allow_pickle=False)
