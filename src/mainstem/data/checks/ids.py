"""Does every id stand for something."""

from __future__ import annotations

import polars as pl

from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject


class Ids:
    """Ids that are null, negative, fractional or beyond 64 bits; ids without a row that describes them."""

    name = "ids"

    def look(self, subject: Subject) -> list[Finding]:
        """Bad ids, and users or items of the log that the side tables do not know."""
        return [self._bad(subject), *self._unknown(subject)]

    def _bad(self, subject: Subject) -> Finding:
        fine = "every id is a number from 0 to 2**63 - 1"
        if not subject.is_log:
            bad = subject.dropped.filter(pl.col("reason") == "bad_id")
            sentence = "rows have an id that is null, negative, fractional or beyond 64 bits; the import drops them"
            return rows_finding(self.name, bad, subject.manifest.rows_in, sentence, fine=fine)
        rows = subject.impressions
        negative = rows.filter(pl.any_horizontal(pl.col("user_id", "item_id", "request_id") < 0))
        return rows_finding(self.name, negative, rows.height, "rows have a negative id", fine=fine, answer="FAIL")

    def _unknown(self, subject: Subject) -> list[Finding]:
        findings = []
        for table, key in ((subject.items, "item_id"), (subject.users, "user_id")):
            shown = subject.impressions.group_by(key).len("rows").sort("rows", key, descending=[True, False])
            absent = shown.join(table, on=key, how="anti", maintain_order="left")
            what = key.removesuffix("_id")
            findings.append(
                rows_finding(
                    self.name,
                    absent,
                    shown.height,
                    f"{what}s of the log have no row in {what}s.parquet",
                    fine=f"every {what} has a row",
                    answer="FAIL",
                )
            )
        bare = subject.items.filter((pl.col("kind") == "UNKNOWN") & (pl.col("creator_id") < 0))
        bare = bare.join(subject.impressions, on="item_id", how="semi")
        sentence = "items were shown but nothing is known of them; they are ranked as new items"
        fine = "something is known of every item that was shown"
        findings.append(
            rows_finding(self.name, bare, subject.items.height, sentence, fine=fine, columns=("item_id", "created_ms"))
        )
        return findings
