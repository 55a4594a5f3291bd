"""What this machine and this workspace have, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mainstem.base.errors import MainstemError
from mainstem.base.settings import FILE
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import real_pack
from mainstem.workspace.programs import programs_folder

PACKAGES = ("numpy", "polars", "msgspec", "starlette", "uvicorn", "altair", "vl-convert-python", "httpx2")


def examine(folder: Path) -> list[dict[str, str]]:
    """One row a thing: what it is, what was found, and whether that is fine, missing or optional."""
    rows = [
        _row("python", platform.python_version(), sys.version_info >= (3, 11)),
        _row("cores", str(os.cpu_count()), True),
        *(_package(name) for name in PACKAGES),
        *(_package(name, needed=False) for name in ("torch", "faiss-cpu", "onnx", "onnxruntime")),
        _row("legacy programs", _legacy(), _legacy() != "not found", needed=False),
        _row(
            "real log", str(real_pack() or "not found; the demo makes a world"), real_pack() is not None, needed=False
        ),
        _row("free disk", f"{shutil.disk_usage(folder if folder.exists() else Path()).free / 1e9:.1f} GB", True),
        _row("settings", str(folder / FILE), (folder / FILE).is_file(), needed=False),
    ]
    place = Workspace.open(folder)
    rows.append(_row("log", str(place.log), place.log.is_dir(), needed=False))
    rows.append(
        _row("unified model", str(place.unified_model), (place.unified_model / "model.json").is_file(), needed=False)
    )
    retrieval = place.folder / "models" / "retrieval"
    rows.append(_row("retrieval models", str(retrieval), retrieval.is_dir(), needed=False))
    return rows


def _row(what: str, found: str, fine: bool, *, needed: bool = True) -> dict[str, str]:
    return {"what": what, "found": found, "state": "fine" if fine else "missing" if needed else "not there"}


def _package(name: str, *, needed: bool = True) -> dict[str, str]:
    try:
        return _row(name, version(name), True)
    except PackageNotFoundError:
        return _row(name, "not installed", False, needed=needed)


def _legacy() -> str:
    try:
        return str(programs_folder())
    except MainstemError:
        return "not found"
