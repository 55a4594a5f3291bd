"""How numbers are written on a page: one rule a kind, the same everywhere.

Metrics have four decimals and no sign. Differences have a sign and three decimals, more only where rounding would hide
on which side of 0 a bound lies. Shares are percent. Times have three digits. Twins (JSON, CSV) carry numbers unrounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

NONE: Final = "–"
_MINUS: Final = "−"
_SPACE: Final = "\u00a0"
"""Keeps a number and its unit on one line."""
_MOST_DECIMALS: Final = 5
_DAY: Final = re.compile(r"\b20\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\b")
_SPAN: Final = re.compile(r"(\d{4}-\d\d-\d\d)–(\d{4}-\d\d-\d\d)")


def metric(value: float | None) -> str:
    """A level such as an AUC, with the four decimals the field quotes."""
    return NONE if _missing(value) else f"{value:.4f}".replace("-", _MINUS)


def signed(value: float | None, decimals: int = 3) -> str:
    """A difference with its sign; nothing but an exact 0 has none."""
    if value is None or _missing(value):
        return NONE
    return f"{value:+.{decimals}f}".replace("-", _MINUS) if value else f"{0:.{decimals}f}"


def interval(found: Mapping[str, Any] | None) -> str:
    """A difference with its bounds, as ``+0.008 (+0.004…+0.012)``."""
    if found is None or _missing(found["mid"]):
        return NONE
    low, mid, high = (float(found[name]) for name in ("low", "mid", "high"))
    decimals = decimals_of(low, high)
    return f"{signed(mid, decimals)} ({signed(low, decimals)}…{signed(high, decimals)})"


def change(found: Mapping[str, Any] | None) -> str:
    """A relative change (0.01 is 1 %) with its bounds in percent, as ``+0.31 % (−0.20…+0.82)``."""
    if found is None or _missing(found["mid"]):
        return NONE
    low, mid, high = (100 * float(found[name]) for name in ("low", "mid", "high"))
    decimals = decimals_of(low, high, least=2)
    return f"{signed(mid, decimals)}{_SPACE}% ({signed(low, decimals)}…{signed(high, decimals)})"


def level(found: Mapping[str, Any] | None) -> str:
    """A level with its bounds, as ``0.5946 (0.5901…0.5989)``."""
    if found is None or _missing(found["mid"]):
        return NONE
    return f"{metric(found['mid'])} ({metric(found['low'])}…{metric(found['high'])})"


def decimals_of(*bounds: float, least: int = 3) -> int:
    """How many decimals keep every bound on its side of 0."""
    decimals = least
    while decimals < _MOST_DECIMALS and any(bound and not round(bound, decimals) for bound in bounds):
        decimals += 1
    return decimals


def count(value: float | None) -> str:
    """How many, with thin thousands."""
    return NONE if _missing(value) else f"{value:,.0f}".replace(",", "\u202f").replace("-", _MINUS)


def share(value: float | None) -> str:
    """A share (0–1) as percent; one decimal below 10 and next to 100, and neither 0 nor 100 is said of what is not."""
    if value is None or _missing(value):
        return NONE
    percent = 100 * value
    if 0 < percent < 0.05:
        return f"<{_SPACE}0.1{_SPACE}%"
    if 99.95 <= percent < 100:
        return f">{_SPACE}99.9{_SPACE}%"
    fine = abs(percent) < 10 or percent > 99
    return (f"{percent:.1f}".removesuffix(".0") if fine else f"{percent:.0f}").replace("-", _MINUS) + f"{_SPACE}%"


def value(number: float | None) -> str:
    """A value of no fixed scale, to four digits; small ones are written out as far as a person can count the zeros."""
    if number is None or _missing(number):
        return NONE
    if not math.isfinite(number):
        return "∞" if number > 0 else f"{_MINUS}∞"
    if 1e-6 <= abs(number) < 1e-4:
        return f"{number:.{3 - math.floor(math.log10(abs(number)))}f}".replace("-", _MINUS)
    return f"{number:.4g}".replace("-", _MINUS)


def duration_s(seconds: float | None) -> str:
    """A time on the scale a person reads it: ms, s or min."""
    if seconds is None or _missing(seconds):
        return NONE
    if seconds < 1:
        return f"{1e3 * seconds:.3g}{_SPACE}ms"
    return f"{seconds:.1f}{_SPACE}s" if seconds < 100 else f"{seconds / 60:.1f}{_SPACE}min"


def milliseconds(value_ms: float | None) -> str:
    """A time that was measured in milliseconds."""
    return NONE if value_ms is None else duration_s(value_ms / 1e3)


def moment(time_ms: int) -> str:
    """A time in milliseconds since 1970 UTC, as date and time of day."""
    return f"{datetime.fromtimestamp(time_ms / 1e3, UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(number: int) -> str:
    """A log's day, 20220429, as 2022-04-29."""
    text = str(number)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else text


def dated(text: str) -> str:
    """Words in which a log's days, 20220429, are written as dates, and a span of them with ``to``."""
    text = _DAY.sub(lambda found: day(int(found[0])), text)
    return _SPAN.sub(r"\1 to \2", text)


def days(numbers: list[int] | tuple[int, ...]) -> str:
    """Days as a range when there are several."""
    if not numbers:
        return NONE
    first, last = min(numbers), max(numbers)
    return day(first) if first == last else f"{day(first)} to {day(last)}"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
