"""How a contract is broken: which column, which rule, and the first row that does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Breach:
    """One rule that some rows break.

    Attributes:
        column: Which; "" for a rule of the whole table.
        rule: Which.
        rows: How many rows break it.
        first_row: The first that does, from 0; -1 when it is not about a row.
        found: What stands there.
    """

    column: str
    rule: str
    rows: int
    first_row: int
    found: str

    def __str__(self) -> str:
        where = f"column {self.column!r}" if self.column else "the table"
        row = f"; first in row {self.first_row}: {self.found}" if self.first_row >= 0 else f": {self.found}"
        return (
            f"{where} breaks {self.rule!r} in {self.rows:,} rows{row}"
            if self.rows
            else f"{where} breaks {self.rule!r}{row}"
        )
