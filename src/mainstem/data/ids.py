"""Which 64-bit number is this id: numbers stay what they are, texts are numbered once and the table is kept."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True)
class Numbering:
    """How the ids of one kind became numbers; ``table`` (text, id) is empty when they were numbers already."""

    table: pl.DataFrame

    @property
    def by_text(self) -> bool:
        """Whether the source's ids are texts."""
        return self.table.height > 0

    def apply(self, ids: pl.Series) -> pl.Series:
        """The numbers of some ids; null where there is none: null, negative, fractional, or beyond 2**63 - 1."""
        if not self.by_text:
            return as_number(ids)
        texts = pl.DataFrame({"text": ids.cast(pl.String)})
        return texts.join(self.table, on="text", how="left", maintain_order="left").get_column("id").alias(ids.name)


def number_ids(*columns: pl.Series) -> Numbering:
    """The numbering of all the ids in some columns, dense in the order they are met (first column first).

    Later rows only add numbers at the end, so a log that grows keeps its ids.
    """
    if not any(column.dtype in (pl.String, pl.Categorical, pl.Enum) for column in columns):
        return Numbering(pl.DataFrame(schema={"text": pl.String, "id": pl.Int64}))
    texts = pl.concat([column.cast(pl.String).alias("text") for column in columns])
    distinct = texts.filter(texts.is_not_null() & (texts != "")).unique(maintain_order=True)
    return Numbering(pl.DataFrame({"text": distinct, "id": pl.int_range(distinct.len(), eager=True)}))


def as_number(ids: pl.Series) -> pl.Series:
    """Numeric ids as int64; null where a number is no id."""
    if ids.dtype.is_float():
        whole = (ids == ids.floor()) & (ids.abs() < _EXACT_FLOAT)
        ids = ids.set(~whole.fill_null(False), None)
    numbers = ids.cast(pl.Int64, strict=False)
    return numbers.set((numbers < 0).fill_null(False), None)
