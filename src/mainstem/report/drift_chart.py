"""The chart of drift: how far each feature moved on each day, with its number where there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import ACCENT, NARROW_TEXT_PX, TEXT_PX, config


@chart
def drift_lines(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """Squares whose area is the stability index of a feature on a day.

    Args:
        rows: Each with ``label``, ``day`` and ``index``; in the order to be drawn.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    labels = list(dict.fromkeys(row["label"] for row in rows))
    days = alt.Axis(labelAngle=-90 if narrow else 0, labelOverlap=False)
    drawn = (
        alt.Chart(alt.Data(values=[dict(row) for row in rows]))
        .mark_square(color=ACCENT, opacity=1)
        .encode(
            x=alt.X("day:O", title="day", axis=days),
            y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=150 if narrow else 320)),
            size=alt.Size("index:Q", scale=alt.Scale(domainMin=0, range=[0, 300]), legend=None),
        )
        .properties(width=NARROW_PX - 160 if narrow else WIDE_PX - 330, height=alt.Step(30))
        .properties(padding={"left": 4, "top": 6, "right": 12, "bottom": 4})
    )
    return drawn.to_dict() | {"config": config(px)}
