"""A change taken apart: each part with its interval in percent, panel by panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import ACCENT, INK, NARROW_TEXT_PX, STRONG, TEXT_PX, config
from mainstem.report.row_words import row_words

_STATES = {
    "higher": (INK, "triangle-up"),
    "lower": (INK, "triangle-down"),
    "not told apart": (STRONG, "circle"),
    "whole": (ACCENT, "diamond"),
}
_LABEL_PX, _TOLD_PX = 250, 210


@chart
def parts_forest(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """Parts of changes: a row a part, the whole as a diamond.

    Args:
        rows: Each with ``label``, ``low``, ``mid``, ``high`` (shares) , ``state`` (``higher``, ``lower``, ``not told apart`` or
            ``whole``) and ``told``; in the order to be drawn.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    plot = NARROW_PX - 16 if narrow else WIDE_PX - _LABEL_PX - _TOLD_PX
    shift = 17 if narrow else 0
    ends = [row[name] for row in rows for name in ("low", "high")]
    room = 0.06 * (max([0.0, *ends]) - min([0.0, *ends])) or 0.01
    scale = alt.Scale(domain=[min([0.0, *ends]) - room, max([0.0, *ends]) + room], range=[0, plot], nice=False)
    x = alt.X(
        "low:Q",
        title="change as a share of the old stack",
        scale=scale,
        axis=alt.Axis(labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.1%')", tickCount=3 if narrow else 7),
    )
    labels = [row["label"] for row in rows]
    y = alt.Y("label:N", sort=labels, title=None, axis=None if narrow else alt.Axis(labelFontSize=px))
    base = alt.Chart(alt.Data(values=[dict(row) for row in rows])).encode(y=y)
    colour = alt.Color("state:N", scale=alt.Scale(domain=list(_STATES), range=[one for one, _ in _STATES.values()]))
    shape = alt.Shape("state:N", scale=alt.Scale(domain=list(_STATES), range=[one for _, one in _STATES.values()]))
    none = alt.Chart(alt.Data(values=[{"low": 0.0}]))
    layers: list[alt.Chart] = [
        none.mark_rule(color=INK).encode(x=x),
        base.mark_rule(strokeWidth=2.5, yOffset=shift).encode(x=x, x2="high:Q", color=colour),
        base.mark_point(filled=True, size=95, opacity=1, yOffset=shift).encode(
            x=alt.X("mid:Q", scale=scale), color=colour, shape=shape
        ),
    ]
    layers += row_words(base, plot, px, narrow=narrow)
    width = plot if narrow else plot + _TOLD_PX - 12
    drawn = alt.layer(*layers).properties(width=width, height=alt.Step(70 if narrow else 30))
    padded = drawn.properties(padding={"left": 4, "top": 6, "right": 12, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}
