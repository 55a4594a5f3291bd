"""A table that a page, a CSV file and a JSON answer share: raw values with a way to show each column."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from mainstem.report import numbers

Kind = Literal[
    "text",
    "id",
    "count",
    "metric",
    "difference",
    "interval",
    "change",
    "level",
    "share",
    "value",
    "ms",
    "seconds",
    "verdict",
]
Row = Mapping[str, Any]

_SHOWN: Final[dict[str, Callable[[Any], str]]] = {
    "count": numbers.count,
    "metric": numbers.metric,
    "difference": numbers.signed,
    "interval": numbers.interval,
    "change": numbers.change,
    "level": numbers.level,
    "share": numbers.share,
    "value": numbers.value,
    "ms": numbers.milliseconds,
    "seconds": numbers.duration_s,
}
_RISKY_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a text cell that starts so; such cells get an apostrophe in front."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: where its value stands in a row, its heading, and how it is shown.

    Args:
        link: Key of the row's value that holds an address of ours for this cell.
        best: Key of the row's value that names the best column of the row, which is set in bold.
    """

    key: str
    title: str
    kind: Kind = "text"
    link: str = ""
    best: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it is set to the right."""
        return self.kind in _SHOWN

    def shown(self, row: Row) -> str:
        """The cell as a person reads it."""
        value = row.get(self.key)
        if self.kind in _SHOWN:
            return _SHOWN[self.kind](value)
        if value is None or value in ("", (), []):
            return numbers.NONE
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with a caption that says what they are."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def as_rows(self) -> list[dict[str, Any]]:
        """The rows as flat raw values; an interval becomes three columns."""
        return [_flat(self.columns, row) for row in self.rows]

    def as_csv(self) -> str:
        """The same rows as CSV."""
        out = io.StringIO()
        header = list(_flat(self.columns, {}))
        writer = csv.DictWriter(out, header, lineterminator="\r\n")
        writer.writeheader()
        for row in self.as_rows():
            writer.writerow({key: _inert(value) for key, value in row.items()})
        return out.getvalue()


def _flat(columns: Sequence[Column], row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for column in columns:
        value = row.get(column.key)
        if column.kind in ("interval", "change", "level"):
            found = value or {}
            flat |= {
                column.key: found.get("mid"),
                f"{column.key}_low": found.get("low"),
                f"{column.key}_high": found.get("high"),
            }
        else:
            flat[column.key] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return flat


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_RISKY_STARTS) else value
