"""Migration: how far each surface of a made world moved to the new stack, and which margin held or stopped it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.requests import Request

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.ramp import readings, rungs
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.pages.side_by_side import Summary
from mainstem.web.site import Site

COMMAND: Final = "mainstem demo"
Found = Mapping[str, Any]
_STATES: Final = {"not worse": "holds", "worse": "does not hold", "undecided": "undecided"}


async def page(site: Site, request: Request) -> Page:
    """The page from the evidence ``migration``."""
    found = await site.evidence("migration")
    if found is None:
        missing = Missing("No migration has been tried in a made world yet.", COMMAND)
        return Page("migration", "No migration yet", missing=missing)
    return await site.off_loop(lambda: told(found))


def summary(found: Found) -> Summary:
    """How many surfaces moved, for the overview."""
    decisions = [verdict["decision"] for verdict in found["verdicts"]]
    moved, new = decisions.count("go"), found["plan"]["new"]
    if decisions and moved == len(decisions):
        return Summary(f"All {moved} surfaces moved to {new}, each by its own evidence", "moved")
    parts = [f"{moved} of {len(decisions)} surfaces moved to {new}"]
    for decision, words in (("roll back", "rolled back"), ("hold", "held")):
        names = [verdict["surface"] for verdict in found["verdicts"] if verdict["decision"] == decision]
        parts += [f"{numbers.listed(names)} {'was' if len(names) == 1 else 'were'} {words}"] if names else []
    return Summary("; ".join(parts), "rolled back" if "roll back" in decisions else "held")


def told(found: Found) -> Page:
    """The whole page."""
    short, plan = summary(found), found["plan"]
    surfaces = [
        {
            "surface": verdict["surface"],
            "decision": verdict["decision"],
            "share": verdict["share"],
            "reason": verdict["reason"],
            "rungs": rungs(verdict, plan),
        }
        for verdict in found["verdicts"]
    ]
    lead = (
        f"From {plan['old']} to {plan['new']} in a made world: both stacks answer the same requests and meet the same luck, which "
        "only a made world can do. It shows the rule at work; it is no measurement of real users."
    )
    every = _readings(found)
    return Page(
        "migration",
        short.heading,
        lead,
        short.answer,
        "made",
        (_surfaces(surfaces), _margins(plan), every),
        tuple(_figure(found, every)),
        {"surfaces": surfaces, "old": plan["old"], "new": plan["new"], "source": found["source"]},
        again=COMMAND,
    )


def _surfaces(surfaces: list[dict[str, Any]]) -> Table:
    columns = (
        Column("surface", "Surface"),
        Column("decision", "Decision", "verdict"),
        Column("share", "Users on the new stack", "share"),
        Column("reason", "Why"),
    )
    return Table("surfaces", "Where each surface stands, in the order they moved", columns, tuple(surfaces))


def _margins(plan: Found) -> Table:
    rows = tuple(
        {
            "metric": margin["metric"],
            "loss": f"{100 * margin['loss']:g} %" if margin["relative"] else f"{margin['loss']:g} a request",
            "harm": "higher" if margin["lower_is_better"] else "lower",
        }
        for margin in plan["margins"]
    )
    columns = (Column("metric", "Metric"), Column("loss", "Margin"), Column("harm", "Worse is"))
    widened = ", ".join(f"{step['widened']:g} × at {numbers.share(step['share'])}" for step in plan["steps"])
    note = f"Declared before the first request. Few users can only show large harm, so early steps have wider margins: {widened}."
    return Table("margins", "What may not get worse, and by how much", columns, rows, note)


def _readings(found: Found) -> Table:
    columns = (
        Column("surface", "Surface"),
        Column("share", "Step", "share"),
        Column("look", "Look", "count"),
        Column("users", "Users", "count"),
        Column("requests", "Requests", "count"),
        Column("metric", "Metric"),
        Column("old", "Old", "value"),
        Column("new", "New", "value"),
        Column("change", "Change a request", "interval"),
        Column("margin", "Margin here"),
        Column("state", "Against the margin", "verdict"),
        Column("decision", "Decision", "verdict"),
    )
    return Table("readings", "Every look at every step", columns, tuple(readings(found)))


def _figure(found: Found, table: Table) -> Iterator[Figure]:
    """The last look of each surface: how much of every margin is left."""
    from mainstem.report.charts import Estimate, forest

    last = {verdict["surface"]: verdict["steps"][-1] for verdict in found["verdicts"] if verdict["steps"]}
    rows = [
        row
        for row in table.rows
        if row["left"] is not None
        and (row["share"], row["look"]) == (last[row["surface"]]["share"], last[row["surface"]]["look"])
    ]
    if not rows:
        return
    drawn = [
        Estimate(
            f"{row['surface']} at {numbers.share(row['share'])}, {row['metric']}", row["left"], _STATES[row["state"]]
        )
        for row in rows
    ]
    within = sum(row.answer == "holds" for row in drawn)
    yield Figure(
        "left",
        f"At each surface's last look, {within} of {len(drawn)} metrics are shown to be within their margin",
        "A forest plot. One row a surface and metric: how much of its margin is left, with the interval the decision used. 1 is "
        "unchanged, 0 is the limit that was declared, below 0 is worse than was allowed.",
        forest(drawn, "part of the margin left: 1 unchanged, 0 at the limit", narrow=False),
        forest(drawn, "part of the margin left", narrow=True),
        table,
    )
