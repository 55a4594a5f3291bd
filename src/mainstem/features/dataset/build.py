"""How a training set is made: labels first, features as of each request, rows to Parquet, one hash over all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from mainstem.base.errors import FeatureError
from mainstem.data.log import Log
from mainstem.features.dataset.contract import dataset_contract
from mainstem.features.dataset.dataset import Dataset
from mainstem.features.dataset.digest import plain_table, table_sha256
from mainstem.features.dataset.label_rule import LabelRule
from mainstem.features.dataset.odcs import SUFFIX, write_contract
from mainstem.features.dataset.record import FORMAT, LogSlice, MadeBy, Role, field_of
from mainstem.features.dataset.scratch import Scratch
from mainstem.features.dataset.seal import seal
from mainstem.features.dataset.served import KNOWN_AFTER, ROW, Served
from mainstem.features.dataset.split import Split
from mainstem.features.dataset.taken import Taken, take

FeatureValues = Callable[[pa.Table], pa.Table]
"""From requests (one row an impression, in log order) to as many rows of features, in the same order.

Every request has ``offset``, ``as_of``, ``request_id``, ``user_id``, ``item_id``, ``time_ms`` and the log's other columns that
are known when an item is served. A value may depend on its own row, on the rows of its own request, and on events with an
offset below ``as_of``. A column ``newest_offset``, when there is one, is the largest offset of an event that entered the row;
it is checked and not kept.
"""

NEWEST: Final = "newest_offset"
CONTRACT: Final = f"dataset{SUFFIX}"
"""The contract that lies beside the rows."""
_PROBED: Final = 64
"""Rows of the first chunk that are asked for a second time, alone."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a training set is built; none of ``chunk_rows``, ``threads`` changes its hash.

    Attributes:
        chunk_rows: Impressions read at once; a request is never cut.
        threads: Chunks whose features are computed at the same time.
        feedback_delay_ms: How old an event has to be before features see it.
        first_offset: Offset of the first row of a log without offsets of its own.
        seen_until_ms: Every outcome before this moment is in the log; its latest time when not given.
        learned_before: Rows below this offset are left out: constants behind the features know their outcomes.
    """

    chunk_rows: int = 65_536
    threads: int = 1
    feedback_delay_ms: int = 0
    first_offset: int = 0
    seen_until_ms: int | None = None
    learned_before: int = 0


def build(
    source: Log | pa.Table,
    rules: LabelRule | Sequence[LabelRule],
    feature_values: FeatureValues,
    out: Path,
    *,
    features_version: str | MadeBy,
    split: Split | None = None,
    outcomes: pl.DataFrame | None = None,
    items: pl.DataFrame | None = None,
    options: Options | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Dataset:
    """Makes a training set, whole or not at all; a build that was cut off goes on where it was.

    Args:
        source: A log folder, or an Arrow table of impressions in log order.
        rules: Each makes a label column.
        feature_values: What the ranker would have been given; see ``FeatureValues``.
        out: Folder of the set; an older set there is replaced once the new one is complete.
        features_version: Names the definitions behind ``feature_values``; another version never continues a build.
        split: Parts by time; everything is ``train`` when not given.
        outcomes: Outcomes that arrived apart from impressions; ``None`` when they stand on the rows.
        items: Columns that rules join by, by ``item_id``.
        progress: Told the share of the impressions that is done.

    Raises:
        FeatureError: Codes ``feature-080`` to ``feature-087`` and ``feature-090``.
    """
    rules = (rules,) if isinstance(rules, LabelRule) else tuple(rules)
    split, options = split or Split(), options or Options()
    served = Served.of(source, items)
    _distinct(rules, served.columns)
    made_by = MadeBy(features_version=features_version) if isinstance(features_version, str) else features_version
    taken = take(
        served, outcomes, rules, split, options.feedback_delay_ms, options.first_offset, options.seen_until_ms,
        options.learned_before,
    )  # fmt: skip
    plan = _fingerprint(served, taken, rules, split, made_by, options)
    with Scratch.open(out, plan) as scratch:
        _fill(scratch, served, taken, split, feature_values, options, progress)
        log = LogSlice(
            name=served.name,
            sha256=served.sha256,
            first_offset=int(taken.offset[0]),
            last_offset=int(taken.offset[-1]),
            rows=len(taken),
            seen_until_ms=taken.seen_until_ms,
            made=served.made,
        )
        record = seal(scratch, out.name, log, taken, rules, split, made_by, options.feedback_delay_ms, options.threads)
        write_contract(scratch.folder / CONTRACT, dataset_contract(record))
        scratch.publish()
    return Dataset(out, record)


def _fill(
    scratch: Scratch,
    served: Served,
    taken: Taken,
    split: Split,
    feature_values: FeatureValues,
    options: Options,
    progress: Callable[[float], None],
) -> None:
    """Computes every chunk that is not there yet, a few at a time."""
    ends = _ends(taken, options.chunk_rows)
    probe = True
    with ThreadPoolExecutor(max(options.threads, 1)) as pool:
        running: set[Future[None]] = set()
        for number, (start, piece) in enumerate(_numbered(served, ends)):
            if scratch.has(number):
                continue
            if not taken.keep[start : start + len(piece)].any():
                scratch.add(number, {})
                continue
            rows = slice(start, start + len(piece))
            running.add(pool.submit(_chunk, scratch, number, piece, rows, taken, split, feature_values, probe))
            probe = False
            if len(running) >= max(options.threads, 1):
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
                progress(rows.start / len(taken))
        for one in running:
            one.result()
    progress(1.0)


def _numbered(served: Served, ends: Sequence[int]) -> Iterator[tuple[int, pa.Table]]:
    start = 0
    for end, piece in zip(ends, served.pieces(ends), strict=True):
        yield start, piece
        start = end


def _ends(taken: Taken, chunk_rows: int) -> list[int]:
    """Where chunks end: after at least so many rows, and never inside a request."""
    ends = [*taken.request_starts[1:].tolist(), len(taken)]
    kept: list[int] = []
    for end in ends:
        if end - (kept[-1] if kept else 0) >= chunk_rows or end == len(taken):
            kept.append(end)
    return kept


def _chunk(
    scratch: Scratch,
    number: int,
    piece: pa.Table,
    rows: slice,
    taken: Taken,
    split: Split,
    feature_values: FeatureValues,
    probe: bool,
) -> None:
    """One chunk: requests, their features, labels beside them, one file a part."""
    keep = np.flatnonzero(taken.keep[rows])
    requests = _requests(piece.take(keep), taken.offset[rows][keep], taken.as_of[rows][keep])
    features = _asked(feature_values, requests)
    if probe:
        _same_alone(feature_values, requests, features)
    table = _labelled(requests, features, rows, keep, taken)
    part = taken.part[rows][keep]
    tables = {name: table.filter(pa.array(part == at)) for at, name in enumerate(split.names)}
    scratch.add(number, {name: one for name, one in tables.items() if len(one)})


def _requests(piece: pa.Table, offset: np.ndarray, as_of: np.ndarray) -> pa.Table:
    """What features may be computed from: nothing that is only known after the item was shown."""
    own = {"offset": pa.array(offset), "as_of": pa.array(as_of)}
    names = [name for name in piece.column_names if name not in KNOWN_AFTER and name not in ROW]
    columns = {name: own[name] if name in own else piece.column(name) for name in (*ROW, *names)}
    return pa.table(columns)


def _asked(feature_values: FeatureValues, requests: pa.Table) -> pa.Table:
    """The features of requests, after a look at their shape and at how new their newest event is."""
    features = feature_values(requests)
    if len(features) != len(requests):
        raise _wrong(f"{len(features):,} rows for {len(requests):,} requests, expected one each")
    twice = [name for name in features.column_names if name in requests.column_names or name in KNOWN_AFTER]
    if twice or len(set(features.column_names)) != len(features.column_names):
        raise _wrong(f"the columns {twice or features.column_names}, expected names of their own, each once")
    if NEWEST not in features.column_names:
        return plain_table(features)
    newest = np.asarray(features.column(NEWEST).fill_null(-(2**63)))
    late = np.flatnonzero(newest >= np.asarray(requests.column("as_of")))
    if len(late):
        at = int(late[0])
        raise _leak(
            f"the event at offset {newest[at]} entered the features of offset {requests.column('offset')[at]}, which sees"
            f" events below {requests.column('as_of')[at]} only"
        )
    return plain_table(features.drop_columns([NEWEST]))


def _same_alone(feature_values: FeatureValues, requests: pa.Table, features: pa.Table) -> None:
    """Do the first requests have the same features when nobody else is asked for beside them?"""
    request = np.asarray(requests.column("request_id"))
    changes = np.flatnonzero(np.diff(request)) + 1
    count = int(next((at for at in changes if at >= _PROBED), changes[-1] if len(changes) else len(request)))
    alone = _asked(feature_values, requests.slice(0, count))
    for name in features.column_names:
        one, other = (
            table_sha256([t.select([name])], t.select([name]).schema) for t in (alone, features.slice(0, count))
        )
        if one != other:
            raise _leak(f"feature {name!r} changes with the rows that are asked for beside it")


def _labelled(requests: pa.Table, features: pa.Table, rows: slice, keep: np.ndarray, taken: Taken) -> pa.Table:
    """Requests, features, then labels and delays, each column with its role."""
    columns: list[tuple[str, Role, pa.Array | pa.ChunkedArray]] = []
    for name in requests.column_names:
        columns.append((name, "row" if name in ROW else "context", requests.column(name)))
    for name in features.column_names:
        columns.append((name, "feature", features.column(name)))
    for name in taken.labels:
        label, delay = taken.labels[name][rows][keep], taken.delays[name][rows][keep]
        columns.append((f"label_{name}", "label", pa.array(label, mask=label < 0)))
        columns.append((f"delay_ms_{name}", "delay", pa.array(delay, mask=delay < 0)))
    schema = pa.schema([field_of(name, values.type, role) for name, role, values in columns])
    return pa.table([values for _, _, values in columns], schema=schema)


def _fingerprint(
    served: Served, taken: Taken, rules: Sequence[LabelRule], split: Split, made_by: MadeBy, options: Options
) -> str:
    """What a build was begun from; labels stand for the outcomes and items they were joined from."""
    labels = hashlib.sha256()
    for column in (taken.as_of, taken.keep, *taken.labels.values(), *taken.delays.values()):
        labels.update(np.ascontiguousarray(column).tobytes())
    said = (FORMAT, served.sha256, served.columns, rules, split, made_by, options.chunk_rows, labels.hexdigest())
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def _distinct(rules: Sequence[LabelRule], columns: Sequence[str]) -> None:
    names = [rule.name for rule in rules]
    taken = [name for rule in rules for name in rule.columns if name in columns]
    if not names or len(set(names)) != len(names) or taken:
        raise FeatureError(
            f"found label rules {names} beside the columns {taken}, expected at least one, each with a name of its own",
            code="feature-080",
            hint="rename the rule",
        )


def _wrong(what: str) -> FeatureError:
    return FeatureError(
        f"the features came back with {what}",
        code="feature-084",
        hint="one row of features for every row that was asked, in the same order, with names of their own",
    )


def _leak(what: str) -> FeatureError:
    return FeatureError(
        f"a feature would know what could not be known then: {what}",
        code="feature-085",
        hint="read state as of the column as_of, and nothing across requests",
    )


def clear(out: Path) -> None:
    """Forgets a build of this folder that was cut off."""
    shutil.rmtree(Scratch.folder_of(out), ignore_errors=True)


__all__ = ["CONTRACT", "FeatureValues", "Options", "build", "clear"]
