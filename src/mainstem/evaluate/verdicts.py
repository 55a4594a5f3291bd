"""Which declared claims hold on the test days: each answered with its numbers, the ones that fail as plainly as the others."""

from __future__ import annotations

from collections.abc import Sequence

from mainstem.evaluate.intervals import Interval
from mainstem.evaluate.measure import ALL
from mainstem.evaluate.plan import SideBySidePlan
from mainstem.evaluate.results import Answer, Comparison, Verdict

_SIGNIFICANT = 0.05


def verdicts(comparisons: Sequence[Comparison], plan: SideBySidePlan) -> tuple[Verdict, ...]:
    """Every claim of the plan with its answer."""
    return (
        *(_beats(row, plan) for row in _gains(comparisons, plan)),
        _as_measured(_judged_heads(comparisons), plan),
        _with_confidence(_judged_heads(comparisons), plan),
    )


def above_zero(difference: Interval | None) -> Answer:
    """Whether a gain is shown: it holds when the low bound is above 0, and does not when nothing was gained at all."""
    if difference is None:
        return "undecided"
    if difference.low > 0:
        return "holds"
    return "undecided" if difference.mid > 0 else "does not hold"


def signed(interval: Interval | None, digits: int = 4) -> str:
    """A difference as a reader sees it: ``+.0109 [+.0071, +.0147]``."""
    if interval is None:
        return "not measurable"
    return f"{interval.mid:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"


def _gains(comparisons: Sequence[Comparison], plan: SideBySidePlan) -> list[Comparison]:
    """The differences the claims are about: by the declared score, or by the final order of an arm without that head."""
    rows = [row for row in comparisons if row.family == "primary" and row.metric == "primary"]
    return [row for row in rows if row.score == plan.score] or rows


def _beats(row: Comparison, plan: SideBySidePlan) -> Verdict:
    chosen = row.chosen_on != "declared"
    whom = f"{row.against} (the better legacy stack, {row.chosen_on})" if chosen else row.against
    return Verdict(
        claim=f"{plan.unified} beats {'the better legacy stack' if chosen else row.against}",
        answer=above_zero(row.difference),
        sentence=f"{plan.unified} minus {whom}: {signed(row.difference)} "
        f"on the mean of GAUC and nDCG@{plan.ndcg_k} for {row.head}",
        difference=row.difference,
    )


def _judged_heads(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Heads of single surfaces with enough rows, worst first."""
    rows = [
        row for row in comparisons if row.family == "heads" and row.surface != ALL and row.enough and row.difference
    ]
    return sorted(rows, key=lambda row: row.difference.mid if row.difference else 0.0)


def _as_measured(rows: Sequence[Comparison], plan: SideBySidePlan) -> Verdict:
    """The claim about heads, by the measured differences alone."""
    claim = f"no head of any surface is worse than the better legacy by more than {plan.auc_margin} AUC (as measured)"
    if not rows:
        return Verdict(claim, "undecided", "no head of any surface has enough test rows")
    beyond = [row for row in rows if row.difference and row.difference.mid < -plan.auc_margin]
    answer: Answer = "does not hold" if beyond else "holds"
    return Verdict(claim, answer, f"{_count(beyond, rows)}; the worst is {_named(rows[0])}", rows[0].difference)


def _with_confidence(rows: Sequence[Comparison], plan: SideBySidePlan) -> Verdict:
    """The claim about heads, by their intervals: a small head that could be worse leaves it open."""
    claim = (
        f"no head of any surface is worse than the better legacy by more than {plan.auc_margin} AUC (by its interval)"
    )
    if not rows:
        return Verdict(claim, "undecided", "no head of any surface has enough test rows")
    surely = [row for row in rows if row.p_worse is not None and row.p_worse < _SIGNIFICANT]
    unsure = [row for row in rows if row.difference and row.difference.low < -plan.auc_margin]
    if surely:
        return Verdict(claim, "does not hold", f"surely worse: {', '.join(map(_named, surely))}", surely[0].difference)
    if unsure:
        widest = min(unsure, key=lambda row: row.difference.low if row.difference else 0.0)
        told = f"{len(unsure)} of {len(rows)} heads could still be worse; the least sure is {_named(widest)}"
        return Verdict(claim, "undecided", told, widest.difference)
    return Verdict(
        claim, "holds", f"every low bound is within the margin; the worst is {_named(rows[0])}", rows[0].difference
    )


def _count(beyond: Sequence[Comparison], rows: Sequence[Comparison]) -> str:
    if not beyond:
        return f"none of {len(rows)} judged heads is beyond the margin"
    return f"{len(beyond)} of {len(rows)} judged heads are beyond the margin: {', '.join(map(_named, beyond))}"


def _named(row: Comparison) -> str:
    return f"{row.surface}/{row.head} {signed(row.difference)} against {row.against}"
