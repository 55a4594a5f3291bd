"""Shadow diff: where two stacks part on the same requests, stage by stage, and who is the reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.requests import Request

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.table import Column, Table
from mainstem.web.page import Missing, Page
from mainstem.web.pages.side_by_side import Summary
from mainstem.web.render import address
from mainstem.web.site import Site

COMMAND: Final = "mainstem shadow"
LATEST: Final = 20
"""Mirrored live requests that are listed."""
Found = Mapping[str, Any]


async def page(site: Site, request: Request) -> Page:
    """The page from the evidence ``shadow`` and ``break`` (a planted fault), and the mirrored live requests."""
    found = await site.evidence("shadow")
    mirrored = await site.off_loop(lambda: tuple(latest(site.workspace.folder / "evidence" / "shadow.jsonl")))
    planted = await site.evidence("break")
    diffs = [*every(found or []), *every(planted or [])]
    if not diffs and not mirrored:
        missing = Missing("No request has been asked of two stacks at once in this workspace yet.", COMMAND)
        return Page("shadow", "Nothing to compare yet", missing=missing)
    chosen = request.query_params.get("with", "")
    names = [name for name, _ in diffs]
    at = names.index(chosen) if chosen in names else 0
    return await site.off_loop(lambda: told(diffs, at, mirrored))


def every(found: Any) -> list[tuple[str, Found]]:
    """The diffs of the evidence, each with the name of its pair: one diff, a list of them, or one a name."""
    if isinstance(found, Mapping) and "stages" in found:
        found = [found]
    diffs = list(found.values()) if isinstance(found, Mapping) else list(found)
    return [(f"{one['left']} and {one['right']}", one) for one in diffs if isinstance(one, Mapping) and "stages" in one]


def latest(file: Path) -> Iterator[Found]:
    """The last mirrored requests, newest first; a line cut short by a crash is left out."""
    try:
        with file.open("rb") as lines:
            tail = deque(lines, maxlen=LATEST)
    except OSError:
        return
    for line in reversed(tail):
        try:
            yield msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def summary(found: Any) -> Summary:
    """The first diff in one line, for the overview."""
    diffs = every(found)
    if not diffs:
        return Summary("No requests were compared", "")
    return Summary(_heading(diffs[0][1]), _answer(diffs[0][1]))


def _heading(found: Found) -> str:
    first = found["first"]
    pair = f"{found['left'][:1].upper()}{found['left'][1:]} and {found['right']}"
    if first is None:
        return f"{pair} agree in all {numbers.count(found['requests'])} requests"
    return f"{pair} part in the {first['stage']} stage: “{first['culprit']}”"


def _answer(found: Found) -> str:
    return "holds" if found["same_requests"] == found["requests"] else ""


def told(diffs: list[tuple[str, Found]], at: int, mirrored: tuple[Found, ...]) -> Page:
    """The whole page."""
    live = _mirrored(mirrored)
    if not diffs:
        facts = {"pairs": [], "diff": None, "live": len(mirrored)}
        heading = f"{len(mirrored)} live requests were mirrored"
        return Page("shadow", heading, "No replayed comparison is stored yet.", tables=(live,), facts=facts)
    name, found = diffs[at]
    stages = _stages(found)
    tables = (stages, _partings(found), *_details(found), *([live] if mirrored else []))
    facts = {
        "pairs": [
            {"name": one, "address": address("/shadow", **{"with": one}), "here": one == name} for one, _ in diffs
        ],
        "diff": {
            key: found[key]
            for key in ("left", "right", "requests", "same_requests", "k", "sentence", "first", "slate", "values")
        },
        "one_sided": found["features_on_one_side"],
        "live": len(mirrored),
    }
    lead = f"{numbers.count(found['requests'])} requests, both sides asked the same at the same moment. {_first(found)}"
    query = f"with={name}" if at else ""
    return Page(
        "shadow",
        _heading(found),
        lead,
        _answer(found),
        "",
        tables,
        (_figure(found, stages),),
        facts,
        again=COMMAND,
        query=query,
    )


def _first(found: Found) -> str:
    first = found["first"]
    if first is None:
        return "Every stage that both tell is the same."
    words = f"That is where {numbers.share(first['share'])} of them part first; later stages only follow."
    if first["as_likely"]:
        words += f" The traces cannot tell {first['culprit']} from {', '.join(first['as_likely'])}."
    if first["not_told"]:
        words += f" Not told by one side, so the reason may lie there: {', '.join(first['not_told'])}."
    return words


def _stages(found: Found) -> Table:
    rows = [{**row, "side": "yes" if row["told"] else "not told"} for row in found["stages"]]
    columns = (
        Column("stage", "Stage"),
        Column("side", "Told by both"),
        Column("requests", "Requests", "count"),
        Column("differ_share", "Differ at all", "share"),
        Column("own_share", "Not explained by earlier stages", "share"),
        Column("left_ms", f"{found['left']}, median", "ms"),
        Column("right_ms", f"{found['right']}, median", "ms"),
    )
    return Table("stages", "How often the two sides differ, stage by stage", columns, tuple(rows))


def _figure(found: Found, table: Table) -> Figure:
    from mainstem.report.charts import bars

    rows = [
        {
            "label": row["stage"],
            "share": row["differ_share"] or 0.0,
            "own": row["own_share"] or 0.0,
            "told": "" if row["told"] else "not told",
        }
        for row in found["stages"]
    ]
    first = found["first"]
    return Figure(
        "stages",
        f"The first difference is made in the {first['stage']} stage" if first else "No stage differs",
        "Bars, one a stage in the river's order: the share of requests in which the two sides differ. The darker part is what the "
        "stages before do not explain.",
        bars(rows, "share of requests that differ", narrow=False),
        bars(rows, "share of requests that differ", narrow=True),
        table,
    )


def _partings(found: Found) -> Table:
    columns = (
        Column("stage", "Parts in"),
        Column("culprit", "Because of"),
        Column("requests", "Requests", "count"),
        Column("share", "Share", "share"),
        Column("as_likely", "Or as likely"),
        Column("not_told", "Earlier stages not told"),
        Column("examples", "Example requests"),
    )
    return Table(
        "partings", "Every stage in which some requests part, and the reason", columns, tuple(found["partings"])
    )


def _details(found: Found) -> Iterator[Table]:
    left, right = found["left"], found["right"]
    sides = (Column("left", left, "count"), Column("right", right, "count"))
    alone = (Column("left_only", f"{left} alone", "count"), Column("right_only", f"{right} alone", "count"))
    overlap = (Column("overlap", "Overlap", "share"), Column("overlap_at_k", f"Of the first {found['k']}", "share"))
    yield Table(
        "sources",
        "What each source offered",
        (Column("name", "Source"), *sides, *alone, *overlap),
        tuple(found["sources"]),
    )
    worst = sorted(found["features"], key=lambda row: (-row["differ_share"], -row["largest_relative"], row["name"]))
    features = (
        Column("name", "Feature"),
        Column("rows", "Candidates", "count"),
        Column("differ_share", "Differ", "share"),
        Column("largest", "Largest difference", "value"),
        Column("largest_relative", "Of itself", "share"),
    )
    yield Table("features", "Features, the most different first", features, tuple(worst))
    heads = (
        Column("name", "Head"),
        Column("rows", "Candidates", "count"),
        Column("differ_share", "Differ", "share"),
        Column("mean", "Mean difference", "value"),
        Column("largest", "Largest difference", "value"),
    )
    yield Table("heads", "Predictions of the same candidates", heads, tuple(found["heads"]))
    yield Table("rules", "How often each rule fired", (Column("name", "Rule"), *sides, *alone), tuple(found["rules"]))


def _mirrored(mirrored: tuple[Found, ...]) -> Table:
    """Live requests, each with what its own diff says and a link to see its slates."""
    rows = []
    for one in mirrored:
        link = None
        if "user_id" in one and "surface" in one:
            link = address("/explorer", user=one["user_id"], surface=one["surface"], at=one.get("now_ms"))
        said = one.get("sentence") or one.get("failed") or ""
        rows.append({**one, "said": said, "slates": link})
    columns = (
        Column("request_id", "Request", "id", link="slates"),
        Column("surface", "Surface"),
        Column("target", "Mirrored to"),
        Column("said", "What differs"),
    )
    return Table("live", "The latest live requests that were mirrored", columns, tuple(rows))
