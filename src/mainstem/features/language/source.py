"""Where do a feature's numbers come from: a stream of events with keys, a time and a rule for the late ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mainstem.base.errors import FeatureError

ColumnType = Literal["int64", "float64"]

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str) -> int:
    """How many milliseconds ``90s``, ``5min``, ``6h`` or ``14d`` are.

    Raises:
        FeatureError: It is no such length (``feature-007``).
    """
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    if not number.isdigit() or int(number) == 0 or unit not in _UNITS_MS:
        raise FeatureError(
            f"{text!r} is no length of time; expected a whole number and one of {', '.join(_UNITS_MS)}",
            code="feature-007",
            hint="write a length such as 5min, 6h or 14d",
        )
    return int(number) * _UNITS_MS[unit]


@dataclass(frozen=True, slots=True)
class Source:
    """A stream of events in log order.

    Attributes:
        columns: What every event carries, by name. Keys are whole numbers.
        time: The column with the event's time in ms; below 0 only the order is known.
        derive: Further columns as expressions over columns, attributes and, in a chained source, ``sees``.
        where: Only events for which this expression holds belong to the source; all when empty.
        drop_after: How late an event may come, such as ``10min``; later ones are dropped. All are admitted when empty.
        sees: Features over the same log whose value *before* each event its expressions may read (a chained source).
        stream: The log's stream it reads, when several sources read the same events; its name when empty.
        about: What the events are, in plain words.
    """

    name: str
    columns: Mapping[str, ColumnType]
    time: str = "time_ms"
    derive: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    drop_after: str = ""
    sees: tuple[str, ...] = ()
    stream: str = ""
    about: str = ""

    @property
    def of_stream(self) -> str:
        """The stream its events come from."""
        return self.stream or self.name

    @property
    def lateness_ms(self) -> int:
        """How late an admitted event may be; -1: any."""
        return duration_ms(self.drop_after) if self.drop_after else -1

    def described(self) -> dict[str, object]:
        """Everything that gives the source its meaning, for a fingerprint."""
        return {
            "name": self.name,
            "columns": dict(sorted(self.columns.items())),
            "time": self.time,
            "derive": dict(sorted(self.derive.items())),
            "where": self.where,
            "late_ms": self.lateness_ms,
            "sees": list(self.sees),
            "stream": self.of_stream,
        }
