"""A named number of a surface: how much, and per what unit of time."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mainstem.base.errors import ConfigError

SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3_600.0}
"""Units of time a number may carry, in seconds."""
FUNCTIONS: Final = ("min", "max", "log1p", "exp", "sqrt", "log")
"""Names that an expression calls; no weight may take one."""

_WRITTEN: Final = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?:(/?)\s*([a-z]+))?\s*")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a power of seconds: 0 for a plain number, 1 for a time, -1 for so much a second."""

    number: float
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.number:g}" + {0.0: "", 1.0: " s", -1.0: " / s"}.get(self.seconds, f" s^{self.seconds:g}")


def quantity(written: float | str, where: str) -> Quantity:
    """The number that ``written`` stands for: ``3``, ``"0.02 / s"``, ``"1.2 / min"`` or ``"60 s"``.

    Args:
        written: As the settings hold it.
        where: Named in errors, such as ``surfaces.feed.weights.like``.

    Raises:
        ConfigError: It is no finite number, or its unit is unknown (``value-008``).
    """
    hint = 'a number such as 3, or one with a unit such as "0.02 / s" or "60 s" (units: ' + ", ".join(SECONDS) + ")"
    found = _WRITTEN.fullmatch(str(written)) if not isinstance(written, bool) else None
    if found is None or (found[3] and found[3] not in SECONDS) or not math.isfinite(float(found[1])):
        raise ConfigError(
            f"{where} is {written!r}, expected a number with or without a unit", code="value-008", hint=hint
        )
    number, per, unit = float(found[1]), bool(found[2]), found[3]
    if not unit:
        return Quantity(number)
    return Quantity(number / SECONDS[unit], -1.0) if per else Quantity(number * SECONDS[unit], 1.0)


def quantities(weights: Mapping[str, float | str], names: Iterable[str], where: str) -> dict[str, Quantity]:
    """Every weight of a surface, checked against the names an expression can already read.

    Raises:
        ConfigError: A weight has the name of a head or a function, or no name at all (``value-007``), or is no number
            (``value-008``).
    """
    taken = {*names, *FUNCTIONS}
    for name in weights:
        if name in taken or not name.isidentifier() or keyword.iskeyword(name):
            why = "that is what a prediction or function is called" if name in taken else "that is no name"
            raise ConfigError(
                f"{where} names a weight {name!r}: {why}",
                code="value-007",
                hint=f"such as {name}_worth" if name in taken else "letters, digits and _, not beginning with a digit",
            )
    return {name: quantity(written, f"{where}.{name}") for name, written in weights.items()}
