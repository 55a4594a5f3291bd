"""Which loader reads a source, and how does its log folder come to be."""

from __future__ import annotations

from pathlib import Path

from mainstem.base.errors import DataError
from mainstem.data.loaders import kuairand
from mainstem.data.log import write_log
from mainstem.data.manifest import Manifest
from mainstem.data.sources import Loaded, Progress, silent


def detect(path: Path | str) -> str:
    """Which loader reads this file or folder: its name, or ``data-010`` when none recognises it."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"found nothing at {path}, expected a file or folder", code="data-001")
    if kuairand.recognises(path):
        return "kuairand"
    raise DataError(f"found nothing known in {path}, expected KuaiRand files", code="data-010")


def load(path: Path | str, progress: Progress = silent) -> Loaded:
    """The tables of a source, in memory."""
    detect(path)
    return kuairand.load(Path(path), progress=progress)


def import_log(path: Path | str, out: Path | str, progress: Progress | None = None) -> Manifest:
    """Reads a source and writes its log folder; returns what was kept, dropped and why."""
    loaded = load(path, progress or silent)
    return write_log(loaded.tables, out, loaded.manifest)
