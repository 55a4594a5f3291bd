"""An assessment as tables for a person."""

from __future__ import annotations

from collections.abc import Sequence

from mainstem.evaluate.canaries import Canary
from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.risk import RiskAssessment
from mainstem.evaluate.slices import SliceCell
from mainstem.workspace.mitigation import Mitigation
from mainstem.workspace.responsible_floor import FloorPrice
from mainstem.workspace.responsible_rows import ExposureRow


def risk_rows(assessment: RiskAssessment) -> list[dict[str, str]]:
    """Every risk, one row each."""
    return [
        {
            "risk": risk.name,
            "measured by": risk.measure,
            "value": "" if risk.value is None else f"{risk.value:.3f}",
            "95 %": "" if risk.low is None or risk.high is None else f"{risk.low:.3f} to {risk.high:.3f}",
            "declared": f"{risk.bound} {risk.threshold:g}",
            "state": risk.state,
            "where": risk.note if len(risk.note) < 60 else risk.note[:57] + "...",
        }
        for risk in assessment.risks
    ]


def slice_rows(cells: Sequence[SliceCell], head: str) -> list[dict[str, str | int]]:
    """One head's slices."""
    return [
        {
            "by": cell.by,
            "slice": cell.slice,
            "arm": cell.arm,
            "rows": cell.rows,
            "users": cell.users,
            "positives": cell.positives,
            "predicted/observed": _told(cell.over_observed),
            "ECE": "" if cell.error is None else f"{cell.error:.4f}",
            "within-user AUC": "" if cell.gauc is None else f"{cell.gauc:.4f}",
            "less the whole's": _told(cell.gap, "+.4f"),
        }
        for cell in cells
        if cell.head == head
    ]


def exposure_rows(rows: Sequence[ExposureRow]) -> list[dict[str, str | int]]:
    """Who each arm shows."""
    return [
        {
            "arm": row.arm,
            "Gini": f"{row.items.gini:.3f} (chance {row.chance_items.gini:.3f})",
            "top 1 %": f"{row.items.top_share:.1%}",
            "effective items": f"{row.items.effective:,.0f}",
            "of chance's": _told(row.effective_items),
            "creators reached": f"{row.creators.reached:.1%}",
            "small creators": _told(row.small_creators),
            "new items": _told(row.new_items),
            "popularity": _told(row.popularity),
            "hides": _told(row.hides),
            "hide rate": f"{row.hide_rate:.3%}",
            "long views": _told(row.value),
        }
        for row in rows
    ]


def canary_rows(canaries: Sequence[Canary]) -> list[dict[str, str]]:
    """What each canary found."""
    return [
        {
            "canary": one.name,
            "of": one.of,
            "found": one.measured,
            "says": "clean" if one.clean else "leak",
            "as it must": "yes" if one.passed else "NO",
        }
        for one in canaries
    ]


def floor_rows(floors: Sequence[FloorPrice]) -> list[dict[str, str]]:
    """What floors for small creators cost on the log."""
    return [
        {
            "floor for small creators": f"{one.floor:.2%} of places" + ("" if one.met else " (NOT met)"),
            "free": f"{one.free:.2%}",
            "reached": f"{one.share:.2%}",
            "expected long views given up": f"{one.expected:.3%}",
            "observed": "" if one.observed is None
            else f"{one.observed.mid:.2%} ({one.observed.low:.2%} to {one.observed.high:.2%})",
            "one more place": f"{one.boost:.4f}",
        }
        for one in floors
    ]  # fmt: skip


def mitigation_rows(found: Mitigation) -> list[dict[str, str]]:
    """The front, cheapest first."""
    return [
        {
            "method": point.method,
            "floor or strength": f"{point.asked:.3f}",
            "small creators": f"{point.share:.2%}",
            "value": f"{point.value:,.1f}",
            "given up": f"{point.price:,.2f}",
            "of value": f"{point.price_share:.3%}",
            "one more place": f"{point.boost:.4f}" if point.method == "floor" else "",
        }
        for point in found.front
    ]


def mitigation_words(found: Mitigation) -> str:
    """The floor that was asked for, in sentences."""
    return (
        f"made world, seed {found.seed}, {found.requests} requests of {found.surface}: small creators (fewer than "
        f"{found.small_below:g} items) are {found.offered:.1%} of candidates and get {found.free:.1%} of places freely\n"
        f"a floor of {found.floor:.1%} is {'met' if found.met else 'NOT met'}: {found.share:.2%} of places, for "
        f"{found.price:,.1f} of value ({found.price_share:.2%}); one more place costs {found.boost:.3f}\n"
        f"that boost on later requests: {found.later_share:.2%} of places for {found.later_price_share:.2%} of value\n"
        f"{found.cpu_s:.1f} CPU seconds"
    )


def _told(one: Interval | None, form: str = ".3f") -> str:
    return "" if one is None else f"{one.mid:{form}} ({one.low:{form}} to {one.high:{form}})"
