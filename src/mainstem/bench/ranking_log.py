"""Which rows of a KuaiRand log are learned from and which are judged, and what is known when each is judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.errors import BenchError
from mainstem.base.settings import Settings
from mainstem.data.log import Log, read_log

Regime = Literal["frozen", "daily", "continuous"]
REGIMES: Final[tuple[Regime, ...]] = ("frozen", "daily", "continuous")


@dataclass(frozen=True, slots=True)
class Days:
    """A protocol's days as yyyymmdd, all inclusive.

    Attributes:
        frozen_at_test: With frozen state, test rows know what happened on the validation days as well; else nothing that
            happened after the training days.
        repeats: Rows that the log repeats are judged as often as the files show them; else once.
        most_rows: Rows learned from at most.
    """

    train: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]
    frozen_at_test: bool
    repeats: bool
    most_rows: int | None = None


PACK: Final = Days((20220425, 20220427), (20220428, 20220428), (20220429, 20220505), False, False)
OFFICIAL: Final = Days((20220408, 20220421), (20220422, 20220428), (20220429, 20220508), True, True, 1_200_000)
DAYS: Final[dict[str, Days]] = {"kuairand": PACK, "kuairand-official": OFFICIAL}


@dataclass(frozen=True, slots=True)
class RankingLog:
    """A log under a protocol's days.

    Shapes: ``validation`` and ``test`` are masks over the log's impressions.
    """

    log: Log
    days: Days
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]

    @classmethod
    def open(cls, folder: Path, days: Days) -> RankingLog:
        """The log in a folder.

        Raises:
            BenchError: A part of the protocol has no rows in it (``bench-019``).
        """
        log = read_log(folder)
        day = log.impressions["day"].to_numpy()
        parts = {name: _within(day, getattr(days, name)) for name in ("train", "validation", "test")}
        for name, mask in parts.items():
            if not mask.any():
                first, last = getattr(days, name)
                raise BenchError(
                    f"found no impression on the {name} days {first} to {last}, the log has {log.days}",
                    code="bench-019",
                    hint="docs/guides/bench-models.md says which files each protocol needs",
                )
        return cls(log, days, parts["validation"], parts["test"])

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Both parts."""
        return self.validation | self.test

    @property
    def stop_day(self) -> int:
        """The day that the lesson calls validation: all validation days are put on their last one."""
        return self.days.validation[1]

    @property
    def taught(self) -> pl.DataFrame:
        """The impressions as the lesson takes them: training days, then the validation days as one."""
        first, last = self.days.validation
        day = pl.col("day")
        kept = self.log.impressions.filter(day.is_between(self.days.train[0], last))
        return kept.with_columns(pl.when(day >= first).then(last).otherwise(day).cast(kept["day"].dtype).alias("day"))

    def moments(self, regime: Regime) -> list[tuple[NDArray[np.bool_], int | None]]:
        """Judged rows in groups, and until when each group's state is known (None: until a minute before each row)."""
        if regime == "continuous":
            return [(self.judged, None)]
        if regime == "daily":
            day = self.log.impressions["day"].to_numpy()
            return [(day == one, self._ended(int(one))) for one in np.unique(day[self.judged])]
        trained = self._ended(self.days.validation[0])
        if not self.days.frozen_at_test:
            return [(self.judged, trained)]
        return [(self.validation, trained), (self.test, self._ended(self.days.test[0]))]

    def known_until(self, regime: Regime) -> int | NDArray[np.int64] | None:
        """The same for each judged row, as ``score_moments`` takes it."""
        told = self.moments(regime)
        if len(told) == 1:
            return told[0][1]
        out = np.zeros(len(self.judged), np.int64)
        for mask, known_until_ms in told:
            out[mask] = known_until_ms or 0
        return out[self.judged]

    def _ended(self, day: int) -> int:
        """The last moment before a day, by the log's own days."""
        before = self.log.impressions.filter(pl.col("day") < day)["time_ms"].max()
        return int(before) if isinstance(before, int) else 0

    def expanded(self) -> NDArray[np.int64]:
        """The judged rows as they are counted: positions among them, one more for each repeat where repeats count."""
        keys = ["user_id", "item_id", "time_ms", "scenario"]
        rows = self.log.impressions.filter(pl.Series(self.judged)).select(keys).with_row_index("row")
        if not self.days.repeats or not self.log.dropped.height:
            return np.arange(rows.height)
        renamed = {"video_id": "item_id", "tab": "scenario"}
        again = self.log.dropped.rename({old: new for old, new in renamed.items() if old in self.log.dropped.columns})
        if not set(keys) <= set(again.columns):
            return np.arange(rows.height)
        cast = [pl.col(name).cast(rows.schema[name]) for name in keys]
        joined = again.filter(pl.col("reason").is_in(["exact_duplicate", "repeated_impression"])).select(cast)
        extra = joined.join(rows, on=keys, how="inner")["row"].to_numpy().astype(np.int64)
        return np.concatenate([np.arange(rows.height), np.sort(extra)])


def settings() -> Settings:
    """The settings every benchmark of ranking has: those of a workspace without a file."""
    return Settings()


def _within(day: NDArray[np.integer], bounds: tuple[int, int]) -> NDArray[np.bool_]:
    return (day >= bounds[0]) & (day <= bounds[1])
