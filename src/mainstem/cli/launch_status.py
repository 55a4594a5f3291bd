"""A launch's standing on a terminal: 80 columns, every word readable without colour, harm always to the left."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from mainstem.launch.standing import Act, MetricStanding, OriginStanding, Standing, SurfaceStanding
from mainstem.report.launch_rows import (
    answer,
    day_of,
    days_to_verdict,
    ended,
    in_margins,
    margin_words,
    over,
    used,
)

WIDTH: Final = 80
_HALF: Final = 12
"""Columns to either side of 0 in a metric's bar."""
_REACH: Final = 2.0
"""Margins that a bar shows to either side; an interval beyond ends in an arrow."""
_ACTS: Final = 5
_GREEN, _AMBER, _RED, _DIM, _BOLD = "32", "33", "31", "2", "1"
_COLOURS: Final = {
    "INVALID": _RED, "HARM": _RED, "PAUSE": _AMBER, "INCONCLUSIVE": _AMBER, "NON-INFERIOR": _GREEN, "NEUTRAL": _GREEN,
    "WIN": _GREEN, "landed": _GREEN, "holdback": _GREEN, "rolled back": _RED, "stopped": _RED, "paused": _AMBER,
    "held": _AMBER, "holds": _GREEN, "undecided": _AMBER, "does not hold": _RED,
}  # fmt: skip
_SIGNS: Final = {"holds": "●", "undecided": "▲", "does not hold": "■", "": "·"}
_LEGEND: Final = "● within its margin   ▲ not shown   ■ worse by a test of harm   ┊ margin"


def status_text(standing: Standing, colour: bool | None = None) -> str:
    """Where a launch stands, as one screen.

    Args:
        standing: What is shown.
        colour: Whether words are coloured as well; None asks the terminal (never into a file, nor with ``NO_COLOR``).
    """
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    screen = _Screen(bool(colour))
    return "\n".join(line.rstrip() for line in screen.lines(standing))


def report_text(standing: Standing, form: str = "markdown") -> str:
    """A launch's whole report in one text.

    Args:
        standing: What is told.
        form: ``html`` (one file that loads nothing), ``markdown`` or ``json``.

    Raises:
        KeyError: There is no such form.
    """
    from mainstem.report.launch_report import launch_report_html, launch_report_json, launch_report_markdown

    forms = {"html": launch_report_html, "markdown": launch_report_markdown, "json": launch_report_json}
    return forms[form](standing)


class _Screen:
    """One screen, with or without colour.

    Args:
        colour: Whether words are coloured.
    """

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def lines(self, standing: Standing) -> Iterator[str]:
        """The screen's lines."""
        made = "   made world" if standing.made else ""
        yield f"{self._paint(_plain(standing.launch), _BOLD)}   {self._verdict(standing.verdict)}{made}"
        at = day_of(standing, standing.at_ms)
        yield (
            f"plan {standing.plan_hash[:12]}   started {_moment(standing.started_ms)}   "
            f"read {_moment(standing.at_ms)} (day {at:.1f})"
        )
        flown = f"flown by {_plain(standing.pilot)}" if standing.pilot else "nobody flies it: mainstem launch run"
        yield self._paint(_cut(flown, WIDTH), _DIM)
        yield ""
        yield from self._surfaces(standing.surfaces)
        for surface in standing.surfaces:
            for origin in surface.origins:
                yield ""
                yield from self._gate(surface, origin)
            yield from self._parts(surface)
        if any(surface.origins for surface in standing.surfaces):
            yield ""
            yield self._paint(_LEGEND, _DIM)
        if standing.acts:
            yield ""
            yield from self._acts(standing)

    def _surfaces(self, surfaces: tuple[SurfaceStanding, ...]) -> Iterator[str]:
        wide = min(max((len(_plain(one.surface)) for one in surfaces), default=0), 20)
        for one in surfaces:
            step = f"step {one.step + 1} of {one.steps}"
            name = _cut(_plain(one.surface), wide).ljust(wide)
            yield f"{name}  {_path(one)}  {_share(one.share):>5}  {self._state(one)}  {self._paint(step, _DIM)}"
            yield from _wrapped(one.reason, "  ")
            if one.shadow is not None:
                requests, failed, overlap = one.shadow
                told = f"  shadow: {requests:,} requests, {failed:,} failed, {overlap:.0%} of items in common"
                yield self._paint(told, _DIM)

    def _gate(self, surface: SurfaceStanding, origin: OriginStanding) -> Iterator[str]:
        name = _cut(f"{_plain(surface.surface)} against {_plain(origin.legacy)}", 48)
        yield f"{self._paint(name, _BOLD)}   {self._verdict(origin.verdict)}   look {origin.looks} of {origin.planned}"
        yield from _wrapped("; ".join(origin.reasons), "  ")
        if origin.metrics:
            yield self._paint(f"  {'':16}{_ruler()}  change (in every look)   margin", _DIM)
        for metric in origin.metrics:
            yield self._metric(metric)
        yield from (self._paint(line, _DIM) for line in _spent_lines(origin, waits=not ended(surface)))

    def _metric(self, metric: MetricStanding) -> str:
        said = answer(metric)
        name = f"{_SIGNS[said]} {_cut(_plain(metric.name), 14):<14}"
        painted = self._paint(name, _COLOURS.get(said, _DIM))
        return f"  {painted}{_bar(metric)}  {_change(metric):<23} {margin_words(metric):>7}"

    def _parts(self, surface: SurfaceStanding) -> Iterator[str]:
        for one in surface.latency:
            yield ""
            yield self._paint(f"{_cut(_plain(surface.surface), 30)}, {_plain(one.metric)}: what the delay did", _BOLD)
            told = (
                ("total", one.total),
                ("latency", one.latency),
                ("ranking", one.ranking),
                ("100 ms", one.per_100_ms),
            )
            for name, found in told:
                if found is not None:
                    yield f"  {name:<10} {_interval(found.low, found.mid, found.high)}"
        for metric in dict.fromkeys(one.metric for one in surface.layers):
            yield ""
            yield self._paint(f"{_cut(_plain(surface.surface), 30)}, {_plain(metric)}: which layer did it", _BOLD)
            for one in surface.layers:
                if one.metric == metric:
                    found = one.change
                    yield f"  {one.layer:<10} {_interval(found.low, found.mid, found.high)}"

    def _acts(self, standing: Standing) -> Iterator[str]:
        acts = standing.acts[-_ACTS:]
        last = "last " if len(acts) < len(standing.acts) else ""
        yield self._paint(f"{last}acts (all {len(standing.acts)}: mainstem launch audit)", _BOLD)
        for one in acts:
            yield _cut(_act(one), WIDTH)

    def _state(self, one: SurfaceStanding) -> str:
        return self._paint(f"{one.state:<11}", _COLOURS.get(one.state, ""))

    def _verdict(self, word: str) -> str:
        return self._paint(word, _COLOURS.get(word, ""))

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


def _spent_lines(origin: OriginStanding, *, waits: bool) -> Iterator[str]:
    """Budgets, sample ratio, days to a verdict unless the surface has ended, and what was left out; a line each."""
    spent = []
    for word, name in (("rollback", "hourly rollback"), ("pause", "daily pause")):
        found = [(used(getattr(one, word)), one) for one in origin.metrics]
        known = [(share, one) for share, one in found if share is not None]
        if known:
            share, one = max(known, key=lambda pair: pair[0])
            full = ", passed" if over(getattr(one, word)) else ""
            spent.append(f"{name} {share:.0%} spent ({_plain(one.name)}{full})")
    yield from _wrapped("; ".join(spent), "  ")
    whole = next((one for one in origin.ratios if not one.part), None)
    if whole is not None:
        broken = [one.part or "all" for one in origin.ratios if one.alarm]
        state = f"broken in {', '.join(broken)}" if broken else "as promised"
        counts = " to ".join(f"{one:,}" for one in whole.counts)
        yield from _wrapped(f"split {state}: {counts}, e-value {_e(whole.log_e)} of {_e(whole.bound)}", "  ")
    days, last = days_to_verdict(origin)
    if waits and days is None and origin.metrics:
        yield from _wrapped(f"days to a verdict are not known of {_plain(last) or 'any metric'}", "  ")
    elif waits and days:
        yield from _wrapped(f"about {days:.0f} more days to a verdict, the last metric is {_plain(last)}", "  ")
    worst = origin.worst_slice
    if worst is not None and worst.change is not None:
        told = f"worst slice: {_plain(worst.metric)} in {_plain(worst.part)} ({_plain(worst.by)}), "
        yield from _wrapped(f"{told}{worst.change.mid:+.1%}, its whole interval is harm; gates nothing", "  ")
    if origin.left_out:
        yield from _wrapped(f"left out: {'; '.join(origin.left_out)}", "  ")


def _ruler() -> str:
    """The head of the bars: where the margin lies and where 0 does."""
    margin = round(_HALF - _HALF / _REACH)
    head = list(f"{'worse':<{_HALF}}│{'better':>{_HALF}}")
    head[margin] = "┊"
    return "".join(head)


def _bar(metric: MetricStanding) -> str:
    """An interval in margins: ``┊`` is the margin, ``│`` no change, ``◄`` and ``►`` go on beyond the bar."""
    cells = ["·"] * (2 * _HALF + 1)
    cells[_HALF] = "│"
    found = in_margins(metric)
    if found is None or not all(math.isfinite(one) for one in found.values()):
        return " " * len(cells)
    cells[round(_HALF - _HALF / _REACH)] = "┊"
    low, mid, high = (_place(found[name]) for name in ("low", "mid", "high"))
    for at in range(max(low, 0), min(high, 2 * _HALF) + 1):
        cells[at] = "┿" if at == _HALF else "━"
    if low < 0:
        cells[0] = "◄"
    if high > 2 * _HALF:
        cells[-1] = "►"
    if 0 <= mid <= 2 * _HALF:
        cells[mid] = "●"
    return "".join(cells)


def _place(margins: float) -> int:
    return round(_HALF + _HALF * max(min(margins, 50.0), -50.0) / _REACH)


def _path(one: SurfaceStanding) -> str:
    """The steps as dots: passed, here, to come; a cross where it was taken back."""
    back = one.state in ("rolled back", "stopped")
    signs = ["●" if at < one.step else "○" for at in range(one.steps)]
    if one.step < one.steps:
        signs[one.step] = "✕" if back else "●" if one.state == "landed" else "◉"
    return "─".join(signs)


def _act(one: Act) -> str:
    moved = f"{_share(one.before)} → {_share(one.after)}"
    return (
        f"  {_moment(one.at_ms)}  {_plain(one.surface)} {one.action} {moved}, {_plain(one.actor)}: {_plain(one.reason)}"
    )


def _change(metric: MetricStanding) -> str:
    return _interval(metric.change.low, metric.change.mid, metric.change.high)


def _interval(low: float, mid: float, high: float) -> str:
    return f"{_signed(mid)} % ({_signed(low)}…{_signed(high)})"


def _signed(share: float) -> str:
    if not math.isfinite(share):
        return "–"
    told = f"{100 * share:+.{2 if abs(share) < 0.1 else 1}f}"
    return ("0.00" if told in ("+0.00", "-0.00") else told).replace("-", "−")


def _share(share: float) -> str:
    return f"{100 * share:.3g} %"


def _e(log_e: float) -> str:
    if log_e > math.log(1e6):
        return f"10^{log_e / math.log(10):.0f}"
    return f"{math.exp(log_e):,.{0 if log_e > math.log(10) else 1}f}"


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1e3, UTC):%Y-%m-%d %H:%M}"


def _plain(text: str) -> str:
    """One line without anything that a terminal would obey."""
    return "".join(one if one.isprintable() else " " for one in str(text))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(_plain(text), WIDTH, initial_indent=indent, subsequent_indent=indent)
