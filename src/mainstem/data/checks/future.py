"""Is anything from the future."""

from __future__ import annotations

import polars as pl

from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject


class Future:
    """Times after now are wrong units, wrong clocks or planted."""

    name = "future"

    def look(self, subject: Subject) -> list[Finding]:
        """Impressions after now, and rows whose time is no time at all."""
        rows = subject.impressions
        findings = [
            rows_finding(
                self.name,
                rows.filter(pl.col("time_ms") > subject.now_ms),
                rows.height,
                "impressions lie after now",
                fine="nothing lies after now",
                answer="FAIL",
                columns=("request_id", "user_id", "item_id", "time_ms"),
            )
        ]
        bad = subject.dropped.filter(pl.col("reason") == "bad_time")
        if not subject.is_log and bad.height:
            sentence = "rows have no time between 1980 and 2100; the import drops them"
            findings.append(rows_finding(self.name, bad, subject.manifest.rows_in, sentence, fine=""))
        return findings
