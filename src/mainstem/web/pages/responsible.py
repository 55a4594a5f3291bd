"""Responsible: which risks were assessed and are met, for whom a stack is worse, who is shown, and what a floor costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.requests import Request

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.site import Site

COMMAND: Final = "mainstem responsible"
FLOOR: Final = "mainstem mitigate"
OWN: Final = "unified"
HEAD: Final = "long_view"
Found = Mapping[str, Any]


async def page(site: Site, request: Request) -> Page:
    """The page from the evidence ``responsible`` (which holds the risk assessment) and ``mitigation``."""
    found = await site.evidence("responsible")
    floor = await site.evidence("mitigation")
    if not found:
        missing = Missing("Nothing was assessed in this workspace yet.", COMMAND)
        return Page("responsible", "No risk was assessed yet", missing=missing)
    return await site.off_loop(lambda: told(found, floor))


def told(found: Found, floor: Found | None) -> Page:
    """The whole page."""
    assessed = found["assessment"]
    facts = {
        "made": assessed["made"],
        "log": assessed["log"][:12],
        "model": assessed["model"],
        "rows": assessed["rows"],
        "notes": list(found["notes"]),
        "floor": bool(floor),
        "command": FLOOR,
    }
    figures = tuple(_floor(floor))
    tables = (
        _risks(assessed["risks"]),
        _slices(found["slices"]),
        _exposure(found["exposure"]),
        _canaries(found["canaries"]),
        *(figure.table for figure in figures),
    )
    return Page(
        "responsible",
        _heading(assessed["risks"]),
        "A risk is met when its whole interval is on the safe side of what was declared. The launch gate reads the same file.",
        tables=tables,
        figures=figures,
        facts=facts,
        again=COMMAND,
    )


def _heading(risks: list[Found]) -> str:
    counts = {state: sum(risk["state"] == state for risk in risks) for state in ("met", "not met", "not measured")}
    unmet = ", ".join(risk["name"] for risk in risks if risk["state"] == "not met")
    text = f"{counts['met']} of {len(risks)} risks are met"
    return text + (f"; not met: {unmet}" if unmet else "")


def _risks(risks: list[Found]) -> Table:
    rows = tuple(
        {
            "risk": risk["name"],
            "what": risk["what"],
            "found": _between(risk),
            "declared": f"{risk['bound']} {risk['threshold']:g}",
            "state": risk["state"],
            # What a canary found stands in a table of its own, below.
            "where": "" if risk["name"].startswith("leak") else risk["note"],
        }
        for risk in risks
    )
    columns = (
        Column("state", "State", "verdict"),
        Column("risk", "Risk"),
        Column("what", "What could go wrong"),
        Column("found", "Found"),
        Column("declared", "Declared"),
        Column("where", "Where, or why not"),
    )
    return Table("risks", "What was assessed", columns, rows)


def _between(risk: Found) -> str:
    if risk["value"] is None:
        return numbers.NONE
    told = f"{risk['value']:.3f}"
    return told if risk["low"] is None else f"{told} ({risk['low']:.3f}…{risk['high']:.3f})"


def _slices(slices: list[Found]) -> Table:
    """The unified stack on long views, every slice with enough rows."""
    rows = tuple(
        {
            "by": one["by"],
            "slice": one["slice"],
            "rows": one["rows"],
            "observed": one["over_observed"],
            "gauc": one["gauc"],
            "gap": one["gap"],
        }
        for one in slices
        if one["arm"] == OWN and one["head"] == HEAD and one["enough"]
    )
    columns = (
        Column("by", "By"),
        Column("slice", "Slice"),
        Column("rows", "Rows", "count"),
        Column("observed", "Predicted over observed", "level"),
        Column("gauc", "Within-user AUC", "metric"),
        Column("gap", "Above the whole", "interval"),
    )
    note = "Long views, the unified stack; the gap is to all rows, intervals over users. Slices with too few rows are left out."
    return Table("slices", "For whom it is better or worse", columns, rows, note)


def _exposure(exposure: list[Found]) -> Table:
    rows = tuple(
        {
            "arm": one["arm"],
            "gini": one["items"]["gini"],
            "top": one["items"]["top_share"],
            "reached": one["creators"]["reached"],
            "small": one["small_creators"],
            "new": one["new_items"],
            "popularity": one["popularity"],
        }
        for one in exposure
    )
    columns = (
        Column("arm", "Stack"),
        Column("gini", "Gini of items", "metric"),
        Column("top", "Top 1 % of items", "share"),
        Column("reached", "Creators reached", "share"),
        Column("small", "Small creators", "level"),
        Column("new", "New items", "level"),
        Column("popularity", "Past impressions", "level"),
    )
    note = "The last three are ratios to a random choice of the same rows: 1 is what chance would give."
    return Table("exposure", "Who is shown", columns, rows, note)


def _canaries(canaries: list[Found]) -> Table:
    rows = tuple(
        {
            "name": one["name"],
            "of": one["of"],
            "measured": one["measured"],
            "says": "clean" if one["clean"] else "leak",
            "right": "yes" if one["clean"] == one["expected_clean"] else "no",
        }
        for one in canaries
    )
    columns = (
        Column("name", "Canary"),
        Column("of", "Of"),
        Column("measured", "Found"),
        Column("says", "Says"),
        Column("right", "As expected"),
    )
    note = "Each is also tried on a planted cheat, which it must call a leak: a canary that never sings proves nothing."
    return Table("canaries", "What leaks", columns, rows, note)


def _floor(floor: Found | None) -> Iterator[Figure]:
    from mainstem.report.floor_front import floor_front_figure

    if floor:
        yield floor_front_figure(floor)
