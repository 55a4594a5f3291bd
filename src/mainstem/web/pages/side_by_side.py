"""Side by side: which declared claims hold on held-out days, and the numbers of every arm behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from mainstem.evaluate.plan import SideBySidePlan
from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.marks import above_zero, within_margin
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.site import Site

COMMAND: Final = "mainstem compare"
ALL: Final = "all"
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
        parts = [f"{holds} of {len(answers)} declared claims hold on held-out days"]
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
    auc = tuple(_auc_figures(found))
    heads = _heads(found)
    tables = (
        _verdicts(found), _differences(found), _primary(found), _public(found), *(one.table for one in auc), heads, _calibration(found)
    )  # fmt: skip
    figures = (_forest(found), *auc, *_heads_forest(found, heads))
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
    note = "Skill is the share of the way from a random to a perfect order on these rows; it can be compared between different days."
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


def _auc_figures(found: Found) -> Iterator[Figure]:
    """One figure a surface: AUC of each head, an arm a mark."""
    from mainstem.report.charts import dots

    arms = found["arms"]
    for surface in dict.fromkeys(cell["surface"] for cell in found["cells"]):
        cells = [cell for cell in found["cells"] if cell["surface"] == surface and cell["auc"] is not None]
        if not cells:
            continue
        rows = [{"label": cell["head"].replace("_", " "), "arm": cell["arm"], "level": cell["auc"]} for cell in cells]
        name = "All surfaces" if surface == ALL else surface
        table = _auc_table(surface, [cell for cell in found["cells"] if cell["surface"] == surface], arms)
        best = sum(row["best"] == "unified" for row in table.rows)
        yield Figure(
            f"auc-{surface}",
            f"{name}: unified is first on {best} of {len(table.rows)} heads",
            f"Dots on one axis from 0.5 (chance). One row a head, one mark an arm, at its AUC on {name}. The table has the numbers.",
            dots(rows, arms, "AUC", reference=0.5),
            None,
            table,
        )


def _auc_table(surface: str, cells: Sequence[Found], arms: Sequence[str]) -> Table:
    rows = []
    for head in dict.fromkeys(cell["head"] for cell in cells):
        here = [cell for cell in cells if cell["head"] == head]
        known = [cell for cell in here if cell["auc"] is not None]
        best = max(known, key=lambda cell: cell["auc"])["arm"] if known else ""
        row = {"head": head, "rows": here[0]["rows"], "positives": here[0]["positives"], "best": best}
        rows.append(row | {cell["arm"]: cell["auc"] for cell in here})
    columns = (
        Column("head", "Head"),
        *(Column(arm, arm, "metric", best="best") for arm in arms),
        Column("rows", "Rows", "count"),
        Column("positives", "Positives", "count"),
    )
    name = "all surfaces" if surface == ALL else surface
    return Table(f"auc-{surface}", f"AUC by head and arm, {name}; the highest of a row is bold", columns, tuple(rows))


def _heads(found: Found) -> Table:
    margin = SideBySidePlan().auc_margin
    rows = [
        {**row, "answer": within_margin(row["difference"], margin) if row["enough"] else None, "judged": "yes" if row["enough"] else "too few rows"}
        for row in found["comparisons"]
        if row["family"] == "heads"
    ]  # fmt: skip
    columns = (
        Column("surface", "Surface"),
        Column("head", "Head"),
        Column("against", "Better legacy"),
        Column("rows", "Rows", "count"),
        Column("positives", "Positives", "count"),
        Column("judged", "Judged"),
        Column("difference", "AUC, unified minus other", "interval"),
        Column("answer", f"Not worse by more than {margin}", "verdict"),
    )
    return Table(
        "heads", f"Each head of each surface against the better legacy stack, margin {margin} AUC", columns, tuple(rows)
    )


def _heads_forest(found: Found, table: Table) -> Iterator[Figure]:
    from mainstem.report.charts import Estimate, forest

    rows = [row for row in table.rows if row["enough"] and row["difference"] and row["surface"] != ALL]
    if not rows:
        return
    margin = SideBySidePlan().auc_margin
    drawn = [
        Estimate(
            f"{row['surface']}, {row['head'].replace('_', ' ')} − {row['against']}", row["difference"], row["answer"]
        )
        for row in sorted(rows, key=lambda row: row["difference"]["mid"])
    ]
    inside = sum(row.answer == "holds" for row in drawn)
    yield Figure(
        "heads",
        f"{inside} of {len(drawn)} judged heads are surely not worse by more than {margin} AUC",
        f"A forest plot of AUC differences, the worst head first, with 0 as a line and the margin of −{margin} as a dashed line. "
        "● the whole interval is inside the margin, ▲ it could still be worse, ■ it is measured worse than the margin.",
        forest(drawn, "difference in AUC", narrow=False, margin=-margin),
        forest(drawn, "difference in AUC", narrow=True, margin=-margin),
        table,
    )


def _calibration(found: Found) -> Table:
    rows = [
        {**cell, "where": "all surfaces" if cell["surface"] == ALL else cell["surface"]}
        for cell in found["cells"]
        if cell["calibration_error"] is not None
    ]
    columns = (
        Column("where", "Surface"),
        Column("head", "Head"),
        Column("arm", "Arm"),
        Column("positives", "Positives", "count"),
        Column("predicted_over_observed", "Predicted / observed", "value"),
        Column("calibration_error", "Calibration error", "metric"),
        Column("normalised_entropy", "Normalised entropy", "metric"),
        Column("log_loss", "Log loss", "metric"),
    )
    note = "Only arms whose heads are probabilities. Predicted / observed is 1 when as many happen as were predicted."
    return Table("calibration", "Are the predicted rates right?", columns, tuple(rows), note)
