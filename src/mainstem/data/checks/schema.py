"""Are the columns, types and values what the contract says."""

from __future__ import annotations

import polars as pl

from mainstem.base.heads import HEADS
from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject
from mainstem.data.tables import TABLES


class Schema:
    """Columns and types were checked while reading; here the values that types cannot hold back."""

    name = "schema"

    def look(self, subject: Subject) -> list[Finding]:
        """Outcomes other than 0 and 1, and propensities that are no probabilities."""
        rows = subject.impressions
        flags = pl.any_horizontal(pl.col(*HEADS, "viewed").is_in([0, 1]).not_())
        chance = (pl.col("propensity") <= 0) | (pl.col("propensity") > 1) | pl.col("propensity").is_nan()
        tables = ", ".join(f"{name} {getattr(subject, name).height:,}" for name in TABLES)
        return [
            rows_finding(
                self.name,
                rows.filter(flags.fill_null(False)),
                rows.height,
                "outcomes other than 0, 1 and null",
                fine=f"every column is there in its type ({tables} rows)",
                answer="FAIL",
                columns=("request_id", "item_id", "viewed", *HEADS),
            ),
            rows_finding(
                self.name,
                rows.filter(chance.fill_null(False)),
                rows.height,
                "propensities outside 0 to 1",
                fine="propensities are probabilities or null",
                answer="FAIL",
                columns=("request_id", "item_id", "propensity"),
            ),
        ]
