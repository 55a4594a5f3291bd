"""A number with its unit as text, read once: `1.5 TB`, `900 / s`, `3e6 / day`, `40 GiB`."""

from __future__ import annotations

import math
import re

from mainstem.base.errors import CapacityError

_OF: dict[str, tuple[str, float]] = {
    "B": ("bytes", 1.0),
    "kB": ("bytes", 1e3),
    "MB": ("bytes", 1e6),
    "GB": ("bytes", 1e9),
    "TB": ("bytes", 1e12),
    "PB": ("bytes", 1e15),
    "KiB": ("bytes", 2.0**10),
    "MiB": ("bytes", 2.0**20),
    "GiB": ("bytes", 2.0**30),
    "TiB": ("bytes", 2.0**40),
    "us": ("seconds", 1e-6),
    "ms": ("seconds", 1e-3),
    "s": ("seconds", 1.0),
    "min": ("seconds", 60.0),
    "h": ("seconds", 3_600.0),
    "day": ("seconds", 86_400.0),
    "week": ("seconds", 604_800.0),
}
_TEXT = re.compile(r"^\s*([-+0-9.eE]+)\s*([A-Za-z]*)\s*(?:/\s*([A-Za-z]+))?\s*$")


def quantity(text: str, dimension: str) -> float:
    """The value in base units (bytes, seconds, per second), refused when the unit is of another dimension.

    Args:
        text: A number, a unit, and a unit of time after a stroke, each where it applies.
        dimension: ``bytes``, ``seconds``, ``rate`` (a count a second) or ``bytes/s``.

    Raises:
        CapacityError: ``capacity-013`` for text that is no quantity or of another dimension.
    """
    found = _TEXT.match(text)
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    if found is None or not math.isfinite(value):
        raise _no(text, dimension, "is no number with a unit")
    kind, factor = _OF.get(found[2] or "", ("" if not found[2] else "?", 1.0))
    under, divisor = _OF.get(found[3] or "", ("" if not found[3] else "?", 1.0))
    named = {
        ("bytes", ""): "bytes",
        ("seconds", ""): "seconds",
        ("", "seconds"): "rate",
        ("bytes", "seconds"): "bytes/s",
    }
    if named.get((kind, under)) != dimension:
        raise _no(text, dimension, f"is {named.get((kind, under), 'of no unit that is known here')}")
    return value * factor / divisor


def _no(text: str, dimension: str, why: str) -> CapacityError:
    example = {"bytes": "1.5 TB", "seconds": "80 ms", "rate": "900 / s", "bytes/s": "2 GB / s"}[dimension]
    return CapacityError(
        f"found {text!r}, which {why}, expected {dimension}", code="capacity-013", hint=f"write it such as {example!r}"
    )
