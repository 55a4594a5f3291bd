"""The effect by days since a unit's first exposure: what wears off falls towards 0, what is learnt grows away from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import ACCENT, INK, NARROW_TEXT_PX, PAPER, TEXT_PX, config


@chart
def since_exposure_lines(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """A panel a gate and metric: the change on each day with its interval.

    Args:
        rows: Each with ``panel``, ``day``, ``low``, ``mid`` and ``high`` (shares); by panel and day.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    width = NARROW_PX - 70 if narrow else (WIDE_PX - 170) // 2
    drawn = [
        _panel([row for row in rows if row["panel"] == one], px).properties(
            width=width, height=120, title=alt.TitleParams(one, anchor="start", fontSize=px, fontWeight=600, color=INK)
        )
        for one in panels
    ]
    whole = alt.concat(*drawn, columns=1 if narrow else 2, spacing=22)
    padded = whole.properties(padding={"left": 4, "top": 6, "right": 14, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}


def _panel(rows: Sequence[Mapping[str, Any]], px: int) -> Any:
    last = max(row["day"] for row in rows)
    x = alt.X(
        "day:Q",
        title="days since first exposure",
        scale=alt.Scale(domain=[-0.3, last + 0.3], nice=False),
        axis=alt.Axis(values=list(range(0, last + 1, max(last // 7, 1))), format="d", grid=False),
    )
    axis = alt.Axis(
        labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.1%')", tickCount=4, grid=True, labelFontSize=px
    )
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(x=x)
    zero = alt.Chart(alt.Data(values=[{"low": 0.0}])).mark_rule(color=INK)
    y = alt.Y("low:Q", title=None, axis=axis)
    return alt.layer(
        base.mark_area(color=ACCENT, opacity=0.2).encode(y=y, y2="high:Q"),
        zero.encode(y=y),
        base.mark_line(color=ACCENT, strokeWidth=2.25).encode(y=alt.Y("mid:Q", title=None, axis=axis)),
        base.mark_point(filled=True, size=55, color=ACCENT, opacity=1, stroke=PAPER).encode(
            y=alt.Y("mid:Q", title=None, axis=axis)
        ),
    )
