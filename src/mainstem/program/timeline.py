"""Milestones on one line of time: P10 to P90 as a bar, the median, the promised day, the gates. Its rows are its table.

The picture is SVG without a library: a dozen bars and words. A page gives colours that follow its theme, a PDF gives plain ones.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from mainstem.program.evidence import GREEN, GREY, RED, GateState, milestone_colours
from mainstem.program.records import Program
from mainstem.program.worlds import Worlds, chance_by, landing_dates

PLAIN: Final[Mapping[str, str]] = MappingProxyType(
    {"ink": "#17201e", "soft": "#55625e", "line": "#dcdfd9", "accent": "#0a6a72", GREEN: "#1a6b3c", GREY: "#7b8781", RED: "#a8322a"}
)  # fmt: skip
THEMED: Final[Mapping[str, str]] = MappingProxyType({name: f"var(--{name})" for name in PLAIN})
SIGNS: Final = {GREEN: "●", GREY: "○", RED: "■", "": "–"}
"""A shape with each colour, so that neither alone has to tell."""
_NAME, _WIDTH, _RIGHT, _ROW, _TOP = 210, 960, 96, 34, 34


@dataclass(frozen=True, slots=True)
class Landing:
    """One milestone: its quantiles, what was promised and in what share of the worlds that is kept, and its colour."""

    name: str
    p10: date
    p50: date
    p80: date
    p90: date
    due: date | None
    kept: float | None
    colour: str

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        dates = tuple(str(day) if day else "none" for day in (self.p10, self.p50, self.p80, self.p90, self.due))
        kept = "absent" if self.kept is None else f"{self.kept:.0%}"
        return (self.name, *dates, kept, self.colour or "no gate")


HEAD: Final = ("milestone", "P10", "P50", "P80", "P90", "promised", "kept", "gates")


def landings_of(
    program: Program, found: Worlds, states: Iterable[GateState], names: Iterable[str]
) -> tuple[Landing, ...]:
    """The rows of some milestones, soonest median first."""
    dates, colours = landing_dates(program, found), milestone_colours(states)
    out = []
    for name in names:
        held, due = dates[name], program.milestones[name].due
        kept = chance_by(program, found, name, due) if due else None
        out.append(Landing(name, held[0.1], held[0.5], held[0.8], held[0.9], due, kept, colours.get(name, "")))
    return tuple(sorted(out, key=lambda one: (one.p50, one.name)))


def as_svg(rows: tuple[Landing, ...], today: date, colours: Mapping[str, str] = PLAIN) -> str:
    """The picture of some rows; an empty text when there is none."""
    if not rows:
        return ""
    days = [day for one in rows for day in (one.p10, one.p90, one.due) if day] + [today]
    low, high = min(days).toordinal() - 5, max(days).toordinal() + 5
    height = _TOP + _ROW * len(rows) + 34
    scale = (_WIDTH - _NAME - _RIGHT) / (high - low)

    def x(day: date) -> float:
        return _NAME + (day.toordinal() - low) * scale

    parts = [_months(low, high, x, height, colours), _line(x(today), _TOP - 8, height - 30, colours["ink"], "2 3")]
    parts += [_row(one, _TOP + _ROW * at + _ROW / 2, x, colours) for at, one in enumerate(rows)]
    parts.append(_words(x(today), height - 16, f"today {today}", colours["soft"], "middle"))
    told = html.escape(
        f"{len(rows)} milestones from P10 to P90 with their median, promised day and gates; the table has the numbers."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{told}" '
        f'font-family="system-ui, Libertinus Serif, sans-serif" font-size="15">{"".join(parts)}</svg>'
    )


def _row(one: Landing, y: float, x: Callable[[date], float], colours: Mapping[str, str]) -> str:
    name = one.name if len(one.name) <= 24 else one.name[:23] + "…"
    sign = colours[one.colour or GREY]
    out = [
        _words(_NAME - 30, y + 5, name, colours["ink"], "end"),
        _words(_NAME - 22, y + 5, SIGNS[one.colour], sign, "start"),
    ]
    wide = max(x(one.p90) - x(one.p10), 3)
    out.append(
        f'<rect x="{x(one.p10):.1f}" y="{y - 6:.1f}" width="{wide:.1f}" height="12" rx="3" fill="{colours["accent"]}" '
        'fill-opacity="0.35"/>'
    )
    out.append(f'<rect x="{x(one.p50) - 2:.1f}" y="{y - 9:.1f}" width="4" height="18" fill="{colours["accent"]}"/>')
    if one.due:
        at = x(one.due)
        late = one.kept is not None and one.kept < 0.8
        out.append(
            f'<path d="M{at:.1f} {y - 8:.1f}l7 8l-7 8l-7-8z" fill="{colours[RED] if late else "none"}" '
            f'stroke="{colours[RED] if late else colours["ink"]}" stroke-width="1.5"/>'
        )
    told = "no promise" if one.kept is None else f"kept {one.kept:.0%}"
    out.append(_words(_WIDTH - 4, y + 5, told, colours["ink"], "end"))
    return "".join(out)


def _months(low: int, high: int, x: Callable[[date], float], height: int, colours: Mapping[str, str]) -> str:
    first = date.fromordinal(low)
    months, every = [], max(1, (high - low) // 270)
    year, month = first.year, first.month
    while (at := date(year, month, 1)).toordinal() <= high:
        if at.toordinal() >= low and (month - 1) % every == 0:
            months.append(at)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return "".join(
        _line(x(at), _TOP - 8, height - 30, colours["line"], "")
        + _words(
            x(at) + 4,
            _TOP - 14,
            f"{at:%b %Y}" if at.month == 1 or at == months[0] else f"{at:%b}",
            colours["soft"],
            "start",
        )
        for at in months
    )


def _line(x: float, top: float, bottom: float, colour: str, dash: str) -> str:
    return (
        f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-dasharray="{dash or "none"}" fill="none"/>'
    )


def _words(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{html.escape(text)}</text>'
