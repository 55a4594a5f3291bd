"""Where does training end and judging begin: moments that cut a log, and no label window across them."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.dataset.label_rule import LAST_INSTANT_MS

DAY_MS = 86_400_000


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parts of a log, one after the other.

    Attributes:
        names: Names of the parts, also of their folders.
        starts_ms: Where each part after the first begins; it holds that moment.

    Raises:
        FeatureError: The moments do not ascend, or names and moments do not fit (``feature-083``).
    """

    names: tuple[str, ...] = ("train",)
    starts_ms: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        ascending = all(early < late for early, late in pairwise(self.starts_ms))
        fits = len(self.names) == len(self.starts_ms) + 1 and len(set(self.names)) == len(self.names)
        if not (ascending and fits and all(name.isidentifier() for name in self.names)):
            raise FeatureError(
                f"found parts {self.names} that begin at {self.starts_ms}, expected one name more than moments, and those"
                " ascending",
                code="feature-083",
                hint='Split(("train", "validation", "test"), (start_of_validation_ms, start_of_test_ms))',
            )

    @classmethod
    def by_day(cls, validation_day: int, test_day: int, utc_offset_min: int = 0) -> Split:
        """Training before the validation day, the test from the test day on; days are local, as yyyymmdd."""
        return cls(
            ("train", "validation", "test"),
            (_midnight_ms(validation_day, utc_offset_min), _midnight_ms(test_day, utc_offset_min)),
        )

    @property
    def ends_ms(self) -> tuple[int, ...]:
        """Where each part ends; that moment is not in it."""
        return (*self.starts_ms, LAST_INSTANT_MS)

    def part_of(self, time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place in ``names`` of the part that holds each moment."""
        return np.searchsorted(np.array(self.starts_ms, np.int64), time_ms, side="right")


def _midnight_ms(day: int, utc_offset_min: int) -> int:
    text = f"{day // 10_000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
    return int(np.datetime64(text, "ms").astype(np.int64)) - utc_offset_min * 60_000
