"""What is this log, where did it come from, and what was left out: the ``manifest.json`` of a log folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from mainstem.base.errors import DataError


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What a log folder holds. It names no time of writing and no path, so the same input gives the same bytes.

    Attributes:
        made: True for a made world; a number from it never stands in for one from a real log.
        rows_in: Rows read from the source's impression files, before any were dropped.
        dropped: Rows dropped, by reason; the rows are in ``dropped.parquet``.
        rows: Rows of each table that was written.
        sha256: Hash over the contents of every table (not over the Parquet bytes, which change with the library).
        facts: Anything else worth keeping: seed, settings, options of the loader.
    """

    name: str
    loader: str
    made: bool = False
    licence: str = "not stated"
    source_files: list[str] = []
    rows_in: int = 0
    dropped: dict[str, int] = {}
    rows: dict[str, int] = {}
    days: list[int] = []
    utc_offset_min: int = 0
    notes: list[str] = []
    facts: dict[str, str | int | float | bool] = {}
    sha256: str = ""
    format: int = 1

    def summary(self) -> str:
        """One line: rows kept of rows read, days, and what was dropped why."""
        kept = self.rows.get("impressions", 0)
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items()) or "none"
        return f"{self.name}: {kept:,} of {self.rows_in or kept:,} impressions, {len(self.days)} days; dropped: {why}"

    def as_dict(self) -> dict[str, Any]:
        """The manifest as plain values."""
        return msgspec.to_builtins(self)

    def as_rows(self) -> list[dict[str, str | int]]:
        """What was read, kept and dropped, one row each."""
        read: list[dict[str, str | int]] = [{"what": "rows read", "count": self.rows_in}]
        kept = [{"what": f"{name} kept", "count": count} for name, count in self.rows.items()]
        dropped = [{"what": f"dropped: {reason}", "count": count} for reason, count in self.dropped.items()]
        return [*read, *kept, *dropped]


def read_manifest(folder: Path) -> Manifest:
    """What a log folder says of itself; ``data-001`` without the file, ``data-002`` when it cannot be read."""
    path = folder / "manifest.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise DataError(
            f"found no manifest.json in {folder}, expected a log folder",
            code="data-001",
            hint="mainstem data import PATH -w FOLDER writes one",
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"found a manifest.json that cannot be read in {folder}: {error}", code="data-002") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json`` so that a reader sees the old one or the new one, never half."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    part = folder / ".manifest.json.partial"
    with part.open("wb") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(folder / "manifest.json")


def content_hash(tables: Mapping[str, pl.DataFrame]) -> str:
    """Do two logs hold the same rows: a SHA-256 over names, types and values of every table, in order."""
    digest = hashlib.sha256()
    for name in sorted(tables):
        frame = tables[name]
        digest.update(f"{name}:{frame.height}".encode())
        for series in frame.get_columns():
            digest.update(f"{series.name}:{series.dtype}".encode())
            _feed(digest, series)
    return digest.hexdigest()


def hash_integers(columns: Iterable[pl.Series]) -> str:
    """A SHA-256 over integer columns without nulls, each as little-endian 64-bit numbers."""
    digest = hashlib.sha256()
    for series in columns:
        digest.update(np.ascontiguousarray(series.cast(pl.Int64).to_numpy(), dtype="<i8").tobytes())
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, series: pl.Series) -> None:
    digest.update(np.packbits(series.is_null().to_numpy()).tobytes())
    if isinstance(series.dtype, pl.List):
        digest.update(series.list.len().fill_null(0).to_numpy().tobytes())
        series = series.drop_nulls().explode(empty_as_null=False)
    if series.dtype == pl.String or not series.dtype.is_numeric():
        series = series.cast(pl.String)
        digest.update("\x1f".join(series.drop_nulls().to_list()).encode())
    else:
        digest.update(series.drop_nulls().to_numpy().tobytes())
