"""From a served slate back to rows: the model that ranked it, what that began from, and which rows of the log each learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from mainstem.base.errors import ModelError
from mainstem.data.log import Log
from mainstem.workspace.layout import Workspace
from mainstem.workspace.lineage import model_folder
from mainstem.workspace.live_records import LiveRecords
from mainstem.workspace.log import open_log
from mainstem.workspace.registry import Registry, Version, version_of


@dataclass(frozen=True, slots=True)
class LearnedRows:
    """Rows of one table of the log that a version learned from.

    Attributes:
        rows: How many.
        first: The first one's row number in the table, in the log's order.
        last: The last one's.
        days: First and last day, as yyyymmdd; 0 where the table has none.
    """

    table: str
    rows: int
    first: int
    last: int
    days: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Link:
    """One version in the chain.

    Attributes:
        whole: Whether its files are those that were written.
        log: Name and hash of the log it learned from.
        offsets: First and last place in that log.
        tables: Those places as rows of tables; nothing where the workspace has another log now.
    """

    version: str
    made_ms: int
    whole: bool
    log: Mapping[str, str]
    offsets: tuple[int, int] | None
    learned_from: str
    tables: tuple[LearnedRows, ...]


@dataclass(frozen=True, slots=True)
class ModelLineage:
    """A slate, the model that ranked it and that model's parents, the ranking one first.

    Attributes:
        request: Who was served what, when, by which stack; None when the question was about a version.
        gaps: Links that are missing, in words.
    """

    request: Mapping[str, Any] | None
    chain: tuple[Link, ...]
    gaps: tuple[str, ...]


def model_lineage(workspace: Workspace, request_id: int) -> ModelLineage:
    """Which model ranked a served request, and which rows it and its parents learned from.

    Raises:
        ModelError: The live log holds no such request (``model-053``).
        DataError: There is no log (``data-001``).
    """
    served = LiveRecords.read(workspace.live, tuple(workspace.settings.served())).impression(request_id)
    if served is None:
        raise ModelError(
            f"found no request {request_id} among those this workspace served, expected one of its live log",
            code="model-053",
            hint="`mainstem dataset lineage` follows requests of the imported log too, which no model of ours ranked",
        )
    folder, gaps = model_folder(workspace, served)
    told = {
        "request_id": served.request_id, "user_id": served.user_id, "surface": served.surface, "time_ms": served.time_ms,
        "stack": served.stack, "as_of": served.as_of, "feature_set": served.feature_set, "items": served.ids().tolist(),
        "model": served.model,
    }  # fmt: skip
    version = version_of(folder)
    chain = chain_of(workspace, workspace.models(), version) if version else ()
    if not version:
        gaps = [*gaps, "the model that serves has no version: it was trained before versions were"]
    return ModelLineage(told, chain, tuple(gaps) + _missing(workspace.models(), chain))


def chain_of(workspace: Workspace, registry: Registry, id_: str) -> tuple[Link, ...]:
    """A version and its parents, itself first, each with the rows it learned from.

    Raises:
        ModelError: There is no such version (``model-050``).
    """
    log = open_log(workspace)
    return tuple(_link(registry, one, log) for one in reversed(registry.ancestry(registry.get(id_))))


def _link(registry: Registry, version: Version, log: Log) -> Link:
    taught = version.about.get("learned_from") or {}
    offsets = tuple(taught["offsets"]) if "offsets" in taught else None
    same = taught.get("log", {}).get("sha256") == log.manifest.sha256
    return Link(
        version=version.id,
        made_ms=version.made_ms,
        whole=registry.is_whole(version),
        log=taught.get("log", {}),
        offsets=offsets,
        learned_from=taught.get("sha256", ""),
        tables=_tables(log, *offsets) if offsets and same else (),
    )


def _tables(log: Log, first: int, last: int) -> tuple[LearnedRows, ...]:
    """Offsets as rows: history stands before the impressions, oldest first."""
    history, found = log.history.height, []
    if first < history:
        end = min(last, history - 1)
        found.append(LearnedRows("log/history.parquet, oldest first", end - first + 1, first, end, (0, 0)))
    if last >= history:
        start, end = max(first - history, 0), last - history
        days = log.impressions.slice(start, end - start + 1).select(
            pl.col("day").min(), pl.col("day").max().alias("to")
        )
        found.append(LearnedRows("log/impressions.parquet", end - start + 1, start, end, days.row(0)))
    return tuple(found)


def _missing(registry: Registry, chain: tuple[Link, ...]) -> tuple[str, ...]:
    gaps = [f"version {one.version} is damaged" for one in chain if not one.whole]
    gaps += [f"version {one.version} does not say what it learned from" for one in chain if one.offsets is None]
    gaps += [
        f"version {one.version} learned from log {one.log.get('name')} {one.log.get('sha256', '')[:12]}, not from this one"
        for one in chain
        if one.offsets is not None and not one.tables
    ]
    held = {one.id for one in registry.versions()}
    for one in chain[-1:]:
        gaps += [
            f"its parent {parent} was deleted" for parent in registry.get(one.version).parents if parent not in held
        ]
    return tuple(gaps)


def model_lineage_text(found: ModelLineage) -> str:
    """The chain as a person reads it."""
    return "\n".join(_lines(found))


def _lines(found: ModelLineage) -> Iterator[str]:
    if found.request is not None:
        one = found.request
        yield f"request {one['request_id']} of user {one['user_id']} on {one['surface']}, {_utc(one['time_ms'])} by {one['stack']}"
        yield f"  items     {', '.join(map(str, one['items'][:8]))}{' …' if len(one['items']) > 8 else ''}"
        yield f"  features  {one['feature_set']}, as of offset {one['as_of']:,}"
    for depth, link in enumerate(found.chain):
        name = "from" if depth else "model"
        yield f"  {name:9} {link.version}, made {_utc(link.made_ms)}{'' if link.whole else ', damaged'}"
        if link.offsets is not None:
            log = f"{link.log.get('name')} {link.log.get('sha256', '')[:12]}"
            yield f"    learned {link.learned_from[:12]}: offsets {link.offsets[0]:,} to {link.offsets[1]:,} of log {log}"
        for part in link.tables:
            days = f", days {part.days[0]} to {part.days[1]}" if part.days[0] else ""
            yield f"      {part.table}: rows {part.first:,} to {part.last:,} ({part.rows:,}){days}"
    yield from (f"  gap       {gap}" for gap in found.gaps)


def _utc(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
