"""Could a column know the future."""

from __future__ import annotations

from typing import Final

import polars as pl

from mainstem.base.heads import HEADS
from mainstem.data.checks.finding import Finding, rows_finding
from mainstem.data.checks.subject import Subject

SUSPICIOUS_CORRELATION: Final = 0.9
ENOUGH_ROWS: Final = 20
_LABELS: Final = ("click", "is_click", "like", "is_like", "long_view", "follow", "comment", "forward", "hate")


class Leaks:
    """Statistics over the whole period, columns that equal a label, and things that happen before they exist."""

    name = "leaks"

    def look(self, subject: Subject) -> list[Finding]:
        """Items shown before they were made, history after the log began, and columns that tell the outcome."""
        return [
            self._shown_before_made(subject),
            self._history(subject),
            self._equal_heads(subject.impressions),
            *self._raw_labels(subject),
            *self._statistics(subject),
        ]

    def _shown_before_made(self, subject: Subject) -> Finding:
        rows = subject.impressions.join(subject.items.select("item_id", "created_ms"), on="item_id", how="inner")
        day_ms = 86_400_000
        return rows_finding(
            self.name,
            rows.filter(pl.col("created_ms") > pl.col("time_ms") + day_ms),
            rows.height,
            "rows show an item more than a day before its upload time: its attributes come from later",
            fine="no item is shown before its upload day",
            answer="FAIL",
            columns=("item_id", "created_ms", "time_ms"),
        )

    def _history(self, subject: Subject) -> Finding:
        first = subject.impressions.group_by("user_id").agg(first_ms=pl.col("time_ms").min())
        bound = subject.history.group_by("user_id").agg(history_ms=pl.col("time_ms").max())
        late = bound.join(first, on="user_id").filter(pl.col("history_ms") >= pl.col("first_ms"))
        return rows_finding(
            self.name,
            late.sort("user_id"),
            bound.height,
            "users have a history bound at or after their first impression: their history may hold an impression of the log",
            fine="no history reaches into the log",
        )

    def _equal_heads(self, rows: pl.DataFrame) -> Finding:
        """Two heads with the same values are one label under two names."""
        known = [head for head in HEADS if rows.get_column(head).null_count() < rows.height]
        pairs = [
            {"head": one, "equals": two}
            for n, one in enumerate(known)
            for two in known[n + 1 :]
            if rows.get_column(one).sum() and rows.get_column(one).equals(rows.get_column(two), check_names=False)
        ]
        if pairs:
            return Finding(
                self.name, "FAIL", "heads equal another head in every row", len(pairs), len(known), tuple(pairs)
            )
        return Finding(self.name, "PASS", "no head equals another", 0, len(known))

    def _raw_labels(self, subject: Subject) -> list[Finding]:
        """A column of the source that tells a label apart perfectly: its values under 0 and under 1 do not overlap."""
        raw = subject.raw
        if subject.is_log or raw.height < ENOUGH_ROWS:
            return []
        labels = [name for name in _LABELS if name in raw.columns and raw.get_column(name).n_unique() == 2]
        found = []
        for label in labels:
            others = [n for n, t in raw.schema.items() if n != label and (t.is_numeric() or t == pl.Boolean)]
            found += [{"column": name, "tells": label} for name in others if _separates(raw, name, label)]
        if found:
            sentence = "columns tell a label apart without error: never use them as features"
            return [Finding(self.name, "FAIL", sentence, len(found), raw.width, tuple(found[:5]))]
        return [Finding(self.name, "PASS", "no column of the source equals a label", 0, raw.width)]

    def _statistics(self, subject: Subject) -> list[Finding]:
        """Side columns that follow an item's or user's whole-period count or rate: they were computed over all of it."""
        found = []
        for file, side in subject.side.items():
            key, ours = next(((k, o) for k, o in _SIDE_KEYS if k in side.columns), ("", ""))
            if key:
                found += [{"file": file} | hit for hit in _follows(side, key, ours, subject.impressions)]
        named = [p.name for p in sorted(subject.path.glob("*statistic*"))] if subject.path.is_dir() else []
        found += [{"file": name, "column": "(all)", "follows": "the whole period, by its name"} for name in named]
        if found:
            sentence = "side columns follow outcomes over the whole period: they hold the future; leave them out"
            return [Finding(self.name, "FAIL", sentence, len(found), len(subject.side) + len(named), tuple(found[:5]))]
        return [
            Finding(self.name, "PASS", "no side column follows outcomes over the whole period", 0, len(subject.side))
        ]


_SIDE_KEYS: Final = (
    ("video_id", "item_id"),
    ("item_id", "item_id"),
    ("vid", "item_id"),
    ("user_id", "user_id"),
    ("uid", "user_id"),
)


def _separates(raw: pl.DataFrame, name: str, label: str) -> bool:
    """Whether a threshold on the column gives the label back exactly."""
    ends = raw.group_by(label).agg(low=pl.col(name).cast(pl.Float64).min(), high=pl.col(name).cast(pl.Float64).max())
    ends = ends.drop_nulls().sort(label)
    if ends.height != 2:
        return False
    (low_0, low_1), (high_0, high_1) = ends.get_column("low"), ends.get_column("high")
    return low_1 > high_0 or low_0 > high_1


def _follows(side: pl.DataFrame, key: str, ours: str, rows: pl.DataFrame) -> list[dict[str, str | float]]:
    heads = [head for head in HEADS if rows.get_column(head).null_count() < rows.height]
    outcomes = rows.group_by(ours).agg(pl.len().alias("impressions"), pl.col(heads).mean())
    outcomes = outcomes.filter(pl.col("impressions") >= ENOUGH_ROWS)
    numbers = [name for name, dtype in side.schema.items() if dtype.is_numeric() and name != key]
    joined = outcomes.join(side.select(key, pl.col(numbers).name.prefix("side:")), left_on=ours, right_on=key)
    if joined.height < ENOUGH_ROWS:
        return []
    hits: list[dict[str, str | float]] = []
    for name in numbers:
        for target in ("impressions", *heads):
            value = joined.select(pl.corr(pl.col(f"side:{name}").cast(pl.Float64), target, method="spearman")).item()
            if value is not None and abs(value) >= SUSPICIOUS_CORRELATION:
                hits.append({"column": name, "follows": target, "correlation": round(value, 3)})
    return hits
