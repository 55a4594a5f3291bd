"""A report as slides: Markdown that slide tools read (``---`` between slides), or one page that needs no script and loads nothing.

The page scrolls slide by slide, follows light and dark, and prints one slide a sheet.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import date
from typing import Final

from mainstem.program.sentences import Report, Sentence, as_bullet, as_list, marked
from mainstem.program.timeline import HEAD, PLAIN, SIGNS, THEMED, Landing, as_svg

FULL: Final = 7
"""How many sentences a slide holds; what is more goes on a further one."""
LEGEND: Final = (
    "Bar: P10 to P90. Stroke: median. Diamond: promised day, filled when kept in under 80 % of the worlds. "
    f"Gates: {SIGNS['green']} green, {SIGNS['grey']} grey, {SIGNS['red']} red."
)
_DARK: Final = {
    "ink": "#e9ece8", "soft": "#a9b5b0", "line": "#2e3836", "accent": "#5cc4cc", "green": "#6fcf97", "grey": "#9aa6a1",
    "red": "#ff8f85",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slide:
    """One slide: its heading and what it says."""

    heading: str
    sentences: tuple[Sentence, ...]


def slides_of(report: Report) -> tuple[Slide, ...]:
    """The slides of a report: one a heading, and further ones for what does not fit."""
    out = []
    for heading, held in report.parts:
        pages = [held[at : at + FULL] for at in range(0, len(held), FULL)] or [()]
        many = len(pages) > 1
        out += [Slide(f"{heading} ({at} of {len(pages)})" if many else heading, one) for at, one in enumerate(pages, 1)]
    return tuple(out)


def deck_markdown(report: Report, rows: tuple[Landing, ...]) -> str:
    """The slides as Markdown, the milestones as a table."""
    blocks = [f"# {marked(report.title)}"]
    if rows:
        lines = [" | ".join(map(marked, one.cells())) for one in rows]
        table = [f"| {line} |" for line in (" | ".join(HEAD), " | ".join(["---"] * len(HEAD)), *lines)]
        blocks.append("\n".join(["## Milestones", "", *table]))
    for one in slides_of(report):
        blocks.append("\n".join([f"## {marked(one.heading)}", "", *map(as_bullet, one.sentences)]))
    return "\n\n---\n\n".join(blocks) + "\n"


def deck_html(report: Report, rows: tuple[Landing, ...], today: date) -> str:
    """The slides as one page."""
    title = html.escape(report.title)
    inner = [
        f'<h1>{title}</h1><p class="soft">Each sentence names its record; what is absent is said to be absent.</p>'
    ]
    if rows:
        picture = _wide("the picture", as_svg(rows, today, THEMED))
        inner.append(f'<h2>Milestones</h2>{picture}<p class="soft">{html.escape(LEGEND)}</p>')
        inner.append(f"<h2>Milestones as a table</h2>{_table(rows)}")
    inner += [f"<h2>{html.escape(one.heading)}</h2>{as_list(one.sentences)}" for one in slides_of(report)]
    last = len(inner)
    body = "".join(
        f'<section id="s{at}" aria-label="slide {at} of {last}">{one}{_steps(at, last)}</section>'
        for at, one in enumerate(inner, 1)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_style()}</style></head><body><main>{body}</main></body></html>\n"
    )


def _table(rows: tuple[Landing, ...]) -> str:
    head = "".join(f'<th scope="col">{one}</th>' for one in HEAD)
    lines = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in (one.cells() for one in rows)
    )
    return _wide("the table", f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>")


def _wide(name: str, inner: str) -> str:
    """What may be wider than a telephone, scrolled by itself."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="{name}">{inner}</div>'


def _steps(at: int, last: int) -> str:
    """Where one is, and the ways on and back."""
    back = f'<a href="#s{at - 1}" rel="prev">back</a>' if at > 1 else ""
    on = f'<a href="#s{at + 1}" rel="next">on</a>' if at < last else ""
    return f'<nav aria-label="slide {at}">{back}<span>{at} of {last}</span>{on}</nav>'


def _style() -> str:
    light = ";".join(f"--{name}:{colour}" for name, colour in PLAIN.items())
    dark = ";".join(f"--{name}:{colour}" for name, colour in _DARK.items())
    return (
        f":root{{color-scheme:light dark;--paper:#faf9f6;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{--paper:#121816;{dark}}}}}"
        "html{scroll-snap-type:y proximity}body{margin:0;font:1.15rem/1.5 system-ui;background:var(--paper);color:var(--ink)}"
        "section{min-height:100vh;box-sizing:border-box;padding:2.5rem max(1.25rem,6vw) 1rem;display:flex;flex-direction:column;"
        "scroll-snap-align:start;border-bottom:1px solid var(--line)}"
        "h1{font-size:clamp(1.8rem,5vw,3.2rem);line-height:1.15;margin:auto 0 1rem}h1+p{margin-bottom:auto}"
        "h2{font-size:clamp(1.5rem,3.5vw,2.2rem);margin:0 0 1.25rem}li{margin:.45rem 0}code,.soft,nav{color:var(--soft);"
        "font-size:.85rem}code{overflow-wrap:anywhere}svg{width:100%;min-width:42rem;max-height:70vh}.wide{overflow-x:auto}"
        "table{border-collapse:collapse;width:100%;font-size:1rem}th,td{text-align:left;padding:.4rem .75rem .4rem 0;"
        "border-bottom:1px solid var(--line);white-space:nowrap}nav{margin-top:auto;padding-top:1rem;display:flex;gap:1.25rem}"
        "a{color:var(--accent)}@page{size:13.33in 7.5in;margin:0}"
        "@media print{nav a{display:none}section{break-after:page;border:0;min-height:0;height:7.5in}}"
    )
