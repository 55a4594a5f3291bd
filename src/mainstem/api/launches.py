"""``GET /v1/launches``: where every launch stands, as its pilot told it last."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from mainstem.api.bodies import send_json
from mainstem.api.schemas import LaunchesAnswer
from mainstem.api.service import Service

LOG = logging.getLogger("mainstem.launches")
FILES: Final = "launch-*.json"


class Launches:
    """The route as a plain ASGI application."""

    meter = "launches"

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Needs no token: what it tells are sums, never a person."""
        self._service.rates.check(scope)
        folder = self._service.evidence
        await send_json(send, LaunchesAnswer([] if folder is None else await asyncio.to_thread(_standings, folder)))


def _standings(folder: Path) -> list[dict[str, Any]]:
    """Every standing that can be read, by the name of its file."""
    found = []
    for file in sorted(folder.glob(FILES)):
        try:
            found.append(msgspec.json.decode(file.read_bytes(), type=dict[str, Any]))
        except (OSError, msgspec.MsgspecError) as error:
            LOG.warning("the standing %s cannot be read: %s", file, error)
    return found
