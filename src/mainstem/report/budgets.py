"""What is spent of a budget of false alarms, and what is left to wait: shares of a bound, and days to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import chart
from mainstem.report.look import ACCENT, FAILS, NARROW_TEXT_PX, STRONG, TEXT_PX, UNDECIDED, config
from mainstem.report.row_words import row_words

MOST: Final = 1.5
"""Bounds that are drawn; what is further beyond ends there and is told in words."""
_LABEL_PX: Final = 250
_TOLD_PX: Final = 270


@chart
def budget_bars(rows: Sequence[Mapping[str, Any]], title: str, *, narrow: bool) -> dict[str, Any]:
    """Bars up to a bound at 1: what reaches it acts.

    Args:
        rows: Each with ``label``, ``used`` (0 and more, 1 is the bound), ``kind`` (``first`` or ``second``: which budget) and
            ``told``; in the order to be drawn.
        title: Of the axis.
        narrow: For phones.
    """
    px, plot = _sizes(narrow)
    axis = alt.Axis(format="%", tickCount=3 if narrow else 6)
    most = min(max([1.1, *(1.05 * row["used"] for row in rows)]), MOST)
    scale = alt.Scale(domain=[0, most], range=[0, plot], nice=False)
    values = [
        {**row, "drawn": min(row["used"], most), "state": "over" if row["used"] >= 1 else row["kind"]} for row in rows
    ]
    x = alt.X("drawn:Q", title=title, scale=scale, axis=axis)
    colour = alt.Color(
        "state:N", scale=alt.Scale(domain=["first", "second", "over"], range=[ACCENT, STRONG, FAILS]), legend=None
    )
    base = alt.Chart(alt.Data(values=values)).encode(y=_labels(rows, px, narrow))
    bound = alt.Chart(alt.Data(values=[{"drawn": 1.0}]))
    layers = [
        base.mark_bar(height=10, yOffset=20 if narrow else 0).encode(x=x, color=colour),
        bound.mark_rule(color=FAILS, strokeDash=[5, 4], strokeWidth=1.5).encode(x=x),
        *row_words(base, plot, px, narrow=narrow),
    ]
    return _spec(layers, plot, px, narrow)


@chart
def days_bars(rows: Sequence[Mapping[str, Any]], *, narrow: bool) -> dict[str, Any]:
    """Days until the last metric of each gate is shown, were the arms equal.

    Args:
        rows: Each with ``label``, ``days`` (None is not known) and ``told``; in the order to be drawn.
        narrow: For phones.
    """
    px, plot = _sizes(narrow)
    most = max([7.0, *(row["days"] or 0.0 for row in rows)])
    x = alt.X(
        "days:Q",
        title="days",
        scale=alt.Scale(domain=[0, most], range=[0, plot], nice=False),
        axis=alt.Axis(tickCount=5),
    )
    values = [{**row, "days": row["days"] or 0.0} for row in rows]
    base = alt.Chart(alt.Data(values=values)).encode(y=_labels(rows, px, narrow))
    layers = [
        base.mark_bar(height=12, color=UNDECIDED, yOffset=20 if narrow else 0).encode(x=x),
        *row_words(base, plot, px, narrow=narrow),
    ]
    return _spec(layers, plot, px, narrow)


def _sizes(narrow: bool) -> tuple[int, int]:
    return (NARROW_TEXT_PX, NARROW_PX - 16) if narrow else (TEXT_PX, WIDE_PX - _LABEL_PX - _TOLD_PX)


def _labels(rows: Sequence[Mapping[str, Any]], px: int, narrow: bool) -> alt.Y:
    labels = [row["label"] for row in rows]
    return alt.Y("label:N", sort=labels, title=None, axis=None if narrow else alt.Axis(labelFontSize=px))


def _spec(layers: list[alt.Chart], plot: int, px: int, narrow: bool) -> dict[str, Any]:
    width = plot if narrow else plot + _TOLD_PX - 12
    drawn = alt.layer(*layers).properties(width=width, height=alt.Step(66 if narrow else 27))
    padded = drawn.properties(padding={"left": 4, "top": 6, "right": 12, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}
