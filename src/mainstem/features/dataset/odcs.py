"""A data contract as the Open Data Contract Standard writes it: objects, columns, quality, promises and who answers.

Source: Open Data Contract Standard v3.1.0 (Bitol, Linux Foundation AI & Data), its JSON schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from mainstem.base.errors import FeatureError

API_VERSION: Final = "v3.1.0"
SUFFIX: Final = ".odcs.yaml"

LogicalType = Literal["string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean"]


class _Odcs(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class Quality(_Odcs, frozen=True):
    """One rule: a metric that is counted, and what the count must be.

    Attributes:
        type: ``library`` can be checked here; ``text`` is for people; ``sql`` and ``custom`` need another engine.
        metric: ``nullValues``, ``missingValues``, ``invalidValues``, ``duplicateValues`` or ``rowCount``.
        unit: ``rows`` or ``percent`` of the rows.
    """

    type: Literal["text", "library", "sql", "custom"]
    metric: str | None = None
    arguments: dict[str, Any] = {}
    unit: str | None = None
    description: str | None = None
    must_be: float | None = None
    must_not_be: float | None = None
    must_be_greater_than: float | None = None
    must_be_greater_or_equal_to: float | None = None
    must_be_less_than: float | None = None
    must_be_less_or_equal_to: float | None = None
    must_be_between: tuple[float, float] | None = None
    must_not_be_between: tuple[float, float] | None = None


class CustomProperty(_Odcs, frozen=True):
    """A fact the standard has no field for."""

    property: str
    value: Any


class Items(_Odcs, frozen=True):
    """What the elements of a list are."""

    logical_type: LogicalType | None = None
    physical_type: str | None = None


class Property(_Odcs, frozen=True):
    """One column."""

    name: str
    logical_type: LogicalType | None = None
    physical_type: str | None = None
    description: str | None = None
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    primary_key_position: int | None = None
    logical_type_options: dict[str, Any] = {}
    items: Items | None = None
    quality: tuple[Quality, ...] = ()
    custom_properties: tuple[CustomProperty, ...] = ()


class SchemaObject(_Odcs, frozen=True):
    """One table."""

    name: str
    logical_type: Literal["object"] | None = None
    physical_type: str | None = None
    physical_name: str | None = None
    description: str | None = None
    properties: tuple[Property, ...] = ()
    quality: tuple[Quality, ...] = ()


class Member(_Odcs, frozen=True):
    """A person who answers for the data."""

    username: str
    role: str | None = None


class Team(_Odcs, frozen=True):
    """Who answers for the data."""

    name: str | None = None
    members: tuple[Member, ...] = ()


class Sla(_Odcs, frozen=True):
    """One promise, such as how long after the event the data is there."""

    property: str
    value: str | float | int | bool | None
    unit: str | None = None
    element: str | None = None
    description: str | None = None


class Description(_Odcs, frozen=True):
    """What the data is for, and what it cannot answer."""

    purpose: str | None = None
    usage: str | None = None
    limitations: str | None = None


class Contract(_Odcs, frozen=True):
    """What a producer promises and a consumer may rely on."""

    api_version: str
    kind: Literal["DataContract"]
    id: str
    version: str
    status: str
    name: str | None = None
    domain: str | None = None
    description: Description | None = None
    schema: tuple[SchemaObject, ...] = ()
    team: Team | None = None
    sla_properties: tuple[Sla, ...] = ()
    custom_properties: tuple[CustomProperty, ...] = ()

    def table(self, name: str | None = None) -> SchemaObject:
        """One of its tables; the only one when not named.

        Raises:
            FeatureError: There is no such table, or more than one and none named (``feature-092``).
        """
        found = [one for one in self.schema if name in (None, one.name)]
        if len(found) != 1:
            raise FeatureError(
                f"contract {self.id} has the tables {', '.join(one.name for one in self.schema)}, expected one for {name!r}",
                code="feature-092",
                hint="name the table",
            )
        return found[0]


def write_contract(path: Path, contract: Contract) -> None:
    """Writes the contract as YAML that is also JSON (YAML 1.2 holds every JSON text), so that any tool reads it."""
    if not path.name.endswith(SUFFIX):
        raise _unreadable(f"found the name {path.name}, expected one that ends in {SUFFIX}")
    half = path.with_name(f".{path.name}.partial")
    half.write_bytes(msgspec.json.format(msgspec.json.encode(contract), indent=2) + b"\n")
    half.replace(path)


def read_contract(path: Path) -> Contract:
    """A contract that was written in the JSON form of YAML.

    Raises:
        FeatureError: It is not there, cannot be read, or is of another version (``feature-092``).
    """
    try:
        contract = msgspec.json.decode(path.read_bytes(), type=Contract)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(f"found no contract in JSON form at {path}: {error}") from error
    if not contract.api_version.startswith("v3."):
        raise _unreadable(f"found version {contract.api_version} of the standard at {path}, expected v3")
    return contract


def _unreadable(what: str) -> FeatureError:
    return FeatureError(
        what,
        code="feature-092",
        hint="a contract written in YAML's short form is read here once it is written as JSON",
    )
