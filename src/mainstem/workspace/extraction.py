"""Vectors of the workspace's items from their text and tags: extracted once, then only what changed, read as a table of facts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from mainstem.base.errors import FeatureError, StoreError, did_you_mean
from mainstem.data.tables import TABLES
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extractor, State
from mainstem.features.extract.rows import batches
from mainstem.features.extract.store import Extraction, ExtractionStore
from mainstem.features.extract.svd import SvdText
from mainstem.features.extract.text import HashedText, Wording
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log

KEY: Final = "item_id"
VECTOR: Final = "vector"
"""The column of the table: a list a row, in units of 1, so that ``dot`` of two unit vectors is their cosine."""

ENCODERS: Final = ("hashed", "svd")
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a run did.

    Attributes:
        table: The Parquet file to name in ``[features.tables.NAME]``, relative to the workspace.
        computed: Rows that were new or had changed.
    """

    name: str
    version: str
    fingerprint: str
    table: str
    dim: int
    rows: int
    computed: int
    known: int
    empty: int
    failed: int


def extract(
    workspace: Workspace,
    name: str,
    columns: Sequence[str],
    *,
    dim: int = 64,
    encoder: str = "hashed",
    version: str = "1",
    source: Path | None = None,
    progress: Progress = lambda share, what: None,
) -> Extracted:
    """Brings an extraction up to the workspace's items, and writes it as a table that definitions may name.

    Args:
        workspace: Whose log.
        name: The extraction's.
        columns: What is read: strings as text, lists and numbers as tags.
        dim: Values a row.
        encoder: ``hashed`` needs no fit; ``svd`` is fitted once a version, on the items there are then.
        version: Yours; another definition needs another one.
        source: A Parquet file with ``item_id`` and the columns; the log's items when not given.
        progress: Told the share that is done, and what.

    Raises:
        FeatureError: There is no such encoder (``feature-102``).
        ExtractionError: ``feature-060`` to ``feature-075``; see ``ExtractionStore.run``.
        StoreError: The disk refused the table (``store-010``).
        DataError: There is no log (``data-001``).
    """
    if encoder not in ENCODERS:
        raise FeatureError(
            f"no encoder is called {encoder!r}", code="feature-102", hint=did_you_mean(encoder, ENCODERS)
        )
    table = source or open_log(workspace).folder / TABLES["items"].file
    store = ExtractionStore(workspace.folder)
    progress(0.0, "reading")
    extractor = _extractor(store, name, version, table, columns, dim, encoder)
    progress(0.1, "extracting")
    ran = store.run(extractor, table, key=KEY)
    progress(0.8, "writing the table")
    found = store.open(name, version)
    path = write_table(workspace.folder / "extract" / name / f"{version}.parquet", found)
    counts = ran.manifest
    return Extracted(
        name, version, counts.definition.fingerprint, str(path.relative_to(workspace.folder)), dim,
        counts.rows, ran.computed, counts.known, counts.empty, counts.failed,
    )  # fmt: skip


def write_table(path: Path, extraction: Extraction) -> Path:
    """The vectors that are known, by id, as one Parquet file; whole or not at all, and the same bytes for the same vectors.

    Fixed point is taken back by a power of two, which changes no bit: sums and products stay exact.
    """
    ids = extraction.ids()
    vectors, state = extraction.read(ids)
    there = state == State.KNOWN
    values = pl.Series(VECTOR, vectors[there] * extraction.scale, dtype=pl.Array(pl.Float64, extraction.dim))
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pl.DataFrame({KEY: ids[there], VECTOR: values.cast(pl.List(pl.Float64))}).write_parquet(scratch)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise StoreError(f"the table of {path.stem!r} was not written: {error}", code="store-010") from None
    return path


def _extractor(
    store: ExtractionStore, name: str, version: str, table: Path, columns: Sequence[str], dim: int, encoder: str
) -> Extractor:
    wording = wording_of(table, columns)
    if encoder == "hashed":
        return HashedText(name=name, version=version, wording=wording, dim=dim)
    if f"{name}/{version}" in store.finished():
        # Fitted once: later items get their vectors in the space there is, or nothing would be comparable.
        return SvdText.from_fitted(name, version, wording, store.open(name, version).fitted())
    rows = pl.concat(batches(table, (KEY, *wording.columns), 1 << 16))
    return SvdText.fit(name, version, rows, wording=wording, dim=dim, key=KEY)


def wording_of(table: Path, columns: Sequence[str]) -> Wording:
    """Strings are text; lists, numbers and categories are tags.

    Raises:
        ExtractionError: A column is missing (``feature-061``), or there is no table (``feature-066``).
    """
    if not table.is_file():
        raise ExtractionError(
            f"{table.name!r} is no Parquet file",
            code="feature-066",
            hint="name a file with item_id and the text columns",
        )
    schema = pl.read_parquet_schema(table)
    missing = [name for name in (KEY, *columns) if name not in schema]
    if missing:
        raise ExtractionError(
            f"the table has no column {', '.join(map(repr, missing))}",
            code="feature-061",
            hint="the table has: " + ", ".join(schema),
        )
    text = tuple(name for name in columns if schema[name] == pl.String)
    return Wording(text=text, tags=tuple(name for name in columns if name not in text))


def settings_of(done: Extracted) -> str:
    """What to write into ``mainstem.toml`` so that definitions may read the vectors."""
    return f'[features.tables.{done.name}]\npath = "{done.table}"\nkey = "{KEY}"'
