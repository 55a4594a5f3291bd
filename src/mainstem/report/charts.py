"""The charts: differences with intervals, levels side by side, shares, and how a value adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import altair as alt

from mainstem.report import numbers
from mainstem.report.figure import chart
from mainstem.report.look import (
    ACCENT,
    INK,
    LINE,
    NARROW_TEXT_PX,
    PAPER,
    SOFT,
    STRONG,
    TEXT_PX,
    VERDICT_COLOURS,
    VERDICT_SHAPES,
    config,
    mark_of,
)

WIDE_PX: Final = 1040
NARROW_PX: Final = 340
_NUMBER_PX: Final = 210
"""Room for one difference with its bounds, to the right of the plot."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One row of a forest plot: a difference with its bounds and what is said of it."""

    label: str
    difference: Mapping[str, Any]
    answer: str = ""


@chart
def forest(rows: Sequence[Estimate], unit: str, *, narrow: bool, margin: float | None = None) -> dict[str, Any]:
    """By how much each difference is above 0, with its interval.

    Args:
        unit: What the horizontal axis counts.
        margin: A declared limit to draw beside 0.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    step = 66 if narrow else 34
    width = NARROW_PX - 16 if narrow else WIDE_PX - 330 - 8
    plot = width if narrow else width - _NUMBER_PX
    values = [_estimate(row) for row in rows]
    x = alt.X("low:Q", title=unit, scale=alt.Scale(range=[0, plot], nice=True), axis=_signed_axis(3 if narrow else 6))
    y = alt.Y("label:N", sort=None, title=None, axis=None if narrow else alt.Axis(labelFontSize=px))
    base = alt.Chart(alt.Data(values=values)).encode(y=y)
    shift = 15 if narrow else 0
    layers = [
        *_references(margin),
        base.mark_rule(strokeWidth=2, yOffset=shift).encode(x=x, x2="high:Q", color=_verdict_colour()),
        base.mark_point(filled=True, size=90, opacity=1, yOffset=shift).encode(
            x="mid:Q", color=_verdict_colour(), shape=_verdict_shape()
        ),
    ]
    if narrow:
        layers += [
            *_over_lines(base, "label:N", -21, px, INK),
            *_over_lines(base, "told:N", -5, px, SOFT),
        ]
    else:
        layers.append(base.mark_text(align="right", fontSize=px).encode(text="told:N", x=alt.value(width)))
    return _spec(alt.layer(*layers).properties(width=width, height=alt.Step(step)), px)


@chart
def dots(
    rows: Sequence[Mapping[str, Any]],
    arms: Sequence[str],
    unit: str,
    *,
    reference: float | None = None,
    ratio: bool = False,
) -> dict[str, Any]:
    """Levels of several arms on one axis, a line of marks for each label.

    Args:
        rows: Each with ``label``, ``arm`` and ``level``.
        reference: A level to draw as a line, such as 0.5 of an AUC.
        ratio: Whether the axis is logarithmic.
    """
    domain = [arm for arm in arms if any(row["arm"] == arm for row in rows)]
    marks = [mark_of(arm, arms) for arm in domain]
    scale = alt.Scale(type="log" if ratio else "linear", zero=False, nice=True)
    labels = list(dict.fromkeys(row["label"] for row in rows))
    # What is drawn last lies on top: the first arm, which the figure is about.
    drawn = sorted((dict(row) for row in rows), key=lambda row: -domain.index(row["arm"]))
    base = alt.Chart(alt.Data(values=drawn)).encode(
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(grid=True, gridColor=LINE))
    )
    points = base.mark_point(size=80, strokeWidth=1.75, opacity=1).encode(
        x=alt.X("level:Q", title=unit, scale=scale, axis=alt.Axis(tickCount=4, grid=False)),
        shape=alt.Shape("arm:N", scale=alt.Scale(domain=domain, range=[mark.shape for mark in marks])),
        stroke=alt.Stroke("arm:N", scale=alt.Scale(domain=domain, range=[mark.colour for mark in marks])),
        fill=alt.Fill(
            "arm:N", scale=alt.Scale(domain=domain, range=[mark.colour if mark.filled else PAPER for mark in marks])
        ),
    )
    layers = [points] if reference is None else [_line(reference, STRONG, [3, 3]), points]
    return _spec(alt.layer(*layers).properties(width=NARROW_PX - 96, height=alt.Step(30)), TEXT_PX)


@chart
def bars(rows: Sequence[Mapping[str, Any]], unit: str, *, narrow: bool) -> dict[str, Any]:
    """Shares (0–1) as bars, each with its number.

    Args:
        rows: Each with ``label``, ``share`` and ``own``, the part of the share that is drawn in the accent colour; ``told``
            stands in for the number where there is none.
        unit: What the horizontal axis counts.
        narrow: For phones.
    """
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    values = [{**row, "told": row.get("told") or numbers.share(row["share"])} for row in rows]
    base = alt.Chart(alt.Data(values=values)).encode(y=alt.Y("label:N", sort=None, title=None))
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("share:Q", title=unit, scale=scale, axis=alt.Axis(format="%", tickCount=4))
    whole = base.mark_bar(height=14, color=STRONG, opacity=0.45).encode(x=x)
    own = base.mark_bar(height=14, color=ACCENT).encode(x=alt.X("own:Q", scale=scale))
    told = base.mark_text(align="left", dx=6, fontSize=px).encode(text="told:N", x=alt.X("share:Q", scale=scale))
    width = NARROW_PX - 150 if narrow else WIDE_PX - 330
    return _spec(alt.layer(whole, own, told).properties(width=width, height=alt.Step(30)), px)


@chart
def waterfall(terms: Mapping[str, float], *, narrow: bool) -> dict[str, Any]:
    """How the terms of a value add up to it: each starts where the one before ended."""
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    ends = list(accumulate(terms.values()))
    steps = [
        {
            "label": name,
            "from": end - term,
            "to": end,
            "told": numbers.signed(term, 4),
            "effect": "lifts" if term >= 0 else "lowers",
        }
        for (name, term), end in zip(terms.items(), ends, strict=True)
    ]
    total = ends[-1] if ends else 0.0
    steps.append({"label": "value", "from": 0.0, "to": total, "told": numbers.value(total), "effect": "total"})
    for step in steps:
        step["end"] = max(step["from"], step["to"])
    base = alt.Chart(alt.Data(values=steps)).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=150 if narrow else 320))
    )
    x = alt.X("from:Q", title="value", axis=alt.Axis(tickCount=2 if narrow else 6, labelOverlap=True))
    colour = alt.Color(
        "effect:N",
        scale=alt.Scale(domain=["lifts", "lowers", "total"], range=[ACCENT, VERDICT_COLOURS["does not hold"], STRONG]),
    )
    drawn = base.mark_bar(height=16).encode(x=x, x2="to:Q", color=colour)
    told = base.mark_text(align="left", dx=6, fontSize=px).encode(text="told:N", x="end:Q")
    width = NARROW_PX - 190 if narrow else WIDE_PX - 330
    return _spec(alt.layer(_line(0, STRONG), drawn, told).properties(width=width, height=alt.Step(30)), px)


def _estimate(row: Estimate) -> dict[str, Any]:
    low, mid, high = (float(row.difference[name]) for name in ("low", "mid", "high"))
    return {
        "label": row.label,
        "low": low,
        "mid": mid,
        "high": high,
        "told": numbers.interval(row.difference),
        "answer": row.answer,
    }


def _over_lines(base: alt.Chart, text: str, dy: int, px: int, colour: str) -> list[alt.Chart]:
    """Words at the left edge, with the page's colour around them so that the lines behind do not cross them out."""
    place: dict[str, Any] = {"align": "left", "dy": dy, "fontSize": px}
    halo = base.mark_text(**place, color=PAPER, stroke=PAPER, strokeWidth=5).encode(text=text, x=alt.value(0))
    return [halo, base.mark_text(**place, color=colour).encode(text=text, x=alt.value(0))]


def _signed_axis(ticks: int) -> alt.Axis:
    return alt.Axis(tickCount=ticks, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+')")


def _references(margin: float | None) -> list[alt.Chart]:
    lines = [_line(0, INK)]
    return lines if margin is None else [*lines, _line(margin, STRONG, [4, 4])]


def _line(at: float, colour: str, dash: Sequence[int] = ()) -> alt.Chart:
    drawn: dict[str, Any] = {"strokeDash": list(dash)} if dash else {}
    return alt.Chart(alt.Data(values=[{"at": at}])).mark_rule(color=colour, **drawn).encode(x=alt.X("at:Q"))


def _verdict_colour() -> alt.Color:
    return alt.Color("answer:N", scale=alt.Scale(domain=list(VERDICT_COLOURS), range=list(VERDICT_COLOURS.values())))


def _verdict_shape() -> alt.Shape:
    return alt.Shape("answer:N", scale=alt.Scale(domain=list(VERDICT_SHAPES), range=list(VERDICT_SHAPES.values())))


def _spec(drawn: Any, text_px: int) -> dict[str, Any]:
    padded = drawn.properties(padding={"left": 4, "top": 6, "right": 12, "bottom": 4})
    return padded.to_dict() | {"config": config(text_px)}
