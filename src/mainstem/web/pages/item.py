"""One item for one viewer: its predictions, how they make its value, what the rules did, and where the other stacks put it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from starlette.requests import Request as Asked

from mainstem.base.errors import RequestError
from mainstem.base.request import Request
from mainstem.report.figure import Figure
from mainstem.report.slates import standing
from mainstem.report.table import Column, Table
from mainstem.stacks.why import Why
from mainstem.web.ask import StackAnswer, asked_item, asked_request, slates
from mainstem.web.page import Page
from mainstem.web.pages.explorer import NO_LIVE
from mainstem.web.render import address
from mainstem.web.site import Site

OUTCOMES: Final = {
    "shown": "shown",
    "demoted": "demoted",
    "filtered": "filtered",
    "scored_too_low": "scored too low",
    "not_ranked": "not ranked",
    "not_retrieved": "never retrieved",
    "unknown_item": "unknown",
}


async def page(site: Site, asked: Asked) -> Page:
    """Why this viewer is, or is not, shown this item."""
    live = site.live
    if live is None:
        return Page("explorer/item", "Nothing to explain yet", missing=NO_LIVE)
    await site.off_loop(lambda: site.catalogue)
    request = asked_request(site, live, asked)
    item_id = asked_item(live, asked)
    if item_id is None:
        raise RequestError(
            "the address names no item", code="web-002", hint="choose one on the feed explorer: /explorer"
        )
    answers = await slates(site, live, request)
    found: Why = await site.on_live(lambda: live.explain(request, item_id))
    expression = live.surfaces[request.surface].value
    return await site.off_loop(lambda: told(site, request, found, answers, expression))


def told(site: Site, request: Request, found: Why, answers: tuple[StackAnswer, ...], expression: str) -> Page:
    """The whole page."""
    known = site.catalogue.facts([found.item_id]).get(found.item_id, {})
    tables = (_stacks(found.item_id, answers), *_optional(found), *_rules(found), _offers(found), *_features(found))
    back = address("/explorer", user=request.user_id, surface=request.surface, item=found.item_id, at=request.now_ms)
    facts = {
        "why": {**asdict(found), "features": None, "offers": []},
        "known": known,
        "back": back,
        "expression": expression,
        "outcome": OUTCOMES[found.outcome],
        "problems": [{"name": one.name, "problem": one.problem} for one in answers if one.problem],
    }
    query = f"user={request.user_id}&surface={request.surface}&item={found.item_id}&at={request.now_ms}"
    return Page(
        "explorer/item",
        f"Item {found.item_id} is {OUTCOMES[found.outcome]} for user {found.user_id} on {found.surface}",
        found.sentence,
        tables=tables,
        figures=tuple(_waterfall(found)),
        facts=facts,
        query=query,
    )


def _stacks(item_id: int, answers: tuple[StackAnswer, ...]) -> Table:
    """Where every stack puts the item."""
    rows = []
    for answer in answers:
        if answer.slate is None:
            rows.append({"stack": answer.name, "outcome": "no answer"})
            continue
        found = standing(answer.slate, item_id)
        rows.append(
            {
                "stack": answer.name,
                "rank": found.rank,
                "outcome": found.outcome,
                "value": found.value,
                "sources": found.sources,
            }
        )
    columns = (
        Column("stack", "Stack"),
        Column("outcome", "What became of it"),
        Column("rank", "Place", "count"),
        Column("value", "Own score", "value"),
        Column("sources", "Offered by"),
    )
    note = "Scores of different stacks have different scales. What a stack does not list among its candidates it did not retrieve."
    return Table("stacks", "The same item in every stack", columns, tuple(rows), note)


def _optional(found: Why) -> Iterator[Table]:
    if found.predictions:
        rows = tuple({"head": head, "prediction": value} for head, value in found.predictions.items())
        note = "Probabilities; watch is in seconds." if "watch" in found.predictions else "Probabilities."
        yield Table(
            "heads",
            "What the model predicts",
            (Column("head", "Head"), Column("prediction", "Prediction", "value")),
            rows,
            note,
        )
    if found.terms:
        yield _terms(found)


def _terms(found: Why) -> Table:
    rows = tuple({"term": name, "worth": worth} for name, worth in (found.terms or {}).items())
    return Table(
        "terms", "What each term adds to the value", (Column("term", "Term"), Column("worth", "Adds", "value")), rows
    )


def _waterfall(found: Why) -> Iterator[Figure]:
    from mainstem.report.charts import waterfall

    terms = found.terms
    if not terms or not all(map(math.isfinite, terms.values())):
        return
    most = max(terms, key=lambda name: abs(terms[name]))
    yield Figure(
        "waterfall",
        f"“{most}” moves the value most",
        "Bars from left to right: each term of the value begins where the one before ended; the last bar is the value.",
        waterfall(terms, narrow=False),
        waterfall(terms, narrow=True),
        _terms(found),
    )


def _rules(found: Why) -> Iterator[Table]:
    """Every rule in the order in which it is applied: its effect here, and its price on this slate."""
    if not found.rules:
        return
    rows = tuple(
        {
            "rule": one.rule,
            "effect": one.effect or "left it alone",
            "without": f"place {one.place_without}" if one.place_without else "not shown",
            "price": one.price,
        }
        for one in found.rules
    )
    columns = (
        Column("rule", "Rule"),
        Column("effect", "On this item"),
        Column("without", "Without the rule"),
        Column("price", "Price", "value"),
    )
    note = (
        "The price is the value the slate gives up to the rule: the sum of its values without the rule, minus the sum with it, "
        "everything else the same. Rules stand in the order in which they are applied."
    )
    yield Table("rules", "What each rule did, and what it costs", columns, rows, note)


def _offers(found: Why) -> Table:
    rows = tuple(asdict(offer) for offer in found.offers)
    placed = [Column("rank", "Its place there", "count")] if any(offer.rank for offer in found.offers) else []
    columns = (
        Column("source", "Source"),
        Column("reason", "What it did"),
        *placed,
        Column("limit", "May offer", "count"),
    )
    return Table("sources", "What each source says", columns, rows)


def _features(found: Why) -> Iterator[Table]:
    if found.features:
        rows: tuple[dict[str, Any], ...] = tuple(
            {"feature": name, "number": value} for name, value in found.features.items()
        )
        columns = (Column("feature", "Feature"), Column("number", "Value", "value"))
        yield Table("features", f"The {len(rows)} feature values the model saw", columns, rows)
