"""Side by side, head by head: AUC of every arm, differences against the margin, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mainstem.evaluate.plan import SideBySidePlan
from mainstem.report.figure import Figure
from mainstem.report.marks import within_margin
from mainstem.report.table import Column, Table

ALL: Final = "all"
Found = Mapping[str, Any]


def auc_figures(found: Found) -> Iterator[Figure]:
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
            f"Dots on one axis from 0.5 (chance). One row a head, one mark an arm, at its AUC on {name}.",
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


def head_table(found: Found) -> Table:
    """The unified arm against the better legacy one, head by head."""
    margin = SideBySidePlan().auc_margin
    rows = [
        {
            **row,
            "answer": within_margin(row["difference"], margin) if row["enough"] else None,
            "judged": "yes" if row["enough"] else "too few rows",
        }
        for row in found["comparisons"]
        if row["family"] == "heads"
    ]
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


def heads_forest(table: Table) -> Iterator[Figure]:
    """The judged heads of single surfaces, drawn; nothing when none has enough rows."""
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


def calibration(found: Found) -> Table:
    """The arms whose heads are probabilities, with how right these are."""
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
