"""Are lengths and watch times possible."""

from __future__ import annotations

import polars as pl

from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject

_DAY_MS = 86_400_000


class Durations:
    """Lengths of 0, watch times below 0 or beyond a day, and ones far beyond the length."""

    name = "durations"

    def look(self, subject: Subject) -> list[Finding]:
        """Rows with an unknown length, and rows with an impossible watch time."""
        rows = subject.impressions
        columns = ("user_id", "item_id", "watch_ms", "duration_ms")
        if rows.get_column("duration_ms").null_count() == rows.height:
            return [Finding(self.name, "PASS", "this log has no lengths", 0, rows.height)]
        watch, length = pl.col("watch_ms"), pl.col("duration_ms")
        return [
            rows_finding(
                self.name,
                rows.filter(length == 0),
                rows.height,
                "rows have a length of 0, which means unknown: never divide by it",
                fine="every length is known",
                columns=columns,
            ),
            rows_finding(
                self.name,
                rows.filter((watch < 0) | (length < 0) | (watch > _DAY_MS)),
                rows.height,
                "rows were watched below 0 or beyond a day",
                fine="watch times are possible",
                answer="FAIL",
                columns=columns,
            ),
            rows_finding(
                self.name,
                rows.filter((length > 0) & (watch > 20 * length)),
                rows.height,
                "rows were watched more than 20 times over: cap watch time",
                fine="nothing was watched more than 20 times over",
                columns=columns,
            ),
        ]
