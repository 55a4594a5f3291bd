"""Is every impression there once."""

from __future__ import annotations

from typing import Final

import polars as pl

from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject

_SHOWN: Final = ("user_id", "item_id", "video_id", "time_ms", "time", "hourmin", "tab", "file", "row", "source_row")


class Duplicates:
    """Rows that repeat a whole row, and rows that repeat an impression with another outcome or hour."""

    name = "duplicates"

    def look(self, subject: Subject) -> list[Finding]:
        """In a source: what the import drops. In a log folder: keys that appear twice."""
        rows = subject.impressions
        if subject.is_log:
            twice = rows.filter(pl.struct("request_id", "item_id").is_duplicated())
            return [
                rows_finding(
                    self.name,
                    twice,
                    rows.height,
                    "rows share request and item with another row",
                    fine=f"every request shows an item once ({subject.dropped.height:,} rows were dropped at import)",
                    answer="FAIL",
                    columns=("request_id", "user_id", "item_id", "time_ms"),
                )
            ]
        read = subject.manifest.rows_in
        return [
            rows_finding(
                self.name,
                subject.dropped.filter(pl.col("reason") == reason),
                read,
                sentence,
                fine=fine,
                columns=_SHOWN,
            )
            for reason, sentence, fine in (
                ("exact_duplicate", "rows equal an earlier row in every column; the import drops them", "no row twice"),
                (
                    "repeated_impression",
                    "rows show the same item to the same user at the same moment again, with another hour or outcome;"
                    " the import keeps the first",
                    "no impression twice",
                ),
            )
        ]
