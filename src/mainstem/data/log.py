"""What was shown to whom, and what came of it: a log folder read, written and split by day."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import polars as pl

from mainstem.base.errors import DataError
from mainstem.data.manifest import Manifest, content_hash, hash_integers, read_manifest, write_manifest
from mainstem.data.tables import IMPRESSIONS, NEEDED, TABLES, Table, check_columns, conform

_SPLIT_KEY = ("user_id", "item_id", "time_ms", "scenario", "position", "day")


@dataclass(frozen=True)
class Log:
    """One log folder. A table is read when it is first asked for; one that is not there is empty."""

    folder: Path
    manifest: Manifest

    @cached_property
    def impressions(self) -> pl.DataFrame:
        """One item shown in one request, with its outcomes; sorted by time, request and position."""
        return read_table(self.folder, "impressions")

    @cached_property
    def items(self) -> pl.DataFrame:
        """One row an item."""
        return read_table(self.folder, "items")

    @cached_property
    def users(self) -> pl.DataFrame:
        """One row a user."""
        return read_table(self.folder, "users")

    @cached_property
    def history(self) -> pl.DataFrame:
        """Earlier impressions in order but without times; empty when the log has none."""
        return read_table(self.folder, "history")

    @cached_property
    def dropped(self) -> pl.DataFrame:
        """The rows the loader refused, as the source had them, with ``reason``."""
        path = self.folder / "dropped.parquet"
        return read_parquet(path) if path.is_file() else pl.DataFrame(schema={"reason": pl.String})

    @property
    def days(self) -> list[int]:
        """The days that have impressions, ascending, as yyyymmdd."""
        return sorted(self.impressions.get_column("day").unique().to_list())


@dataclass(frozen=True, slots=True)
class Split:
    """Training, validation and test rows of one log.

    Attributes:
        sha256: First 12 hex digits over the row keys and days of the three parts: same digits, same split.
    """

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    validation_day: int
    test_days: tuple[int, ...]
    sha256: str

    def __str__(self) -> str:
        parts = f"train {self.train.height:,} · validation {self.validation.height:,} · test {self.test.height:,}"
        return f"split {self.sha256}: {parts} (validation day {self.validation_day}, test days {list(self.test_days)})"


def read_log(folder: Path | str) -> Log:
    """Which log is in a folder: checks every file's footer and columns now, reads rows when asked.

    Raises:
        DataError: ``data-001`` a needed file is missing, ``data-002`` a file is truncated, ``data-003`` a column
            is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"found no folder at {folder}, expected a log folder",
            code="data-001",
            hint="mainstem data import PATH -w FOLDER writes one",
        )
    manifest = read_manifest(folder)
    for name in TABLES:
        path = folder / TABLES[name].file
        if path.is_file():
            check_columns(_footer(path), TABLES[name], str(path))
        elif name in NEEDED:
            raise DataError(
                f"found no {path.name} in {folder}, expected it in every log folder",
                code="data-001",
                hint="mainstem data import writes it again",
            )
    return Log(folder, manifest)


def read_table(folder: Path, name: str) -> pl.DataFrame:
    """The rows of one table, in the contract's types; without rows when an optional file is not there."""
    table = TABLES[name]
    path = folder / table.file
    if not path.is_file() and name not in NEEDED:
        return table.empty()
    return conform(read_parquet(path), table, str(path), refuse_extra=False)


def read_parquet(path: Path) -> pl.DataFrame:
    """The rows of one Parquet file; ``data-001`` when it is not there, ``data-002`` when it is cut or damaged."""
    try:
        return pl.read_parquet(path, use_pyarrow=False)
    except FileNotFoundError as error:
        raise DataError(f"found no file at {path}, expected a Parquet file", code="data-001") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error


def write_log(tables: Mapping[str, pl.DataFrame], folder: Path | str, manifest: Manifest) -> Manifest:
    """Writes a whole log folder, or nothing: a reader meets the old folder or the new one.

    Args:
        tables: ``impressions``, ``items``, ``users`` and, if any, ``history``, ``dropped``, ``ids_user``, ``ids_item``.
        manifest: What is known of the source; rows, days and hash are filled in here.

    Returns:
        The manifest as written.
    """
    folder = Path(folder)
    _refuse_foreign(folder)
    ready = {name: _ready(name, frame) for name, frame in tables.items() if frame.height or name in NEEDED}
    missing = [name for name in NEEDED if name not in ready]
    if missing:
        raise DataError(f"found no table {missing[0]!r} to write, expected {', '.join(NEEDED)}", code="data-003")
    manifest = msgspec.structs.replace(
        manifest,
        rows={name: ready[name].height for name in sorted(ready)},
        days=sorted(ready["impressions"].get_column("day").unique().to_list()),
        sha256=content_hash(ready),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir()
        for name, frame in ready.items():
            frame.write_parquet(scratch / f"{name}.parquet", compression="zstd", compression_level=3)
        write_manifest(scratch, manifest)
        _swap(scratch, folder)
    except OSError as error:
        raise DataError(f"found no room or right to write {folder}: {error}", code="data-008") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def split_by_day(log: Log, validation_day: int, test_days: Sequence[int]) -> Split:
    """Which rows may a model learn from: every day before the validation day; then that day; then the test days.

    Raises:
        DataError: ``data-006`` when the days overlap, are out of order, or one of the parts would be empty.
    """
    test = tuple(sorted(test_days))
    if not test or test[0] <= validation_day:
        raise DataError(
            f"found test days {list(test)} with validation day {validation_day}, expected test days after it",
            code="data-006",
            hint=f"the log has the days {log.days}",
        )
    rows = log.impressions
    parts = (
        rows.filter(pl.col("day") < validation_day),
        rows.filter(pl.col("day") == validation_day),
        rows.filter(pl.col("day").is_in(list(test))),
    )
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if part.is_empty():
            raise DataError(
                f"found no {name} rows for validation day {validation_day} and test days {list(test)}",
                code="data-006",
                hint=f"the log has the days {log.days}",
            )
    keys = pl.concat([part.select(_SPLIT_KEY).with_columns(part=pl.lit(n)) for n, part in enumerate(parts)])
    return Split(*parts, validation_day, test, hash_integers(keys.get_columns())[:12])


def _ready(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    if name not in TABLES:
        # A dropped id beyond 64 bits stays readable; few Parquet readers know 128-bit numbers.
        return frame.with_columns(pl.col(pl.Int128, pl.UInt128).cast(pl.String))
    table = TABLES[name]
    frame = conform(frame, table, f"table {name!r}").sort(table.order, maintain_order=True)
    _refuse_repeats(frame, table)
    return frame


def _refuse_repeats(frame: pl.DataFrame, table: Table) -> None:
    repeats = frame.height - frame.select(pl.struct(table.key).n_unique()).item()
    if repeats:
        example = frame.filter(pl.struct(table.key).is_duplicated()).select(table.key).row(0)
        raise DataError(
            f"found {repeats} repeated keys {table.key} in table {table.name!r}, expected each once (such as {example})",
            code="data-005",
            hint="drop the repeats and keep them in the table 'dropped' with a reason",
        )


def _footer(path: Path) -> pl.Schema:
    try:
        return pl.Schema(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"found a Parquet file that is cut or damaged at {path}: {str(error).splitlines()[0]}",
        code="data-002",
        hint="copy or import the file again",
    )


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not (folder / "manifest.json").is_file() and any(folder.iterdir()):
        raise DataError(
            f"found other files in {folder}, expected an empty folder or an older log",
            code="data-007",
            hint="name another workspace with -w",
        )


def _swap(scratch: Path, folder: Path) -> None:
    old = folder.parent / f".{folder.name}.{os.getpid()}.old"
    if folder.exists():
        folder.rename(old)
    scratch.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


__all__ = ["IMPRESSIONS", "Log", "Manifest", "Split", "read_log", "read_table", "split_by_day", "write_log"]
