"""What the two value tables hold: the key columns, the features, and how exactly each must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mainstem.base.errors import FeatureError

KEYS: Final = ("request_id", "time_ms", "offset", "feature_set", "user_id", "item_id")
"""The columns of a value table that are no features."""
STATE: Final = "__state"
"""A feature's state column is its name with this behind it: 0 known, 1 known to be empty, 2 failed."""
KNOWN, EMPTY, FAILED = 0, 1, 2
DAY_MS: Final = 86_400_000
STAGES: Final = ("source", "apply", "read", "finish", "context", "attribute")
USER_ROW: Final = -1
"""The ``item_id`` of a row that is about the user alone."""

Stage = Literal["source", "apply", "read", "finish", "context", "attribute"]


@dataclass(frozen=True, slots=True)
class FeatureMeta:
    """What the comparison must know about one feature.

    Args:
        name: The column in both tables.
        window: The window as it is written ("7d"), "ever", or empty.
        stage: Where the feature is made; a cause is looked for there.
        version: The content hash of its definition.
        tolerance: ``bits`` where both sides must be equal to the bit, ``sketch`` where an approximation is documented.
        bound: The documented bound of a sketch: the largest relative difference; for lists the largest edit distance over
            the longer length.
        unit: What the numbers count, where it is a time (``ms``, ``s``, ``min``, ``h``, ``d``, ``hour_of_day``): tells a
            shifted clock from other constant differences.

    Raises:
        FeatureError: A bound without a sketch, or one below zero (``parity-040``).
    """

    name: str
    window: str = ""
    stage: Stage = "read"
    version: str = ""
    tolerance: Literal["bits", "sketch"] = "bits"
    bound: float = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        if self.bound < 0 or (self.bound > 0 and self.tolerance == "bits") or self.bound != self.bound:
            raise FeatureError(
                f"feature {self.name!r} has a bound of {self.bound} and the tolerance {self.tolerance!r}",
                code="parity-040",
                hint="a bound belongs to tolerance='sketch' and is 0 or more",
            )


def checked_features(features: Sequence[FeatureMeta]) -> tuple[FeatureMeta, ...]:
    """The features as a tuple, each named once.

    Raises:
        FeatureError: None is given, or one is given twice (``parity-041``).
    """
    names = [feature.name for feature in features]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise FeatureError(
            f"features given twice: {', '.join(twice)}" if twice else "no feature to compare",
            code="parity-041",
            hint="give each feature of the set once",
        )
    return tuple(features)
