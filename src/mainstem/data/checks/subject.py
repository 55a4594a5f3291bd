"""What do the checks look at: a log folder as it lies, or a raw source as its loader reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from mainstem.base.settings import Data
from mainstem.data.importer import detect, load
from mainstem.data.loaders import kuairand
from mainstem.data.log import read_log, read_parquet
from mainstem.data.manifest import Manifest
from mainstem.data.sources import read_frame
from mainstem.data.tables import IMPRESSIONS, TABLES, conform


@dataclass(frozen=True, slots=True)
class Subject:
    """A log under inspection.

    Attributes:
        is_log: A log folder of ours; otherwise a raw source, seen through its loader.
        impressions: In the log's columns and types; in a log folder in the order of the file.
        raw: The source's own impression rows in the order of its files; empty for a log folder.
        side: The source's own tables of items and users, by file name: where leaks hide.
        dropped: Rows the loader refuses, with ``reason``.
        now_ms: The present, for what lies in the future.
    """

    path: Path
    is_log: bool
    manifest: Manifest
    impressions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    history: pl.DataFrame
    dropped: pl.DataFrame
    now_ms: int
    raw: pl.DataFrame = field(default_factory=pl.DataFrame)
    side: dict[str, pl.DataFrame] = field(default_factory=dict)

    def known(self, head: str) -> pl.DataFrame:
        """The impressions whose outcome is known for a head."""
        return self.impressions.filter(pl.col(head).is_not_null())


def open_subject(path: Path, mapping: Data, now_ms: int) -> Subject:
    """The log at a path: a folder with our manifest is a log folder, anything else a source.

    Raises:
        DataError: What is there cannot be read as a log at all; the schema check reports it.
    """
    if (path / "manifest.json").is_file():
        log = read_log(path)
        rows = conform(read_parquet(path / IMPRESSIONS.file), IMPRESSIONS, IMPRESSIONS.file, refuse_extra=False)
        return Subject(path, True, log.manifest, rows, log.items, log.users, log.history, log.dropped, now_ms)
    loaded = load(path, mapping)
    tables = {name: conform(loaded.tables[name], TABLES[name], name) for name in ("impressions", "items", "users")}
    history = loaded.tables.get("history", pl.DataFrame())
    raw, side = _raw(path, mapping)
    return Subject(
        path,
        False,
        loaded.manifest,
        **tables,
        history=conform(history, TABLES["history"], "history") if history.height else TABLES["history"].empty(),
        dropped=loaded.tables["dropped"],
        now_ms=now_ms,
        raw=raw,
        side=side,
    )


def _raw(path: Path, mapping: Data) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """The source's rows as they lie, and every table beside them that a team might join to the log."""
    if path.is_file() and path.suffix in (".xz", ".gz", ".tgz", ".tar"):
        return pl.DataFrame(), {}
    loader = mapping.loader or detect(path)
    if loader == "table":
        sides = [path.parent / side for side in (mapping.items, mapping.users) if side]
        return read_frame(path), {side.name: read_frame(side) for side in sides}
    if loader != "kuairand":
        return pl.DataFrame(), {}
    rows = pl.concat([kuairand.read_rows(file) for file in kuairand.log_files(path)])
    sides = [file for start in ("user_features", "video_features") for file in sorted(path.glob(f"{start}*.csv"))]
    return rows, {side.name: read_frame(side) for side in sides}
