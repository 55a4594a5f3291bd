"""The chart of a forecast: for each milestone the days on which it lands, the promised day, and whether that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import (
    INK,
    LINE,
    NARROW_TEXT_PX,
    PAPER,
    SOFT,
    TEXT_PX,
    VERDICT_COLOURS,
    VERDICT_SHAPES,
    config,
)


@chart
def landings(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """A line from P10 to P90 a milestone, a mark at P50, a short bar at the promised day.

    Args:
        rows: Each with ``label``, ``p10``, ``p50``, ``p90`` as ISO days, ``due`` (a day or None), ``answer`` (a key of
            ``VERDICT_COLOURS``) and ``told``, what is written beside it; in the order to be drawn.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    plot = NARROW_PX - 16 if narrow else WIDE_PX - 380
    shift = 17 if narrow else 0
    labels = [row["label"] for row in rows]
    values = [dict(row) for row in rows]
    axis = alt.Axis(labelAlign="left" if narrow else "right", labelFontSize=px)
    y = alt.Y("label:N", sort=labels, title=None, axis=None if narrow else axis)
    time = alt.Axis(format="%b %Y", tickCount=3 if narrow else 6, grid=True, gridColor=LINE, labelOverlap=True)
    scale = alt.Scale(range=[0, plot], nice=False, padding=12)
    x = alt.X("p10:T", title="lands on", axis=time, scale=scale)
    colour = alt.Color("answer:N", scale=alt.Scale(domain=list(VERDICT_COLOURS), range=list(VERDICT_COLOURS.values())))
    shape = alt.Shape("answer:N", scale=alt.Scale(domain=list(VERDICT_SHAPES), range=list(VERDICT_SHAPES.values())))
    base = alt.Chart(alt.Data(values=values)).encode(y=y)
    promised = alt.Chart(alt.Data(values=[row for row in values if row["due"]])).encode(y=y)
    layers = [
        base.mark_rule(strokeWidth=3, opacity=0.75, yOffset=shift).encode(x=x, x2="p90:T", color=colour),
        promised.mark_tick(thickness=2.5, height=22, color=INK, yOffset=shift).encode(x=alt.X("due:T", scale=scale)),
        base.mark_point(filled=True, size=95, opacity=1, yOffset=shift).encode(
            x=alt.X("p50:T", scale=scale), color=colour, shape=shape
        ),
    ]
    if narrow:
        layers += [*_over(base, "label:N", -19, px, INK), *_over(base, "told:N", -2, px, SOFT)]
    else:
        layers.append(
            base.mark_text(align="left", fontSize=px, color=SOFT).encode(text="told:N", x=alt.value(plot + 14))
        )
    drawn = alt.layer(*layers).properties(width=plot if narrow else plot + 232, height=alt.Step(70 if narrow else 36))
    padded = drawn.properties(padding={"left": 4, "top": 6, "right": 12, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}


def _over(base: alt.Chart, text: str, dy: int, px: int, colour: str) -> list[alt.Chart]:
    """Words above the line, with the page's colour around them."""
    place: dict[str, Any] = {"align": "left", "dy": dy, "fontSize": px}
    halo = base.mark_text(**place, color=PAPER, stroke=PAPER, strokeWidth=5).encode(text=text, x=alt.value(0))
    return [halo, base.mark_text(**place, color=colour).encode(text=text, x=alt.value(0))]
