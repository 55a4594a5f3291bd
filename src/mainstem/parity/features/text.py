"""A comparison, its causes and the drift alarms as plain rows for a terminal, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from mainstem.parity.features.drift import DriftReport
from mainstem.parity.features.meta import DAY_MS
from mainstem.parity.features.result import Diagnosis, Example, FeatureComparison, Report

WIDTH: Final = 100
_NAME: Final = 24
_VALUE: Final = 24


def report_lines(report: Report, causes: Sequence[Diagnosis] = ()) -> list[str]:
    """The verdict first, then the failing features with first row and cause, then the rest.

    Args:
        report: What was compared.
        causes: Why the failing features part, where that was looked for.
    """
    by_name = {one.feature: one for one in causes}
    failing = sorted((one for one in report.features if not one.passes), key=lambda one: one.total.match_rate)
    lines = [*_wrapped(report.gate.sentence), *_wrapped(_rows_sentence(report))]
    header = f"{'feature':{_NAME}} {'window':8} {'cells':>11} {'equal':>10} {'parts':>9} {'missing':>8} {'extra':>7} {'state':>7}"
    lines += ["", header, "-" * len(header)]
    for one in failing:
        lines.append(_row(one))
        lines += _failing_lines(one, by_name.get(one.name))
    lines += [_row(one) for one in report.features if one.passes]
    return lines


def report_text(report: Report, causes: Sequence[Diagnosis] = ()) -> str:
    """The lines of a comparison as one text."""
    return "\n".join(report_lines(report, causes)) + "\n"


def drift_lines(report: DriftReport) -> list[str]:
    """The verdict first, then every alarm, the strongest first."""
    lines = _wrapped(report.sentence)
    for alarm in report.alarms:
        lines += _wrapped(f"{_day(alarm.day)} {alarm.sentence}", "  ")
    return lines


def drift_text(report: DriftReport) -> str:
    """The lines of a drift report as one text."""
    return "\n".join(drift_lines(report)) + "\n"


def _rows_sentence(report: Report) -> str:
    rows = report.rows
    said = [f"{rows.paired:,} rows on both sides"]
    for count, words in (
        (rows.missing, "only recomputed"),
        (rows.extra, "only served"),
        (rows.served_copies, "further copies served"),
        (rows.recomputed_copies, "further copies recomputed"),
        (rows.offset_differs, "with another offset"),
        (rows.time_differs, "with another time"),
        (rows.user_differs, "with another user"),
        (rows.feature_set_differs, "with another feature set"),
    ):
        if count:
            said.append(f"{count:,} {words}")
    return ", ".join(said) + "."


def _row(one: FeatureComparison) -> str:
    total = one.total
    equal = f"{total.match_rate:.4%}"
    # Rounded up it would say that all is equal.
    equal = "<100.0000%" if equal == "100.0000%" and total.matched < total.cells else equal
    return (
        f"{_cut(one.name, _NAME):{_NAME}} {_cut(one.window or '-', 8):8} {total.cells:>11} {equal:>10} "
        f"{total.differing:>9} {total.missing:>8} {total.extra:>7} {total.state_differing:>7}"
    )


def _failing_lines(one: FeatureComparison, cause: Diagnosis | None) -> list[str]:
    total = one.total
    lines: list[str] = []
    if total.largest is not None:
        far = ", ".join(f"{name} {value:.4g}" for name, value in _quantiles(one))
        lines += _wrapped(f"|difference|: {far}; smape {total.smape:.3g}; largest ulp {total.largest_ulp}", "    ")
    if total.edit_mean is not None:
        lines += _wrapped(f"edit distance: mean {total.edit_mean:.3g}, largest {total.edit_largest}", "    ")
    if one.types[0] != one.types[1]:
        lines += _wrapped(f"types: {one.types[0]} served, {one.types[1]} recomputed", "    ")
    days = [day.day for day in one.days if day.tally.matched < day.tally.cells]
    lines += _wrapped(f"on {len(days)} of {len(one.days)} days, first {_day(days[0])}", "    ")
    if total.first is not None:
        lines += _wrapped(f"first at {_example(total.first)}", "    ")
    if cause is not None:
        likely = f" As likely: {', '.join(cause.as_likely)}." if cause.as_likely else ""
        also = f" Also {'; '.join(cause.also)}." if cause.also else ""
        lines += _wrapped(f"cause: {cause.cause}. {cause.sentence}{likely}{also}", "    ")
    return lines


def _quantiles(one: FeatureComparison) -> list[tuple[str, float]]:
    total = one.total
    pairs = (("p50", total.p50), ("p90", total.p90), ("p99", total.p99), ("largest", total.largest))
    return [(name, value) for name, value in pairs if value is not None]


def _example(first: Example) -> str:
    place = "" if first.first_place is None else f", from place {first.first_place} on"
    return (
        f"offset {first.offset}, request {_cut(first.request_id, 36)}, item {first.item_id}: "
        f"served {_cut(first.served, _VALUE)}, recomputed {_cut(first.recomputed, _VALUE)}{place}"
    )


def _day(day: int) -> str:
    try:
        return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return f"day {day}"


def _cut(text: str, width: int) -> str:
    # What came from a log could hold control characters, which a terminal would obey.
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= width else text[: width - 2] + ".."


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
