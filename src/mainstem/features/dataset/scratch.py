"""Where a training set grows before it has its name: finished chunks survive a kill, and nothing else does."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.record import FILE_NAME


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder beside the final one, held by one process.

    Attributes:
        folder: Where chunks lie.
        out: The final name.
    """

    folder: Path
    out: Path

    @staticmethod
    def folder_of(out: Path) -> Path:
        """The scratch folder of a training set."""
        return out.parent / f".{out.name}.building"

    @classmethod
    @contextmanager
    def open(cls, out: Path, plan: str) -> Iterator[Scratch]:
        """Goes on with the build of the same plan, or starts anew.

        Raises:
            FeatureError: Another process builds there, or the folder holds something else (``feature-087``).
        """
        if out.exists() and not (out / FILE_NAME).is_file() and (out.is_file() or any(out.iterdir())):
            raise _in_the_way(
                f"other files at {out}, expected an empty folder or an older training set", "name another"
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        with (out.parent / f".{out.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _in_the_way(f"another process building {out}", "wait for it, or name another folder") from error
            scratch = cls(cls.folder_of(out), out)
            scratch._begin(plan)
            yield scratch

    def _begin(self, plan: str) -> None:
        said = self.folder / "plan"
        if not said.is_file() or said.read_text() != plan:
            shutil.rmtree(self.folder, ignore_errors=True)
            (self.folder / "chunks").mkdir(parents=True)
            said.write_text(plan)

    def has(self, number: int) -> bool:
        """Is this chunk complete?"""
        return self._chunk(number).is_file()

    def add(self, number: int, parts: Mapping[str, pa.Table]) -> None:
        """Writes one chunk, a file for each part; it counts once all of them are on disk."""
        for part, table in parts.items():
            path = self.folder / file_name(part, number)
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as handle:
                pq.write_table(table, handle, compression="zstd", row_group_size=65_536)
                handle.flush()
                os.fsync(handle.fileno())
        done = self._chunk(number)
        half = done.with_suffix(".partial")
        half.write_bytes(msgspec.json.encode({part: len(table) for part, table in parts.items()}))
        half.replace(done)

    def chunks(self) -> list[tuple[int, dict[str, int]]]:
        """Every complete chunk in order, with its rows by part."""
        numbers = sorted(int(path.stem) for path in (self.folder / "chunks").glob("*.json"))
        return [(number, msgspec.json.decode(self._chunk(number).read_bytes())) for number in numbers]

    def publish(self) -> None:
        """Gives the set its name: a reader meets the old one or the new one, never half."""
        shutil.rmtree(self.folder / "chunks")
        (self.folder / "plan").unlink()
        old = self.out.parent / f".{self.out.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        if self.out.exists():
            self.out.rename(old)
        self.folder.rename(self.out)
        shutil.rmtree(old, ignore_errors=True)

    def _chunk(self, number: int) -> Path:
        return self.folder / "chunks" / f"{number:06d}.json"


def file_name(part: str, number: int) -> str:
    """Where the rows of one chunk and part lie, inside the folder."""
    return f"{part}/{number:06d}.parquet"


def _in_the_way(found: str, hint: str) -> FeatureError:
    return FeatureError(f"found {found}", code="feature-087", hint=hint)
