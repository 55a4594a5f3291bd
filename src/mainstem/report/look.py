"""The one look of every figure: colours that follow the page's theme, one type size, no decoration.

Charts are drawn once in stand-in colours. Afterwards each stand-in becomes a CSS variable with the light theme's colour as
its fallback, so the same SVG follows light and dark on a page and still stands alone in a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

INK, SOFT, LINE, STRONG, ACCENT, HOLDS, UNDECIDED, FAILS, PAPER, STEM = (f"#0101{n:02d}" for n in range(10, 20))

COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    INK: ("--ink", "#17201e"),
    SOFT: ("--soft", "#55625e"),
    LINE: ("--line", "#dcdfd9"),
    STRONG: ("--strong", "#7b8781"),
    ACCENT: ("--accent", "#0a6a72"),
    HOLDS: ("--holds", "#1a6b3c"),
    UNDECIDED: ("--undecided", "#8a5a00"),
    FAILS: ("--fails", "#a8322a"),
    PAPER: ("--paper", "#faf9f6"),
    STEM: ("--stem", "#0a6a72"),
}
"""Stand-in colour → CSS variable and its light value. The style sheet has the dark ones."""

VERDICT_COLOURS: Final = {"holds": HOLDS, "undecided": UNDECIDED, "does not hold": FAILS, "": STRONG}
VERDICT_SHAPES: Final = {"holds": "circle", "undecided": "triangle-up", "does not hold": "square", "": "circle"}


@dataclass(frozen=True, slots=True)
class Mark:
    """How one arm is drawn: shape and colour together, so that neither alone has to tell."""

    shape: str
    colour: str
    filled: bool


MARKS: Final[Mapping[str, Mark]] = {
    "unified": Mark("circle", ACCENT, True),
    "content-first": Mark("square", INK, False),
    "interest-first": Mark("diamond", INK, False),
    "rank-average": Mark("triangle-up", STRONG, False),
    "popularity": Mark("stroke", STRONG, False),
}
_SPARE: Final = (
    Mark("triangle-down", STRONG, False),
    Mark("triangle-right", STRONG, False),
    Mark("cross", STRONG, False),
)


def mark_of(arm: str, arms: Sequence[str]) -> Mark:
    """The mark of an arm; arms nobody drew before take the spare ones in their order."""
    others = [name for name in arms if name not in MARKS]
    return MARKS.get(arm) or _SPARE[others.index(arm) % len(_SPARE)]


TEXT_PX: Final = 13
NARROW_TEXT_PX: Final = 14
"""Narrow figures are shrunk a little on the smallest screens; their text must stay above 12 px."""


def config(text_px: int = TEXT_PX) -> dict[str, Any]:
    """The Vega-Lite configuration of every chart."""
    axis = {
        "labelColor": SOFT,
        "labelFontSize": text_px,
        "titleColor": SOFT,
        "titleFontSize": text_px,
        "titleFontWeight": "normal",
        "gridColor": LINE,
        "domain": False,
        "tickColor": LINE,
        "tickSize": 4,
        "labelPadding": 6,
        "titlePadding": 10,
    }
    return {
        "background": None,
        "font": "sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"labelColor": INK, "grid": False, "ticks": False, "labelLimit": 320},
        "legend": {"disable": True},
        "text": {"fontSize": text_px, "color": INK},
    }


def themed(svg: str) -> str:
    """The SVG with the stand-in colours replaced by the page's variables, and without what a reader's machine trips over.

    Inner roles and labels go: the figure is one picture with one title and one description, and its table says the rest.
    """
    for stand_in, (variable, light) in COLOURS.items():
        svg = svg.replace(f'"{stand_in}"', f'"var({variable}, {light})"')
    svg = re.sub(r' (?:aria-[a-z]+|role|aria-roledescription|pointer-events|xmlns:xlink)="[^"]*"', "", svg)
    svg = re.sub(r' class="[^"]*"', "", svg)
    return svg.replace(' font-family="sans-serif"', "")


_SHAPES: Final = {
    "circle": "M2,7a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z",
    "square": "M2.5,2.5h9v9h-9Z",
    "diamond": "M7,1L13,7L7,13L1,7Z",
    "triangle-up": "M7,2L12.5,12H1.5Z",
    "triangle-down": "M7,12L12.5,2H1.5Z",
    "triangle-right": "M2,1.5L12,7L2,12.5Z",
    "stroke": "M1,7H13",
    "cross": "M5,1h4v4h4v4h-4v4h-4v-4h-4v-4h4Z",
}


def mark_svg(mark: Mark) -> str:
    """The mark alone, for a legend beside words."""
    fill = mark.colour if mark.filled else "none"
    drawn = f'<path d="{_SHAPES[mark.shape]}" fill="{fill}" stroke="{mark.colour}" stroke-width="1.75"/>'
    return themed(f'<svg width="14" height="14" viewBox="0 0 14 14" focusable="false">{drawn}</svg>')
