"""What the last of a value costs in a guarded metric: every weights that were tried, and those that no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from mainstem.report.charts import NARROW_PX, WIDE_PX
from mainstem.report.figure import Figure, chart
from mainstem.report.look import ACCENT, INK, NARROW_TEXT_PX, STRONG, TEXT_PX, config
from mainstem.report.table import Column, Table


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial: its value, its guarded metric, and whether it keeps every guardrail and lies on the front."""

    value: float
    metric: float
    kept: bool
    front: bool
    start: bool = False


def tuning_figure(surface: str, metric: str, tried: Sequence[Tried], sentence: str) -> Figure:
    """The trials of one tuning.

    Args:
        surface: Whose weights.
        metric: The guarded metric on the horizontal axis.
        tried: Every trial, the start first.
        sentence: What was found.
    """
    rows = [
        {"value": one.value, "metric": one.metric, "kind": _kind(one), "kept": "yes" if one.kept else "no"}
        for one in tried
    ]
    text = (
        f"Each mark is one set of weights: to the right more {metric}, upwards more value. Filled circles lie on the front: no "
        "other set has more value and is better in every guarded metric. The square is where the surface stands."
    )
    columns = (
        Column("kind", "set"),
        Column("value", "value", "value"),
        Column("metric", metric, "value"),
        Column("kept", "kept"),
    )
    shown = tuple(row for row in rows if row["kind"] != "tried")
    table = Table(f"tuning-{surface}", "The start, and every set of weights on the front.", columns, shown)
    wide, narrow = (front(rows, metric, narrow=one) for one in (False, True))
    return Figure(f"tuning-{surface}", sentence, text, wide, narrow, table)


def _kind(one: Tried) -> str:
    return "start" if one.start else "front" if one.front else "tried"


@chart
def front(rows: Sequence[dict[str, Any]], metric: str, *, narrow: bool) -> dict[str, Any]:
    """Value against a guarded metric, one mark a trial."""
    px = NARROW_TEXT_PX if narrow else TEXT_PX
    kinds = ["tried", "front", "start"]
    ordered = sorted(rows, key=lambda row: kinds.index(row["kind"]))
    base = alt.Chart(alt.Data(values=ordered)).mark_point(size=70, strokeWidth=1.5, opacity=1)
    scale = alt.Scale(zero=False, nice=True)
    drawn = base.encode(
        x=alt.X("metric:Q", title=metric, scale=scale, axis=alt.Axis(tickCount=4 if narrow else 6)),
        y=alt.Y("value:Q", title="value of an impression", scale=scale, axis=alt.Axis(tickCount=5, grid=True)),
        shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["circle", "circle", "square"])),
        stroke=alt.Stroke("kind:N", scale=alt.Scale(domain=kinds, range=[STRONG, ACCENT, INK])),
        fill=alt.Fill("kind:N", scale=alt.Scale(domain=kinds, range=["transparent", ACCENT, "transparent"])),
    )
    width = NARROW_PX - 90 if narrow else WIDE_PX - 330
    padded = drawn.properties(width=width, height=260, padding={"left": 4, "top": 6, "right": 12, "bottom": 4})
    return padded.to_dict() | {"config": config(px)}
