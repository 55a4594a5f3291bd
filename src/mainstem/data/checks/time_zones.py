"""Do the day and hour columns agree with the time, at the log's offset from UTC."""

from __future__ import annotations

from typing import Final

import polars as pl

from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject
from mainstem.data.sources import local_day

WRONG_ZONE_SHARE: Final = 0.25
"""Above this share of disagreeing days the offset itself must be wrong."""


class TimeZones:
    """A wrong zone moves events into another day, and with it from training into test."""

    name = "time zones"

    def look(self, subject: Subject) -> list[Finding]:
        """Rows whose day, or whose hour where the source has one, is not that of their time."""
        return [self._days(subject), *self._hours(subject)]

    def _days(self, subject: Subject) -> Finding:
        offset_min = subject.manifest.utc_offset_min
        rows = subject.impressions.with_columns(day_of_time=local_day(pl.col("time_ms"), offset_min))
        other = rows.filter(pl.col("day") != pl.col("day_of_time"))
        wrong = other.height > WRONG_ZONE_SHARE * rows.height
        return rows_finding(
            self.name,
            other,
            rows.height,
            f"rows have a day other than their time's at UTC{offset_min / 60:+g}"
            + (": the zone is wrong" if wrong else "; order by time, split by day"),
            fine=f"days agree with times at UTC{offset_min / 60:+g}",
            answer="FAIL" if wrong else "WARN",
            columns=("user_id", "item_id", "time_ms", "day", "day_of_time"),
        )

    def _hours(self, subject: Subject) -> list[Finding]:
        if "hourmin" not in subject.raw.columns:
            return []
        local = (pl.col("time_ms") + subject.manifest.utc_offset_min * 60_000).cast(pl.Datetime("ms"))
        rows = subject.raw.with_columns(hour_of_time=local.dt.hour())
        return [
            rows_finding(
                self.name,
                rows.filter(pl.col("hourmin") // 100 != pl.col("hour_of_time")),
                rows.height,
                "rows have an hour other than their time's; no feature reads the hour column",
                fine="hours agree with times",
                columns=("user_id", "time_ms", "hourmin", "hour_of_time"),
            )
        ]
