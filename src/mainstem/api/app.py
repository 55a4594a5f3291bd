"""Every route of the server, and what holds for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from mainstem.api.blocks import BlocksList, ChangeBlock
from mainstem.api.events import Events
from mainstem.api.explain import Explain
from mainstem.api.features import ReadFeatures, ReloadFeatures
from mainstem.api.flags import EvaluateFlag, EvaluateFlags
from mainstem.api.health import Health, Metrics, Ready, Shadow
from mainstem.api.items import ChangeItem, WithdrawnItemsList
from mainstem.api.launches import Launches
from mainstem.api.mirror import Mirror
from mainstem.api.openapi import OpenApi
from mainstem.api.problems import LastResort, web_problem
from mainstem.api.rank import RankSurface
from mainstem.api.service import Service
from mainstem.stacks.live import Live
from mainstem.store.blocked_list import CREATOR, ITEM


def create_app(
    live: Live,
    extra_routes: Sequence[BaseRoute] = (),
    *,
    mirror: Mirror | None = None,
    token: str = "",
    worker: int = 0,
    evidence: Path | None = None,
) -> Starlette:
    """The server as an ASGI application; ``app.state.service`` is what its routes share.

    Args:
        live: The platform.
        extra_routes: The pages.
        mirror: Shadow mode; None is off.
        token: What writes need; empty takes the setting, or makes one.
        worker: The number of this process.
        evidence: Folder whose feature evidence is told as gauges; None tells none.
    """
    service = Service(live, mirror, token, worker)
    service.evidence = evidence

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = Starlette(
        routes=[*_routes(service), *extra_routes],
        middleware=[Middleware(LastResort, meters=service.meters)],
        exception_handlers={HTTPException: web_problem},
        lifespan=lifespan,
    )
    app.state.service = service
    return app


def _routes(service: Service) -> list[Route]:
    return [
        Route("/v1/surfaces/{surface}/rank", RankSurface(service), methods=["POST"]),
        Route("/v1/events", Events(service), methods=["POST"]),
        Route("/v1/explain", Explain(service), methods=["GET"]),
        Route("/v1/features", ReadFeatures(service), methods=["GET"]),
        Route("/v1/features/reload", ReloadFeatures(service), methods=["POST"]),
        Route("/v1/items/withdrawn", WithdrawnItemsList(service), methods=["GET"]),
        Route("/v1/items/{item:path}", ChangeItem(service), methods=["DELETE", "PUT"]),
        Route("/v1/users/{user}/blocks", BlocksList(service), methods=["GET"]),
        Route("/v1/users/{user}/blocks/{target}", ChangeBlock(service, CREATOR), methods=["PUT", "DELETE"]),
        Route("/v1/users/{user}/hidden/{target}", ChangeBlock(service, ITEM), methods=["PUT", "DELETE"]),
        Route("/v1/launches", Launches(service), methods=["GET"]),
        Route("/ofrep/v1/evaluate/flags", EvaluateFlags(service), methods=["POST"]),
        Route("/ofrep/v1/evaluate/flags/{key}", EvaluateFlag(service), methods=["POST"]),
        Route("/v1/health", Health(service), methods=["GET"]),
        Route("/v1/ready", Ready(service), methods=["GET"]),
        Route("/v1/shadow", Shadow(service), methods=["GET"]),
        Route("/v1/openapi.json", OpenApi(), methods=["GET"]),
        Route("/metrics", Metrics(service), methods=["GET"]),
    ]
