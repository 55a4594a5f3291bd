"""The ramp's path: what share of each surface was on the new stack over time, with every act upon it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import (
    ACCENT,
    FAILS,
    HOLDS,
    INK,
    LINE,
    NARROW_TEXT_PX,
    PAPER,
    STRONG,
    TEXT_PX,
    UNDECIDED,
    config,
)

ACTS: Final[Mapping[str, tuple[str, str]]] = {
    "start": ("circle", STRONG),
    "forward": ("circle", ACCENT),
    "resume": ("triangle-right", ACCENT),
    "hold": ("triangle-up", UNDECIDED),
    "pause": ("triangle-up", UNDECIDED),
    "roll back": ("square", FAILS),
    "stop": ("square", FAILS),
    "land": ("diamond", HOLDS),
}
"""Act → how it is marked, by shape and colour."""


@chart
def ramp_path(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """One strip a surface: the share as steps over the days of the launch, a mark at each act.

    Args:
        rows: Each with ``surface``, ``day`` and ``share``, and ``action``, empty where a strip only goes on to the present;
            by surface and time.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    surfaces = list(dict.fromkeys(row["surface"] for row in rows))
    last = max([1e-3, *(row["day"] for row in rows)])
    width = NARROW_PX - 66 if narrow else WIDE_PX - 70
    strips = [
        _strip([row for row in rows if row["surface"] == one], last, px, at == len(surfaces) - 1).properties(
            width=width, height=74, title=alt.TitleParams(one, anchor="start", fontSize=px, fontWeight=600, color=INK)
        )
        for at, one in enumerate(surfaces)
    ]
    padded = alt.vconcat(*strips, spacing=14).properties(padding={"left": 4, "top": 6, "right": 14, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}


def _strip(rows: Sequence[Mapping[str, Any]], last: float, px: int, foot: bool) -> Any:
    x = alt.X(
        "day:Q",
        title="days since the start" if foot else None,
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(tickCount=6, grid=False, labels=foot, ticks=foot),
    )
    shares = alt.Axis(values=[0, 0.05, 0.25, 0.5, 1.0], format="%", grid=True, gridColor=LINE, labelFontSize=px)
    # A square root: the first steps are small and matter most.
    y = alt.Y("share:Q", title=None, scale=alt.Scale(type="sqrt", domain=[0, 1]), axis=shares)
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(x=x, y=y)
    shapes = alt.Scale(domain=list(ACTS), range=[shape for shape, _ in ACTS.values()])
    colours = alt.Scale(domain=list(ACTS), range=[colour for _, colour in ACTS.values()])
    acts = base.transform_filter("datum.action != ''")
    return alt.layer(
        base.mark_line(color=ACCENT, strokeWidth=2.25, interpolate="step-after"),
        acts.mark_point(filled=True, size=170, opacity=1, color=PAPER, shape="circle"),
        acts.mark_point(filled=True, size=85, opacity=1, strokeWidth=2).encode(
            shape=alt.Shape("action:N", scale=shapes),
            color=alt.Color("action:N", scale=colours),
        ),
    )
