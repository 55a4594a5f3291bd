"""Side by side: which declared claims hold on held-out days, and the numbers of every arm behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from mainstem.evaluate.plan import SideBySidePlan
from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.marks import above_zero
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.pages.head_by_head import ALL, auc_figures, calibration, head_table, heads_forest
from mainstem.web.site import Site

COMMAND: Final = "mainstem compare"
Found = Mapping[str, Any]


async def page(site: Site, request: Request) -> Page:
    """The page from the evidence ``side_by_side``."""
    found = await site.evidence("side_by_side")
    if found is None:
        missing = Missing("The stacks have not been compared on this workspace's log yet.", COMMAND)
        return Page("side-by-side", "No comparison yet", missing=missing)
    source = "made" if (await site.off_loop(lambda: site.catalogue)).made else "real"
    return await site.off_loop(lambda: told(found, source))


@dataclass(frozen=True, slots=True)
class Summary:
    """The page in one line, for the overview."""

    heading: str
    answer: str
    difference: Found | None


def summary(found: Found) -> Summary:
    """How many of the declared claims hold, and the first difference."""
    answers = [verdict["answer"] for verdict in found["verdicts"]]
    holds, fails = answers.count("holds"), answers.count("does not hold")
    if not answers:
        return Summary("No claim was declared", "undecided", None)
    if holds == len(answers):
        heading = f"All {holds} declared claims hold on held-out days"
    else:
        parts = [f"{holds} of {len(answers)} declared claims {'holds' if holds == 1 else 'hold'} on held-out days"]
        parts += [f"{fails} {'does' if fails == 1 else 'do'} not"] if fails else []
        open_ = len(answers) - holds - fails
        parts += [f"{open_} {'is' if open_ == 1 else 'are'} undecided"] if open_ else []
        heading = "; ".join(parts)
    worst = "does not hold" if fails else "undecided" if holds < len(answers) else "holds"
    return Summary(heading, worst, found["verdicts"][0]["difference"])


def told(found: Found, source: str) -> Page:
    """The whole page."""
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
        _public(found),
        *(one.table for one in auc),
        heads,
        calibration(found),
    )
    figures = (_forest(found), *auc, *heads_forest(heads))
    facts = {
        "split": split,
        "verdicts": found["verdicts"],
        "arms": found["arms"],
        "primary_head": found["primary_head"],
        "public_note": found["public_note"],
        "auc_figures": [one.name for one in auc],
        "primary_first": _of_all(tables[2]),
        "calibration_first": _of_all(tables[-1]),
    }
    return Page(
        "side-by-side", short.heading, lead, short.answer, source, tables, figures, facts, again=COMMAND
    )  # fmt: skip


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


def _forest(found: Found) -> Figure:
    from mainstem.report.charts import Estimate, forest  # Altair takes a second to import; only figures need it

    declared = SideBySidePlan().score
    rows = [
        row
        for row in found["comparisons"]
        if row["family"] != "heads" and row["metric"] == "primary" and row["score"] == declared and row["difference"]
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
        Column("skill", "Skill", "share"),
    )
    note = "Skill is the share of the way from a random to a perfect order on these rows; other days can be compared by it."
    return Table(
        "primary",
        f"Every arm on {found['primary_head'].replace('_', ' ')}, with 95 % intervals",
        columns,
        tuple(rows),
        note,
    )


def _public(found: Found) -> Table:
    columns = (
        Column("name", "Published result"),
        Column("primary", "Mean of GAUC and nDCG@5", "metric"),
        Column("skill", "Skill", "share"),
        Column("told_by", "Told by"),
    )
    return Table(
        "public",
        "Public KuaiRand-Pure figures to stand beside",
        columns,
        tuple(found["public_figures"]),
        found["public_note"],
    )
