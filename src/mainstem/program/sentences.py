"""What a report is made of: sentences, each with the record it rests on and the value it states, and two ways to print them."""

from __future__ import annotations

import html
from dataclasses import dataclass

ABSENT = "absent"
"""The value of a sentence that says what is not there."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, the record it rests on (``kind.id``) and the value it states; an absent value is ``absent``."""

    text: str
    record: str
    value: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its title, and sentences by heading."""

    title: str
    parts: tuple[tuple[str, tuple[Sentence, ...]], ...]

    def sentences(self) -> list[Sentence]:
        """All sentences in order."""
        return [one for _, held in self.parts for one in held]

    def as_markdown(self) -> str:
        """The report as Markdown; each sentence ends with its record."""
        lines = [f"# {marked(self.title)}"]
        for heading, held in self.parts:
            lines += ["", f"## {marked(heading)}", "", *map(as_bullet, held)]
        return "\n".join(lines) + "\n"

    def as_html(self) -> str:
        """The report as a page that loads nothing from elsewhere."""
        title = html.escape(self.title)
        body = "".join(f"<h2>{html.escape(heading)}</h2>{as_list(held)}" for heading, held in self.parts)
        style = (
            ":root{color-scheme:light dark}body{font:1rem/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem}"
            "code{overflow-wrap:anywhere}@media print{h2{break-after:avoid}li{break-inside:avoid}}"
        )
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
            f"<style>{style}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
        )


def as_bullet(one: Sentence) -> str:
    """A sentence as an item of a Markdown list, with its record."""
    return f"- {marked(one.text)} `[{one.record}]`"


def as_list(held: tuple[Sentence, ...]) -> str:
    """Sentences as a list of a page, with their records."""
    return "<ul>" + "".join(map(_item, held)) + "</ul>"


def _item(one: Sentence) -> str:
    record = html.escape(one.record)
    return f'<li data-record="{record}">{html.escape(one.text)} <code>{record}</code></li>'


def marked(text: str) -> str:
    """Text in which Markdown sees nothing but words."""
    return "".join(f"\\{one}" if one in "\\`*_[]<>#|" else one for one in text.replace("\n", " "))
