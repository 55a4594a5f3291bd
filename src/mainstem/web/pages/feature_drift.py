"""The part of the parity page about drift: alarms in plain words, and how far the worst features moved by day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mainstem.report.figure import Figure
from mainstem.report.table import Column, Table

Found = Mapping[str, Any]
WORST: Final = 8
"""Features that are drawn."""


def drift_facts(found: Found | None) -> Found | None:
    """What stands in words: the sentence and what could not be measured; None without evidence."""
    if found is None:
        return None
    return {"sentence": found["sentence"], "unknown": list(found["unknown"]), "alarms": len(found["alarms"])}


def drift_tables(found: Found) -> tuple[Table, Table, Table]:
    """Alarms, delays, and the worst features by day; the last is the twin of the chart."""
    alarm_columns = (
        Column("day", "Day"),
        Column("name", "Feature or delay"),
        Column("sentence", "What happened"),
        Column("value", "Measured", "value"),
        Column("limit", "Alarm above", "value"),
    )
    delay_columns = (
        Column("day", "Day"),
        Column("name", "Delay"),
        Column("rows", "Requests", "count"),
        Column("p50", "Median", "ms"),
        Column("p90", "90 %", "ms"),
        Column("p99", "99 %", "ms"),
    )
    return (
        Table("alarms", "Drift alarms, strongest first", alarm_columns, tuple(found["alarms"])),
        Table("delays", "How old the newest event was at each request", delay_columns, tuple(found["delays"])),
        _worst(found),
    )


def _worst(found: Found) -> Table:
    largest: dict[str, float] = {}
    for row in found["features"]:
        largest[row["name"]] = max(largest.get(row["name"], 0.0), row["index"])
    names = sorted(largest, key=lambda name: (-largest[name], name))[:WORST]
    rows = sorted(
        (row for row in found["features"] if row["name"] in names),
        key=lambda row: (names.index(row["name"]), row["day"]),
    )
    columns = (
        Column("name", "Feature"),
        Column("day", "Day"),
        Column("index", "Stability index beyond chance", "value"),
        Column("rows", "Values", "count"),
        Column("missing_share", "No number", "share"),
    )
    return Table("drift", "The features that moved furthest from the training days", columns, tuple(rows))


def drift_figures(found: Found, table: Table) -> list[Figure]:
    """The chart of the worst features; none where no day lies after the training days."""
    from mainstem.report.drift_chart import drift_lines

    if not table.rows:
        return []
    rows = [{"label": row["name"], "day": row["day"][5:], "index": row["index"]} for row in table.rows]
    title = f"{found['psi_worst']} moved furthest since {found['reference'][1]}"
    about = "Squares, a row a feature and a column a day: the population stability index beyond chance, a larger square is further."
    return [Figure("drift", title, about, drift_lines(rows, narrow=False), drift_lines(rows, narrow=True), table)]
