"""Side by side: which declared claims hold on held-out days in either regime, and the numbers of every arm behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.marks import above_zero
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.pages.head_by_head import ALL, auc_figures, calibration, head_table, heads_forest
from mainstem.web.pages.regime import TITLE, asked_regime, choice, evidence_name
from mainstem.web.site import Site
from mainstem.workspace.compare import SCORE, Regime

COMMAND: Final = "mainstem compare"
Found = Mapping[str, Any]


async def page(site: Site, request: Request) -> Page:
    """The page from the evidence of the regime that is asked for."""
    regime = asked_regime(request)
    found, about = await site.evidence(evidence_name(regime)), await choice(site, regime)
    if found is None:
        missing = Missing(f"The stacks have not been compared in {regime} state on this workspace's log yet.", COMMAND)
        return Page("side-by-side", f"{TITLE[regime]}: no comparison yet", facts=about, missing=missing)
    source = "made" if (await site.off_loop(lambda: site.catalogue)).made else "real"
    return await site.off_loop(lambda: told(found, regime, about, source))


@dataclass(frozen=True, slots=True)
class Summary:
    """The page in one line, for the overview."""

    heading: str
    answer: str
    gain: Found | None = None
    mark: str = ""
    """What stands beside the answer's shape instead of the answer, where the claims differ."""


def summary(found: Found) -> Summary:
    """How many of the declared claims hold, and the gain of the first."""
    answers = [verdict["answer"] for verdict in found["verdicts"]]
    holds, fails = answers.count("holds"), answers.count("does not hold")
    if not answers:
        return Summary("No claim was declared", "undecided")
    if holds == len(answers):
        heading = f"All {holds} declared claims hold on held-out days"
    else:
        parts = [f"{holds} of {len(answers)} declared claims {'holds' if holds == 1 else 'hold'} on held-out days"]
        parts += [f"{fails} {'does' if fails == 1 else 'do'} not"] if fails else []
        open_ = len(answers) - holds - fails
        parts += [f"{open_} {'is' if open_ == 1 else 'are'} undecided"] if open_ else []
        heading = "; ".join(parts)
    worst = "does not hold" if fails else "undecided" if holds < len(answers) else "holds"
    mark = "not all hold" if holds and fails else "some undecided" if holds < len(answers) and holds else ""
    return Summary(heading, worst, _gain(found), mark)


def _gain(found: Found) -> Found | None:
    """The first declared difference and what it is to; None where it was not measured."""
    primary = (row for row in found["comparisons"] if row["family"] == "primary" and row["difference"] is not None)
    return next(({"against": row["against"], "difference": row["difference"]} for row in primary), None)


def told(found: Found, regime: Regime, about: Found, source: str) -> Page:
    """The whole page in one regime."""
    short, split = summary(found), found["split"]
    lead = (
        f"{numbers.count(split['test_rows'])} impressions of {numbers.count(split['test_users'])} users on "
        f"{numbers.days(split['test_days'])}, never seen in training. The better legacy stack was chosen on "
        f"{numbers.days(split['validation_days'])}."
    )
    auc = tuple(auc_figures(found))
    heads = head_table(found)
    tables = (
        _verdicts(found),
        _differences(found),
        _primary(found),
        _public(found, regime),
        *(one.table for one in auc),
        heads,
        calibration(found),
    )
    figures = (_forest(found, regime), *auc, *heads_forest(heads))
    facts = {
        **about,
        "split": split,
        "verdicts": found["verdicts"],
        "arms": found["arms"],
        "primary_head": found["primary_head"],
        "public_note": tables[3].note,
        "auc_figures": [one.name for one in auc],
        "primary_first": _of_all(tables[2]),
        "calibration_first": _of_all(tables[-1]),
    }
    heading = f"{TITLE[regime]}: {short.heading[:1].lower()}{short.heading[1:]}"
    return Page(
        "side-by-side", heading, lead, short.answer, source, tables, figures, facts, again=COMMAND, mark=short.mark
    )


def _of_all(table: Table) -> int:
    """How many rows at the top are about all surfaces together; the others are one step away."""
    return sum(row["surface"] == ALL for row in table.rows) or len(table.rows)


def _verdicts(found: Found) -> Table:
    columns = (
        Column("answer", "Verdict", "verdict"),
        Column("claim", "Claim, declared before the numbers"),
        Column("difference", "Difference", "interval"),
        Column("sentence", "What was found"),
    )
    return Table("verdicts", "Declared claims and what became of them", columns, tuple(found["verdicts"]))


def _differences(found: Found) -> Table:
    """The unified arm minus the others on the primary number: in all, by surface, by slice."""
    rows = [
        {**row, "where": _where(row), "answer": above_zero(row["difference"])}
        for row in found["comparisons"]
        if row["family"] != "heads" and row["difference"] is not None
    ]
    columns = (
        Column("where", "Where"),
        Column("metric", "Metric"),
        Column("score", "Ordered by"),
        Column("against", "Against"),
        Column("chosen_on", "Chosen on"),
        Column("rows", "Rows", "count"),
        Column("difference", "Unified minus other", "interval"),
        Column("p_above", "p (Holm)", "value"),
        Column("answer", "Above 0", "verdict"),
    )
    note = "Paired bootstrap over users, 95 % intervals. “Above 0” is told for each row alone; p is corrected over its family."
    return Table(
        "differences",
        "Unified minus the better legacy stack and minus the rank-average of both",
        columns,
        tuple(rows),
        note,
    )


def _where(row: Found) -> str:
    surface = "all surfaces" if row["surface"] == ALL else row["surface"]
    return surface if row["slice"] in (ALL, "") else f"{surface}, {row['slice']}"


def _forest(found: Found, regime: Regime) -> Figure:
    from mainstem.report.charts import Estimate, forest  # Altair takes a second to import; only figures need it

    rows = [
        row
        for row in found["comparisons"]
        if row["family"] != "heads"
        and row["metric"] == "primary"
        and row["score"] == SCORE[regime]
        and row["difference"]
    ]
    drawn = [
        Estimate(f"{_where(row)} − {row['against']}", row["difference"], above_zero(row["difference"])) for row in rows
    ]
    unit = "difference in the mean of GAUC and nDCG@5"
    above = sum(row.answer == "holds" for row in drawn)
    return Figure(
        "forest",
        f"{above} of {len(drawn)} differences are above 0 with their whole interval",
        "A forest plot. One row a comparison: a mark at the measured difference, a line for its 95 % interval, and 0 as a line. "
        "● the whole interval is above 0, ▲ the gain is not sure, ■ nothing was gained.",
        forest(drawn, unit, narrow=False),
        forest(drawn, "difference", narrow=True),
        _differences(found),
    )


def _primary(found: Found) -> Table:
    rows = [{**row, "where": "all surfaces" if row["surface"] == ALL else row["surface"]} for row in found["primary"]]
    columns = (
        Column("where", "Surface"),
        Column("arm", "Arm"),
        Column("score", "Ordered by"),
        Column("primary", "Mean of both", "level"),
        Column("gauc", "GAUC", "level"),
        Column("ndcg", "nDCG@5", "level"),
        Column("auc", "Pooled AUC", "metric"),
        Column("skill", "Skill", "share"),
    )
    note = (
        "Pooled AUC takes the rows of all users together; below 0.5 a score says nothing that holds between users, "
        "whatever its GAUC. Skill is the share of the way from a random to a perfect order on these rows; other days can be "
        "compared by it."
    )
    head = found["primary_head"].replace("_", " ")
    return Table("primary", f"Every arm on {head}, with 95 % intervals", columns, tuple(rows), note)


def _public(found: Found, regime: Regime) -> Table:
    """What others published. Their orders knew nothing after training, so they stand beside the frozen state alone."""
    columns = (
        Column("name", "Published result"),
        Column("primary", "Mean of GAUC and nDCG@5", "metric"),
        Column("skill", "Skill", "share"),
        Column("told_by", "Told by"),
    )
    figures, note = tuple(found["public_figures"]), numbers.dated(found["public_note"])
    if figures and regime != "frozen":
        figures, note = (), "Published figures stand beside the frozen state: they, too, knew nothing after training."
    return Table("public", "Public KuaiRand-Pure figures to stand beside", columns, figures, note)
