"""What a person or a job can tell about two sides whose features part, beside the values themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import pyarrow as pa

Cause = Literal[
    "version",
    "log_gap",
    "duplicate",
    "late",
    "stale_state",
    "replica_lag",
    "type",
    "unit",
    "timezone",
    "window_off_by_one",
    "default",
    "join_key",
    "truncated_embedding",
    "clock_skew",
    "double_count",
    "label_leak",
    "source",
    "unknown",
]
CAUSE_OF: Final[dict[str, Cause]] = {
    "timezone": "timezone",
    "hop": "window_off_by_one",
    "scale": "unit",
    "default_swapped": "default",
    "late_dropped": "late",
    "behind": "stale_state",
    "stopped": "stale_state",
    "lagging": "replica_lag",
    "other_key": "join_key",
    "double_counted": "double_count",
    "duplicates_counted": "duplicate",
    "gaps_left_out": "log_gap",
    "truncated": "truncated_embedding",
    "clock_skew": "clock_skew",
    "label_leaked": "label_leak",
}
"""The variants a recompute may know, and the cause each stands for."""


@dataclass(frozen=True, slots=True)
class SideMeta:
    """What one side says about a feature. Empty is not told; only what both sides tell is compared."""

    version: str = ""
    dtype: str = ""
    default: float | None = None
    window: str = ""
    timezone: str = ""
    source: str = ""
    join_key: str = ""
    late: str = ""


@dataclass(frozen=True, slots=True)
class LogFacts:
    """The log the recomputation read: its offsets, the ranges it lacks (first, one past the last), and repeated offsets."""

    first: int
    last: int
    gaps: tuple[tuple[int, int], ...] = ()
    duplicates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """One way the served side may have been computed.

    ``amount`` by name: ``timezone`` and ``clock_skew`` milliseconds added to the request's clock; ``hop`` tiles added to the
    window's reach; ``scale`` a factor; ``behind`` offsets the state was behind; ``stopped`` the offset from which no event
    was seen. ``lagging`` is behind by each request's own lag. The others have none.
    """

    name: str
    amount: float = 0.0
    place: str = ""
    """What is done so differently, where there are several things it could be done to."""

    @property
    def cause(self) -> Cause:
        """The cause this variant stands for."""
        return CAUSE_OF[self.name]

    def __str__(self) -> str:
        where = f" of {self.place}" if self.place else ""
        if not self.amount:
            return f"{self.name}{where}"
        plain = self.name in ("scale", "stopped", "double_counted", "default_swapped")
        return f"{self.name} {self.amount:{'.12g' if plain else '+g'}}{where}"


class Recompute(Protocol):
    """Computes a few rows again in another way."""

    def __call__(self, variant: Variant, keys: pa.Table) -> pa.Table | None:
        """The value table of these rows as it would have been served if ``variant`` were the cause.

        Where the offline side is at fault (a label leaked into it) the table is the one without the fault.

        Args:
            variant: What to do differently.
            keys: ``request_id, item_id, user_id, time_ms, offset`` of the rows.

        Returns:
            A value table with the features the variant touches; None where this recompute does not know the variant.
        """
        ...


_HOUR: Final = 3_600_000.0
VARIANTS: Final = (
    *(Variant("hop", by) for by in (1, -1)),
    Variant("default_swapped"),
    Variant("late_dropped"),
    Variant("lagging"),
    *(Variant("behind", by) for by in (1, 10, 100, 1_000)),
    Variant("other_key"),
    Variant("double_counted"),
    Variant("duplicates_counted"),
    Variant("gaps_left_out"),
    Variant("truncated"),
    Variant("label_leaked"),
    *(Variant("timezone", hours * _HOUR) for hours in (-8, -7, -5, -1, 1, 2, 5.5, 8, 9)),
    *(Variant("clock_skew", by) for by in (-60_000, -1_000, 1_000, 60_000)),
    *(Variant("scale", by) for by in (1_000, 1e-3, 100, 0.01, 60, 1 / 60)),
)
"""What is tried unless told; ``stopped`` is added at the first row that parts."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything beside the two tables. All of it may be left out; what is left out cannot point anywhere.

    Args:
        served_meta: What the served side says about each feature.
        offline_meta: What the recomputed side says.
        log: The log's range, gaps and duplicates.
        lag: Log head minus the offset the server had seen, by request id.
        recompute: Computes a sample again with one thing done differently.
        variants: What to try with ``recompute``.
        thorough: Tries every variant; else none after one that explains every row and breaks none.
    """

    served_meta: Mapping[str, SideMeta] = field(default_factory=dict)
    offline_meta: Mapping[str, SideMeta] = field(default_factory=dict)
    log: LogFacts | None = None
    lag: Mapping[str, int] | None = None
    recompute: Recompute | None = None
    variants: tuple[Variant, ...] = VARIANTS
    thorough: bool = True
