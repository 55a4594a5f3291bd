"""Where tests find real data: MAINSTEM_DATA, or ../shared/data beside the checkout."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# Before numpy is imported: test processes share the cores, and matrix threads beside them fight over these.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# No deadlines: machines differ, and speed lives in benchmarks/. CI draws the same examples every time; other runs go on
# searching.
hypothesis.settings.register_profile("searching", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "searching")

ROOT = Path(__file__).resolve().parents[1]


def _data_folder() -> Path | None:
    named = os.environ.get("MAINSTEM_DATA")
    for folder in [Path(named)] if named else [ROOT.parent / "shared" / "data"]:
        if folder.is_dir():
            return folder
    return None


def _unpack(archive: Path, to: Path) -> Path:
    """Unpacks once per machine and data version; parallel test workers race safely because the rename is atomic."""
    target = to / f"{archive.name}-{archive.stat().st_size}"
    if not target.is_dir():
        scratch = to / f".{archive.name}-{os.getpid()}"
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        try:
            scratch.rename(target)
        except OSError:
            shutil.rmtree(scratch)
    return target


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a real data pack, by name. Skips on a user's machine without data; fails in CI."""

    def find(name: str) -> Path:
        folder = _data_folder()
        if folder is not None and (folder / name).is_dir():
            return folder / name
        if folder is not None and (folder / f"{name}.tar.xz").is_file():
            shared = tmp_path_factory.getbasetemp().parent.parent / "mainstem-packs"
            shared.mkdir(exist_ok=True)
            return _unpack(folder / f"{name}.tar.xz", shared) / name
        message = f"data pack {name!r} not found; set MAINSTEM_DATA to a folder that holds it (docs/guides/data.md)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)

    return find
