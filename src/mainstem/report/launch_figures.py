"""A launch's figures: each a finding in words, a drawing for screens and one for phones, and the table it is drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from mainstem.evaluate.intervals import Interval
from mainstem.launch.standing import LayerPart, OriginStanding, RatioStanding, Standing, SurfaceStanding
from mainstem.report import numbers
from mainstem.report.budgets import budget_bars, days_bars
from mainstem.report.figure import Drawing, Figure
from mainstem.report.forest import margins_forest
from mainstem.report.launch_rows import (
    Gate,
    answer,
    day_of,
    days_to_verdict,
    ended,
    gates,
    in_margins,
    margin_words,
    over,
    spent_share,
    used,
)
from mainstem.report.launch_tables import (
    acts_table,
    budgets_table,
    days_table,
    latency_table,
    layers_table,
    metrics_table,
    ratios_table,
    since_table,
)
from mainstem.report.parts_forest import parts_forest
from mainstem.report.ramp_path import ramp_path
from mainstem.report.since_exposure import since_exposure_lines
from mainstem.report.table import Table

LEGENDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "path": (("Circle", "forward"), ("Triangle", "held or paused"), ("Square", "taken back"), ("Diamond", "landed")),
    "margins": (
        ("Circle", "shown to be within its margin"), ("Triangle", "not shown"), ("Square", "worse by a test of harm"),
        ("Dashed line", "the margin"),
    ),
    "latency": (("Diamond", "the total"), ("Triangle", "told apart from 0"), ("Circle", "not told apart")),
    "layers": (("Triangle", "told apart from 0"), ("Circle", "not told apart")),
}  # fmt: skip
"""What marks stand for, by the kind of figure."""


def path_figure(standing: Standing) -> Figure | None:
    """The ramp's path; None before any act."""
    if not standing.acts:
        return None
    now = day_of(standing, standing.at_ms)
    rows: list[dict[str, Any]] = []
    for surface in (one.surface for one in standing.surfaces):
        mine = [one for one in standing.acts if one.surface == surface]
        rows += [
            {"surface": surface, "day": day_of(standing, one.at_ms), "share": one.after, "action": one.action}
            for one in mine
        ]
        if mine:
            rows.append({"surface": surface, "day": now, "share": mine[-1].after, "action": ""})
    if not rows:
        return None
    top = max(standing.surfaces, key=lambda one: one.share)
    title = f"After {now:.1f} days, {_told_shares(standing)}"
    text = (
        "A strip a surface: the share of units on the new stack over the days of the launch, on a square-root scale, with a mark "
        f"at every act. The furthest is {top.surface} at {numbers.share(top.share)}."
    )
    return _figure(
        "path", title, text, (ramp_path(rows, narrow=False), ramp_path(rows, narrow=True)), acts_table(standing)
    )


def _told_shares(standing: Standing) -> str:
    return numbers.listed(f"{one.surface} is at {numbers.share(one.share)}" for one in standing.surfaces)


def days_figure(standing: Standing) -> Figure | None:
    """Days to a verdict of each gate; None without gates."""
    rows: list[dict[str, Any]] = []
    for gate in gates(standing):
        days, last = days_to_verdict(gate.origin)
        rows.append(
            {"label": gate.label, "days": None if ended(gate.surface) else days, "told": _told_days(gate, days, last)}
        )
    if not rows:
        return None
    open_, unknown = [row for row in rows if row["days"]], sum("not known" in row["told"] for row in rows)
    if open_:
        last = max(open_, key=lambda row: row["days"])
        title = f"The last verdict, of {last['label']}, is about {last['days']:.0f} days away at the present rate"
    else:
        title = (
            f"Days to a verdict are not known of {unknown} of {len(rows)} gates"
            if unknown
            else "No metric waits for more units"
        )
    text = "A bar a gate: days until its last metric is shown not to be worse, at the present rate and were the arms equal."
    return _figure(
        "days", title, text, (days_bars(rows, narrow=False), days_bars(rows, narrow=True)), days_table(standing)
    )


def _told_days(gate: Gate, days: float | None, last: str) -> str:
    if ended(gate.surface):
        return gate.surface.state
    if days is None:
        return f"not known of {last}" if last else "not known"
    return f"{days:.1f} days, {last} is last" if days else "all shown"


def ratios_figure(standing: Standing) -> Figure | None:
    """How near each gate's sample ratio is to its alarm: in all, on the worst day and platform."""
    rows = [_ratio_row(gate, one) for gate in gates(standing) for one in _worst_parts(gate.origin)]
    if not rows:
        return None
    alarms = [row["label"] for row in rows if row["alarm"]]
    top = max(rows, key=lambda row: row["used"])
    title = (
        f"Units were not split as promised: {alarms[0]}{f' and {len(alarms) - 1} more' if len(alarms) > 1 else ''}"
        if alarms
        else f"Every split is as promised; the nearest to an alarm is at {numbers.share(top['used'])} of it"
    )
    text = (
        "A bar a gate and part: the logarithm of the sample ratio's e-value as a share of the bound at which it alarms. Of the "
        "days and of the platforms the worst is drawn; the table has all."
    )
    title_x = "log e-value over its bound: 100 % is an alarm"
    drawn = (budget_bars(rows, title_x, narrow=False), budget_bars(rows, "log e-value over its bound", narrow=True))
    return _figure("ratios", title, text, drawn, ratios_table(standing))


def _worst_parts(origin: OriginStanding) -> Iterator[RatioStanding]:
    """All, then the worst of the days, of the platforms and of whatever else units were told apart by."""
    yield from (one for one in origin.ratios if not one.part)
    for kind in dict.fromkeys(one.part.split(" ")[0] for one in origin.ratios if one.part):
        mine = [one for one in origin.ratios if one.part.split(" ")[0] == kind]
        yield max(mine, key=lambda one: (one.alarm, spent_share(one), one.log_e))


def _ratio_row(gate: Gate, one: RatioStanding) -> dict[str, Any]:
    e = f"e {math.exp(one.log_e):.3g}" if one.log_e < 20 else f"e 10^{one.log_e / math.log(10):.0f}"
    told = f"{e} of {math.exp(min(one.bound, 700)):,.0f}; {' : '.join(numbers.count(count) for count in one.counts)}"
    kind = "second" if one.part else "first"
    share = spent_share(one)
    return {
        "label": f"{gate.label}: {one.part or 'all'}",
        "used": share,
        "kind": kind,
        "told": told,
        "alarm": one.alarm,
    }


def margins_figure(surface: SurfaceStanding) -> Figure | None:
    """Every metric that has a margin, against it; None where there is none."""
    rows = [
        {"label": f"{origin.legacy}: {one.name}", **found, "answer": answer(one),
         "told": f"{numbers.change(_bounds(one.change))}, margin {margin_words(one)}"}
        for origin in surface.origins
        for one in origin.metrics
        if (found := in_margins(one)) is not None and _finite(found.values())
    ]  # fmt: skip
    if not rows:
        return None
    counts = {said: sum(row["answer"] == said for row in rows) for said in ("holds", "undecided", "does not hold")}
    title = f"{surface.surface}: {counts['holds']} of {len(rows)} are shown to be within their margin"
    title += f", {counts['does not hold']} are worse by a test of harm" if counts["does not hold"] else ""
    text = (
        "A forest plot, a row a legacy stack and metric: the change in multiples of that metric's own margin, with the interval "
        "that holds at every look. Harm lies to the left whichever way a metric points; the dashed line at −1 is the margin. An "
        "arrow: the interval goes on. Metrics without a margin stand in the table only."
    )
    drawn = (margins_forest(rows, narrow=False), margins_forest(rows, narrow=True))
    return _figure(f"margins-{surface.surface}", title, text, drawn, metrics_table(surface))


def budgets_figure(surface: SurfaceStanding) -> Figure | None:
    """The two budgets of false alarms, by metric; None where none is kept."""
    rows = [
        {"label": f"{origin.legacy}: {one.name}, {name}", "used": share, "kind": kind,
         "told": f"{numbers.signed(spent.statistic, 2)} of {spent.bound:.2f}{', acts' if over(spent) else ''}"}
        for origin in surface.origins
        for one in origin.metrics
        for name, kind, spent in (("hourly", "first", one.rollback), ("daily", "second", one.pause))
        if spent is not None and (share := used(spent)) is not None
    ]  # fmt: skip
    if not rows:
        return None
    top = max(rows, key=lambda row: row["used"])
    rows = [row for row in rows if row["used"] > 0] or [top]
    word = "has passed its bound" if top["used"] >= 1 else f"is at {numbers.share(top['used'])} of its bound"
    text = (
        "Two bars a legacy stack and metric: the hourly statistic of harm over the bound at which the surface is taken back, and "
        "the daily one over the bound at which it is paused. What shows no harm at all stands in the table only."
    )
    drawn = (
        budget_bars(rows, "statistic of harm over its bound: 100 % acts", narrow=False),
        budget_bars(rows, "statistic of harm over its bound", narrow=True),
    )
    near = (
        f"the nearest to harm, {top['label']}, {word}"
        if top["used"]
        else "nothing shows any harm, so no budget is touched"
    )
    title = f"{surface.surface}: {near}"
    return _figure(f"budgets-{surface.surface}", title, text, drawn, budgets_table(surface))


def since_figure(surface: SurfaceStanding) -> Figure | None:
    """The effect by days since first exposure; None where no unit has all its days."""
    rows = [
        {"panel": f"{origin.legacy}: {one.metric}", "day": one.day, **_bounds(one.change)}
        for origin in surface.origins
        for one in origin.since
        if _finite(_bounds(one.change).values())
    ]
    if not rows:
        return None
    days = max(row["day"] for row in rows) + 1
    title = f"{surface.surface}: the effect over a unit's first {days} days"
    text = (
        "A panel a legacy stack and metric: the relative change on each day since a unit's first exposure, over the same units on "
        "every day, with its interval. What wears off comes towards 0, what is learnt moves away from it."
    )
    drawn = (since_exposure_lines(rows, narrow=False), since_exposure_lines(rows, narrow=True))
    return _figure(f"since-{surface.surface}", title, text, drawn, since_table(surface))


def latency_figure(surface: SurfaceStanding) -> Figure | None:
    """What the delay did and what the ranking did; None where it was not measured."""
    rows = [
        {"label": f"{one.metric}: {name}", **_bounds(found), "state": "whole" if name == "total" else _side(found),
         "told": numbers.change(_bounds(found))}
        for one in surface.latency
        for name, found in (("total", one.total), ("by the delay", one.latency), ("by the ranking", one.ranking),
                            ("per 100 ms", one.per_100_ms))
        if found is not None and _finite(_bounds(found).values())
    ]  # fmt: skip
    if not rows:
        return None
    first = surface.latency[0]
    title = (
        f"{surface.surface}: of {numbers.signed(100 * first.total.mid, 2)} % {first.metric}, the delay did "
        f"{numbers.signed(100 * first.latency.mid, 2)} % and the ranking {numbers.signed(100 * first.ranking.mid, 2)} %"
    )
    text = (
        "Rows of a metric: the total change (diamond), the part the delay did, the part the ranking did, which add up to it, and "
        "what 100 ms cost; each with its interval."
    )
    drawn = (parts_forest(rows, narrow=False), parts_forest(rows, narrow=True))
    return _figure(f"latency-{surface.surface}", title, text, drawn, latency_table(surface))


def layers_figure(surface: SurfaceStanding) -> Figure | None:
    """Which layer changed what; None where layers were not swapped one by one."""
    rows = [
        {"label": f"{one.metric}: {one.layer}", **_bounds(one.change), "state": _side(one.change),
         "told": numbers.change(_bounds(one.change))}
        for one in surface.layers
        if _finite(_bounds(one.change).values())
    ]  # fmt: skip
    if not rows:
        return None
    harms = [(harm, one) for one in surface.layers if (harm := _harm(surface, one)) > 0]
    worst = max(harms, key=lambda pair: pair[0])[1] if harms else None
    title = (
        f"{surface.surface}: it is {worst.layer} that makes {worst.metric} worse, by {numbers.signed(100 * worst.change.mid, 2)} %"
        if worst
        else f"{surface.surface}: no layer is shown to make a metric worse"
    )
    text = "A row a metric and layer: what swapping that layer alone changed, with its interval."
    drawn = (parts_forest(rows, narrow=False), parts_forest(rows, narrow=True))
    return _figure(f"layers-{surface.surface}", title, text, drawn, layers_table(surface))


def _harm(surface: SurfaceStanding, part: LayerPart) -> float:
    """How much worse a layer makes its metric; 0 unless its whole interval is on the side of harm."""
    down = any(
        one.direction == "down" for origin in surface.origins for one in origin.metrics if one.name == part.metric
    )
    shown = part.change.low > 0 if down else part.change.high < 0
    return abs(part.change.mid) if shown else 0.0


def _figure(name: str, title: str, text: str, drawn: tuple[Drawing, Drawing], table: Table) -> Figure:
    return Figure(name, title, text, drawn[0], drawn[1], table, LEGENDS.get(name.split("-")[0], ()))


def _bounds(found: Interval) -> dict[str, float]:
    return {"low": found.low, "mid": found.mid, "high": found.high}


def _finite(values: Any) -> bool:
    return all(math.isfinite(one) for one in values)


def _side(found: Interval) -> str:
    if found.low > 0:
        return "higher"
    return "lower" if found.high < 0 else "not told apart"
