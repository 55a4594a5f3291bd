"""Overview: may we go on, how the water flows for one request, and where to look next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.requests import Request as Asked

from mainstem.base.request import Slate
from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.river import Reach, River
from mainstem.report.slates import river
from mainstem.report.table import Column, Table
from mainstem.web.ask import asked_request
from mainstem.web.page import Page
from mainstem.web.pages import launch, migration, shadow, side_by_side
from mainstem.web.site import Site

COMMAND: Final = "mainstem demo"
Found = Mapping[str, Any]


async def page(site: Site, asked: Asked) -> Page:
    """The page from the evidence ``demo`` and one live request."""
    await site.off_loop(lambda: site.catalogue)
    demo = await site.evidence("demo") or {}
    slate, problem = await _sample(site, asked)
    tiles = [
        *[await _tile(site, name) for name in _SUMMARIES],
        await site.off_loop(lambda: launch.tile(site.workspace)),
    ]
    figures, tables = tuple(_river(slate)), tuple(_steps(demo))
    facts = {
        "tiles": tiles,
        "next": _next(demo),
        "problem": problem,
        "request": None
        if slate is None
        else {"surface": slate.surface, "user": asked.query_params.get("user") or site.catalogue.first_viewer},
        "surfaces": [] if site.live is None else list(site.live.surfaces),
        "degraded": [] if slate is None else list(slate.degraded),
        "log": site.catalogue.name,
        "steps_s": sum(step.get("seconds", 0.0) for step in demo.get("steps", [])),
    }
    heading, more = _answer(demo)
    return Page(
        "",
        heading,
        more or _lead(site, demo),
        source=_source(demo),
        tables=(*(figure.table for figure in figures), *tables),
        figures=figures,
        facts=facts,
        again=COMMAND,
    )


def _answer(demo: Found) -> tuple[str, str]:
    """The demo's short answer and all it found, a line a sentence; without a short answer the first sentence heads the page."""
    if not demo:
        return "No answer yet: the demo has not run in this workspace", ""
    sentence = _set(demo.get("sentence") or demo.get("answer") or "")
    first, _, more = sentence.partition(". ")
    if demo.get("headline"):
        first, more = _set(demo["headline"]), sentence
    return first.removesuffix(".") or "The demo has run", more.replace(". ", ".\n")


def _set(said: str) -> str:
    """Words of the terminal as a page writes them: days as dates, a capital first."""
    said = numbers.dated(said)
    return said[:1].upper() + said[1:]


def _source(demo: Found) -> str:
    if not demo:
        return ""
    return demo.get("source") or ("made" if demo.get("made") else "real")


def _next(demo: Found) -> list[dict[str, str]]:
    """Two commands that lead on, about a viewer and an item of the log when the demo named them."""
    user, item = demo.get("user", "U"), demo.get("item", "I")
    return [
        {
            "command": f"mainstem explain --user {user} --item {item}",
            "text": "why one viewer is, or is not, shown one item",
        },
        {"command": "mainstem demo --break feature", "text": "plant a fault and see the shadow diff name it"},
    ]


def _lead(site: Site, demo: Found) -> str:
    if not demo:
        return f"Run {COMMAND}; it fills every page."
    kind = "the made world" if _source(demo) == "made" else "the real log"
    return f"Measured on {kind} “{site.catalogue.name}”, where content-first, interest-first and unified rank the same requests."


async def _sample(site: Site, asked: Asked) -> tuple[Slate | None, str]:
    """One request's slate with its trace; or in words why there is none."""
    live = site.live
    if live is None:
        return (
            None,
            "No platform is running behind these pages, so there is no river to draw. Start one: mainstem serve",
        )
    request = asked_request(site, live, asked)
    try:
        return await site.on_live(lambda: live.dry_rank(request)), ""
    except Exception as error:
        return None, f"The running stack gave no answer ({type(error).__name__}), so there is no river to draw."


def _river(slate: Slate | None) -> Iterator[Figure]:
    if slate is None or slate.trace is None:
        return
    sources, reaches = river(slate)
    yield Figure(
        "river",
        f"One request: {numbers.count(reaches[0].kept)} offered, {numbers.count(reaches[-1].kept)} shown",
        "A river. Sources flow together into one stem; at each stage a branch leaves with what was removed, the reason beside it. "
        "Widths grow with the square root of the counts.",
        River(sources, reaches),
        River(sources, reaches, narrow=True),
        _river_table(sources, reaches),
    )


def _river_table(sources: tuple[tuple[str, int], ...], reaches: tuple[Reach, ...]) -> Table:
    rows: list[dict[str, Any]] = [{"stage": "source", "what": name, "kept": count} for name, count in sources]
    for reach in reaches:
        rows += [{"stage": reach.name, "what": reason, "removed": count} for reason, count in reach.removed]
        rows.append({"stage": reach.name, "what": "kept", "kept": reach.kept})
    columns = (
        Column("stage", "Stage"),
        Column("what", "Source or reason"),
        Column("kept", "Kept", "count"),
        Column("removed", "Removed", "count"),
    )
    return Table("river", "What every stage kept and removed for this request", columns, tuple(rows))


def _steps(demo: Found) -> Iterator[Table]:
    steps = demo.get("steps") or ()
    if steps:
        timed = [Column("seconds", "Took", "seconds")] if any("seconds" in step for step in steps) else []
        columns = (Column("name", "Step"), Column("text", "What came out"), *timed)
        yield Table("steps", "What the demo did", columns, tuple(steps))


_SUMMARIES: Final = {
    "side_by_side_frozen": ("Side by side, frozen state", "/side-by-side", side_by_side.summary, side_by_side.COMMAND),
    "shadow": ("Shadow diff", "/shadow", shadow.summary, shadow.COMMAND),
    "migration": ("Migration", "/migration", migration.summary, migration.COMMAND),
}


async def _tile(site: Site, name: str) -> dict[str, Any]:
    title, path, summary, command = _SUMMARIES[name]
    found = await site.evidence(name)
    tile = {"title": title, "path": path, "heading": "", "answer": "", "mark": "", "gain": None, "command": ""}
    if found is None:
        return tile | {"command": command}
    short = summary(found)
    return tile | {"heading": short.heading, "answer": short.answer, "mark": short.mark, "gain": short.gain}
