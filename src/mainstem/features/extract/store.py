"""Extractions on disk: run over a table of any size, again over what has changed, on after a kill, and read by id."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.features.extract.compute import DEFAULT, Limits
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extractor, Fitted, State
from mainstem.features.extract.fitted import load_fitted, save_fitted
from mainstem.features.extract.manifest import MANIFEST, Definition, Manifest, Ran, agree, read_manifest
from mainstem.features.extract.part import Part, find, read_part
from mainstem.features.extract.rows import Table, part_of
from mainstem.features.extract.run import Run

FITTED: Final = "fitted.npz"


@dataclass(frozen=True, slots=True)
class Extraction:
    """One finished version, as its manifest stood when it was opened."""

    folder: Path
    manifest: Manifest

    @property
    def scale(self) -> float:
        """What one unit of a value is worth."""
        return self.manifest.definition.scale

    @property
    def dim(self) -> int:
        """Values a row."""
        return self.manifest.definition.dim

    def read(self, ids: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """The vectors of these ids and what is known of each, in their order; an id may come twice.

        Returns:
            ``vectors[n, dim]`` integer-valued float64 in units of ``scale``, NaN where the state is not ``KNOWN``;
            ``state[n]`` of ``State``, ``MISSING`` for ids that were never extracted.
        """
        keys = np.asarray(ids, np.int64).ravel()
        vectors = np.full((len(keys), self.dim), np.nan)
        state = np.full(len(keys), State.MISSING, np.int8)
        parts = part_of(keys, len(self.manifest.parts))
        for number in np.unique(parts).tolist():
            part, asked = self._part(number), np.flatnonzero(parts == number)
            at, found = find(part.keys, keys[asked])
            state[asked[found]] = part.state[at[found]]
            known = found.copy()
            known[found] = part.state[at[found]] == State.KNOWN
            vectors[asked[known]] = part.values[at[known]]
        return vectors, state

    def reasons(self) -> dict[int, str]:
        """Why each failed row failed, by id."""
        out: dict[int, str] = {}
        for number, entry in enumerate(self.manifest.parts):
            part = self._part(number) if entry.failed else Part.empty(self.dim)
            out |= {int(part.keys[place]): reason for place, reason in part.reasons.items()}
        return out

    def ids(self) -> NDArray[np.int64]:
        """Every extracted id, ascending."""
        return np.sort(np.concatenate([self._part(number).keys for number in range(len(self.manifest.parts))]))

    def fitted(self) -> dict[str, NDArray[Any]]:
        """The fitted state the version was made with; nothing for an extractor without one."""
        path = self.folder / FITTED
        return load_fitted(path) if path.exists() else {}

    def _part(self, number: int) -> Part:
        file = self.manifest.parts[number].file
        if not file:
            return Part.empty(self.dim)
        return read_part(self.folder / file, self.dim, self.manifest.definition.fingerprint)


@dataclass(frozen=True, slots=True)
class ExtractionStore:
    """A folder of extractions: ``extract/NAME/VERSION/`` with parts, a manifest and the fitted state.

    Args:
        root: The folder in which ``extract/`` lies.
        parts: Into how many parts a new version's keys are cut; one part at a time is in memory, and a killed run repeats at
            most one.
    """

    root: Path
    parts: int = 16

    def run(
        self,
        extractor: Extractor,
        table: Table,
        *,
        key: str = "item_id",
        limits: Limits = DEFAULT,
        retry_failed: bool = False,
    ) -> Ran:
        """Brings a version up to this table: new and changed rows are computed, removed rows dropped, the rest taken over.

        The result's bytes depend on the table's rows and the definition, not on earlier runs, batches, order or kills.

        Args:
            extractor: What to compute.
            table: All rows there are now, in any order.
            key: A whole-number column with one row a value.
            limits: Rows of a batch, and the share of failed rows at which the run stops.
            retry_failed: Also compute again what failed before with the same content.
        Raises:
            ExtractionError: ``feature-070`` for a changed definition, ``feature-071`` when another run holds the version,
                ``feature-072`` above the share of failures; what the table can be wrong in, see ``rows``.
        """
        folder = self._folder(extractor.name, extractor.version)
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            before = read_manifest(folder)
            parts = before.definition.parts if before else self.parts
            definition = Definition.of(extractor, key, parts)
            agree(folder, definition)
            _keep_fitted(folder, extractor)
            return Run(folder, extractor, definition, before, limits, retry_failed).over(table)

    def open(self, name: str, version: str) -> Extraction:
        """A finished version.

        Raises:
            ExtractionError: ``feature-073`` when no run of it has finished.
        """
        folder = self._folder(name, version)
        manifest = read_manifest(folder) if folder.is_dir() else None
        if manifest is None:
            raise ExtractionError(
                f"version {version!r} of {name!r} has no finished run",
                code="feature-073",
                hint="finished: " + (", ".join(self.finished()) or "none"),
            )
        return Extraction(folder, manifest)

    def read(self, name: str, version: str, ids: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """The vectors and states of these ids: ``open`` and ``Extraction.read`` in one."""
        return self.open(name, version).read(ids)

    def finished(self) -> tuple[str, ...]:
        """Every finished version, as ``name/version``."""
        paths = sorted((self.root / "extract").glob(f"*/*/{MANIFEST}"))
        return tuple(f"{path.parent.parent.name}/{path.parent.name}" for path in paths)

    def _folder(self, name: str, version: str) -> Path:
        for told in (name, version):
            if not told or told.startswith(".") or not all(letter.isalnum() or letter in "._-" for letter in told):
                raise ExtractionError(
                    f"{told!r} cannot name a folder: letters, digits, '.', '_' and '-', not starting with a dot",
                    code="feature-074",
                    hint="name='title_words', version='1'",
                )
        return self.root / "extract" / name / version


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds a version; the lock goes with the process, so a killed run never leaves one."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExtractionError(
                f"another run holds version {folder.name!r} of {folder.parent.name!r}",
                code="feature-071",
                hint="wait for it to end; its lock goes with its process",
                status=409,
            ) from error
        yield


def _keep_fitted(folder: Path, extractor: Extractor) -> None:
    """Saves what an extractor was fitted to, once; the definition already holds its hash."""
    if isinstance(extractor, Fitted) and not (folder / FITTED).exists():
        save_fitted(folder / FITTED, extractor.fitted())
