"""One run over one version: rows go to their parts, each part takes over what is stored and computes the rest."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.features.extract.compute import Limits, computed_rows
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extractor, State
from mainstem.features.extract.manifest import MANIFEST, Definition, Manifest, PartEntry, Ran, write_json
from mainstem.features.extract.part import Part, content_of, find, joined, read_part, write_part
from mainstem.features.extract.rows import Spill, Table, batches, content_hashes, in_key_order

_SPILL: Final = ".rows"
_READ_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Done:
    """A part as it now is, and how many of its rows were computed, and how many went."""

    entry: PartEntry
    computed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run, which holds its version alone.

    Nothing a reader sees changes until the manifest is replaced, at the end. Finished parts of a killed run lie beside those
    of the manifest, and the next run takes their rows over wherever key and content agree.
    """

    folder: Path
    extractor: Extractor
    definition: Definition
    before: Manifest | None
    limits: Limits
    retry_failed: bool

    def over(self, table: Table) -> Ran:
        """Brings the version up to a table.

        Raises:
            ExtractionError: ``feature-072`` when more rows fail than the limits allow.
        """
        spill = self._scatter(table)
        done: list[_Done] = []
        for number in range(self.definition.parts):
            done.append(self._part(number, spill))
            self._stop_above(sum(part.entry.failed for part in done), spill.rows)
            spill.drop(number)
        manifest = self._manifest(tuple(part.entry for part in done))
        write_json(self.folder / MANIFEST, manifest)
        self._sweep({part.entry.file for part in done})
        computed = sum(part.computed for part in done)
        dropped = sum(part.dropped for part in done)
        return Ran(manifest.rows, computed, manifest.rows - computed, dropped, manifest.failed, manifest)

    def _scatter(self, table: Table) -> Spill:
        scratch = self.folder / _SPILL
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        spill = Spill(scratch, self.definition.parts)
        columns = tuple(dict.fromkeys((self.definition.key, *self.definition.columns)))
        try:
            for rows in batches(table, columns, _READ_ROWS):
                spill.add(rows, self.definition.key)
        finally:
            spill.close()
        return spill

    def _part(self, number: int, spill: Spill) -> _Done:
        rows, old = spill.read(number), self.before.parts[number] if self.before else None
        if rows is None:
            return _Done(PartEntry("", 0, 0, 0, 0, ""), dropped=old.rows if old else 0)
        rows = in_key_order(rows, self.definition.key)
        keys = rows[self.definition.key].to_numpy()
        hashes = content_hashes(rows, self.definition.columns)
        content = content_of(keys, hashes)
        if old is not None and self._stands(old, content):
            return _Done(old)
        stored = self._stored(number, old)
        kept, missing = _taken_over(keys, hashes, stored)
        part = joined([*kept, self._computed(rows, keys, hashes, missing)])
        gone = np.count_nonzero(~find(keys, stored[0].keys)[1]) if old and stored else 0
        return _Done(self._written(number, part, content), len(missing), int(gone))

    def _stands(self, old: PartEntry, content: str) -> bool:
        """Whether a part is what this run would write."""
        again = self.retry_failed and old.failed > 0
        return old.content == content and not again and (self.folder / old.file).is_file()

    def _stored(self, number: int, old: PartEntry | None) -> list[Part]:
        """What there is of a part on disk: the manifest's rows first, then those of killed runs, whose failures do not count."""
        files = sorted(
            self.folder.glob(f"part-{number:05d}-*.parquet"), key=lambda path: old is None or path.name != old.file
        )
        parts: list[Part] = []
        for path in files:
            try:
                part = read_part(path, self.definition.dim, self.definition.fingerprint)
            except ExtractionError:  # torn by a power cut or damaged: its rows are computed again
                continue
            committed = old is not None and path.name == old.file
            wanted = (
                part.state != State.FAILED if self.retry_failed or not committed else np.ones(len(part.keys), np.bool_)
            )
            parts.append(part.take(np.flatnonzero(wanted)))
        return parts

    def _computed(
        self, rows: pl.DataFrame, keys: NDArray[np.int64], hashes: NDArray[Any], at: NDArray[np.int64]
    ) -> Part:
        if len(at) == 0:
            return Part.empty(self.definition.dim)
        found = computed_rows(self.extractor, rows[at].select(self.definition.columns), self.limits.batch_rows)
        return Part(keys[at], hashes[at], found.state, found.vectors.astype(np.int32), dict(found.reasons))

    def _written(self, number: int, part: Part, content: str) -> PartEntry:
        path = write_part(self.folder, number, part, self.definition.fingerprint)
        counts = np.bincount(part.state.astype(np.int64), minlength=3)
        return PartEntry(
            file=path.name,
            rows=len(part.keys),
            known=int(counts[State.KNOWN]),
            empty=int(counts[State.EMPTY]),
            failed=int(counts[State.FAILED]),
            content=content,
        )

    def _stop_above(self, failed: int, rows: int) -> None:
        if failed > self.limits.max_failed_share * rows:
            raise ExtractionError(
                f"{failed} of {rows} rows of {self.extractor.name!r} failed, more than the share"
                f" {self.limits.max_failed_share:g} that was declared; nothing readers see has changed",
                code="feature-072",
                hint="mend the rows or the extractor, or declare a larger Limits(max_failed_share=...)",
            )

    def _manifest(self, entries: tuple[PartEntry, ...]) -> Manifest:
        return Manifest(
            code_version=version("mainstem"),
            definition=self.definition,
            rows=sum(entry.rows for entry in entries),
            known=sum(entry.known for entry in entries),
            empty=sum(entry.empty for entry in entries),
            failed=sum(entry.failed for entry in entries),
            parts=entries,
        )

    def _sweep(self, files: set[str]) -> None:
        """Removes what the manifest does not name."""
        shutil.rmtree(self.folder / _SPILL, ignore_errors=True)
        for path in [*self.folder.glob("part-*.parquet"), *self.folder.glob(".*.new")]:
            if path.name not in files:
                path.unlink()


def _taken_over(
    keys: NDArray[np.int64], hashes: NDArray[Any], stored: list[Part]
) -> tuple[list[Part], NDArray[np.int64]]:
    """Stored rows whose key and content are still those of the table, and the places of the rows to compute."""
    open_places = np.arange(len(keys))
    kept: list[Part] = []
    for part in stored:
        at, found = find(part.keys, keys[open_places])
        found[found] = part.hashes[at[found]] == hashes[open_places[found]]
        kept.append(part.take(at[found]))
        open_places = open_places[~found]
    return kept, open_places
