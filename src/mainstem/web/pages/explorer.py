"""Feed explorer: what each stack shows the same viewer at the same moment, with the same item linked."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request as Asked

from mainstem.base.errors import RequestError
from mainstem.base.request import Request
from mainstem.report.slates import overlap, ranks
from mainstem.report.table import Column, Table
from mainstem.stacks.live import Live
from mainstem.web.ask import StackAnswer, asked_item, asked_request, slates
from mainstem.web.page import Missing, Page
from mainstem.web.render import address
from mainstem.web.site import Site

COMMAND: Final = "mainstem serve"
NO_LIVE: Final = Missing("No platform is running behind these pages; they can only show stored evidence.", COMMAND)
SHORT: Final = {"content-first": "C", "interest-first": "I", "unified": "U"}


async def page(site: Site, asked: Asked) -> Page:
    """Three slates for the viewer and surface of the address."""
    live = site.live
    if live is None:
        return Page("explorer", "Nothing to explore yet", missing=NO_LIVE)
    await site.off_loop(lambda: site.catalogue)
    try:
        request = asked_request(site, live, asked)
        marked = asked_item(live, asked)
    except RequestError as error:
        return _refused(site, live, asked, error)
    answers = await slates(site, live, request)
    return await site.off_loop(lambda: _told(site, live, request, answers, marked))


def _refused(site: Site, live: Live, asked: Asked, error: RequestError) -> Page:
    """The form again, with what was wrong."""
    facts = _form(site, live, asked.query_params.get("user", ""), asked.query_params.get("surface", ""), "")
    problem = {"text": f"{error.message} ({error.code})", "hint": error.hint}
    return Page(
        "explorer", "This cannot be asked", facts={**facts, "problem": problem, "stacks": []}, status=error.status
    )


def _form(site: Site, live: Live, user: Any, surface: str, item: Any) -> dict[str, Any]:
    examples = [{"user_id": one.user_id, "text": one.text} for one in site.catalogue.examples]
    return {
        "user": user,
        "surface": surface,
        "item": item,
        "surfaces": list(live.surfaces),
        "examples": examples,
        "problem": None,
    }


def _told(site: Site, live: Live, request: Request, answers: tuple[StackAnswer, ...], marked: int | None) -> Page:
    given = [answer.slate for answer in answers if answer.slate is not None]
    places = ranks(given)
    facts = site.catalogue.facts(places)
    rows = tuple(_rows(request, answers, places, facts))
    shared = overlap(given)
    stacks = [
        {
            "name": answer.name,
            "problem": answer.problem,
            "hint": answer.hint,
            "degraded": list(answer.slate.degraded) if answer.slate else [],
            "rows": [row for row in rows if row["stack"] == answer.name],
        }
        for answer in answers
    ]
    told = _form(site, live, request.user_id, request.surface, marked if marked is not None else "")
    told |= {"stacks": stacks, "overlap": shared, "short": _short(answers), "now_ms": request.now_ms, "marked": marked}
    lead = "The same viewer, surface and moment, asked of every stack. An item on several slates is tinted, with its place on each."
    query = f"user={request.user_id}&surface={request.surface}&at={request.now_ms}"
    return Page("explorer", _heading(request, answers, shared), lead, facts=told, tables=(_table(rows),), query=query)


def _heading(request: Request, answers: tuple[StackAnswer, ...], shared: list[dict[str, Any]]) -> str:
    own = answers[-1].name
    pairs = [f"{pair['shared']} with {pair['one']}" for pair in shared if pair["other"] == own]
    whom = f"user {request.user_id} on {request.surface}"
    if answers[-1].slate is None or not pairs:
        return f"What {whom} is shown"
    return f"For {whom}, {own} shares {' and '.join(pairs)} of {len(answers[-1].slate.item_ids)} items"


def _short(answers: tuple[StackAnswer, ...]) -> dict[str, str]:
    return {answer.name: SHORT.get(answer.name, answer.name[:1].upper()) for answer in answers}


def _rows(
    request: Request,
    answers: tuple[StackAnswer, ...],
    places: dict[int, dict[str, int]],
    facts: dict[int, dict[str, Any]],
) -> Any:
    for answer in answers:
        if answer.slate is None:
            continue
        scored = zip(answer.slate.item_ids.tolist(), answer.slate.scores.tolist(), strict=True)
        for place, (item_id, score) in enumerate(scored, start=1):
            known = facts.get(item_id, {})
            yield {
                "stack": answer.name,
                "place": place,
                "item_id": item_id,
                "score": score,
                "kind": known.get("kind"),
                "category": known.get("category"),
                "creator_id": known.get("creator_id"),
                "duration_s": known["duration_ms"] / 1e3 if known.get("duration_ms") else None,
                "places": places[item_id],
                "also": [f"{name} {rank}" for name, rank in places[item_id].items() if name != answer.name],
                "link": address(
                    "/explorer/item", user=request.user_id, surface=request.surface, item=item_id, at=request.now_ms
                ),
            }


def _table(rows: tuple[dict[str, Any], ...]) -> Table:
    columns = (
        Column("stack", "Stack"),
        Column("place", "Place", "count"),
        Column("item_id", "Item", "id", link="link"),
        Column("score", "Score", "value"),
        Column("kind", "Kind"),
        Column("category", "Category", "id"),
        Column("creator_id", "Creator", "id"),
        Column("duration_s", "Length", "seconds"),
        Column("also", "Also on"),
    )
    return Table("slates", "Every slate, item by item", columns, rows)
