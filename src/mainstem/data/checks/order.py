"""Are rows in order of time, and positions in order of the slate."""

from __future__ import annotations

import polars as pl

from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject
from mainstem.data.tables import IMPRESSIONS


class Order:
    """Time order against file order; positions within a request."""

    name = "order"

    def look(self, subject: Subject) -> list[Finding]:
        """Rows earlier than the row before them, and requests whose positions are not 0, 1, 2, …"""
        return [self._time(subject), self._positions(subject.impressions)]

    def _time(self, subject: Subject) -> Finding:
        fine = "rows are in order of time"
        if not subject.is_log:
            raw = subject.raw if "time_ms" in subject.raw.columns else pl.DataFrame(schema={"time_ms": pl.Int64})
            back = raw.filter(pl.col("time_ms").diff() < 0)
            sentence = "rows are earlier than the row before them; the import sorts by time"
            return rows_finding(self.name, back, raw.height, sentence, fine=fine)
        rows = subject.impressions
        key = pl.struct(IMPRESSIONS.order)
        back = rows.filter(key.rank("dense").cast(pl.Int64).diff() < 0)
        sentence = f"rows are not sorted by {', '.join(IMPRESSIONS.order)}"
        return rows_finding(self.name, back, rows.height, sentence, fine=fine, answer="FAIL", columns=IMPRESSIONS.order)

    def _positions(self, rows: pl.DataFrame) -> Finding:
        requests = rows.group_by("request_id").agg(
            pl.len().alias("items"),
            pl.col("position").min().alias("first"),
            pl.col("position").max().alias("last"),
            pl.col("position").n_unique().alias("distinct"),
        )
        known = pl.col("first") >= 0
        whole = (
            (pl.col("first") == 0) & (pl.col("last") == pl.col("items") - 1) & (pl.col("distinct") == pl.col("items"))
        )
        return rows_finding(
            self.name,
            requests.filter(known & ~whole).sort("request_id"),
            requests.height,
            "requests have gaps or repeats in their positions: part of the slate may be missing",
            fine="positions run 0, 1, 2, … in every request",
        )
