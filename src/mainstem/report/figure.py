"""A figure that anybody can read: drawn wide and narrow, told in words, and told again as a table."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from html import escape
from pathlib import Path
from threading import Lock
from typing import Any, ParamSpec, Protocol

import msgspec

from mainstem.report.look import themed
from mainstem.report.table import Table

P = ParamSpec("P")
_DRAWING = 3
"""Counts up when the same specification is drawn in another way, so that kept drawings are not used again."""


class Drawing(Protocol):
    """Something that can be drawn as SVG at one width."""

    def key(self) -> bytes:
        """Bytes that are equal when the drawings are."""
        ...

    def svg(self) -> str:
        """The drawing, in theme colours, without title or description."""
        ...


@dataclass(frozen=True, slots=True)
class Chart:
    """A Vega-Lite chart, specified only when it has to be drawn.

    Args:
        make: Makes the specification.
        given: What it is made from, positional then named; plain records.
    """

    make: Callable[..., dict[str, Any]]
    given: tuple[tuple[Any, ...], dict[str, Any]]

    def key(self) -> bytes:
        """What is drawn, and how."""
        return self.make.__name__.encode() + msgspec.json.encode(self.given, order="sorted")

    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification, in stand-in colours."""
        return self.make(*self.given[0], **self.given[1])

    def svg(self) -> str:
        """Drawn on this machine by vl-convert; nothing is asked of any other."""
        import vl_convert

        return themed(vl_convert.vegalite_to_svg(self.spec(), allowed_base_urls=[]))


def chart(make: Callable[P, dict[str, Any]]) -> Callable[P, Chart]:
    """Turns a function that makes a specification into one that puts it off: a drawing that is kept needs none."""

    @wraps(make)
    def later(*args: P.args, **kwargs: P.kwargs) -> Chart:
        return Chart(make, (args, dict(kwargs)))

    return later


@dataclass(frozen=True, slots=True)
class Figure:
    """What one picture answers.

    Args:
        name: Unique on its page; the anchor of the figure.
        title: The finding, as a sentence.
        text: What is drawn and how to read it, for those who do not see it.
        wide: For screens.
        narrow: For phones; None where the wide one fits both.
        table: The same as rows.
        legend: Marks and what they stand for.
    """

    name: str
    title: str
    text: str
    wide: Drawing
    narrow: Drawing | None
    table: Table
    legend: tuple[tuple[str, str], ...] = ()


class Drawn:
    """Drawings that are made once: kept in memory and, when there is a folder, on disk, by what they show.

    Args:
        folder: Where drawings are kept between runs; None keeps them in memory only.
        most: How many are held in memory.
    """

    def __init__(self, folder: Path | None = None, most: int = 256) -> None:
        self._folder = folder
        self._most = most
        self._held: dict[str, str] = {}
        self._lock = Lock()

    def svg(self, figure: Figure, drawing: Drawing, variant: str) -> str:
        """The drawing as an accessible SVG element that may stand in a page as it is."""
        name = f"{figure.name}-{variant}"
        return _told(self._plain(drawing), name, figure.title, figure.text)

    def _plain(self, drawing: Drawing) -> str:
        key = hashlib.sha256(b"%d" % _DRAWING + type(drawing).__name__.encode() + drawing.key()).hexdigest()[:32]
        with self._lock:
            held = self._held.get(key)
        if held is None:
            held = self._read(key) or self._keep(key, drawing.svg())
        with self._lock:
            if len(self._held) >= self._most:
                self._held.pop(next(iter(self._held)))
            self._held[key] = held
        return held

    def _read(self, key: str) -> str | None:
        if self._folder is None:
            return None
        try:
            return (self._folder / f"{key}.svg").read_text(encoding="utf-8")
        except OSError:
            return None

    def _keep(self, key: str, svg: str) -> str:
        """Keeps the drawing; a disk that refuses costs time later, nothing else."""
        if self._folder is not None:
            scratch = self._folder / f".{key}.{os.getpid()}"
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                scratch.write_text(svg, encoding="utf-8")
                scratch.replace(self._folder / f"{key}.svg")
            except OSError:
                with suppress(OSError):
                    scratch.unlink()
        return svg


def _told(svg: str, name: str, title: str, text: str) -> str:
    """One picture with one title and one description; everything inside is presentation."""
    name = re.sub(r"[^a-z0-9-]", "-", name.lower())
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(text)}</desc>'
    told = f'<svg role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc" '
    return re.sub(r"<svg ([^>]*)>", lambda found: f"{told}{found[1]}>{words}", svg, count=1)
