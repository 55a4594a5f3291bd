"""What did a check find: an answer, how many rows, a sentence, and up to five of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import polars as pl

from mainstem.data.checks.subject import Subject

Answer = Literal["PASS", "WARN", "FAIL"]
EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of one check.

    Attributes:
        count: Rows (or ids, or columns) it is about.
        of: Out of how many.
        examples: Up to five of them.
    """

    check: str
    answer: Answer
    sentence: str
    count: int = 0
    of: int = 0
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def share(self) -> float:
        """The share of rows it is about."""
        return self.count / self.of if self.of else 0.0


class Check(Protocol):
    """One question asked of a log. Each stands in a file of its own."""

    name: str
    """What the report calls it."""

    def look(self, subject: Subject) -> list[Finding]:
        """What this check finds; at least one finding."""
        ...


def rows_finding(
    check: str,
    found: pl.DataFrame,
    of: int,
    sentence: str,
    *,
    fine: str,
    answer: Answer = "WARN",
    columns: Sequence[str] = (),
) -> Finding:
    """A finding about rows: ``answer`` with examples when there are any, else PASS with the ``fine`` sentence."""
    if found.is_empty():
        return Finding(check, "PASS", fine, 0, of)
    shown = [name for name in columns if name in found.columns] or found.columns
    return Finding(check, answer, sentence, found.height, of, tuple(found.select(shown).head(EXAMPLES).to_dicts()))


def worst(findings: Sequence[Finding]) -> Answer:
    """The worst answer of some findings."""
    answers = {finding.answer for finding in findings}
    return "FAIL" if "FAIL" in answers else "WARN" if "WARN" in answers else "PASS"
