"""The text of a TaskJuggler file as statements: words, blocks in braces, comments left out, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<gap>[ \t\r]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<line>\n)
  | (?P<long>-8<-.*?->8-)
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<mark>[{},\[\]()])
  | (?P<macro>\$\{?\w*)
  | (?P<word>[^\s{},"'\[\]()$]+)
  | (?P<bad>.)
    """,
    re.X | re.S,
)
_BEGINS: Final = """
    project task resource account shift scenario extend macro include effort duration length allocate depends precedes start end
    maxend minend maxstart minstart milestone responsible complete priority note scheduling scheduled booking chargeset charge
    journalentry flags limits purge supplement leaves vacation workinghours rate efficiency email managers report taskreport
    resourcereport textreport accountreport statussheet timesheet navigator tagfile icalreport export tracereport
"""
NAMED: Final = frozenset(_BEGINS.split())
"""Words that begin a statement."""
_ARGUMENT: Final = frozenset(
    {"task", "resource", "account", "shift", "scenario", "supplement", "depends", "precedes", "allocate", ","}
)
"""After these comes a name, which may be such a word."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word or quoted text."""

    text: str
    line: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between braces."""

    statements: tuple[Statement, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A keyword and what follows it, blocks at their place."""

    line: int
    key: str
    rest: tuple[Word | Block, ...]

    def words(self) -> list[Word]:
        """What follows, without blocks."""
        return [one for one in self.rest if isinstance(one, Word)]

    def block(self) -> tuple[Statement, ...]:
        """The statements in its braces; nothing without them."""
        return next((one.statements for one in self.rest if isinstance(one, Block)), ())


class BadLineError(ValueError):
    """A line that is not of the subset."""

    def __init__(self, line: int, told: str) -> None:
        super().__init__(told)
        self.line = line


def statements(text: str) -> tuple[Statement, ...]:
    """The file's statements.

    A statement ends with its line, unless the line ends in a comma or a block opens; a word of ``NAMED`` begins another.

    Raises:
        BadLineError: A brace that has no partner, a macro, or text that does not end.
    """
    words = list(_words(text))
    found, at = _block(words, 0, opened=None)
    if at < len(words):
        raise BadLineError(words[at].line, "a '}' without its '{'")
    return found


def _words(text: str) -> Iterator[Word]:
    line = 1
    for found in _TOKEN.finditer(text):
        kind, held = found.lastgroup, found[0]
        if kind == "macro":
            raise BadLineError(line, f"macros such as {held!r} are not read")
        if kind == "bad":
            raise BadLineError(line, f"{held!r} begins text that does not end")
        if kind in ("line", "mark", "word"):
            yield Word(held, line)
        elif kind in ("text", "long"):
            yield Word(re.sub(r"\\(.)", r"\1", held[1:-1]) if kind == "text" else held[4:-4].strip(), line, quoted=True)
        line += held.count("\n")


def _block(words: list[Word], at: int, opened: int | None) -> tuple[tuple[Statement, ...], int]:
    """The statements from a place to the closing brace, and the place of that brace."""
    out: list[Statement] = []
    while at < len(words) and not _is(words[at], "}"):
        if _is(words[at], "\n"):
            at += 1
            continue
        if _is(words[at], "{"):
            raise BadLineError(words[at].line, "a '{' that follows nothing")
        one, at = _statement(words, at)
        out.append(one)
    if opened is not None and at >= len(words):
        raise BadLineError(opened, "a '{' without its '}'")
    return tuple(out), at


def _statement(words: list[Word], at: int) -> tuple[Statement, int]:
    first = words[at]
    rest: list[Word | Block] = []
    before = first
    at += 1
    while at < len(words):
        one = words[at]
        if _is(one, "}") or (_is(one, "\n") and not _is(before, ",") and not _opens(words, at)):
            break
        if _is(one, "{"):
            held, at = _block(words, at + 1, one.line)
            rest.append(Block(held, one.line))
            before = Word("}", one.line)
        elif not _is(one, "\n"):
            if not one.quoted and one.text.split(":")[-1] in NAMED and before.text not in _ARGUMENT:
                break
            rest.append(one)
            before = one
        at += 1
    return Statement(first.line, first.text, tuple(rest)), at


def _opens(words: list[Word], at: int) -> bool:
    """Whether the next word that is no line's end opens a block."""
    while at < len(words) and _is(words[at], "\n"):
        at += 1
    return at < len(words) and _is(words[at], "{")


def _is(word: Word, mark: str) -> bool:
    return word.text == mark and not word.quoted
