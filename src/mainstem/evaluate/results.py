"""What a side-by-side comparison answers, as plain records that are JSON, table rows and page content at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.public_figures import PublicFigure

Answer = Literal["holds", "does not hold", "undecided"]


@dataclass(frozen=True, slots=True)
class Cell:
    """How one arm does on one head of one surface of the test days. None where there is nothing to measure."""

    surface: str
    head: str
    arm: str
    rows: int
    positives: int
    users: int
    auc: float | None
    gauc: float | None
    ndcg: float | None
    log_loss: float | None = None
    normalised_entropy: float | None = None
    calibration_error: float | None = None
    predicted_over_observed: float | None = None


@dataclass(frozen=True, slots=True)
class PrimaryResult:
    """One arm's primary number on the test days: the mean of GAUC and nDCG, for one surface or all.

    ``score`` says what ordered the rows: the arm's ``head`` for the primary outcome or its own final ``order``.
    ``skill`` is the share of the way from a random to a perfect order, which other days can be compared by. ``auc`` is the
    same score's AUC over all rows: below .5 beside a high GAUC, the score counts a user's luck.
    """

    surface: str
    arm: str
    score: str
    gauc: Interval | None
    ndcg: Interval | None
    primary: Interval | None
    skill: float | None
    auc: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """By how much the unified arm is above another one on the same users, with a paired interval.

    ``chosen_on`` says where the other arm was chosen as the better legacy (never on test), or ``declared``.
    ``enough`` is whether the declared number of rows, positives and negatives was reached. ``p_above`` is one-sided for
    "not above 0", ``p_worse`` for "not worse than the margin" (head comparisons); both are Holm-adjusted in their family.
    """

    family: Literal["primary", "surfaces", "slices", "heads"]
    surface: str
    head: str
    slice: str
    metric: str
    score: str
    against: str
    against_score: str
    chosen_on: str
    rows: int
    positives: int
    enough: bool
    difference: Interval | None
    p_above: float | None = None
    p_worse: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one claim, declared before the numbers, holds on the test days."""

    claim: str
    answer: Answer
    sentence: str
    difference: Interval | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows were judged: the hash names them, days are the log's own, counts are rows and users."""

    hash: str
    validation_days: tuple[int, ...]
    test_days: tuple[int, ...]
    validation_rows: int
    test_rows: int
    test_users: int
    random_primary: float | None
    perfect_primary: float | None


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Every arm on the same rows: what each reaches, what the unified one gains, and which claims hold."""

    arms: tuple[str, ...]
    primary_head: str
    split: Split
    primary: tuple[PrimaryResult, ...]
    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    public_figures: tuple[PublicFigure, ...]
    public_note: str

    def as_table(self) -> list[dict[str, str | int | float | None]]:
        """One flat row for each surface, head and arm."""
        return [asdict(cell) for cell in self.cells]

    def primary_table(self) -> list[dict[str, str | int | float | None]]:
        """One flat row for each surface and arm, bounds in columns of their own."""
        return [
            {"surface": row.surface, "arm": row.arm, "score": row.score, "skill": row.skill, "auc": row.auc}
            | flat("gauc", row.gauc)
            | flat("ndcg", row.ndcg)
            | flat("primary", row.primary)
            for row in self.primary
        ]

    def comparison_table(self) -> list[dict[str, str | int | float | None]]:
        """One flat row for each difference between the unified arm and another."""
        return [
            {key: value for key, value in asdict(row).items() if key != "difference"}
            | flat("difference", row.difference)
            for row in self.comparisons
        ]


def flat(name: str, interval: Interval | None) -> dict[str, str | int | float | None]:
    """An interval as three table columns: the number, its low and its high bound."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.mid, f"{name}_low": interval.low, f"{name}_high": interval.high}
