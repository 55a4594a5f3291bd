"""How the terminal is spoken to: data on stdout, everything else on stderr, understandable without colour."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from mainstem.base.errors import MainstemError

NO = 3
"""The exit code when the command worked and its answer is "no"."""


class Terminal:
    """One command's way to speak.

    Args:
        as_json: The answer goes to stdout as JSON, and nothing else does.
        quiet: No progress and no remarks.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._live = sys.stderr.isatty() and not os.environ.get("MAINSTEM_NO_PROGRESS") and not quiet

    def say(self, text: str = "") -> None:
        """A remark for the person, on stderr."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def answer(self, value: Any, text: str) -> None:
        """The command's result, on stdout: as JSON when asked for, else as text."""
        print(json.dumps(value, indent=1, default=str) if self.as_json else text, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """One timed line of long work: a bar while it runs, then what came out and how long it took."""
        step = Step(title, live=self._live)
        started = time.perf_counter()
        try:
            yield step
        except BaseException:
            step.clear()
            raise
        step.clear()
        self.say(f"  {title:<18} {step.outcome:<78} {time.perf_counter() - started:5.1f} s")


class Step:
    """The line of one step of long work."""

    _WIDTH = 28

    def __init__(self, title: str, *, live: bool) -> None:
        self.outcome = ""
        self._title = title
        self._live = live
        self._shown = -1
        self._started = time.perf_counter()
        self.progress(0.0)

    def progress(self, share: float, what: str = "") -> None:
        """How much is done (0–1) and what is being done; drawn only on a terminal."""
        percent = int(100 * min(max(share, 0.0), 1.0))
        if not self._live or (percent == self._shown and not what):
            return
        self._shown = percent
        done = self._WIDTH * percent // 100
        elapsed = time.perf_counter() - self._started
        left = f" {elapsed * (100 - percent) / percent:4.0f} s left" if percent > 3 else ""
        bar = "━" * done + "─" * (self._WIDTH - done)
        print(
            f"\r\x1b[2K  {self._title:<18} {bar} {percent:3d} %{left}  {what[:40]}", end="", file=sys.stderr, flush=True
        )

    def clear(self) -> None:
        """Takes the bar away."""
        if self._live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def show_error(error: MainstemError) -> NoReturn:
    """Prints a coded error with its hint, and ends the process with exit code 1."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    head = f"\x1b[31merror[{error.code}]\x1b[0m" if colour else f"error[{error.code}]"
    print(f"{head}: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"\nhint: {error.hint}", file=sys.stderr)
    raise SystemExit(1)


def table(rows: list[dict[str, Any]], columns: list[str] | None = None) -> str:
    """Rows as aligned text; numbers to the right."""
    if not rows:
        return "(none)"
    columns = columns or list(rows[0])
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(columns)]
    numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in columns]

    def line(values: list[str]) -> str:
        padded = (v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, numeric, strict=True))
        return "  ".join(padded).rstrip()

    return "\n".join([line(columns), line(["─" * width for width in widths]), *(line(one) for one in cells)])


def _cell(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4f}"
    return str(value)


def why_text(answer: Any) -> str:
    """An explanation as a person reads it: the sentence, then heads, value terms, sources, and rules with their prices."""
    parts = [answer.sentence]
    if answer.predictions:
        parts.append(table([answer.predictions]))
    if answer.terms:
        terms = [{"value term": name, "adds": part} for name, part in answer.terms.items()]
        parts.append(table([*terms, {"value term": "value", "adds": answer.value}]))
    if answer.offers:
        parts.append(
            table(
                [{"source": one.source, "rank": one.rank, "limit": one.limit, "": one.reason} for one in answer.offers]
            )
        )
    if answer.rules:
        parts.append(
            table(
                [
                    {
                        "rule": one.rule,
                        "on this item": one.effect,
                        "place without it": one.place_without,
                        "price": f"{one.price:.6g}",
                    }
                    for one in answer.rules
                ]
            )
        )
    parts += [f"{one.rule} {one.name}: {one.met} of {one.least}, {one.why}" for one in answer.unmet]
    return "\n\n".join(parts)
