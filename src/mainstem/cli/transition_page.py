"""The page of a migration: capacity by week and the levelled schedule as charts with their tables, and what figures rest on."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from typing import Final

from mainstem.report.capacity_weeks import capacity_weeks
from mainstem.report.figure import Drawn, Figure
from mainstem.report.table import Column, Table
from mainstem.report.task_bars import task_bars
from mainstem.workspace.capacity_desk import ResourceWeeks
from mainstem.workspace.transition import Joined, Outcome
from mainstem.workspace.transition_level import LevelledTransition
from mainstem.workspace.transition_written import Resting


def figures(held: Joined, found: Outcome, levelled: LevelledTransition) -> tuple[Figure, ...]:
    """A chart a resource and one of the schedule, each with its table."""
    return (*(_weeks(one) for one in found.resources), _schedule(held, levelled))


def _weeks(one: ResourceWeeks) -> Figure:
    rows = tuple(asdict(week) for week in one.weeks)
    titles = ("Week", "P10", "P50", "P90", "Old stacks alone", "Pool")
    keys = ("week", "p10", "p50", "p90", "baseline", "pool")
    columns = tuple(
        Column(key, title, "value" if at else "count") for at, (key, title) in enumerate(zip(keys, titles, strict=True))
    )
    table = Table(f"weeks-{one.name}", f"{one.name}, {one.unit} by week", columns, rows)
    title = f"{one.name} peaks at {one.peak.p50:.0f} {one.unit} in half of the worlds, mostly in week {one.peak_week}"
    text = "A band from P10 to P90, a line at the median, the old stacks alone dashed, and the pool as a step."
    wide, narrow = (capacity_weeks(rows, one.unit, narrow=small) for small in (False, True))
    return Figure(table.name, title, text, wide, narrow, table)


def _schedule(held: Joined, levelled: LevelledTransition) -> Figure:
    rows = tuple(one.as_row() for one in levelled.bars)
    columns = tuple(
        Column(key, title)
        for key, title in (
            ("label", "Task"),
            ("starts", "Starts"),
            ("ends", "Ends"),
            ("latest", "May end"),
            ("kind", "Is"),
        )
    )
    table = Table("schedule", "The levelled schedule", columns, rows)
    title = f"Levelled to the pools, surfaces land in the order {', '.join(levelled.order)}"
    text = "A bar a task from start to end: green decides the last end, grey has slack, which the thin line shows."
    today = str(held.program.program.as_of or held.program.program.start)
    wide, narrow = (task_bars(rows, today, narrow=small) for small in (False, True))
    return Figure("schedule", title, text, wide, narrow, table)


def as_page(held: Joined, found: Outcome, levelled: LevelledTransition, rests: tuple[Resting, ...]) -> str:
    """One file that opens without a server: charts, their tables, and what each figure rests on."""
    parts = [f"<h1>{escape(held.program.program.name)}</h1>"]
    drawn = Drawn()
    for one in figures(held, found, levelled):
        parts += [
            f"<h2>{escape(one.title)}</h2>",
            drawn.svg(one, one.wide, "wide"),
            f"<p>{escape(one.text)}</p>",
            _html(one.table),
        ]
    columns = tuple(Column(key, key.capitalize()) for key in ("figure", "value", "mark", "source"))
    rows = tuple(asdict(one) for one in rests)
    parts += ["<h2>What the figures rest on</h2>", _html(Table("rests", "What the figures rest on", columns, rows))]
    return _PAGE.format(title=escape(held.program.program.name), body="\n".join(parts))


def _html(table: Table) -> str:
    head = "".join(f"<th>{escape(one.title)}</th>" for one in table.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(row[one.key]))}</td>" for one in table.columns) + "</tr>"
        for row in table.rows
    )
    return f"<details open><summary>{escape(table.caption)}</summary><table><tr>{head}</tr>{body}</table></details>"


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else "" if value is None else str(value)


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #17201e; background: #fff }}
svg {{ max-width: 100%; height: auto }} table {{ border-collapse: collapse; font-size: 14px }}
td, th {{ padding: .2rem .7rem; border-bottom: 1px solid #dcdfd9; text-align: left }}
</style>
<body>
{body}
</body></html>
"""
