"""The chart of a transition: what one resource holds week by week, P10 to P90, against its pool and the old stacks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import ACCENT, FAILS, INK, NARROW_TEXT_PX, STRONG, TEXT_PX, config


@chart
def capacity_weeks(rows: Sequence[Mapping[str, Any]], unit: str, *, narrow: bool) -> dict[str, Any]:
    """A band from P10 to P90 with the median, the baseline dashed, and the pool as a step.

    Args:
        rows: Each with ``week``, ``p10``, ``p50``, ``p90``, ``baseline`` and ``pool`` (None without a limit), by week.
        unit: Of the vertical axis.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    weeks = alt.Axis(tickCount=4 if narrow else 12, grid=False)
    last = max((row["week"] for row in rows), default=1)
    x = alt.X("week:Q", title="week", axis=weeks, scale=alt.Scale(domain=[0, last], nice=False))
    amount = alt.Axis(tickCount=4, grid=True, labelLimit=60)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=unit, axis=amount, scale=alt.Scale(zero=True, nice=True))

    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(x=x)
    limited = alt.Chart(alt.Data(values=[dict(row) for row in rows if row["pool"] is not None])).encode(x=x)
    layers = [
        base.mark_area(color=ACCENT, opacity=0.22).encode(y=y("p10"), y2="p90:Q"),
        base.mark_line(color=STRONG, strokeDash=[5, 4], strokeWidth=1.75).encode(y=y("baseline")),
        base.mark_line(color=ACCENT, strokeWidth=2.5).encode(y=y("p50")),
        limited.mark_line(color=FAILS, strokeWidth=2, interpolate="step-after").encode(y=y("pool")),
        *_named(rows, px, y),
    ]
    drawn = alt.layer(*layers).properties(width=NARROW_PX - 70 if narrow else WIDE_PX - 50, height=220)
    padded = drawn.properties(padding={"left": 4, "top": 10, "right": 14, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}


def _named(rows: Sequence[Mapping[str, Any]], px: int, y: Any) -> list[alt.Chart]:
    """The pool's name at its first week, above its line."""
    first = next((row for row in rows if row["pool"] is not None), None)
    if first is None:
        return []
    named = alt.Chart(alt.Data(values=[{"week": first["week"], "pool": first["pool"], "name": "pool"}]))
    place: dict[str, Any] = {"align": "left", "dx": 4, "dy": -7, "fontSize": px, "color": INK}
    return [named.mark_text(**place).encode(x=alt.X("week:Q"), y=y("pool"), text="name:N")]
