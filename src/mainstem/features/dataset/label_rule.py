"""When does a shown item count as a success: who is credited, for what, and for how long one waits."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from mainstem.base.errors import FeatureError
from mainstem.base.heads import HEADS

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

LAST_INSTANT_MS: Final = 2**62
"""No time in a log is this late, so a time plus a window stays inside 64 bits."""


class LabelRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes an impression a positive.

    Attributes:
        name: Names the columns ``label_<name>`` and ``delay_ms_<name>``.
        window_ms: How long after the impression an outcome still counts.
        join: ``last_touch`` credits the latest impression with the outcome's key; ``any_touch`` credits every one.
        by: The columns that an outcome and its impression share; ``user_id`` is one of them.
        outcomes: The kinds that count; any one makes a positive.
        viewable: ``viewable`` counts only impressions that were on screen; ``served`` counts all.
        last_ms_counts: Whether an outcome exactly ``window_ms`` after the impression counts.

    Raises:
        FeatureError: The rule has no meaning (``feature-080``).
    """

    name: str
    window_ms: int
    join: Literal["last_touch", "any_touch"]
    by: tuple[str, ...]
    outcomes: tuple[str, ...]
    viewable: Literal["viewable", "served"] = "viewable"
    last_ms_counts: bool = False

    def __post_init__(self) -> None:
        faults = (
            (not self.name.isidentifier(), f"the name {self.name!r}, expected letters, digits and underscores"),
            (not 0 < self.window_ms < 2**61, f"a window of {self.window_ms} ms, expected one above 0"),
            (self.join not in ("last_touch", "any_touch"), f"join {self.join!r}, expected last_touch or any_touch"),
            (self.viewable not in ("viewable", "served"), f"{self.viewable!r}, expected viewable or served"),
            ("user_id" not in self.by, f"the key {self.by}, expected user_id in it"),
            (len(set(self.by)) != len(self.by), f"the key {self.by}, expected each column once"),
            (not self.outcomes, "no outcomes, expected at least one"),
        )
        for wrong, what in faults:
            if wrong:
                raise FeatureError(
                    f"label rule {self.name!r} has {what}",
                    code="feature-080",
                    hint="docs/concepts/training-sets.md lists what a rule says",
                )

    @property
    def reach_ms(self) -> int:
        """The largest delay that counts."""
        return self.window_ms if self.last_ms_counts else self.window_ms - 1

    @property
    def columns(self) -> tuple[str, str]:
        """Its two columns in a training set: the label, and after how many milliseconds the first outcome came."""
        return f"label_{self.name}", f"delay_ms_{self.name}"


CONTENT_FIRST: Final = LabelRule(
    name="content_first",
    window_ms=30 * MINUTE_MS,
    join="last_touch",
    by=("user_id", "canonical_id"),
    outcomes=("long_view",),
    viewable="viewable",
    last_ms_counts=True,
)
"""The content-first stack: 30 minutes, last viewable impression of the original item, the last millisecond included."""

INTEREST_FIRST: Final = LabelRule(
    name="interest_first",
    window_ms=24 * HOUR_MS,
    join="any_touch",
    by=("user_id", "interest"),
    outcomes=("click", "long_view", "like", "follow", "comment", "forward"),
    viewable="served",
)
"""The interest-first stack: 24 hours, every impression in the interest, the last millisecond excluded."""


def one_per_outcome(rule: LabelRule, outcomes: tuple[str, ...] = HEADS) -> tuple[LabelRule, ...]:
    """The same window and join once for each outcome: the labels of a model with several heads."""
    return tuple(msgspec.structs.replace(rule, name=outcome, outcomes=(outcome,)) for outcome in outcomes)
