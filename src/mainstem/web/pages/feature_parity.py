"""Feature parity: which features are the same numbers offline and online, since when, and where one first broke."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.pages.feature_drift import drift_facts, drift_figures, drift_tables
from mainstem.web.render import address
from mainstem.web.site import Site

COMMAND: Final = "mainstem parity verify"
Found = Mapping[str, Any]
_ANSWERS: Final = {True: "holds", False: "does not hold"}


async def page(site: Site, request: Request) -> Page:
    """The page from the evidence ``feature_parity``, its history, and the drill."""
    found = await site.evidence("feature_parity")
    if not found or not found["stacks"]:
        missing = Missing("No feature has been served and recomputed in this workspace yet.", COMMAND)
        return Page("feature-parity", "Parity is not verified yet", missing=missing)
    history = await site.evidence("feature_parity_history") or {}
    drill = await site.evidence("feature_drill") or {"found": []}
    moved = await site.evidence("feature_drift")
    chosen = request.query_params.get("stack", "")
    names = [one["stack"] for one in found["stacks"]]
    at = names.index(chosen) if chosen in names else 0
    return await site.off_loop(lambda: told(found, history, drill["found"], at, moved))


def told(found: Found, history: Found, drill: list[Found], at: int, moved: Found | None = None) -> Page:
    """The whole page."""
    stack = found["stacks"][at]
    past = history.get(stack["stack"], {})
    features = _features(stack, past)
    tables = (features, _days(stack), _example(stack), _lags(stack), _by_event_time(stack), _drill(drill))
    figures = [_figure(stack, tables[1])]
    if moved is not None:
        tables = (*tables, *drift_tables(moved))
        figures += drift_figures(moved, tables[-1])
    cells = sum(one["cells"] for one in found["stacks"])
    same = sum(one["matched"] for one in found["stacks"])
    lead = (
        f"{numbers.count(same)} of {numbers.count(cells)} values equal in every bit: as the server read them, event by event, and "
        f"computed again from the log's columns as of the offset it had seen. Commit {found['commit']}."
    )
    facts = {
        "stacks": [
            {"name": one["stack"], "address": address("/feature-parity", stack=one["stack"]), "here": one is stack}
            for one in found["stacks"]
        ],
        "stack": {name: stack[name] for name in ("stack", "sentence", "requests", "events", "feature_set")},
        "request": _request(stack),
        "causes": [one["sentence"] for one in stack["causes"]],
        "drift": drift_facts(moved),
        "sections": list(found["sections"]),
    }
    return Page(
        "feature-parity",
        _heading(found),
        lead,
        _ANSWERS[found["passed"]],
        found["source"],
        tables,
        tuple(figures),
        facts,
        again=COMMAND,
        query=f"stack={stack['stack']}" if at else "",
    )


def _heading(found: Found) -> str:
    failing = sum(not row["agrees"] for one in found["stacks"] for row in one["features"])
    total = sum(len(one["features"]) for one in found["stacks"])
    if not failing:
        return f"All {total} features are the same offline and online"
    return f"{failing} of {total} features are not the same offline and online"


def _request(stack: Found) -> Found | None:
    one = stack["example"]
    return None if one is None else {name: one[name] for name in ("request_id", "user_id", "item_id", "offset")}


def _moment(entry: Found | None) -> str:
    return "" if not entry else f"{numbers.moment(entry['at_ms'])}, {entry['commit']}"


def _features(stack: Found, past: Found) -> Table:
    rows = []
    for row in sorted(stack["features"], key=lambda one: (one["agrees"], one["name"])):
        entry = past.get(row["name"], {})
        rows.append(
            {
                **row,
                "answer": _ANSWERS[row["agrees"]],
                "rate": row["matched"] / row["cells"] if row["cells"] else None,
                "since": _moment(entry.get("since")),
                "broken": _moment(entry.get("broken") or entry.get("last_broken")),
            }
        )
    columns = (
        Column("name", "Feature"),
        Column("answer", "Agrees", "verdict"),
        Column("window", "Window"),
        Column("stage", "Made in"),
        Column("cells", "Values", "count"),
        Column("rate", "Equal in every bit", "share"),
        Column("missing", "Missing", "count"),
        Column("extra", "Extra", "count"),
        Column("largest_ulp", "Largest ulp", "count"),
        Column("since", "Agrees since"),
        Column("broken", "First broken at"),
        Column("version", "Version", "id"),
    )
    return Table("features", "Every declared column, the ones that part first", columns, tuple(rows))


def _days(stack: Found) -> Table:
    days: dict[int, list[int]] = {}
    for row in stack["features"]:
        for day in row["days"]:
            held = days.setdefault(day["day"], [0, 0])
            held[0] += day["cells"]
            held[1] += day["matched"]
    rows = [
        {"day": numbers.moment(day * 86_400_000)[:10], "cells": cells, "parts": cells - same, "rate": same / cells}
        for day, (cells, same) in sorted(days.items())
        if cells
    ]
    columns = (
        Column("day", "Day"),
        Column("cells", "Values", "count"),
        Column("parts", "Not equal", "count"),
        Column("rate", "Equal in every bit", "share"),
    )
    return Table("days", "Day by day, in UTC", columns, tuple(rows))


def _figure(stack: Found, table: Table) -> Figure:
    from mainstem.report.charts import bars

    rows = [{"label": row["day"], "share": row["rate"], "own": row["rate"]} for row in table.rows]
    worst = min((row["rate"] for row in table.rows), default=1.0)
    title = "Every day's values agree" if worst == 1.0 else f"The worst day agrees on {numbers.share(worst)}"
    return Figure(
        "days",
        f"{title} ({stack['stack']})",
        "Bars, one a day: the share of values that are equal in every bit served and recomputed.",
        bars(rows, "share of values equal in every bit", narrow=False),
        bars(rows, "share equal", narrow=True),
        table,
    )


def _example(stack: Found) -> Table:
    found = stack["example"]
    rows = [] if found is None else [{**one, "answer": _ANSWERS[one["agrees"]]} for one in found["values"]]
    columns = (
        Column("name", "Feature"),
        Column("served", "Served"),
        Column("recomputed", "Recomputed"),
        Column("state", "State"),
        Column("answer", "Agrees", "verdict"),
    )
    return Table(
        "example", "One request, both values side by side", columns, tuple(sorted(rows, key=lambda r: r["agrees"]))
    )


def _lags(stack: Found) -> Table:
    rows = [{**one, "events": _span(one["from_events"], one["to_events"])} for one in stack["lag"]]
    columns = (Column("events", "Events behind the log's head"), Column("requests", "Requests", "count"))
    return Table("lag", "How far behind the log the server was when it answered", columns, tuple(rows))


def _span(first: int, last: int) -> str:
    return f"{first} to {last}" if last > first else str(first)


def _by_event_time(stack: Found) -> Table:
    wrong = stack["counterfactual"]
    rows = [{"name": name, "share": share} for name, share in wrong["worst"]]
    share = wrong["wrong"] / wrong["cells"] if wrong["cells"] else 0.0
    note = f"Of all values {numbers.share(share)} would be wrong: a join by event time sees what the server had not seen yet."
    columns = (Column("name", "Feature"), Column("share", "Values it gets wrong", "share"))
    return Table("event-time", "What a back-fill by event time would get wrong", columns, tuple(rows), note)


def _drill(found: list[Found]) -> Table:
    rows = [{**one, "answer": _ANSWERS[one["right"]]} for one in found]
    columns = (
        Column("fault", "Fault"),
        Column("answer", "Found and named", "verdict"),
        Column("story", "What was planted"),
        Column("feature", "Named feature"),
        Column("stage", "Made in"),
        Column("cause", "Named cause"),
        Column("confidence", "Rows explained", "share"),
    )
    return Table("drill", "Planted faults, and what each was called", columns, tuple(rows))
