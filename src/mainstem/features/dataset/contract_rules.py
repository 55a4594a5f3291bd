"""Which rows break a rule of a contract: one rule at a time, and no rule passed over in silence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import polars as pl

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.breach import Breach
from mainstem.features.dataset.odcs import LogicalType, Property, Quality, SchemaObject

_LIMITS: Final[dict[str, Callable[[pl.Series, Any], pl.Series]]] = {
    "minimum": lambda values, limit: values >= limit,
    "maximum": lambda values, limit: values <= limit,
    "exclusiveMinimum": lambda values, limit: values > limit,
    "exclusiveMaximum": lambda values, limit: values < limit,
    "multipleOf": lambda values, limit: values % limit == 0,
    "minLength": lambda values, limit: values.str.len_chars() >= limit,
    "maxLength": lambda values, limit: values.str.len_chars() <= limit,
    "pattern": lambda values, limit: values.str.contains(limit),
    "minItems": lambda values, limit: values.list.len() >= limit,
    "maxItems": lambda values, limit: values.list.len() <= limit,
}
_SIZES: Final = ("format",)


def column_rules(frame: pl.DataFrame, column: Property) -> Iterator[Breach | None]:
    """Every rule of one column."""
    if column.name not in frame.columns:
        yield Breach(column.name, "is there", 0, -1, f"found the columns {', '.join(frame.columns)}")
        return
    values = frame[column.name]
    wrong_type = _type_rule(values, column)
    yield wrong_type
    if column.required or column.primary_key:
        yield _broken(values, "required", values.is_null())
    if column.unique:
        yield _broken(values, "unique", values.is_duplicated() & values.is_not_null())
    if wrong_type is None:
        for name, limit in column.logical_type_options.items():
            if name in _SIZES:
                continue
            if name not in _LIMITS:
                raise _not_here(column.name, name)
            fine = _LIMITS[name](values, limit)
            yield _broken(values, f"{name} {limit}", ~fine & values.is_not_null())
        for rule in column.quality:
            yield _quality(pl.DataFrame({column.name: values}), column.name, rule)


def table_rules(frame: pl.DataFrame, schema: SchemaObject) -> Iterator[Breach | None]:
    """The rules of the whole table, its primary key among them."""
    keys = sorted((one.primary_key_position or 0, one.name) for one in schema.properties if one.primary_key)
    key = [name for _, name in keys]
    if key and set(key) <= set(frame.columns):
        yield _count_rule(
            "", f"primary key {', '.join(key)}", frame.select(key), frame.select(key).is_duplicated(), None
        )
    for rule in schema.quality:
        yield _quality(frame, "", rule)


def logical_type_of(kind: pl.DataType) -> tuple[LogicalType, str | None]:
    """What the standard calls a polars type, and its size."""
    if kind == pl.Boolean:
        return "boolean", None
    if kind.is_integer():
        return "integer", str(kind).lower().replace("uint", "u").replace("int", "i")
    if kind.is_float():
        return "number", str(kind).lower().replace("float", "f")
    return ("array", None) if kind.is_nested() else ("string", None)


def _type_rule(values: pl.Series, column: Property) -> Breach | None:
    logical, size = logical_type_of(values.dtype)
    wanted = column.logical_type_options.get("format")
    same = column.logical_type in (None, logical) and (wanted is None or size is None or wanted == size)
    rule = f"is {column.logical_type or 'any'}" + (f" {wanted}" if wanted else "")
    return None if same else Breach(column.name, rule, 0, -1, f"found {values.dtype}")


def _quality(frame: pl.DataFrame, column: str, rule: Quality) -> Breach | None:
    if rule.type == "text":
        return None
    if rule.type != "library" or rule.metric not in _METRICS:
        raise _not_here(column, rule.metric or rule.type)
    if rule.metric == "rowCount":
        fine = _within(frame.height, rule)
        return None if fine else Breach(column, f"rowCount {_said(rule)}", 0, -1, f"found {frame.height:,} rows")
    return _count_rule(column, rule.metric, frame, _METRICS[rule.metric](frame, column, rule.arguments), rule)


def _count_rule(column: str, name: str, frame: pl.DataFrame, bad: pl.Series, rule: Quality | None) -> Breach | None:
    count = int(bad.sum())
    share = 100 * count / max(frame.height, 1)
    found = share if rule is not None and rule.unit == "percent" else count
    if _within(found, rule) if rule is not None else not count:
        return None
    first = int(np.flatnonzero(bad.to_numpy())[0]) if count else -1
    said = name if rule is None else f"{name} {_said(rule)}"
    shown = frame.select(column) if column else frame
    return Breach(column, said, count, first, str(shown.row(first)) if first >= 0 else f"found {found:g}")


def _invalid(frame: pl.DataFrame, column: str, arguments: dict[str, Any]) -> pl.Series:
    values = frame[column]
    bad = pl.Series([False]).new_from_index(0, frame.height)
    if "validValues" in arguments:
        bad = bad | ~values.is_in(arguments["validValues"])
    if "pattern" in arguments:
        bad = bad | ~values.str.contains(re.compile(arguments["pattern"]).pattern)
    return bad.fill_null(False) & values.is_not_null()


def _duplicates(frame: pl.DataFrame, column: str, arguments: dict[str, Any]) -> pl.Series:
    names = [column] if column else list(arguments.get("properties", ()))
    for name in names or ["properties"]:
        if name not in frame.columns:
            raise _not_here(column, f"duplicateValues of {name}")
    return frame.select(names).is_duplicated()


def _missing(frame: pl.DataFrame, column: str, arguments: dict[str, Any]) -> pl.Series:
    named = [one for one in arguments.get("missingValues", []) if one is not None]
    absent = frame[column].is_null()
    return absent | frame[column].is_in(named).fill_null(False) if named else absent


_METRICS: Final[dict[str, Callable[[pl.DataFrame, str, dict[str, Any]], pl.Series]]] = {
    "nullValues": lambda frame, column, _: frame[column].is_null(),
    "missingValues": _missing,
    "invalidValues": _invalid,
    "duplicateValues": _duplicates,
    "rowCount": lambda frame, *_: pl.Series([False]).new_from_index(0, frame.height),
}


def _limits(rule: Quality) -> Iterator[tuple[str, Any, Callable[[float], bool]]]:
    """What a count must be: the words, the limit, and the test."""
    tests: tuple[tuple[str, Any, Callable[[float], bool]], ...] = (
        ("must be", rule.must_be, lambda found: found == rule.must_be),
        ("must not be", rule.must_not_be, lambda found: found != rule.must_not_be),
        ("must be above", rule.must_be_greater_than, lambda found: found > (rule.must_be_greater_than or 0)),
        (
            "must be at least",
            rule.must_be_greater_or_equal_to,
            lambda found: found >= (rule.must_be_greater_or_equal_to or 0),
        ),
        ("must be below", rule.must_be_less_than, lambda found: found < (rule.must_be_less_than or 0)),
        ("must be at most", rule.must_be_less_or_equal_to, lambda found: found <= (rule.must_be_less_or_equal_to or 0)),
        ("must be between", rule.must_be_between, lambda found: _between(found, rule.must_be_between)),
        ("must not be between", rule.must_not_be_between, lambda found: not _between(found, rule.must_not_be_between)),
    )
    return (one for one in tests if one[1] is not None)


def _within(found: float, rule: Quality) -> bool:
    limits = list(_limits(rule))
    if not limits:
        raise _not_here("", f"{rule.metric} without a limit")
    return all(test(found) for _, _, test in limits)


def _said(rule: Quality) -> str:
    return " and ".join(f"{words} {limit}" for words, limit, _ in _limits(rule)) + (
        " %" if rule.unit == "percent" else ""
    )


def _between(found: float, ends: tuple[float, float] | None) -> bool:
    return ends is not None and ends[0] <= found <= ends[1]


def _broken(values: pl.Series, rule: str, bad: pl.Series) -> Breach | None:
    rows = np.flatnonzero(bad.fill_null(False).to_numpy())
    if not len(rows):
        return None
    first = int(rows[0])
    return Breach(values.name, rule, len(rows), first, repr(values[first]))


def _not_here(column: str, rule: str) -> FeatureError:
    return FeatureError(
        f"the contract has a rule {rule!r} for {column or 'the table'} that cannot be checked here",
        code="feature-092",
        hint="check it with the engine it is written for, or write it as a library metric",
    )
