"""What do a log and a training set promise: their data contracts, and the refusal of rows that break one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import polars as pl
import pyarrow as pa

from mainstem.base.errors import FeatureError
from mainstem.base.heads import HEADS
from mainstem.data.manifest import Manifest
from mainstem.data.sources import EARLIEST_MS, LATEST_MS
from mainstem.data.tables import TABLES, Table
from mainstem.features.dataset.breach import Breach
from mainstem.features.dataset.contract_rules import column_rules, table_rules
from mainstem.features.dataset.odcs import (
    API_VERSION,
    Contract,
    CustomProperty,
    Description,
    Items,
    LogicalType,
    Property,
    Quality,
    SchemaObject,
    Sla,
    Team,
)
from mainstem.features.dataset.record import Column, DatasetRecord

_FLAGS: Final = frozenset({*HEADS, "viewed", "integrity"})
_BOUNDS: Final[dict[str, dict[str, float]]] = {
    "time_ms": {"minimum": EARLIEST_MS, "maximum": LATEST_MS},
    "position": {"minimum": -1},
    "watch_ms": {"minimum": 0},
    "propensity": {"exclusiveMinimum": 0, "maximum": 1},
}
"""What stands in the columns of impressions; ``mainstem data check`` looks at more, between tables too."""


def log_contract(manifest: Manifest, owner: str = "not stated", sla: Iterable[Sla] = ()) -> Contract:
    """The contract of a log folder: every table with its columns, keys and bounds.

    Args:
        owner: The team that answers for the log.
        sla: Promises of who writes it, such as how late feedback may come.
    """
    return Contract(
        api_version=API_VERSION,
        kind="DataContract",
        id=f"urn:mainstem:log:{manifest.name}",
        version=f"{manifest.format}.0.0",
        status="active",
        name=manifest.name,
        description=Description(
            purpose="what was shown to whom, and what came of it",
            limitations="made: its numbers never stand in for a real log's" if manifest.made else None,
        ),
        schema=tuple(_log_table(table) for table in TABLES.values()),
        team=Team(name=owner),
        sla_properties=tuple(sla),
        custom_properties=_facts(sha256=manifest.sha256, licence=manifest.licence, loader=manifest.loader),
    )


def dataset_contract(record: DatasetRecord, owner: str = "not stated", sla: Iterable[Sla] = ()) -> Contract:
    """The contract of a training set: its columns by role, its rows, and what they were made from."""
    waits = tuple(
        Sla(
            property="latency",
            value=rule.window_ms / 1000,
            unit="s",
            element=f"rows.{rule.columns[0]}",
            description="a label is known this long after its impression, not before",
        )
        for rule in record.rules
    )
    rows = SchemaObject(
        name="rows",
        logical_type="object",
        physical_type="parquet",
        description="one impression that a rule has a label for",
        properties=tuple(_dataset_property(column) for column in record.columns),
        quality=(
            Quality(type="library", metric="rowCount", must_be=record.rows),
            _none("duplicateValues", "an impression is in the set once", properties=["offset"]),
        ),
    )
    return Contract(
        api_version=API_VERSION,
        kind="DataContract",
        id=f"urn:mainstem:dataset:{record.sha256}",
        version=f"{record.format}.0.0",
        status="active",
        name=record.name,
        description=Description(
            purpose="what the ranker learns from",
            limitations="made: its numbers never stand in for a real log's" if record.log.made else None,
        ),
        schema=(rows,),
        team=Team(name=owner),
        sla_properties=(*waits, *sla),
        custom_properties=_facts(
            sha256=record.sha256,
            featuresVersion=record.features_version,
            logSha256=record.log.sha256,
            offsets=[record.log.first_offset, record.log.last_offset],
            labelRules=msgspec.json.decode(msgspec.json.encode(record.rules)),
        ),
    )


def check_contract(table: pa.Table | pl.DataFrame, contract: Contract, name: str | None = None) -> int:
    """Do all rows keep the contract: how many rules were looked at.

    Args:
        name: Which of its tables; the only one when not given.

    Raises:
        FeatureError: Rows break a rule (``feature-091``), or a rule cannot be checked here (``feature-092``).
    """
    looked, broken = 0, []
    for breach in breaches(table, contract.table(name)):
        looked += 1
        broken += [breach] if breach is not None else []
    if broken:
        more = f" (and {len(broken) - 1} other rules are broken)" if len(broken) > 1 else ""
        raise FeatureError(
            f"found rows that break contract {contract.id}: {broken[0]}{more}",
            code="feature-091",
            hint="mend the rows where they are written, or agree on another contract",
        )
    return looked


def breaches(table: pa.Table | pl.DataFrame, schema: SchemaObject) -> Iterator[Breach | None]:
    """Every rule of one table in turn: how it is broken, or ``None``."""
    frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)
    for column in schema.properties:
        yield from column_rules(frame, column)
    yield from table_rules(frame, schema)


def _log_table(table: Table) -> SchemaObject:
    fields = {one.name: one.type for one in table.empty().to_arrow().schema}
    properties = []
    for column in table.columns:
        place = table.key.index(column.name) + 1 if column.name in table.key else None
        properties.append(
            _property(
                column.name,
                fields[column.name],
                description=column.meaning,
                required=not column.nullable,
                primary_key=place is not None,
                primary_key_position=place,
                bounds=_BOUNDS.get(column.name, {}) if table.name == "impressions" else {},
            )
        )
    return SchemaObject(
        name=table.name,
        logical_type="object",
        physical_type="parquet",
        physical_name=table.file,
        properties=tuple(properties),
        quality=(_none("duplicateValues", "a key names one row", properties=list(table.key)),),
    )


def _dataset_property(column: Column) -> Property:
    kind = _arrow_type(column.type)
    label = column.role == "label"
    return _property(
        column.name,
        kind,
        description=f"{column.role}; sha256 by part: {column.sha256}",
        required=column.role == "row",
        unique=column.name == "offset",
        primary_key=column.name == "offset",
        primary_key_position=1 if column.name == "offset" else None,
        flag=label,
        bounds={"minimum": 0} if column.role == "delay" else {},
    )


def _property(name: str, kind: pa.DataType, *, flag: bool = False, bounds: dict[str, float], **more: Any) -> Property:
    logical, form = logical_type(kind)
    items = Items(logical_type=logical_type(kind.value_type)[0]) if logical == "array" else None
    quality = (_none("invalidValues", "0 or 1", validValues=[0, 1]),) if flag or name in _FLAGS else ()
    options = (form | bounds) if logical != "array" else {}
    return Property(
        name=name,
        logical_type=logical,
        physical_type=str(kind),
        items=items,
        quality=quality,
        logical_type_options=options,
        **more,
    )


def logical_type(kind: pa.DataType) -> tuple[LogicalType, dict[str, Any]]:
    """What the standard calls an Arrow type, and how many bits it has."""
    if pa.types.is_boolean(kind):
        return "boolean", {}
    if pa.types.is_integer(kind):
        return "integer", {"format": f"{'i' if pa.types.is_signed_integer(kind) else 'u'}{kind.bit_width}"}
    if pa.types.is_floating(kind):
        return "number", {} if kind.bit_width < 32 else {"format": f"f{kind.bit_width}"}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "array", {}
    return "string", {}


def _arrow_type(text: str) -> pa.DataType:
    """The type that a record names; a list needs only to be known as one of numbers or texts."""
    if text.endswith(("]", ">")):
        inner = text[text.index("<") + 1 : text.rindex(">")].removeprefix("element: ").removeprefix("item: ")
        return pa.list_(_arrow_type(inner.removesuffix(" not null")))
    return pa.type_for_alias(text)


def _none(metric: str, why: str, **arguments: Any) -> Quality:
    return Quality(type="library", metric=metric, arguments=arguments, must_be=0, unit="rows", description=why)


def _facts(**facts: Any) -> tuple[CustomProperty, ...]:
    return tuple(CustomProperty(property=name, value=value) for name, value in facts.items())
