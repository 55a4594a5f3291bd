"""``GET /v1/features``: what is known now. ``POST /v1/features/reload``: serves the definitions as they stand now."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from urllib.parse import parse_qsl

import numpy as np
from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import send_json
from mainstem.api.explain import PATIENCE
from mainstem.api.lane import LateError
from mainstem.api.rank import number_of
from mainstem.api.schemas import FeaturesAnswer, FeatureValue, ReloadAnswer
from mainstem.api.service import Service
from mainstem.base.errors import RequestError, did_you_mean
from mainstem.base.request import Request

_KNOWN: Final = ("user", "items", "surface", "names", "scenario")
_MOST_ITEMS: Final = 500
_MOST_NAMES: Final = 200


class ReadFeatures:
    """Values of features by name, for a viewer and some items, as the ranker would read them now."""

    meter = "features"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        service = self._service
        service.rates.check(scope)
        asked = _parameters(scope)
        request, names = self._request(asked), _listed(asked["names"], "names", _MOST_NAMES)
        try:
            rows, served = await service.lane.run(lambda: self._read(request, names), PATIENCE * service.budget_s)
        except LateError:
            raise RequestError(
                f"the features were not read within {PATIENCE * service.budget_s:g} s", code="serve-008", status=503
            ) from None
        await send_json(send, FeaturesAnswer(request.now_ms, served[0], served[1], [_value(row) for row in rows]))

    def _read(self, request: Request, names: list[str]) -> tuple[list[dict[str, Any]], tuple[int, str]]:
        live = self._service.live
        rows = live.features(request, names)
        state = live.stack.features.state  # type: ignore[attr-defined]  # live.features refused every other reader
        return rows, (state.live.applied + 1, state.features.fingerprint)

    def _request(self, asked: dict[str, str]) -> Request:
        live = self._service.live
        items = _listed(asked["items"], "items", _MOST_ITEMS) if asked.get("items") else []
        scenario = asked.get("scenario", "-1")
        if not scenario.removeprefix("-").isdigit() or len(scenario) > 5:
            raise RequestError(f"scenario is {scenario[:40]!r}, must be a whole number", code="request-014")
        return live.request(
            0,
            number_of(live, asked["user"], "user_id"),
            asked.get("surface") or next(iter(live.surfaces)),
            scenario=int(scenario),
            item_ids=np.array([number_of(live, item, "item_id") for item in items], np.int64),
        )


class ReloadFeatures:
    """Reads the workspace's definitions again, back-fills their state while serving goes on, then switches in one step."""

    meter = "features_reload"

    def __init__(self, service: Service) -> None:
        self._service = service
        self._one = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; it answers when the new definitions serve, or when they were refused and the old ones still do."""
        service = self._service
        service.rates.check(scope)
        service.token.check(scope)
        if self._one.locked():
            raise RequestError(
                "the definitions are being reloaded already", code="request-016", status=409, hint="wait for its answer"
            )
        async with self._one:
            started = time.perf_counter()
            state, seen = await asyncio.to_thread(service.live.rebuilt)
            as_of = await service.lane.run(lambda: service.live.adopt(state, seen), 60.0)
        names = len(state.features)
        await send_json(send, ReloadAnswer(names, state.features.fingerprint, as_of, time.perf_counter() - started))


def _value(row: dict[str, Any]) -> FeatureValue:
    return FeatureValue(row["name"], row["value"], row["state"], row.get("unit", ""), row.get("item_id"))


def _parameters(scope: Scope) -> dict[str, str]:
    """The parameters of the address.

    Raises:
        RequestError: One is missing or unknown (``request-014``).
    """
    given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    for name in ("user", "names"):
        if not given.get(name):
            raise RequestError(
                f"the parameter {name!r} is missing",
                code="request-014",
                hint="/v1/features?user=7&items=99,100&surface=feed&names=item_count_24h",
            )
    for name in given:
        if name not in _KNOWN:
            raise RequestError(f"unknown parameter {name[:40]!r}", code="request-014", hint=did_you_mean(name, _KNOWN))
    return given


def _listed(text: str, name: str, most: int) -> list[str]:
    parts = [part for part in text.split(",") if part]
    if not 0 < len(parts) <= most:
        raise RequestError(f"{name} lists {len(parts)}, must list 1 to {most}", code="request-014")
    return parts
