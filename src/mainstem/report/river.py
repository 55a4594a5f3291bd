"""The river of one request: sources flow together, every stage keeps some and lets the rest go, with the reason beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

import msgspec

from mainstem.report import numbers
from mainstem.report.look import INK, SOFT, STEM, STRONG, themed

_WIDEST: Final = 96.0
_THINNEST: Final = 5.0
_REASONS: Final = 3
"""Reasons written beside one stage; the table has all of them."""


@dataclass(frozen=True, slots=True)
class Reach:
    """One stretch of the river: what a stage handed on, and what it let go before, by reason."""

    name: str
    kept: int
    removed: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things stand. ``along`` runs with the water, ``across`` to its right bank; narrow turns the river downwards."""

    length: float
    breadth: float
    first: float
    bank: float
    out: float
    step: float
    down: bool

    def at(self, along: float, across: float) -> str:
        x, y = (across, along) if self.down else (along, across)
        return f"{x:.1f},{y:.1f}"


@dataclass(frozen=True, slots=True)
class River:
    """The drawing. Widths grow with the square root of the counts, so that a slate of ten is seen beside a thousand.

    Args:
        sources: Name and number of candidates each offered.
        reaches: From everything offered to the slate.
        narrow: Whether it runs downwards, for phones.
    """

    sources: tuple[tuple[str, int], ...]
    reaches: tuple[Reach, ...]
    narrow: bool = False

    def key(self) -> bytes:
        """What is drawn."""
        return msgspec.json.encode(self)

    def svg(self) -> str:
        """The drawing in theme colours."""
        frame = self._frame()
        width, height = (frame.breadth, frame.length) if self.narrow else (frame.length, frame.breadth)
        parts = [*self._tributaries(frame), *self._stem(frame), *self._words(frame)]
        size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
        return themed(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>')

    def _frame(self) -> _Frame:
        stages, springs = len(self.reaches), max(1, len(self.sources))
        if self.narrow:
            first = 30.0 * springs + 40
            return _Frame(first + 132 * (stages - 1) + 60, 340, first, 4, 130, 132, True)
        first, step = self._label_px() + 140, 176.0
        lines = max((len(_told(reach.removed)) for reach in self.reaches), default=0)
        breadth = max(232.0 + 18 * lines, 32.0 * springs + 70)
        return _Frame(first + step * (stages - 1) + 84, breadth, first, 84, 226, step, False)

    def _label_px(self) -> float:
        """Room for the longest name and number of a source, when wide."""
        return 8.0 * max((len(name) + len(numbers.count(offered)) + 1 for name, offered in self.sources), default=0)

    def _width(self, count: int) -> float:
        most = max((reach.kept for reach in self.reaches), default=1) or 1
        return max(_THINNEST, _WIDEST * math.sqrt(count / most)) if count else 0.0

    def _spring(self, frame: _Frame, number: int) -> float:
        """Where, across the river (down the page when wide), a source's row stands."""
        return 22 + 30 * number if self.narrow else 84 + _WIDEST / 2 + 32 * (number - (len(self.sources) - 1) / 2)

    def _tributaries(self, frame: _Frame) -> Iterator[str]:
        """One stream a source; side by side they are as wide as the stem they make."""
        total, whole = sum(count for _, count in self.sources) or 1, self._width(self.reaches[0].kept)
        taken, left = 0.0, self._label_px() + 8
        for number, (_, offered) in enumerate(self.sources):
            thick = whole * offered / total
            spring, mouth = self._spring(frame, number), frame.bank + taken + thick / 2
            if self.narrow:
                bend = f"{mouth:.1f},{spring:.1f} {mouth:.1f},{spring:.1f} {mouth:.1f},{frame.first:.1f}"
                path = f"M{frame.out + 14:.1f},{spring:.1f} C{bend}"
            else:
                bend = f"{left + 70:.1f},{spring:.1f} {left + 64:.1f},{mouth:.1f} {frame.first:.1f},{mouth:.1f}"
                path = f"M{left:.1f},{spring:.1f} C{bend}"
            if offered:
                yield f'<path d="{path}" fill="none" stroke="{STEM}" stroke-opacity="0.55" stroke-width="{max(1.5, thick):.1f}"/>'
            taken += thick

    def _stem(self, frame: _Frame) -> Iterator[str]:
        """The stem, its left bank straight, its right bank closing in where a branch leaves."""
        for number, reach in enumerate(self.reaches):
            begin = frame.first + frame.step * number
            now = self._width(reach.kept)
            last = number == len(self.reaches) - 1
            following = now if last else self._width(self.reaches[number + 1].kept)
            end = begin + (64 if last else frame.step)
            if not last and now > following:
                yield self._branch(frame, begin + frame.step * 0.36, following, now)
            yield self._stretch(frame.at, frame.bank, begin, end, now, following)

    def _stretch(
        self, at: Callable[[float, float], str], bank: float, begin: float, end: float, now: float, then: float
    ) -> str:
        turn, half = begin + (end - begin) * 0.36, begin + (end - begin) * 0.56
        middle = (turn + half) / 2
        path = (
            f"M{at(begin, bank)} L{at(end, bank)} L{at(end, bank + then)} L{at(half, bank + then)} "
            f"C{at(middle, bank + then)} {at(middle, bank + now)} {at(turn, bank + now)} L{at(begin, bank + now)} Z"
        )
        return f'<path d="{path}" fill="{STEM}"/>'

    def _branch(self, frame: _Frame, along: float, inner: float, outer: float) -> str:
        """What a stage let go, leaving to the right and thinning out."""
        thick, mouth = outer - inner, along + (32 if self.narrow else 44)
        start, out = frame.bank + inner + thick / 2, frame.out + (0 if self.narrow else -18)
        width = min(thick, 34.0)
        path = f"M{frame.at(along - 20, start)} C{frame.at(mouth - 8, start)} {frame.at(mouth, start + 6)} {frame.at(mouth, out)}"
        return f'<path d="{path}" fill="none" stroke="{STRONG}" stroke-opacity="0.45" stroke-width="{width:.1f}"/>'

    def _words(self, frame: _Frame) -> Iterator[str]:
        for number, (name, offered) in enumerate(self.sources):
            y = self._spring(frame, number) + 4
            x, anchor = (frame.out + 22, "start") if self.narrow else (self._label_px(), "end")
            yield _text(x, y, f"{name} ", anchor, strong=numbers.count(offered))
        for number, reach in enumerate(self.reaches):
            begin = frame.first + frame.step * number
            if self.narrow:
                yield _text(frame.out + 22, begin + 18, numbers.count(reach.kept), size=20, weight=650)
                yield _text(frame.out + 22, begin + 36, reach.name, colour=SOFT)
            else:
                yield _text(begin, 44, numbers.count(reach.kept), size=22, weight=650)
                yield _text(begin, 66, reach.name, colour=SOFT)
            yield from self._reasons(frame, number)

    def _reasons(self, frame: _Frame, number: int) -> Iterator[str]:
        if number == 0:
            return
        begin = frame.first + frame.step * (number - 1)
        for line, told in enumerate(_told(self.reaches[number].removed)):
            if self.narrow:
                yield _text(frame.out + 22, begin + frame.step * 0.36 + 37 + 17 * line, told, colour=SOFT)
            else:
                yield _text(begin + frame.step * 0.36 + 44, frame.out + 4 + 18 * line, told, "middle", colour=SOFT)


def _told(removed: tuple[tuple[str, int], ...]) -> list[str]:
    """The reasons that matter most, as short lines."""
    found = sorted((one for one in removed if one[1]), key=lambda one: -one[1])
    lines = [f"−{numbers.count(count)} {reason}" for reason, count in found[:_REASONS]]
    if len(found) > _REASONS:
        rest = sum(count for _, count in found[_REASONS - 1 :])
        lines = [*lines[: _REASONS - 1], f"−{numbers.count(rest)} for {len(found) - _REASONS + 1} other reasons"]
    return lines


def _text(
    x: float,
    y: float,
    words: str,
    anchor: str = "start",
    *,
    size: int = 14,
    weight: int = 400,
    colour: str = INK,
    strong: str = "",
) -> str:
    number = f'<tspan font-weight="650">{escape(strong)}</tspan>' if strong else ""
    place = (
        f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}px" font-weight="{weight}" fill="{colour}"'
    )
    return f"<text {place}>{escape(words)}{number}</text>"
