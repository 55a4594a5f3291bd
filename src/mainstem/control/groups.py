"""Groups of items: a comparison of one item attribute, parsed and never run as code."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import ControlError, did_you_mean
from mainstem.base.request import Rows
from mainstem.features.catalog import Catalog

AGE: Final = "item_age_days"
"""Days since the item was made, as of the request."""

CREATOR_ITEMS: Final = "creator_items"
"""Items the catalog holds of the item's creator."""

_DAY_MS: Final = 86_400_000
_SHORT: Final = {"creator": "creator_id", "entity": "entity_id", "audio": "audio_id"}
_COMPARED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON: Final = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|!=|==|=|<|>)\s*(.+?)\s*")


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Items for which one comparison holds.

    Attributes:
        text: The comparison.
        attribute: What it compares.
        mask: By catalog row, the unknown item's last; for an age the creation time takes part too. Shapes: [n + 1].
        value: The value, where the comparison is an equality; else None.
        created_ms: By catalog row, for a comparison of the age. Shapes: [n + 1].
    """

    text: str
    attribute: str
    mask: NDArray[np.bool_]
    value: float | str | None = None
    created_ms: NDArray[np.int64] | None = None
    compare: Callable[[Any, Any], Any] = operator.le
    days: float = 0.0

    def holds(self, rows: Rows, now_ms: int) -> NDArray[np.bool_]:
        """Which of these catalog rows belong to it now. Shapes: [n]."""
        if self.created_ms is None:
            return self.mask[rows]
        age = (now_ms - self.created_ms[rows]) / _DAY_MS
        return self.mask[rows] & self.compare(age, self.days)

    def rows_now(self, now_ms: int) -> NDArray[np.bool_]:
        """Which catalog rows belong to it now, the unknown item's last. Shapes: [n + 1]."""
        return self.holds(np.arange(len(self.mask)), now_ms)


class ItemAttributes:
    """The attributes of a catalog's items that caps, spacing, quotas and groups may name.

    Every integer, float, text and truth column of the items table; ``creator``, ``entity`` and ``audio`` for their ids;
    ``creator_items`` and ``item_age_days``.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        table = catalog.item_table
        plain = [name for name in table.columns if _is_plain(table.schema[name])]
        short = [name for name, column in _SHORT.items() if column in plain]
        derived = [CREATOR_ITEMS] * ("creator_id" in plain) + [AGE] * ("created_ms" in plain)
        self.names = (*short, *plain, *derived)
        self._codes: dict[str, NDArray[np.int32]] = {}

    def __len__(self) -> int:
        return self._catalog.item_table.height

    def codes(self, name: str) -> NDArray[np.int32]:
        """A number from 1 for each value of an attribute by catalog row, 0 where it is unknown. Shapes: [n + 1].

        Raises:
            ControlError: No item has this attribute (``control-002``).
        """
        if name not in self._codes:
            values, known = self._values(name)
            codes = np.zeros(len(values) + 1, np.int32)
            codes[:-1][known] = np.unique(values[known], return_inverse=True)[1] + 1
            self._codes[name] = codes
        return self._codes[name]

    def filled(self, name: str) -> int:
        """How many items have a known value of this attribute."""
        return int(self._values(name)[1].sum())

    def group(self, text: str) -> Group:
        """The items for which a comparison such as ``creator_items <= 3`` or ``kind = AD`` holds.

        Raises:
            ControlError: It is not one comparison of an attribute with a value (``control-003``), compares text with ``<``, or a
                number with text (``control-004``), or there is no such attribute (``control-002``).
        """
        read = _COMPARISON.fullmatch(text)
        if read is None:
            raise ControlError(
                f"found {text!r}, expected one comparison of an item attribute with a value",
                code="control-003",
                hint='write it like "creator_items <= 3" or "kind = AD"',
            )
        name, sign, right = read.groups()
        compare = _COMPARED[sign]
        values, known = self._values(name)
        value = _value(right, values.dtype.kind, sign, text)
        equal = value if compare is operator.eq else None
        if name == AGE:
            created = np.append(values.astype(np.int64), 0)
            return Group(text, name, np.append(known, False), None, created, compare, float(value))
        mask = np.zeros(len(values) + 1, np.bool_)
        mask[:-1][known] = compare(values[known], value)
        return Group(text, name, mask, equal)

    def _values(self, name: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The values of an attribute and where they are known; the age's are creation times. Shapes: [n], [n]."""
        if name not in self.names:
            raise ControlError(
                f"found the item attribute {name!r}, which the catalog's items do not have",
                code="control-002",
                hint=did_you_mean(name, self.names),
            )
        table = self._catalog.item_table
        if name == CREATOR_ITEMS:
            creators = self._catalog.items.creator[:-1]
            return np.bincount(creators, minlength=1)[creators], creators > 0
        column = table["created_ms" if name == AGE else _SHORT.get(name, name)]
        if column.dtype == pl.String:
            return column.fill_null("").to_numpy().astype(str), (column.fill_null("") != "").to_numpy()
        if column.dtype.is_float():
            floats = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            return floats, np.isfinite(floats)
        whole = column.cast(pl.Int64).fill_null(-1).to_numpy()
        return whole, whole >= 0


def column_of(name: str) -> str:
    """The column an attribute's name stands for: ``creator`` and ``creator_id`` are one."""
    return _SHORT.get(name, name)


def _is_plain(kind: pl.DataType) -> bool:
    return kind.is_integer() or kind.is_float() or kind in (pl.String, pl.Boolean)


def _value(right: str, kind: str, sign: str, text: str) -> float | str:
    """What the attribute is compared with: a number for a number, a word for a word."""
    if kind == "U":
        if sign not in ("=", "==", "!="):
            raise ControlError(
                f"found {text!r}, expected = or !=: its attribute is a word, and words have no order",
                code="control-004",
            )
        return right.strip("\"'")
    try:
        return float(right)
    except ValueError:
        raise ControlError(
            f"found {text!r}, expected a number on its right: its attribute is a number", code="control-004"
        ) from None
