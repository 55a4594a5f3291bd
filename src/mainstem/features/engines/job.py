"""The back-fill of any number of requests over any number of events: split by key, answered bucket by bucket, put back in order."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError, did_you_mean
from mainstem.features.engines.inputs import TableInput
from mainstem.features.engines.output import Written, finish, only_one, refuse_existing, write_part
from mainstem.features.engines.run import Order, Progress, Run, plan_of
from mainstem.features.engines.runners import Runner, Threads
from mainstem.features.engines.shelf import FileShelf, MemoryShelf
from mainstem.features.language.aggregate import Latest
from mainstem.features.language.feature import Context, PythonFunction
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.fold import Fold
from mainstem.features.language.plan import Plan
from mainstem.features.steps import Tables

_BUCKET_BYTES: Final = 32 << 20
"""Events of a bucket: small ones stay nearer to the processor, and cost no more than everything at once in memory."""
_MOST_BUCKETS: Final = 512


@dataclass(frozen=True)
class BackfillJob:
    """Declared features for requests of the past, each as of the log offset that its server had seen.

    Attributes:
        features: The definitions.
        events: By stream: a Parquet folder, a DuckDB relation, a Polars frame, an Arrow table or reader, in log order with an
            ``offset`` each.
        requests: The same kinds: the context the definitions name, and ``as_of``.
        tables: Where attributes come from.
        columns: The wanted columns; all that have a value of their own when empty.
        keep: Columns of the requests that go through unchanged, such as a label.
        runner: Who runs the tasks.
        buckets: Into how many parts keys are divided; chosen by ``memory_bytes`` when 0. One is worked on in memory.
        block: Requests of one part of the output.
        chunk: Events taken in at once.
        memory_bytes: About how much it may hold.
    """

    features: FeatureSet
    events: Mapping[str, Any]
    requests: Any
    tables: Tables = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    runner: Runner = field(default_factory=Threads)
    buckets: int = 0
    block: int = 1 << 18
    chunk: int = 1 << 17
    memory_bytes: int = 2 << 30

    def write(self, path: Path, progress: Progress = lambda stage, share: None) -> Written:
        """Writes parts and a manifest to a new folder. A job that was stopped goes on where it was.

        Args:
            path: The folder; it must not exist.
            progress: Told the stage and the share of it that is done.

        Raises:
            FeatureError: The folder exists (``feature-043``), somebody else is writing it (``feature-044``), the disk refused a
                part (``feature-045``); the inputs are not what the definitions say (``feature-009``, ``-010``, ``-040``, ``-047``).
        """
        refuse_existing(path)
        work = path.with_name(f".{path.name}.work")
        with only_one(work):
            refuse_existing(path)
            self._same_job(work)
            parts = work / "parts"
            parts.mkdir(exist_ok=True)
            run = self._run(work / "buckets", progress)
            names = [parts / f"part-{at:05d}.parquet" for at in range(-(-max(run.rows, 1) // self.block))]
            for at, part in enumerate(names):
                if not part.exists():
                    write_part(run.part(at), part)
                progress("parts", (at + 1) / len(names))
            written = finish(names, path, self._told(run))
            shutil.rmtree(work, ignore_errors=True)
        return written

    def table(self, progress: Progress = lambda stage, share: None) -> pa.Table:
        """Everything as one table, in the order of the requests; buckets lie in a temporary folder meanwhile."""
        with tempfile.TemporaryDirectory(prefix="backfill-") as folder:
            run = self._run(Path(folder), progress)
            return pa.Table.from_batches([run.part(at) for at in range(-(-max(run.rows, 1) // self.block))])

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The columns it makes.

        Raises:
            FeatureError: One is not declared or has no value of its own (``feature-017``).
        """
        own = [f for f in self.features if not isinstance(f.of, Context | Latest | Fold | PythonFunction)]
        made = tuple(column for feature in own for column in feature.columns)
        for name in self.columns:
            if name not in made:
                raise FeatureError(
                    f"{name!r} is no column that can be computed for the past",
                    code="feature-017",
                    hint=did_you_mean(name, made),
                )
        return self.columns or made

    @cached_property
    def fingerprint(self) -> str:
        """What it computes, out of what, and how it is cut: the same for a job that may go on with another's work; empty where
        that cannot be told."""
        inputs = {
            name: TableInput(given, name).identity() for name, given in {**self.events, "": self.requests}.items()
        }
        if not all(inputs.values()):
            return ""
        tables = {
            f"{name}.{column}": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
            for name, table in self.tables.items()
            for column, array in {**table.columns, "-ids": table.ids, "-from": _or_none(table.valid_from_ms)}.items()
        }
        parts = [self.features.fingerprints, self.wanted, self.keep, inputs, tables, self.block, self._buckets]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _plan(self) -> Plan:
        return plan_of(self.features, self.wanted)

    @cached_property
    def _buckets(self) -> int:
        """One where there is little; else as many as are needed, four for each worker at least."""
        if self.buckets:
            return self.buckets
        rows = [TableInput(self.events[name], name).rows() for name in self.events]
        kept: set[Any] = {"offset"}
        for group in self._plan.groups:
            kept |= {*group.key, group.zone, *group.fields}
            kept |= {(one, word) for one in group.accumulators for word in range(one.words)}
        words = len(kept) + sum(len(fold.fold.takes) for fold in self._plan.folds)
        if any(count is None for count in rows):
            return 16 * self.runner.workers
        needed = 8 * sum(count or 0 for count in rows) * words
        workers = self.runner.workers
        size = min(_BUCKET_BYTES, max(1, self.memory_bytes // (16 * workers)))
        if needed <= 2 * size and isinstance(self.runner, Threads):
            return 1
        return min(_MOST_BUCKETS, max(4 * workers, -(-needed // size)))

    def _run(self, folder: Path, progress: Progress) -> Run:
        shelf = MemoryShelf() if self._buckets == 1 else FileShelf(folder, self._buckets, self.block)
        order = Order(
            self._plan,
            self.events,
            self.requests,
            self.tables,
            self.wanted,
            self.keep,
            self.runner,
            self.block,
            self.chunk,
        )
        run = Run(order, shelf, progress)
        try:
            run.answer()
        except BaseException:
            if isinstance(shelf, FileShelf):
                shelf.abandon()
            raise
        return run

    def _same_job(self, work: Path) -> None:
        """Clears what another job, or one whose inputs cannot be told apart, left behind."""
        note = work / "job"
        if not self.fingerprint or not note.exists() or note.read_text() != self.fingerprint:
            for name in ("buckets", "parts"):
                shutil.rmtree(work / name, ignore_errors=True)
            note.write_text(self.fingerprint)

    def _told(self, run: Run) -> dict[str, Any]:
        return {
            "features": {
                name: self.features.fingerprints[name]
                for name in {self.features.owner_of[column].name: None for column in self.wanted}
            },
            "columns": list(self.wanted),
            "keep": list(self.keep),
            "as_of": "log offset; events with a smaller one were seen",
            **run.told,
        }


def _or_none(array: NDArray[np.int64] | None) -> NDArray[np.int64]:
    return np.empty(0, np.int64) if array is None else array
