"""A small stack of another team, as a Starlette application that speaks the remote protocol; breakable on command."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KNOWN = list(range(100, 120))
LIMIT = 32_000_000


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class OutsideStack:
    """Scores an item by its number, plus ten for every click; never shows multiples of five."""

    clicks: dict[int, int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    answer: bytes | None = None
    """Answered instead of everything."""
    asked: list[bytes] = field(default_factory=list)

    def rank(self, ask: dict[str, Any]) -> dict[str, Any]:
        self._check(ask)
        if not isinstance(ask.get("count"), int):
            raise RefusedError(400, "count must be a whole number")
        pool = KNOWN if ask["item_ids"] is None else [one for one in ask["item_ids"] if one in KNOWN]
        ordered = sorted(pool, key=lambda item: (-self._score(item), item))
        shown = [item for item in ordered if item % 5][: ask["count"]]
        answer = {
            "request_id": ask["request_id"],
            "stack": "outside",
            "items": [{"item_id": item, "score": self._score(item)} for item in shown],
            "timings_ms": {"rank": 0.1},
        }
        if ask["explain"]:
            answer["candidates"] = [self._candidate(item, shown) for item in pool]
            answer["rules"] = [
                {"rule": "fives", "item_id": item, "effect": "removed"} for item in pool if item % 5 == 0
            ]
        return answer

    def _candidate(self, item: int, shown: list[int]) -> dict[str, Any]:
        removed = "fives" if item % 5 == 0 else None if item in shown else "rank"
        heads = {"click": self._score(item) / 200}
        sources = ["all", "even"] if item % 2 == 0 else ["all"]
        return {"item_id": item, "sources": sources, "heads": heads, "value": self._score(item), "removed_by": removed}

    def score(self, ask: dict[str, Any]) -> dict[str, Any]:
        self._check(ask)
        return {"request_id": ask["request_id"], "scores": [self._score(item) for item in ask["item_ids"]]}

    def event(self, record: dict[str, Any]) -> bool:
        key = record.get("event_id") or f"{record['request_id']}-{record['item_id']}"
        if key in self.seen:
            return False
        self.seen.add(key)
        self.clicks[record["item_id"]] = self.clicks.get(record["item_id"], 0) + record.get("click", 0)
        return True

    def _score(self, item: int) -> float:
        return float(item % 1000 + 10 * self.clicks.get(item, 0))

    def _check(self, ask: dict[str, Any]) -> None:
        if not isinstance(ask.get("user_id"), int):
            raise RefusedError(400, "user_id must be a whole number")
        if ask.get("surface") != "feed":
            raise RefusedError(404, "only feed is served here")


def app_of(stack: OutsideStack) -> Starlette:
    async def body(request: Request) -> bytes:
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                parts.append(part if size <= LIMIT else b"")
        except ClientDisconnect:
            raise RefusedError(400, "gone") from None
        if size > LIMIT:
            raise RefusedError(413, "too large")
        return b"".join(parts)

    async def value(request: Request) -> Any:
        try:
            return json.loads(await body(request))
        except ValueError:
            raise RefusedError(400, "not JSON") from None

    async def health(request: Request) -> Response:
        said = {
            "stack": "outside",
            "ready": True,
            "heads": ["click"],
            "surfaces": ["feed"],
            "events_seen": len(stack.seen),
        }
        return JSONResponse(said | {"describes": ["candidates", "heads", "rules", "timings"]})

    async def rank(request: Request) -> Response:
        if stack.answer is not None:
            return Response(stack.answer)
        return JSONResponse(stack.rank(await value(request)))

    async def events(request: Request) -> Response:
        records = (await value(request)).get("events")
        if not isinstance(records, list):
            raise RefusedError(400, "events must be a list")
        fresh = [stack.event(record) for record in records]
        return JSONResponse({"accepted": sum(fresh), "duplicates": len(fresh) - sum(fresh)})

    async def replay(request: Request) -> Response:
        stack.asked.append(await body(request))
        if stack.answer is not None:
            return Response(stack.answer)
        answers = []
        for line in stack.asked[-1].splitlines():
            ((kind, content),) = json.loads(line).items()
            done = getattr(stack, kind)(content)
            if kind != "event":
                answers.append(json.dumps(done))
        return Response("".join(answer + "\n" for answer in answers))

    async def reset(request: Request) -> Response:
        stack.clicks.clear()
        stack.seen.clear()
        return JSONResponse({"ready": True})

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return JSONResponse({"error": {"code": "outside", "message": str(error)}}, error.status)

    routes = [
        Route("/v1/health", health),
        Route("/v1/rank", rank, methods=["POST"]),
        Route("/v1/events", events, methods=["POST"]),
        Route("/v1/replay", replay, methods=["POST"]),
        Route("/v1/reset", reset, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={RefusedError: refused})
