"""What was really written: every row read back, looked at for leaks, hashed, and put on record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.digest import TableDigest
from mainstem.features.dataset.label_rule import LabelRule
from mainstem.features.dataset.record import (
    Check,
    Column,
    DatasetRecord,
    File,
    LogSlice,
    MadeBy,
    Part,
    role_of,
    values_sha256,
    write_record,
)
from mainstem.features.dataset.scratch import Scratch, file_name
from mainstem.features.dataset.split import Split
from mainstem.features.dataset.taken import Taken


@dataclass(slots=True)
class _Tally:
    """What one part holds, counted while it is read."""

    digest: TableDigest
    rows: int = 0
    ones: dict[str, int] = field(default_factory=dict)
    zeros: dict[str, int] = field(default_factory=dict)


def seal(
    scratch: Scratch,
    name: str,
    log: LogSlice,
    taken: Taken,
    rules: Sequence[LabelRule],
    split: Split,
    made_by: MadeBy,
    feedback_delay_ms: int,
    threads: int,
) -> DatasetRecord:
    """Writes the record of a complete scratch folder.

    Raises:
        FeatureError: Chunks have different columns (``feature-084``), or a row knows or tells what it may not (``feature-085``).
    """
    files = tuple(_files(scratch))
    schema = pq.read_schema(scratch.folder / files[0].path)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        tallies = {part: _Tally(TableDigest(schema, pool)) for part in split.names}
        for file in files:
            for rows in row_groups(scratch.folder / file.path, schema):
                _look(rows, rules, split, file.part, log.seen_until_ms)
                _count(tallies[file.part], rows, rules)
    columns = tuple(_columns(schema, tallies))
    record = DatasetRecord(
        name=name,
        sha256="",
        values_sha256=values_sha256(columns),
        features_version=made_by.features_version,
        definitions=made_by.definitions,
        inputs=dict(sorted(made_by.inputs.items())),
        rules=tuple(rules),
        split=split,
        log=log,
        columns=columns,
        parts=tuple(_parts(split, tallies)),
        removed=taken.removed,
        outcomes=taken.outcomes,
        rows_removed=int((~taken.keep).sum()),
        checks=_checks(sum(file.rows for file in files)),
        feedback_delay_ms=feedback_delay_ms,
        files=files,
        written_by=f"pyarrow {pa.__version__}",
    ).sealed()
    write_record(scratch.folder, record)
    return record


def row_groups(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of one file, a row group at a time.

    Raises:
        FeatureError: Its columns are not those of the first file (``feature-084``).
    """
    file = pq.ParquetFile(path)
    if not file.schema_arrow.equals(schema):
        odd = [one for one in file.schema_arrow if one not in list(schema)] or list(file.schema_arrow)
        raise FeatureError(
            f"the features came back with {odd[0].name!r} as {odd[0].type} in {path.name}, other than in the first chunk",
            code="feature-084",
            hint="give every chunk the same columns and types, empty ones too",
        )
    for group in range(file.num_row_groups):
        yield file.read_row_group(group)


def _files(scratch: Scratch) -> Iterator[File]:
    for number, parts in scratch.chunks():
        for part, rows in parts.items():
            path = scratch.folder / file_name(part, number)
            size = path.stat().st_size
            yield File(path=file_name(part, number), part=part, rows=rows, bytes=size, sha256=file_sha256(path))


def file_sha256(path: Path) -> str:
    """SHA-256 over the bytes of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _look(rows: pa.Table, rules: Sequence[LabelRule], split: Split, part: str, seen_until_ms: int) -> None:
    """Refuses a row that knows what came after it, or whose label tells of the next part or of what is not in the log."""
    offset, as_of, time_ms = (np.asarray(rows.column(name)) for name in ("offset", "as_of", "time_ms"))
    place = split.names.index(part)
    starts = (-(2**63), *split.starts_ms)
    bad = [("sees its own impression or a later event", as_of > offset)]
    bad.append((f"lies outside {part}", (time_ms < starts[place]) | (time_ms >= split.ends_ms[place])))
    for rule in rules:
        known = np.asarray(rows.column(rule.columns[0]).is_valid())
        reach = time_ms + rule.reach_ms
        bad.append((f"has a label that reaches past {part}", known & (reach >= split.ends_ms[place])))
        bad.append(("has a label whose window is not over", known & (reach >= seen_until_ms)))
    for what, rows_at in bad:
        if rows_at.any():
            at = int(np.flatnonzero(rows_at)[0])
            raise FeatureError(
                f"the row at offset {offset[at]} {what}",
                code="feature-085",
                hint="this is a fault of the builder: keep the folder and report it",
            )


def _count(tally: _Tally, rows: pa.Table, rules: Sequence[LabelRule]) -> None:
    tally.digest.update(rows)
    tally.rows += len(rows)
    for rule in rules:
        label = np.asarray(rows.column(rule.columns[0]).fill_null(-1))
        tally.ones[rule.name] = tally.ones.get(rule.name, 0) + int((label == 1).sum())
        tally.zeros[rule.name] = tally.zeros.get(rule.name, 0) + int((label == 0).sum())


def _columns(schema: pa.Schema, tallies: dict[str, _Tally]) -> Iterator[Column]:
    by_part = {part: tally.digest.by_column() for part, tally in tallies.items()}
    for one in schema:
        sha = {part: columns[one.name] for part, columns in by_part.items()}
        yield Column(name=one.name, type=str(one.type), role=role_of(one), sha256=sha)


def _parts(split: Split, tallies: dict[str, _Tally]) -> Iterator[Part]:
    starts = (None, *split.starts_ms)
    ends = (*split.starts_ms, None)
    for name, start, end in zip(split.names, starts, ends, strict=True):
        one = tallies[name]
        yield Part(name=name, from_ms=start, until_ms=end, rows=one.rows, positives=one.ones, negatives=one.zeros)


def _checks(rows: int) -> tuple[Check, ...]:
    looked = (
        ("as of", "features see offsets below as_of, and as_of is not above the first offset of the row's own request"),
        ("inside its part", "the impression's time lies inside its part"),
        ("window inside its part", "no label window reaches the beginning of the next part"),
        ("window over", "no label window reaches past what the log has seen"),
    )
    return tuple(Check(name=name, rows=rows, about=about) for name, about in looked)
