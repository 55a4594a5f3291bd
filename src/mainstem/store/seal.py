"""How does a log stay small: its oldest events move to Parquet segments, with nothing lost and nothing twice.

The order of the steps is what makes it safe. A segment counts only once the manifest names it; rows are deleted only
once the manifest is on disk. Stopped anywhere, the next run finishes: a file that no manifest names is thrown away,
rows that a manifest names are deleted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import polars as pl

from mainstem.base.errors import StoreError
from mainstem.store.event_table import EventTable, Stored

_MANIFEST = "segments.json"


class Segment(msgspec.Struct, frozen=True):
    """One Parquet file of sealed events; offsets inside it ascend and may have gaps."""

    file: str
    first_offset: int
    last_offset: int
    rows: int
    sha256: str


def _no_fault(_point: str) -> None:
    """Tests hand in a fault that stops here and there; nobody else does."""


def seal(
    log_path: Path | str,
    folder: Path | str,
    *,
    keep_last: int = 0,
    segment_rows: int = 200_000,
    fault: Callable[[str], None] = _no_fault,
) -> list[Segment]:
    """Moves the log's oldest events into Parquet segments; safe while a writer appends, and safe to run again.

    Args:
        log_path: The file of an ``EventLog``.
        folder: Where the segments and their manifest lie.
        keep_last: Leave this many of the newest offsets in the log.

    Returns:
        The segments that this run added.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = EventTable(Path(log_path))
    try:
        segments = read_segments(folder)
        _throw_away_unnamed(folder, segments)
        table.delete_through(_sealed_through(segments))
        added = []
        for rows in _batches(table, _sealed_through(segments), table.last_offset() - keep_last, segment_rows):
            segment = _write_segment(folder, rows, fault)
            segments.append(segment)
            _write_manifest(folder, segments, fault)
            table.delete_through(segment.last_offset)
            fault("rows deleted")
            added.append(segment)
        return added
    finally:
        table.close()


def read_segments(folder: Path | str) -> list[Segment]:
    """Which segments are sealed, in order of offset; none before the first run."""
    path = Path(folder) / _MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Segment])
    except FileNotFoundError:
        return []
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"found a segment manifest that cannot be read at {path}: {error}", code="store-007"
        ) from error


def read_from(log_path: Path | str, folder: Path | str, after_offset: int = 0, limit: int = 1_000) -> list[Stored]:
    """Which events follow an offset, wherever they lie now: in sealed segments, in the log, or in both.

    A row that is in both (sealed, not yet deleted) is given once.
    """
    while True:
        segments = read_segments(folder)
        found = _from_segments(Path(folder), segments, after_offset, limit)
        if len(found) == limit:
            return found
        table = EventTable(Path(log_path))
        try:
            last = max(after_offset, _sealed_through(segments))
            return found + table.read(last, limit - len(found))
        except StoreError as error:
            # Sealed between the two reads: the manifest now names the rows.
            if error.code != "store-008" or read_segments(folder) == segments:
                raise
        finally:
            table.close()


def _from_segments(folder: Path, segments: list[Segment], after_offset: int, limit: int) -> list[Stored]:
    found: list[Stored] = []
    for segment in segments:
        if segment.last_offset > after_offset and len(found) < limit:
            rows = pl.scan_parquet(folder / segment.file).filter(pl.col("offset") > after_offset)
            found += [Stored(*row) for row in rows.head(limit - len(found)).collect().iter_rows()]
    return found


def check_segments(folder: Path | str) -> int:
    """Are the sealed files what the manifest says: returns the rows in all, ``store-007`` names a file that is not."""
    total = 0
    for segment in read_segments(folder):
        path = Path(folder) / segment.file
        if not path.is_file() or _sha256(path) != segment.sha256:
            raise StoreError(
                f"found segment {path} missing or changed, expected what {_MANIFEST} names", code="store-007"
            )
        total += segment.rows
    return total


def _batches(table: EventTable, after: int, through: int, size: int) -> Iterator[list[Stored]]:
    while rows := [row for row in table.read(after, size) if row.offset <= through]:
        yield rows
        after = rows[-1].offset


def _write_segment(folder: Path, rows: list[Stored], fault: Callable[[str], None]) -> Segment:
    frame = pl.DataFrame(
        {
            "offset": [row.offset for row in rows],
            "kind": [row.kind for row in rows],
            "payload": [row.payload for row in rows],
        },
        schema={"offset": pl.Int64, "kind": pl.String, "payload": pl.Binary},
    )
    name = f"events-{rows[0].offset:020d}-{rows[-1].offset:020d}.parquet"
    part = folder / f"{name}.partial"
    try:
        frame.write_parquet(part, compression="zstd", compression_level=3)
        fault("segment written")
        _sync(part)
        part.replace(folder / name)
    except (OSError, pl.exceptions.PolarsError) as error:
        part.unlink(missing_ok=True)
        raise StoreError(
            f"found no room or right to write {folder / name}: {error}; the events are still in the log",
            code="store-002",
            status=507,
        ) from error
    _sync(folder)
    fault("segment named")
    return Segment(name, rows[0].offset, rows[-1].offset, len(rows), _sha256(folder / name))


def _write_manifest(folder: Path, segments: list[Segment], fault: Callable[[str], None]) -> None:
    part = folder / f"{_MANIFEST}.partial"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(segments), indent=1) + b"\n")
    _sync(part)
    fault("manifest written")
    part.replace(folder / _MANIFEST)
    _sync(folder)
    fault("manifest named")


def _throw_away_unnamed(folder: Path, segments: list[Segment]) -> None:
    named = {segment.file for segment in segments}
    for path in [*folder.glob("events-*.parquet"), *folder.glob("*.partial")]:
        if path.name not in named:
            path.unlink()


def _sealed_through(segments: list[Segment]) -> int:
    return segments[-1].last_offset if segments else 0


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
