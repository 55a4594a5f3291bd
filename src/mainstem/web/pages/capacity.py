"""Capacity: what is held week by week against the pools, what a surface needs, what was saved, until when constants count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.site import Site

if TYPE_CHECKING:  # the desk brings scipy and compiled kernels: loaded by the first who opens the page
    from mainstem.workspace.capacity_desk import CapacityPicture, ResourceWeeks

PLAN: Final = "mainstem capacity plan --example > capacity.toml"
CALIBRATE: Final = "mainstem capacity calibrate"
OFTEN: Final = 0.1
"""A pool that is too small in more of the worlds than this does not fit."""


async def page(site: Site, request: Request) -> Page:
    """The page from the workspace's plan, ledger, constants and footprints."""
    found = await site.off_loop(lambda: _picture(site))
    if found.empty:
        missing = Missing("Nothing of this workspace's capacity was planned or measured yet.", CALIBRATE)
        return Page("capacity", "No capacity is planned yet", missing=missing)
    return await site.off_loop(lambda: told(found))


def _picture(site: Site) -> CapacityPicture:
    from mainstem.workspace.capacity_desk import capacity_picture

    return capacity_picture(site.workspace)


def told(found: CapacityPicture) -> Page:
    """The whole page."""
    tables = [_resources(found), *(_weeks(one) for one in found.resources or ()), _footprint(found), _ledger(found)]
    figures = tuple(_figure(one, table) for one, table in zip(found.resources or (), tables[1:], strict=False))
    short = [one.name for one in found.resources or () if one.short_chance > OFTEN]
    facts: dict[str, Any] = {
        "problems": [{"file": name, "text": text} for name, text in found.problems.items()],
        "planned": found.resources is not None,
        "break_even": _break_even(found),
        "surfaces": list(found.surfaces),
        "worlds": found.worlds,
        "ledger": _ledger_facts(found),
        "calibration": _calibration_facts(found),
        "stacks": found.stacks.sentence if found.stacks else "",
        "commands": {"plan": PLAN, "calibrate": CALIBRATE},
    }
    return Page(
        "capacity",
        _heading(found, short),
        _lead(found),
        ("too small" if short else "fits") if found.resources else "",
        tables=(*tables, *_stacks(found), _calibration(found), _single(found)),
        figures=figures,
        facts=facts,
        again="mainstem capacity plan capacity.toml",
        mark=f"pool of {numbers.listed(short)} too small" if short else "pools fit" if found.resources else "",
    )


def _heading(found: CapacityPicture, short: list[str]) -> str:
    if not found.resources:
        return "What was measured; no transition is planned yet"
    if not short:
        return "Every pool holds the transition in nine of ten worlds or better"
    worst = max(found.resources, key=lambda one: one.short_chance)
    return f"The pool of {worst.name} is too small in {numbers.share(worst.short_chance)} of the worlds"


def _lead(found: CapacityPicture) -> str:
    if not found.resources:
        return "Constants, footprints and savings of this workspace."
    names = numbers.listed(found.surfaces)
    return (
        f"Surfaces that move from the old stacks to the new one: {names}; over {len(found.resources[0].weeks)} weeks and "
        f"{numbers.count(found.worlds)} worlds. Estimates are elicited: each is three quantiles of whoever wrote the plan."
    )


def _break_even(found: CapacityPicture) -> str:
    if not found.resources:
        return ""
    if found.break_even is None:
        return "Dual running is not paid back in any world."
    one = found.break_even
    never = f", and not within these weeks in {numbers.share(found.never)} of the worlds" if found.never else ""
    return f"Dual running is paid back by week {one.p10:.0f} / {one.p50:.0f} / {one.p90:.0f} (P10 / P50 / P90){never}."


def _resources(found: CapacityPicture) -> Table:
    rows = tuple(
        {
            "name": one.name,
            "pool": _pool(one),
            "fits": "no pool" if _pool(one) is None else "too small" if one.short_chance > OFTEN else "fits",
            "short": one.short_chance if _pool(one) is not None else None,
            "p10": one.peak.p10,
            "p50": one.peak.p50,
            "p90": one.peak.p90,
            "week": one.peak_week,
            "dual": one.dual.p50,
            "end": one.at_end.p50,
            "unit": one.unit,
        }
        for one in found.resources or ()
    )
    columns = (
        Column("name", "Resource"),
        Column("fits", "Pool", "verdict"),
        Column("short", "Too small in", "share"),
        Column("pool", "Least pool", "value"),
        Column("p10", "Peak P10", "value"),
        Column("p50", "P50", "value"),
        Column("p90", "P90", "value"),
        Column("week", "Peak week", "count"),
        Column("dual", "Dual, unit-weeks P50", "count"),
        Column("end", "Given back at the end P50", "value"),
        Column("unit", "Unit"),
    )
    return Table("resources", "Peak, dual running and what is given back", columns, rows)


def _pool(one: ResourceWeeks) -> float | None:
    return min((week.pool for week in one.weeks if week.pool is not None), default=None)


def _weeks(one: ResourceWeeks) -> Table:
    rows = tuple(
        {"week": w.week, "p10": w.p10, "p50": w.p50, "p90": w.p90, "baseline": w.baseline, "pool": w.pool}
        for w in one.weeks
    )
    columns = (
        Column("week", "Week", "count"),
        Column("p10", "P10", "value"),
        Column("p50", "P50", "value"),
        Column("p90", "P90", "value"),
        Column("baseline", "Old stacks alone", "value"),
        Column("pool", "Pool", "value"),
    )
    return Table(f"weeks-{one.name}", f"{one.name}, {one.unit} held by week", columns, rows)


def _figure(one: ResourceWeeks, table: Table) -> Figure:
    from mainstem.report.capacity_weeks import capacity_weeks

    peak = f"{one.name}: half of the worlds peak above {numbers.value(one.peak.p50)} {one.unit}, mostly in week {one.peak_week}"
    pool = _pool(one)
    beside = "" if pool is None else f"; the pool is too small in {numbers.share(one.short_chance)} of the worlds"
    return Figure(
        f"weeks-{one.name}",
        peak + beside,
        "Week by week: a band from P10 to P90 of what is held, a line at the median, a dashed line for the old stacks alone, and "
        "a step for the pool where there is one.",
        capacity_weeks(table.rows, one.unit, narrow=False),
        capacity_weeks(table.rows, one.unit, narrow=True),
        table,
    )


def _footprint(found: CapacityPicture) -> Table:
    """One column a surface, one row a need."""
    held = found.footprint or {}
    names = list(dict.fromkeys(name for one in held.values() for name in one))
    rows = tuple({"need": name} | {surface: _told(one.get(name)) for surface, one in held.items()} for name in names)
    columns = (Column("need", "Need"), *(Column(surface, surface) for surface in held))
    note = "From the settings and weights that serve, and constants measured here. Cores are the ranker's alone."
    return Table("footprint", "What the unified stack needs for a surface", columns, rows, note)


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_told(one) for one in value)
    if isinstance(value, int | float):
        return numbers.count(value) if value >= 1e4 else numbers.value(float(value))
    return str(value or "")


def _stacks(found: CapacityPicture) -> Iterator[Table]:
    """What the desk told of the workspace's own stacks, beside what they took."""
    held = found.stacks
    if held is None:
        return
    rows = tuple(
        {
            "stack": stack, "what": what, "told": held.told[stack].metrics()[what], "measured": value,
            "error": held.errors[f"{stack}: {what}"],
        }
        for stack, needs in held.measured.items()
        for what, value in needs.metrics().items()
    )  # fmt: skip
    columns = (
        Column("stack", "Stack"),
        Column("what", "Of"),
        Column("told", "Told", "count"),
        Column("measured", "Measured", "count"),
        Column("error", "Error", "share"),
    )
    note = f"Told from small deployments of each stack, then measured on the whole ones, {held.measured_on}, {held.cores} cores."
    yield Table("stacks", "Told before, measured after", columns, rows, note)
    saved = tuple(
        {"what": one.what, "told": one.told, "measured": one.measured, "points": one.points} for one in held.savings
    )
    columns = (
        Column("what", "Unified saves"), Column("told", "Told", "share"), Column("measured", "Measured", "share"),
        Column("points", "Points off", "value"),
    )  # fmt: skip
    yield Table("unified-saves", "What one stack saves over the two it replaces", columns, saved)


def _ledger(found: CapacityPicture) -> Table:
    claims = found.ledger.book.claims.values() if found.ledger else ()
    rows = tuple(
        {
            "claim": one.name, "scope": one.scope, "state": one.state, "owner": one.owner, "promised": one.promised,
            "measured": one.delivered, "verified": one.verified, "unit": one.unit,
        }
        for one in claims
    )  # fmt: skip
    columns = (
        Column("claim", "Claim"),
        Column("scope", "Saves on"),
        Column("state", "State"),
        Column("promised", "Promised", "value"),
        Column("measured", "Measured", "value"),
        Column("verified", "Verified", "value"),
        Column("unit", "Unit"),
        Column("owner", "Owner"),
    )
    note = "Units a week. Only verified counts: capacity that was given back, with a receipt and a second person."
    return Table("ledger", "Savings, claim by claim", columns, rows, note)


def _ledger_facts(found: CapacityPicture) -> dict[str, Any] | None:
    if found.ledger is None:
        return None
    verified = [f"{numbers.value(amount)} {unit}" for unit, amount in found.ledger.book.verified.items()]
    return {"entries": found.ledger.entries, "head": found.ledger.head, "verified": verified}


def _calibration(found: CapacityPicture) -> Table:
    held = found.calibration
    state = "expired" if held and held.expires < found.today else "in date"
    rows = tuple(
        {
            "work": kind, "state": state, "p50": one.error_p50, "p90": one.error_p90, "shapes": one.shapes,
            "held_out": one.held_out,
        }
        for kind, one in (held.fitted if held else {}).items()
    )  # fmt: skip
    columns = (
        Column("work", "Work"),
        Column("state", "Constants", "verdict"),
        Column("p50", "Median error", "share"),
        Column("p90", "P90 error", "share"),
        Column("shapes", "Shapes fitted", "count"),
        Column("held_out", "Held out", "count"),
    )
    return Table("calibration", "How far predictions were off on shapes that were held out", columns, rows)


def _single(found: CapacityPicture) -> Table:
    rows = tuple({"what": name, "value": value} for name, value in (_singles(found)))
    columns = (Column("what", "Measured"), Column("value", "Value", "count"))
    return Table("measured", "Single numbers", columns, rows)


def _singles(found: CapacityPicture) -> Iterator[tuple[str, float]]:
    if found.calibration:
        yield from found.calibration.single.items()


def _calibration_facts(found: CapacityPicture) -> dict[str, Any] | None:
    held = found.calibration
    if held is None:
        return None
    left = (held.expires - found.today).days
    return {
        "processor": held.hardware.processor, "cores": held.hardware.cores, "measured": str(held.measured),
        "expires": str(held.expires), "days_left": left, "state": "in date" if left >= 0 else "expired",
    }  # fmt: skip
