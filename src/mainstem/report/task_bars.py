"""The chart of a schedule: a bar a task, how much later it may end, and which ones decide the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import ACCENT, INK, LINE, NARROW_TEXT_PX, PAPER, STRONG, TEXT_PX, config

KINDS: Final = {"decides the end": ACCENT, "has slack": STRONG, "done": LINE}
"""What a bar says of its task, and its colour."""


@chart
def task_bars(rows: Sequence[Mapping[str, Any]], today: str, *, narrow: bool) -> dict[str, Any]:
    """Bars from start to end, a thin line as far as the end may slip, and a line at today.

    Args:
        rows: Each with ``label``, ``starts``, ``ends`` and ``latest`` as ISO days and ``kind``, a key of ``KINDS``; in the order
            to be drawn.
        today: The day, ISO.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    shift = 11 if narrow else 0
    plot = NARROW_PX - 16 if narrow else WIDE_PX - 200
    time = alt.Axis(format="%b %Y", tickCount=3 if narrow else 8, grid=True, gridColor=LINE, labelOverlap=True)
    scale = alt.Scale(range=[0, plot], nice=False)
    y = alt.Y("label:N", sort=[row["label"] for row in rows], title=None, axis=None if narrow else alt.Axis())
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(y=y)
    colour = alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())))
    x = alt.X("starts:T", title=None, axis=time, scale=scale)
    now = alt.Chart(alt.Data(values=[{"at": today}]))
    layers = [
        base.mark_rule(strokeWidth=1.5, color=STRONG, yOffset=shift).encode(
            x=alt.X("ends:T", scale=scale), x2="latest:T"
        ),
        base.mark_bar(height=12, yOffset=shift).encode(x=x, x2="ends:T", color=colour),
        now.mark_rule(color=INK, strokeDash=[4, 3]).encode(x=alt.X("at:T", scale=scale)),
    ]
    if narrow:
        place: dict[str, Any] = {"align": "left", "dy": -9, "fontSize": px}
        layers += [
            base.mark_text(**place, color=PAPER, stroke=PAPER, strokeWidth=5).encode(text="label:N", x=alt.value(0)),
            base.mark_text(**place, color=INK).encode(text="label:N", x=alt.value(0)),
        ]
    drawn = alt.layer(*layers).properties(width=plot, height=alt.Step(44 if narrow else 26))
    padded = drawn.properties(padding={"left": 4, "top": 6, "right": 14, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}
