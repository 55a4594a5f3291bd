"""The back-fill's output: Parquet parts and a manifest in a folder that is complete or not there, and never added to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mainstem.base.errors import FeatureError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Written:
    """A finished output.

    Attributes:
        rows: Requests answered.
        sha256: Of all values, column by column: the same for the same values, however they were computed.
        manifest: Everything the manifest says.
    """

    path: Path
    rows: int
    sha256: str
    manifest: Mapping[str, Any]

    def table(self) -> pa.Table:
        """Everything that was written, in the order of the requests."""
        return pa.concat_tables([pq.read_table(self.path / part["file"]) for part in self.manifest["parts"]])


def open_output(path: Path) -> Written:
    """A finished output.

    Raises:
        FeatureError: There is none, or a part is missing or another one (``feature-046``).
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        bad = [part["file"] for part in manifest["parts"] if _sha_of_file(path / part["file"]) != part["sha256"]]
    except (OSError, ValueError, KeyError) as error:
        raise _broken(path, f"cannot be read ({type(error).__name__})") from error
    if bad:
        raise _broken(path, f"has another {', '.join(bad)} than its manifest says")
    return Written(path, manifest["rows"], manifest["values_sha256"], manifest)


def refuse_existing(path: Path) -> None:
    """Refuses an output that is there.

    Raises:
        FeatureError: It is (``feature-043``).
    """
    if path.exists():
        raise FeatureError(
            f"{path.name} exists already, and an output is never added to or replaced",
            code="feature-043",
            hint="name another folder, or delete this one first",
        )


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds a work folder while a job is at it; the lock goes with the process.

    Raises:
        FeatureError: Another process holds it (``feature-044``).
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FeatureError(
                f"another process is at work on {folder.name}",
                code="feature-044",
                status=409,
                hint="wait for it, or write to another folder",
            ) from None
        yield


def write_part(batch: pa.RecordBatch, path: Path) -> None:
    """Writes a part whole or not at all, the same bytes for the same values."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(
            pa.Table.from_batches([batch]), scratch, compression="zstd", compression_level=1, use_dictionary=False
        )
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise FeatureError(
            f"a part of the back-fill was not written: {error}",
            code="feature-045",
            status=507,
            hint="make room on the disk and start the same job again; it goes on where it stopped",
        ) from None


def finish(parts: list[Path], target: Path, told: Mapping[str, Any]) -> Written:
    """Writes the manifest and gives the folder of the parts its name."""
    rows = 0
    hashes: dict[str, Any] = {}
    entries: list[dict[str, Any]] = []
    for path in parts:
        table = pq.read_table(path)
        entries.append({"file": path.name, "rows": table.num_rows, "sha256": _sha_of_file(path)})
        rows += table.num_rows
        for name, column in zip(table.column_names, table.columns, strict=True):
            add_to_hash(hashes.setdefault(name, hashlib.sha256(f"{name} {column.type}".encode())), column)
    whole = hashlib.sha256("".join(digest.hexdigest() for digest in hashes.values()).encode()).hexdigest()
    manifest = {"format": FORMAT, "rows": rows, "values_sha256": whole, **told, "parts": entries}
    folder = parts[0].parent if parts else target
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    refuse_existing(target)
    os.rename(folder, target)
    return Written(target, rows, whole, manifest)


def add_to_hash(digest: Any, column: pa.ChunkedArray) -> None:
    """Adds a column's values, however they are cut into chunks."""
    for chunk in column.chunks:
        if pa.types.is_list(chunk.type) or pa.types.is_string(chunk.type) or chunk.null_count:
            digest.update(json.dumps(chunk.to_pylist(), separators=(",", ":"), default=str).encode()[1:-1] + b",")
        elif len(chunk):
            digest.update(memoryview(chunk.to_numpy(zero_copy_only=False)).cast("B"))


def _sha_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _broken(path: Path, what: str) -> FeatureError:
    return FeatureError(
        f"the back-fill {path.name} {what}",
        code="feature-046",
        hint="delete the folder and run the back-fill again",
    )
