"""What a page is before it is drawn: an answer, what it rests on, its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mainstem.report.figure import Figure
from mainstem.report.table import Table

SHAPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("holds", "not worse", "go", "moved", "met"), "●"),
    **dict.fromkeys(("undecided", "hold", "held", "not measured"), "▲"),
    **dict.fromkeys(("does not hold", "worse", "roll back", "rolled back", "not met"), "■"),
    **dict.fromkeys(("green", "in date", "fits"), "●"),
    **dict.fromkeys(("NON-INFERIOR", "NEUTRAL", "WIN", "holdback", "landed"), "●"),
    **dict.fromkeys(("INCONCLUSIVE", "PAUSE", "paused"), "▲"),
    **dict.fromkeys(("INVALID", "HARM", "stopped"), "■"),
    **dict.fromkeys(("shadow", "ramp", "judged"), "○"),
    **dict.fromkeys(("grey", "no gate"), "○"),
    **dict.fromkeys(("red", "expired", "too small"), "■"),
}
"""A verdict is told by word, shape and colour; any two of them can be missed."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a page or a part of it is empty, and the command that fills it."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Args:
        name: Its address without the slash, ``""`` for the first.
        heading: The answer, as a sentence.
        lead: What the answer rests on.
        answer: The verdict, where the page gives one.
        mark: What stands beside the verdict's shape where the one word would say too much.
        source: ``real`` or ``made``; empty when it does not matter.
        tables: In the order of the page; the first is what ``.csv`` gives unless one is named.
        figures: By name.
        facts: Anything else the template shows; also in the JSON twin.
        again: The command that makes the page's content.
        query: What the address asked, for the twins' addresses.
        status: The HTTP status.
    """

    name: str
    heading: str
    lead: str = ""
    answer: str = ""
    source: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    missing: Missing | None = None
    again: str = ""
    query: str = ""
    status: int = 200
    mark: str = ""

    def table(self, name: str) -> Table | None:
        """The table of this name, or None."""
        return next((table for table in self.tables if table.name == name), None)

    def figure(self, name: str) -> Figure | None:
        """The figure of this name, or None."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        """The JSON twin: everything the page says, unrounded."""
        return {
            "page": self.name or "overview",
            "heading": self.heading,
            "lead": self.lead,
            "answer": self.answer,
            "source": self.source,
            "missing": None if self.missing is None else {"text": self.missing.text, "command": self.missing.command},
            "facts": dict(self.facts),
            "tables": {table.name: {"caption": table.caption, "rows": table.as_rows()} for table in self.tables},
            "again": self.again,
        }
