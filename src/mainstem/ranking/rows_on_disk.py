"""The rows of a lesson computed a part at a time: by the back-fill that holds buckets of the log, never the whole of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mainstem.features.engines.job import BackfillJob
from mainstem.features.engines.output import Written, open_output
from mainstem.features.engines.runners import Threads
from mainstem.features.events import Events
from mainstem.features.timeline import Progress, Timeline, request_context
from mainstem.ranking.rows import CHUNK, Rows, rows_in_files

Ints = NDArray[np.int64]
MEMORY_BYTES: Final = 512 << 20
"""What the back-fill may hold beside the log's own columns."""


def rows_on_disk(
    line: Timeline,
    asked: Ints,
    train: NDArray[np.bool_],
    folder: Path,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress = lambda share: None,
) -> Rows:
    """The features of some rows of a timeline, in files: the same bits as ``Timeline.values`` gives.

    Args:
        line: The log.
        asked: Rows of it, ascending.
        train: Which of them are learned from.
        folder: A scratch folder. A run that was stopped goes on where it was when it is started again with the same log.
        memory_bytes: About what may be held at once.
        progress: Told the share that is done.

    Raises:
        ModelError: The disk refused the rows (``model-043``).
        FeatureError: It refused a part of the back-fill (``feature-045``).
    """
    names = {side: line.features.columns_of(side) for side in ("user", "item", "cross")}
    of_user, of_items = line.seen(asked)
    events = _events(line)
    done = [0.0, 0.0]

    def told(which: int, share: float) -> None:
        done[which] = max(done[which], share)
        progress(sum(done) / 2)

    read = {
        "viewer": (of_user, (*names["user"], *names["cross"])),
        "item": (of_items, names["item"]),
    }
    written = {}
    for which, (name, (as_of, columns)) in enumerate(read.items()):
        requests = _requests(line, asked, as_of)
        job = BackfillJob(
            line.features,
            {"feedback": events},
            requests,
            line.tables,
            columns,
            runner=Threads(1),
            block=CHUNK,
            chunk=CHUNK,
            memory_bytes=memory_bytes,
        )
        out = folder / f"backfill-{name}"
        written[name] = open_output(out) if out.exists() else job.write(out, lambda _, share, at=which: told(at, share))
    rows = rows_in_files(
        _sides(written, names),
        {side: len(columns) for side, columns in names.items()},
        line.catalog.user_rows(line.feedback.user_id[asked]),
        line.catalog.item_rows(line.feedback.item_id[asked]),
        train,
        folder,
    )
    for one in written.values():
        shutil.rmtree(one.path, ignore_errors=True)
    return rows


def _events(line: Timeline) -> pa.Table:
    events = Events.from_feedback(line.feedback, 0)
    return pa.table({"offset": events.offset, **events.columns})


def _requests(line: Timeline, asked: Ints, as_of: Ints) -> pa.Table:
    context: dict[str, Any] = {name: np.ravel(one) for name, one in request_context(line.feedback, asked).items()}
    return pa.table(context | {"as_of": as_of})


def _sides(written: dict[str, Written], names: dict[str, tuple[str, ...]]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The parts of both outputs side by side, ``CHUNK`` rows each."""
    parts = {name: [one.path / part["file"] for part in one.manifest["parts"]] for name, one in written.items()}
    for viewer, item in zip(parts["viewer"], parts["item"], strict=True):
        yield {
            "user": _matrix(viewer, names["user"]),
            "item": _matrix(item, names["item"]),
            "cross": _matrix(viewer, names["cross"]),
        }


def _matrix(path: Path, names: tuple[str, ...]) -> NDArray[np.float32]:
    table = pq.read_table(path, columns=list(names), use_threads=False)
    out = np.empty((len(table), len(names)), np.float32)
    for at, name in enumerate(names):
        out[:, at] = table.column(name).to_numpy()
    return out
