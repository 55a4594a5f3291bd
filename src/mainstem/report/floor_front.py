"""The front of exposure against value: what a floor for a group costs, and what re-weighting costs beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import Figure, chart
from mainstem.report.look import ACCENT, NARROW_TEXT_PX, PAPER, STRONG, TEXT_PX, config
from mainstem.report.table import Column, Table

_METHODS: Final = ("floor", "re-weighting")


@chart
def floor_lines(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """Value that is left over exposure that is reached, one line a method.

    Args:
        rows: Each with ``method``, ``share`` and ``left``.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    x = alt.X(
        "share:Q", title="share of places for the group", scale=alt.Scale(zero=False),
        axis=alt.Axis(format="%", tickCount=4 if narrow else 8),
    )  # fmt: skip
    y = alt.Y("left:Q", title="value left", scale=alt.Scale(zero=False), axis=alt.Axis(format=".1%", grid=True))
    shapes = alt.Scale(domain=list(_METHODS), range=["circle", "square"])
    colours = alt.Scale(domain=list(_METHODS), range=[ACCENT, STRONG])
    fills = alt.Scale(domain=list(_METHODS), range=[ACCENT, PAPER])
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(x=x, y=y)
    lines = base.mark_line(strokeWidth=1.75).encode(stroke=alt.Stroke("method:N", scale=colours))
    points = base.mark_point(size=70, strokeWidth=1.75, opacity=1).encode(
        shape=alt.Shape("method:N", scale=shapes),
        stroke=alt.Stroke("method:N", scale=colours),
        fill=alt.Fill("method:N", scale=fills),
    )
    drawn = alt.layer(lines, points).properties(width=NARROW_PX - 90 if narrow else WIDE_PX - 330, height=260)
    return drawn.properties(padding={"left": 4, "top": 8, "right": 12, "bottom": 4}).to_dict() | {"config": config(px)}


def floor_front_figure(found: Mapping[str, Any]) -> Figure:
    """The figure of ``evidence/mitigation.json``.

    Args:
        found: The evidence as plain values.
    """
    rows = [
        {**point, "left": 1 - point["price_share"]}
        for point in sorted(found["front"], key=lambda point: (point["method"], point["share"]))
    ]
    title = (
        f"A floor of {found['floor']:.0%} of places for small creators costs {found['price_share']:.2%} of value; "
        f"they get {found['free']:.0%} without one"
    )
    text = (
        f"Value that is left over the share of places that small creators get, {found['requests']} made requests of "
        f"{found['surface']}, {found['places']} places each. Round: the floor at its least price. Square: values multiplied "
        "by a power of one over the creator's items."
    )
    columns = (
        Column("method", "Method"),
        Column("asked", "Floor or strength", "value"),
        Column("share", "Share of places", "share"),
        Column("value", "Value", "value"),
        Column("price", "Given up", "value"),
        Column("left", "Value left", "share"),
        Column("boost", "Price of one more place", "value"),
    )
    table = Table("front", "Exposure of small creators against value", columns, tuple(rows))
    legend = (
        ("floor", "an exposure floor at its least price"),
        ("re-weighting", "values multiplied by a power of a weight"),
    )
    return Figure(
        "floor-front", title, text, floor_lines(rows, narrow=False), floor_lines(rows, narrow=True), table, legend
    )
