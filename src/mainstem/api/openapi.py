"""``GET /v1/openapi.json``: every route with its records, built from the records themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import send_json
from mainstem.api.schemas import (
    BlockAnswer,
    BlocksAnswer,
    EventsAnswer,
    ExplainAnswer,
    FeaturesAnswer,
    FlagAnswer,
    FlagBody,
    FlagRefusal,
    FlagsAnswer,
    HealthAnswer,
    ItemAnswer,
    LaunchesAnswer,
    Problem,
    RankAnswer,
    RankBody,
    ReadyAnswer,
    ReloadAnswer,
    ShadowAnswer,
    WithdrawnAnswer,
)
from mainstem.data.records import MAX_EVENTS, Feedback


class EventsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Outcomes of shown items."""

    events: list[Feedback]


@dataclass(frozen=True, slots=True)
class RouteDoc:
    """What the description says about one route.

    Args:
        refusals: Status = when it is answered.
        refusal: The body of its own refusals, those of status 400 and 404.
    """

    method: str
    path: str
    summary: str
    answer: type | None
    body: type | None = None
    example: dict[str, Any] | None = None
    parameters: tuple[tuple[str, str, bool, str], ...] = ()
    refusals: tuple[tuple[int, str], ...] = ()
    token: bool = False
    refusal: type = Problem


_BUSY = ((429, "Too many requests; Retry-After says when to come back"), (503, "Not ready, or the disk refused"))
_ITEM = ((401, "No valid token"), (404, "The catalog does not hold it"), (409, "Not possible here"), *_BUSY)
_BLOCK = ((400, "An id is no number"), (401, "No valid token"), (409, "Not possible here"), *_BUSY)
_VIEWER = {"context": {"targetingKey": "7"}}
_EVENT = {"request_id": 41, "user_id": 7, "item_id": 99, "surface": "feed", "time_ms": 1650812741436, "click": 1}

ROUTES = (
    RouteDoc(
        "POST",
        "/v1/surfaces/{surface}/rank",
        "Which items this viewer is shown on this surface",
        RankAnswer,
        RankBody,
        {"user_id": 7, "count": 10},
        (("surface", "path", True, "string"),),
        (
            (400, "The body is wrong; the message says where"),
            (404, "No such surface"),
            (413, "The body is too large"),
            *_BUSY,
        ),
    ),
    RouteDoc(
        "POST",
        "/v1/events",
        f"What became of shown items, at most {MAX_EVENTS} at once; acknowledged when it is on disk",
        EventsAnswer,
        EventsBody,
        {"events": [_EVENT]},
        refusals=((400, "A record is wrong; nothing was taken"), (401, "No valid token"), (413, "Too large"), *_BUSY),
        token=True,
    ),
    RouteDoc(
        "GET",
        "/v1/explain",
        "Why a viewer is, or is not, shown an item",
        ExplainAnswer,
        parameters=(
            ("user", "query", True, "string"),
            ("item", "query", True, "string"),
            ("surface", "query", True, "string"),
            ("now_ms", "query", False, "integer"),
            ("request_id", "query", False, "integer"),
            ("count", "query", False, "integer"),
        ),
        refusals=((400, "A parameter is missing or wrong"), (404, "No such surface"), *_BUSY),
    ),
    RouteDoc(
        "GET",
        "/v1/features",
        "What is known now of a viewer and some items, by feature name",
        FeaturesAnswer,
        parameters=(
            ("user", "query", True, "string"),
            ("names", "query", True, "string"),
            ("items", "query", False, "string"),
            ("surface", "query", False, "string"),
            ("scenario", "query", False, "integer"),
        ),
        refusals=((400, "A parameter is missing or wrong"), (404, "No such feature or surface"), *_BUSY),
    ),
    RouteDoc(
        "POST",
        "/v1/features/reload",
        "Reads the definitions again, back-fills while serving goes on, then switches in one step; needs the token",
        ReloadAnswer,
        refusals=((400, "The definitions make no sense"), (401, "No valid token"), (409, "It is being done already")),
    ),
    RouteDoc(
        "DELETE",
        "/v1/items/{item}",
        "Withdraws an item: from the next request on no slate holds it; needs the token",
        ItemAnswer,
        parameters=(("item", "path", True, "string"),),
        refusals=_ITEM,
        token=True,
    ),
    RouteDoc(
        "PUT",
        "/v1/items/{item}",
        "Puts a withdrawn item back; needs the token",
        ItemAnswer,
        parameters=(("item", "path", True, "string"),),
        refusals=_ITEM,
        token=True,
    ),
    RouteDoc("GET", "/v1/items/withdrawn", "Every withdrawn item", WithdrawnAnswer),
    RouteDoc(
        "GET",
        "/v1/users/{user}/blocks",
        "What a viewer blocked and hid; needs the token",
        BlocksAnswer,
        parameters=(("user", "path", True, "string"),),
        refusals=_BLOCK,
        token=True,
    ),
    *(
        RouteDoc(
            method,
            f"/v1/users/{{user}}/{kind}/{{target}}",
            summary,
            BlockAnswer,
            parameters=(("user", "path", True, "string"), ("target", "path", True, "string")),
            refusals=_BLOCK,
            token=True,
        )
        for method, kind, summary in (
            ("PUT", "blocks", "The viewer is shown no item of this creator from the next request on; needs the token"),
            ("DELETE", "blocks", "Takes the block back; needs the token"),
            ("PUT", "hidden", "The viewer is shown neither this item nor a repost of it; needs the token"),
            ("DELETE", "hidden", "Takes it back; needs the token"),
        )
    ),
    RouteDoc("GET", "/v1/launches", "Where every launch stands, as its pilot told it last", LaunchesAnswer),
    RouteDoc(
        "POST",
        "/ofrep/v1/evaluate/flags/{key}",
        "OFREP: one launch as a feature flag, for a viewer",
        FlagAnswer,
        FlagBody,
        _VIEWER,
        (("key", "path", True, "string"),),
        ((400, "The body or its context is wrong"), (404, "No launch has this key"), (413, "Too large"), *_BUSY),
        refusal=FlagRefusal,
    ),
    RouteDoc(
        "POST",
        "/ofrep/v1/evaluate/flags",
        "OFREP: every launch as a feature flag, for a viewer",
        FlagsAnswer,
        FlagBody,
        _VIEWER,
        (("If-None-Match", "header", False, "string"),),
        ((304, "As the ETag says"), (400, "The body or its context is wrong"), (413, "Too large"), *_BUSY),
        refusal=FlagRefusal,
    ),
    RouteDoc("GET", "/v1/health", "Whether the process lives", HealthAnswer),
    RouteDoc(
        "GET", "/v1/ready", "Whether requests should come here", ReadyAnswer, refusals=((503, "Not now; see reasons"),)
    ),
    RouteDoc("GET", "/v1/shadow", "How live answers differed from the other stacks' lately", ShadowAnswer),
    RouteDoc("GET", "/v1/openapi.json", "This description", None),
    RouteDoc("GET", "/metrics", "Counters in Prometheus' form", None),
)


_LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


@cache
def description() -> dict[str, Any]:
    """The OpenAPI 3.1 description of the server."""
    records = [
        Problem,
        FlagRefusal,
        *(one for route in ROUTES for one in (route.body, route.answer) if one is not None),
    ]
    schemas, components = msgspec.json.schema_components(records, ref_template="#/components/schemas/{name}")
    reference = dict(zip(records, schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, reference)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mainstem",
            "version": version("mainstem"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: RouteDoc, reference: dict[type, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": route.summary}}
    if route.answer is not None:
        answers["200"]["content"] = {"application/json": {"schema": reference[route.answer]}}
    for status, when in route.refusals:
        answers[str(status)] = {"description": when}
        if status != 304:
            kind = ReadyAnswer if route.answer is ReadyAnswer else route.refusal if status in (400, 404) else Problem
            answers[str(status)]["content"] = {"application/json": {"schema": reference[kind]}}
    operation: dict[str, Any] = {"summary": route.summary, "responses": answers}
    if route.parameters:
        operation["parameters"] = [
            {"name": name, "in": place, "required": needed, "schema": {"type": kind}}
            for name, place, needed, kind in route.parameters
        ]
    if route.body is not None:
        content: dict[str, Any] = {"schema": reference[route.body], "example": route.example}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    if route.token:
        operation["security"] = [{"token": []}]
    return operation


class OpenApi:
    """The route as a plain ASGI application."""

    meter = "openapi"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await send_json(send, description())
