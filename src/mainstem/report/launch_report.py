"""A launch's report: one HTML file that loads nothing, one Markdown text, and JSON, all from the same story as the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Final

import msgspec

from mainstem.launch.standing import Standing
from mainstem.report.figure import Drawn, Figure
from mainstem.report.launch_rows import finite
from mainstem.report.launch_story import Section, Story, story_of
from mainstem.report.report_style import STYLE
from mainstem.report.table import Column, Row, Table

_ESCAPED: Final = re.compile(r"([\\`*_\[\]<>|#~])")
MADE: Final = "made world"


def launch_report_html(standing: Standing, drawn: Drawn | None = None) -> str:
    """The whole report as one file: no script, nothing asked of another machine, light and dark, and it prints.

    Args:
        standing: What is told.
        drawn: Where drawings are kept; None draws each anew.
    """
    story, drawings = story_of(standing), drawn or Drawn()
    marks = f'<span class="verdict">{escape(story.verdict)}</span>' + (
        f' <span class="badge">{MADE}</span>' if story.made else ""
    )
    body = "\n".join(_html_section(one, drawings) for one in story.sections)
    lead = "".join(f'<p class="lead">{escape(line)}</p>' for line in story.lead)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(story.heading)}</title><style>{STYLE}</style></head>\n"
        f'<body><main><p class="marks">{marks}</p><h1>{escape(story.heading)}</h1>{lead}\n{body}\n</main></body></html>\n'
    )


def launch_report_markdown(standing: Standing) -> str:
    """The whole report as Markdown: findings as sentences, every figure as its table."""
    story = story_of(standing)
    made = f" · *{MADE}*" if story.made else ""
    head = [f"# {_md(story.heading)}", f"**{_md(story.verdict)}**{made}", *(_md(line) for line in story.lead)]
    return "\n\n".join([*head, *_markdown_parts(story)]) + "\n"


def launch_report_json(standing: Standing) -> str:
    """The whole report as JSON: the standing as it is, and every table unrounded."""
    story = story_of(standing)
    told = {
        "heading": story.heading,
        "verdict": story.verdict,
        "made": story.made,
        "findings": {figure.name: figure.title for figure in story.figures()},
        "tables": {table.name: {"caption": table.caption, "rows": table.as_rows()} for table in story.tables()},
        "standing": msgspec.to_builtins(standing),
    }
    return msgspec.json.format(msgspec.json.encode(finite(told)), indent=1).decode() + "\n"


def _html_section(section: Section, drawn: Drawn) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.verdicts:
        told = "".join(
            f"<li>{escape(what)}: <strong>{escape(word)}</strong>{escape(_reason(why))}</li>"
            for what, word, why in section.verdicts
        )
        parts.append(f'<ul class="gates">{told}</ul>')
    parts += [f"<p>{escape(note)}</p>" for note in section.notes]
    parts += [_html_figure(figure, drawn) for figure in section.figures]
    parts += [_html_table(table) for table in section.tables]
    return f'<section id="{escape(section.name)}">{"".join(parts)}</section>'


def _html_figure(figure: Figure, drawn: Drawn) -> str:
    wide = f'<div class="wide">{drawn.svg(figure, figure.wide, "wide")}</div>'
    narrow = f'<div class="narrow">{drawn.svg(figure, figure.narrow, "narrow")}</div>' if figure.narrow else ""
    table = f"<details><summary>As a table</summary>{_html_table(figure.table)}</details>"
    marks = escape(" ".join(f"{mark}: {meaning}." for mark, meaning in figure.legend))
    legend = f'<p class="under">{marks}</p>' if marks else ""
    return f"<figure><figcaption><h3>{escape(figure.title)}</h3></figcaption>{wide}{narrow}{legend}{table}</figure>"


def _html_table(table: Table) -> str:
    def cell(tag: str, column: Column, text: str) -> str:
        kind = ' class="number"' if column.numeric else ' class="id"' if column.kind == "id" else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell("th", one, one.title) for one in table.columns)
    body = "".join(
        f"<tr>{''.join(cell('td', one, one.shown(row)) for one in table.columns)}</tr>" for row in table.rows
    )
    note = f'<p class="under">{escape(table.note)}</p>' if table.note else ""
    label = escape(table.caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table><caption>{label}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def _markdown_parts(story: Story) -> Iterator[str]:
    told: set[str] = set()
    for section in story.sections:
        yield f"## {_md(section.title)}"
        if section.verdicts:
            yield "\n".join(
                f"* {_md(what)}: **{_md(word)}**{_md(_reason(why))}" for what, word, why in section.verdicts
            )
        yield from (_md(note) for note in section.notes)
        yield from (f"* {_md(figure.title)}." for figure in section.figures)
        for table in (*section.tables, *(figure.table for figure in section.figures)):
            if table.name not in told:
                told.add(table.name)
                yield _markdown_table(table)


def _markdown_table(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def row(one: Row) -> str:
        return line([_md(column.shown(one)) for column in table.columns])

    rule = line(["---:" if column.numeric else "---" for column in table.columns])
    rows = [line([_md(column.title) for column in table.columns]), rule, *(row(one) for one in table.rows)]
    note = f"\n\n{_md(table.note)}" if table.note else ""
    return f"### {_md(table.caption)}\n\n" + "\n".join(rows) + note


def _reason(why: str) -> str:
    return f", {why}" if why else ""


def _md(text: str) -> str:
    """Text as Markdown that shows it: no mark of it is obeyed, and no line is broken."""
    return _ESCAPED.sub(r"\\\1", " ".join(str(text).split()))
