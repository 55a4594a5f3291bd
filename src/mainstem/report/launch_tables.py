"""A launch's standing as tables: the same rows on the page, in CSV and JSON, in a report, and under every figure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from mainstem.evaluate.intervals import Interval
from mainstem.launch.standing import LayerPart, MetricStanding, Standing, SurfaceStanding
from mainstem.report import numbers
from mainstem.report.launch_rows import (
    Gate,
    answer,
    days_to_verdict,
    ended,
    finite,
    gates,
    margin_words,
    over,
    spent_share,
    used,
)
from mainstem.report.table import Column, Table


def surfaces_table(standing: Standing) -> Table:
    """Where each surface stands."""
    rows = tuple(
        {
            "surface": one.surface,
            "state": one.state,
            "share": one.share,
            "step": f"{one.step + 1} of {one.steps}",
            "since": numbers.moment(one.since_ms),
            "why": one.reason,
            "mirrored": one.shadow[0] if one.shadow else None,
            "failed": one.shadow[1] if one.shadow else None,
            "common": one.shadow[2] if one.shadow else None,
        }
        for one in standing.surfaces
    )
    columns = (
        Column("surface", "Surface"),
        Column("state", "State", "verdict"),
        Column("share", "On the new stack", "share"),
        Column("step", "Step", "id"),
        Column("since", "Since", "id"),
        Column("why", "Why"),
        Column("mirrored", "Mirrored requests", "count"),
        Column("failed", "Failed", "count"),
        Column("common", "Items in common", "share"),
    )
    return Table("surfaces", "Where each surface stands", columns, rows)


def gates_table(standing: Standing) -> Table:
    """Every gate: its verdict, why, and how long it may still take."""
    rows = tuple(_gate_row(one) for one in gates(standing))
    columns = (
        Column("surface", "Surface"),
        Column("legacy", "Against", "id"),
        Column("verdict", "Verdict", "verdict"),
        Column("why", "Why"),
        Column("looks", "Looks", "count"),
        Column("planned", "Of", "count"),
        Column("days", "Days to a verdict", "value"),
        Column("last", "Last metric"),
        Column("left_out", "Not counted"),
    )
    note = (
        "A surface goes forward only when each of its gates lets it; nothing here is pooled. Days: until the last metric is shown "
        "at the present rate, were the arms equal."
    )
    return Table("gates", "Each surface against each legacy stack", columns, rows, note)


def _gate_row(gate: Gate) -> dict[str, Any]:
    days, last = (None, "") if ended(gate.surface) else days_to_verdict(gate.origin)
    return {
        "surface": gate.surface.surface,
        "legacy": gate.origin.legacy,
        "verdict": gate.origin.verdict,
        "why": "; ".join(gate.origin.reasons),
        "looks": gate.origin.looks,
        "planned": gate.origin.planned,
        "days": days,
        "last": last,
        "left_out": "; ".join(gate.origin.left_out),
    }


def days_table(standing: Standing) -> Table:
    """Days to a verdict, metric by metric."""
    rows = tuple(
        {
            "surface": gate.surface.surface,
            "legacy": gate.origin.legacy,
            "metric": one.name,
            "role": one.role,
            "information": one.information,
            "days": one.days_left,
        }
        for gate in gates(standing)
        for one in gate.origin.metrics
        if one.role != "diagnostic"
    )
    columns = (
        Column("surface", "Surface"),
        Column("legacy", "Against", "id"),
        Column("metric", "Metric"),
        Column("role", "Role"),
        Column("information", "Of the plan", "share"),
        Column("days", "Days left", "value"),
    )
    return Table("days", "Days to a verdict, metric by metric", columns, rows)


def metrics_table(surface: SurfaceStanding) -> Table:
    """Every metric of a surface against each legacy stack."""
    rows = tuple(_metric_row(origin.legacy, one) for origin in surface.origins for one in origin.metrics)
    columns = (
        Column("legacy", "Against", "id"),
        Column("metric", "Metric"),
        Column("role", "Role"),
        Column("answer", "Against its margin", "verdict"),
        Column("change", "Change", "change"),
        Column("margin", "Margin"),
        Column("shown", "Shown"),
        Column("old", "Old", "value"),
        Column("new", "New", "value"),
        Column("old_units", "Units, old", "count"),
        Column("new_units", "New", "count"),
        Column("information", "Of the plan", "share"),
        Column("days", "Days left", "value"),
    )
    note = "Changes are new minus old as a share of old, as measured; the interval is valid at every look."
    return Table(
        f"metrics-{surface.surface}", f"{surface.surface}: every metric against its margin", columns, rows, note
    )


def _metric_row(legacy: str, one: MetricStanding) -> dict[str, Any]:
    return {
        "legacy": legacy,
        "metric": one.name,
        "role": one.role,
        "answer": answer(one),
        "change": asdict(one.change),
        "margin": margin_words(one),
        "shown": list(one.shown),
        "old": one.old,
        "new": one.new,
        "old_units": one.old_units,
        "new_units": one.new_units,
        "information": one.information,
        "days": one.days_left,
    }


def budgets_table(surface: SurfaceStanding) -> Table:
    """The two budgets of false alarms, by metric and legacy stack."""
    rows = tuple(
        {
            "legacy": origin.legacy,
            "metric": one.name,
            "budget": name,
            "used": used(spent),
            "statistic": spent.statistic,
            "bound": finite(spent.bound),
            "reached": "yes" if over(spent) else "",
        }
        for origin in surface.origins
        for one in origin.metrics
        for name, spent in (("hourly rollback", one.rollback), ("daily pause", one.pause))
        if spent is not None
    )
    columns = (
        Column("legacy", "Against", "id"),
        Column("metric", "Metric"),
        Column("budget", "Budget"),
        Column("used", "Statistic over bound", "share"),
        Column("statistic", "Statistic of harm", "value"),
        Column("bound", "Bound", "value"),
        Column("reached", "Bound reached"),
    )
    note = "Below 0 is no harm and counts as 0. At 100 % the hourly budget takes the surface back and the daily one pauses it."
    return Table(f"budgets-{surface.surface}", f"{surface.surface}: what is spent of each budget", columns, rows, note)


def ratios_table(standing: Standing) -> Table:
    """The sample ratio of every gate, in all and by part."""
    rows = tuple(
        {
            "surface": gate.surface.surface,
            "legacy": gate.origin.legacy,
            "part": one.part or "all",
            "state": "does not hold" if one.alarm else "holds",
            "counts": " : ".join(numbers.count(count) for count in one.counts),
            "observed": _shares(one.counts),
            "promised": " : ".join(numbers.share(share) for share in one.promised),
            "log_e": finite(one.log_e),
            "bound": finite(one.bound),
            "used": spent_share(one),
        }
        for gate in gates(standing)
        for one in gate.origin.ratios
    )
    columns = (
        Column("surface", "Surface"),
        Column("legacy", "Against", "id"),
        Column("part", "Part"),
        Column("state", "As promised", "verdict"),
        Column("counts", "Units"),
        Column("observed", "Shares"),
        Column("promised", "Promised"),
        Column("log_e", "Log e-value", "value"),
        Column("bound", "Alarms at", "value"),
        Column("used", "Of the bound", "share"),
    )
    note = "The e-value may be read at any time; below 0 its logarithm speaks for the promised shares."
    return Table("ratios", "Whether units were split as promised", columns, rows, note)


def _shares(counts: tuple[int, ...]) -> str:
    whole = sum(counts)
    return " : ".join(f"{100 * one / whole:.2f}\u00a0%" for one in counts) if whole else ""


def since_table(surface: SurfaceStanding) -> Table:
    """The effect by days since first exposure."""
    rows = tuple(
        {"legacy": origin.legacy, "metric": one.metric, "day": one.day, "change": asdict(one.change)}
        for origin in surface.origins
        for one in origin.since
    )
    columns = (
        Column("legacy", "Against", "id"),
        Column("metric", "Metric"),
        Column("day", "Day", "count"),
        Column("change", "Change", "change"),
    )
    note = "Over the same units on every day: those that have had all of them."
    return Table(
        f"since-{surface.surface}", f"{surface.surface}: the effect by days since first exposure", columns, rows, note
    )


def slices_table(surface: SurfaceStanding) -> Table:
    """Who it was better or worse for, at the last daily look."""
    rows = tuple(
        {
            "legacy": origin.legacy,
            "by": one.by,
            "part": one.part,
            "metric": one.metric,
            "units": one.units,
            "change": None if one.change is None else asdict(one.change),
            "side": "worse" if one.wholly_harm else _beyond(one.change),
        }
        for origin in surface.origins
        for one in origin.slices
    )
    columns = (
        Column("legacy", "Against", "id"),
        Column("by", "By"),
        Column("part", "Part"),
        Column("metric", "Metric"),
        Column("units", "Units", "count"),
        Column("change", "Change", "change"),
        Column("side", "Whole interval"),
    )
    note = (
        "Of the last daily look alone. Intervals hold together over all rows of one legacy stack; nothing is told of a part with "
        "fewer than 100 units in an arm. Creators: what the same units did on the items of those who had half of what was shown "
        "before, and of all others. To be read: nothing here is gated on."
    )
    return Table(f"slices-{surface.surface}", f"{surface.surface}: who it was better or worse for", columns, rows, note)


def _beyond(change: Interval | None) -> str:
    return "better" if change is not None and (change.low > 0 or change.high < 0) else ""


def waits_table(surface: SurfaceStanding) -> Table:
    """How long requests took in both arms, at the last daily look."""
    rows = tuple(
        {
            "legacy": origin.legacy,
            "quantile": f"p{100 * one.quantile:g}",
            "old": one.old.mid,
            "new": one.new.mid,
            "low": one.difference.low,
            "high": one.difference.high,
        }
        for origin in surface.origins
        for one in origin.waits
    )
    columns = (
        Column("legacy", "Against", "id"),
        Column("quantile", "Quantile", "id"),
        Column("old", "Old, ms", "value"),
        Column("new", "New, ms", "value"),
        Column("low", "New less old, from", "value"),
        Column("high", "to", "value"),
    )
    note = "Of the time until the answer was ready; 95 % intervals, the requests of a user as one cluster."
    return Table(f"waits-{surface.surface}", f"{surface.surface}: how long requests took", columns, rows, note)


def latency_table(surface: SurfaceStanding) -> Table:
    """What the delay did and what the ranking did."""
    rows = tuple(
        {
            "metric": one.metric,
            "total": asdict(one.total),
            "latency": asdict(one.latency),
            "ranking": asdict(one.ranking),
            "per_100_ms": None if one.per_100_ms is None else asdict(one.per_100_ms),
            "lack_of_fit_p": one.lack_of_fit_p,
        }
        for one in surface.latency
    )
    columns = (
        Column("metric", "Metric"),
        Column("total", "Total", "change"),
        Column("latency", "By the delay", "change"),
        Column("ranking", "By the ranking", "change"),
        Column("per_100_ms", "Per 100 ms", "change"),
        Column("lack_of_fit_p", "Lack of fit, p", "value"),
    )
    note = "Total is delay plus ranking. A small p of the lack of fit says that 100 ms do not cost the same everywhere."
    return Table(
        f"latency-{surface.surface}", f"{surface.surface}: latency told apart from ranking", columns, rows, note
    )


def layers_table(surface: SurfaceStanding) -> Table:
    """Which layer changed what."""
    rows = tuple(
        {"metric": one.metric, "layer": one.layer, "state": layer_state(one), "change": asdict(one.change)}
        for one in surface.layers
    )
    columns = (
        Column("metric", "Metric"),
        Column("layer", "Layer"),
        Column("change", "Change", "change"),
        Column("state", "Told apart from 0"),
    )
    return Table(f"layers-{surface.surface}", f"{surface.surface}: which layer changed it", columns, rows)


def layer_state(part: LayerPart) -> str:
    """Whether a layer's interval lies wholly on one side of 0."""
    if part.change.low > 0:
        return "higher"
    return "lower" if part.change.high < 0 else "not told apart"


def acts_table(standing: Standing) -> Table:
    """The audit, the newest first."""
    rows = tuple(
        {
            "number": one.number,
            "at": numbers.moment(one.at_ms),
            "surface": one.surface,
            "actor": one.actor,
            "action": one.action,
            "before": one.before,
            "after": one.after,
            "reason": one.reason,
            "evidence": json.dumps(finite(one.evidence), sort_keys=True, default=str) if one.evidence else "",
            "digest": one.digest,
        }
        for one in reversed(standing.acts)
    )
    columns = (
        Column("number", "No.", "count"),
        Column("at", "When", "id"),
        Column("surface", "Surface"),
        Column("actor", "Who"),
        Column("action", "Act"),
        Column("before", "From", "share"),
        Column("after", "To", "share"),
        Column("reason", "Why"),
    )
    note = "Digests are chained: mainstem launch audit checks that none was changed. The JSON has the evidence."
    return Table("acts", "The audit, newest first", columns, rows, note)
