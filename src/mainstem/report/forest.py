"""Every metric against its own margin, on one axis: harm always to the left, the limit at −1, whichever way a metric points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import (
    FAILS,
    INK,
    NARROW_TEXT_PX,
    TEXT_PX,
    VERDICT_COLOURS,
    VERDICT_SHAPES,
    config,
)
from mainstem.report.row_words import row_words

MOST: Final = 4.0
"""Margins that are drawn to either side; what reaches further ends in an arrow, so that the margin stays to be seen."""
_LABEL_PX: Final = 250
_TOLD_PX: Final = 270


@chart
def margins_forest(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """How far each metric is from its margin, with the interval that holds at every look.

    Args:
        rows: Each with ``label``, ``low``, ``mid`` and ``high`` in margins with harm below 0, ``answer`` (a key of
            ``VERDICT_COLOURS``) and ``told``, the change in words; in the order to be drawn.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    plot = NARROW_PX - 16 if narrow else WIDE_PX - _LABEL_PX - _TOLD_PX
    reach = reach_of(rows)
    shift = 17 if narrow else 0
    scale = alt.Scale(domain=[-reach, reach], range=[0, plot], nice=False)
    axis = alt.Axis(
        tickCount=5 if narrow else 9,
        labelExpr="datum.value == 0 ? '0' : datum.value == -1 ? '−1' : format(datum.value, '+')",
    )
    title = (
        "← harm · in margins · better →" if narrow else "← harm · in multiples of each metric's own margin · better →"
    )
    x = alt.X("low:Q", title=title, scale=scale, axis=axis)
    labels = [row["label"] for row in rows]
    y = alt.Y("label:N", sort=labels, title=None, axis=None if narrow else alt.Axis(labelFontSize=px))
    base = alt.Chart(alt.Data(values=[_clipped(row, reach) for row in rows])).encode(y=y)
    colour = alt.Color("answer:N", scale=alt.Scale(domain=list(VERDICT_COLOURS), range=list(VERDICT_COLOURS.values())))
    shape = alt.Shape("answer:N", scale=alt.Scale(domain=list(VERDICT_SHAPES), range=list(VERDICT_SHAPES.values())))
    layers: list[alt.Chart] = [
        *_limits(reach, x),
        base.mark_rule(strokeWidth=2.5, yOffset=shift).encode(x=x, x2="high:Q", color=colour),
        *_arrows(base, colour, scale, shift),
        base.transform_filter("datum.inside").mark_point(filled=True, size=90, opacity=1, yOffset=shift).encode(
            x=alt.X("mid:Q", scale=scale), color=colour, shape=shape
        ),
    ]  # fmt: skip
    layers += row_words(base, plot, px, narrow=narrow)
    width = plot if narrow else plot + _TOLD_PX - 12
    drawn = alt.layer(*layers).properties(width=width, height=alt.Step(70 if narrow else 32))
    padded = drawn.properties(padding={"left": 4, "top": 6, "right": 12, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}


def reach_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """How many margins are drawn to either side: as far as the intervals go, at least 1.5, at most ``MOST``."""
    ends = [abs(row[name]) for row in rows for name in ("low", "high")]
    return min(max([1.5, *(1.05 * end for end in ends)]), MOST)


def _clipped(row: Mapping[str, Any], reach: float) -> dict[str, Any]:
    low, mid, high = (float(row[name]) for name in ("low", "mid", "high"))
    return {
        **row,
        "low": min(max(low, -reach), reach),
        "mid": mid,
        "high": min(max(high, -reach), reach),
        "inside": abs(mid) <= reach,
        "left": low < -reach,
        "right": high > reach,
        "left_end": -reach,
        "right_end": reach,
    }


def _limits(reach: float, x: alt.X) -> list[alt.Chart]:
    """A band where harm is more than was accepted, a line at the margin and one at no change."""
    band = alt.Chart(alt.Data(values=[{"low": -reach, "end": -1.0}]))
    margin, none = (alt.Chart(alt.Data(values=[{"low": at}])) for at in (-1.0, 0.0))
    return [
        band.mark_rect(color=FAILS, opacity=0.1).encode(x=x, x2="end:Q"),
        margin.mark_rule(color=FAILS, strokeDash=[5, 4], strokeWidth=1.5).encode(x=x),
        none.mark_rule(color=INK).encode(x=x),
    ]


def _arrows(base: alt.Chart, colour: alt.Color, scale: alt.Scale, shift: int) -> list[alt.Chart]:
    """Where an interval goes on beyond what is drawn."""
    sides = (("left", "triangle-left", 5), ("right", "triangle-right", -5))
    return [
        base.transform_filter(f"datum.{side}")
        .mark_point(filled=True, size=90, opacity=1, shape=shape, xOffset=inward, yOffset=shift)
        .encode(x=alt.X(f"{side}_end:Q", scale=scale), color=colour)
        for side, shape, inward in sides
    ]
