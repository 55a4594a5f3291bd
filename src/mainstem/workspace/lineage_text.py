"""A lineage as a person reads it: what was served, by which model, and the rows behind the features."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from mainstem.features.dataset.lineage import EventRow
from mainstem.workspace.lineage import FeatureOrigin, Lineage, StateOrigin


def lineage_text(found: Lineage) -> str:
    """The whole of it, one line a fact."""
    return "\n".join(_lines(found))


def _lines(found: Lineage) -> Iterator[str]:
    slate = found.slate
    yield (
        f"item {found.item_id}, place {found.place + 1} of {len(slate.items)} on request {slate.request_id}"
        f" of user {slate.user_id} ({'served live' if found.origin == 'live' else 'a row of the imported log'})"
    )
    yield f"  served    {_utc(slate.time_ms)} by {slate.stack}, as of offset {slate.as_of:,}"
    if found.model:
        version = f"version {found.model['version']}, " if found.model.get("version") else ""
        yield f"  model     {version}card {found.model['card'][:12]}, features {found.model['signature']}"
    if found.model.get("log"):
        first, last = found.model["offsets"]
        yield (
            f"  learned   {found.model['learned_from'][:12]}: {found.model['rows']['train']:,} rows, offsets {first:,} to"
            f" {last:,} of log {found.model['log']['name']} {found.model['log']['sha256'][:12]}"
        )
    parts = ", ".join(f"{found.log[name]:,} {name}" for name in ("history", "impressions", "live"))
    yield f"  log       {found.log['name']} {found.log['sha256'][:12]}: {parts}"
    yield from (f"  dataset   {name} {sha[:12]}" for name, sha in found.datasets.items())
    yield f"  features  {slate.features_version}"
    if found.agree[1]:
        yield f"  as served {found.agree[0]} of {found.agree[1]} logged columns are equal to those computed again, in every bit"
    for one in found.features:
        yield _feature(one)
    for state in found.states:
        yield from _state(state)
    yield from (f"  gap       {gap}" for gap in found.gaps)


def _feature(one: FeatureOrigin) -> str:
    values = list(one.values.values())
    told = f"{values[0]:.6g}" if len(values) == 1 else f"[{len(values)} columns]"
    read = (
        "states " + ", ".join(f"#{number}" for number in one.states)
        if one.states
        else "no events: the request or a table"
    )
    return f"    {one.name} v{one.version} {one.fingerprint} = {told}: {one.events:,} events ({read})"


def _state(state: StateOrigin) -> Iterator[str]:
    key = ", ".join(f"{name} {value}" for name, value in state.key.items())
    spread = f", offsets {state.first_offset:,} to {state.last_offset:,}" if state.events else ""
    yield f"  #{state.number} {state.source} of {key}, {state.window}: {state.events:,} events{spread}"
    yield from (f"      {_row(row)}" for row in state.rows)


def _row(row: EventRow) -> str:
    return f"{row.segment} row {row.row:,}  offset {row.offset:,}  {_utc(row.time_ms)}"


def _utc(time_ms: int) -> str:
    if time_ms < 0:
        return "time not known"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
