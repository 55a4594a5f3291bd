"""Which loader reads a source, and how does its log folder come to be."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mainstem.base.errors import DataError, did_you_mean
from mainstem.base.settings import Data
from mainstem.data.loaders import kuairand, movielens, retailrocket, table
from mainstem.data.log import write_log
from mainstem.data.manifest import Manifest
from mainstem.data.sources import Loaded, Progress, silent

LOADERS: Final = ("kuairand", "movielens", "retailrocket", "table")
_ARCHIVES: Final = (".tar.xz", ".tar.gz", ".tgz", ".tar")


def detect(path: Path | str) -> str:
    """Which loader reads this file or folder: its name, or ``data-010`` when none recognises it."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"found nothing at {path}, expected a file or folder", code="data-001")
    if path.is_file():
        return "table"
    for name, loader in (("kuairand", kuairand), ("movielens", movielens), ("retailrocket", retailrocket)):
        if loader.recognises(path):
            return name
    raise DataError(
        f"found no log that is recognised in {path}, expected KuaiRand, MovieLens or RetailRocket files, or one table",
        code="data-009",
        hint='name the file and map it: loader = "table" in [data] of mainstem.toml (docs/guides/data.md)',
    )


def load(source: object, mapping: Data | None = None, progress: Progress = silent) -> Loaded:
    """The tables of a source in memory: a file, a folder, an archive of one, or a frame that speaks Arrow."""
    mapping = mapping or Data()
    if not isinstance(source, str | Path):
        return table.load(source, mapping, progress=progress)
    with _opened(Path(source)) as path:
        name = mapping.loader or detect(path)
        if name not in LOADERS:
            raise DataError(
                f"found data.loader = {name!r}, expected one of {', '.join(LOADERS)}",
                code="data-010",
                hint=did_you_mean(name, LOADERS),
            )
        if name == "kuairand":
            return kuairand.load(path, surfaces=_tabs(mapping), progress=progress)
        if name == "movielens":
            return movielens.load(path, progress=progress)
        if name == "retailrocket":
            return retailrocket.load(path, progress=progress)
        return table.load(path, mapping, progress=progress)


def import_log(
    source: object, out: Path | str, mapping: Data | None = None, progress: Progress | None = None
) -> Manifest:
    """Reads a source and writes its log folder; returns what was kept, dropped and why.

    Args:
        source: A file, a folder, an archive of a folder, or a frame in memory (DuckDB, polars, pyarrow, pandas).
        out: The log folder; an older log there is replaced once the new one is complete.
        mapping: ``[data]`` of ``mainstem.toml``; needed for a table that no loader knows.
        progress: Told (share, what is being done).
    """
    told = progress or silent
    loaded = load(source, mapping, lambda share, what: told(0.8 * share, what))
    told(0.8, "writing the log")
    manifest = write_log(loaded.tables, out, loaded.manifest)
    told(1.0, "written")
    return manifest


def _tabs(mapping: Data) -> dict[str, tuple[int, ...]] | None:
    """``[data.surfaces]`` for KuaiRand: tabs of each surface; a surface without tabs takes the rest, as the feed does."""
    if not mapping.surfaces:
        return None
    try:
        return {name: tuple(int(value) for value in tabs) for name, tabs in mapping.surfaces.items() if tabs}
    except ValueError as error:
        raise DataError(
            f"found {error} in [data.surfaces], expected KuaiRand tabs, which are numbers", code="data-013"
        ) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """The folder inside an archive, unpacked for as long as it is read; anything else as it is."""
    if not (path.is_file() and path.name.endswith(_ARCHIVES)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="mainstem-import-") as scratch:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(scratch, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(
                f"found an archive that is cut or damaged at {path}: {error}", code="data-002", hint="copy it again"
            ) from error
        inside = [entry for entry in Path(scratch).iterdir() if not entry.name.startswith(".")]
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else Path(scratch)
