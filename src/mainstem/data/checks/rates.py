"""Are the rates of the outcomes possible."""

from __future__ import annotations

from typing import Final

import polars as pl

from mainstem.base.heads import HEADS
from mainstem.data.checks.finding import Answer, Finding, rows_finding
from mainstem.data.checks.subject import Subject

ENOUGH_ROWS: Final = 100


class Rates:
    """A head that always or never happens was joined wrongly, or says nothing; some outcomes presuppose others."""

    name = "rates"

    def look(self, subject: Subject) -> list[Finding]:
        """Heads at 0 or 1 overall and in a scenario; outcomes without a view or a click."""
        return [self._overall(subject), self._by_scenario(subject), *self._pairs(subject.impressions)]

    def _overall(self, subject: Subject) -> Finding:
        rates = {head: subject.known(head).get_column(head).mean() for head in HEADS if subject.known(head).height}
        stuck = [head for head, rate in rates.items() if rate in (0.0, 1.0)]
        unknown = [head for head in HEADS if head not in rates]
        shown = ", ".join(f"{head} {rate:.4f}" for head, rate in rates.items()) or "none"
        if not rates:
            return Finding(self.name, "FAIL", "no outcome is known for any head", 0, len(HEADS))
        if stuck:
            examples = tuple({"head": head, "rate": rates[head]} for head in stuck)
            sentence = f"heads always or never happen: {', '.join(stuck)}"
            return Finding(self.name, "FAIL", sentence, len(stuck), len(HEADS), examples)
        missing = f"; not in this log: {', '.join(unknown)}" if unknown else ""
        return Finding(self.name, "PASS", f"rates: {shown}{missing}", 0, len(HEADS))

    def _by_scenario(self, subject: Subject) -> Finding:
        heads = [head for head in HEADS if subject.known(head).height]
        cells = subject.impressions.group_by("surface", "scenario").agg(pl.len().alias("rows"), pl.col(heads).mean())
        long = cells.unpivot(heads, index=["surface", "scenario", "rows"], variable_name="head", value_name="rate")
        # A rare head is rightly 0 in a small scenario: ask only where five were to be expected.
        expected = {head: float(subject.known(head).select(pl.col(head).mean()).item()) for head in heads}
        due = pl.col("head").replace_strict(expected, default=0.0, return_dtype=pl.Float64) * pl.col("rows")
        stuck = long.filter((pl.col("rows") >= ENOUGH_ROWS) & pl.col("rate").is_in([0.0, 1.0]) & (due >= 5))
        return rows_finding(
            self.name,
            stuck.sort("surface", "scenario", "head"),
            long.height,
            "head and scenario pairs at exactly 0 or 1, with rows enough to expect otherwise",
            fine="no scenario has a head at 0 or 1",
        )

    def _pairs(self, rows: pl.DataFrame) -> list[Finding]:
        acted = pl.any_horizontal(pl.col("like", "follow", "comment", "forward", "hate") == 1)
        unseen = pl.col("viewed") == 0
        no_click = pl.col("click") == 0
        clicks_known = rows.get_column("click").null_count() < rows.height
        questions: list[tuple[pl.Expr, str, str, Answer]] = [
            (unseen & (pl.col("click") == 1), "clicks on items that were not viewed", "every click was viewed", "FAIL"),
            (unseen & acted, "actions on items that were not viewed", "every action was viewed", "WARN"),
            (no_click & (pl.col("like") == 1), "likes without a click", "every like has a click", "WARN"),
            (no_click & (pl.col("hate") == 1), "hates without a click", "every hate has a click", "WARN"),
            (
                no_click & (pl.col("long_view") == 1),
                "long views without a click",
                "every long view has a click",
                "WARN",
            ),
        ]
        columns = ("user_id", "item_id", "surface", "scenario", "viewed", "click", "like", "long_view", "watch_ms")
        return [
            rows_finding(self.name, rows.filter(rule), rows.height, sentence, fine=fine, answer=answer, columns=columns)
            for rule, sentence, fine, answer in (questions if clicks_known else questions[1:2])
        ]
