"""Made users who ask a real server for slates over HTTP, and answer by a world's own law."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import httpx2
import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import RemoteError
from mainstem.base.heads import HEADS
from mainstem.data.records import Feedback
from mainstem.data.world import World
from mainstem.data.world.settings import DAY_MS
from mainstem.workspace.server_process import ServerProcess

AT_ONCE: Final = 4
"""Requests in flight."""
BATCH: Final = 2_000
"""Outcomes in one body."""
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Visit:
    user: int
    surface: str
    at_ms: int


def _acts(heads: NDArray[np.int8]) -> dict[str, Any]:
    return {head: int(done) for head, done in zip(HEADS, heads, strict=True)}


class MadeTraffic:
    """Visits of a world's users, in order of time.

    Args:
        world: Who comes and what they do.
        server: Whom they ask.
        surfaces: Where they go.
        visits: To each surface in a made day.
        seed: Of who comes when.
    """

    def __init__(self, world: World, server: ServerProcess, surfaces: tuple[str, ...], visits: int, seed: int) -> None:
        self.requests = 0
        self.days = 0.0
        self._world, self._server, self._surfaces, self._visits = world, server, surfaces, visits
        self._rng = np.random.default_rng(seed)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="visits")
        self._clients = httpx2.Client(timeout=TIMEOUT_S, limits=httpx2.Limits(max_connections=AT_ONCE))

    def play(self, begin_ms: int, span_ms: int) -> int:
        """A stretch of made time: everybody who comes is served and answers; the time of the last of them."""
        visits = self._come(begin_ms, span_ms)
        answers = list(self._threads.map(self._served, visits))
        records = [one for some in answers for one in some]
        for start in range(0, len(records), BATCH):
            self._tell(records[start : start + BATCH])
        self.requests += len(visits)
        self.days += span_ms / DAY_MS
        return max((one.at_ms for one in visits), default=begin_ms)

    def _come(self, begin_ms: int, span_ms: int) -> list[_Visit]:
        found: list[_Visit] = []
        for surface in self._surfaces:
            count = self._rng.poisson(self._visits * span_ms / DAY_MS)
            users = self._rng.choice(self._world.people.user_ids, count)
            times = begin_ms + self._rng.integers(0, span_ms, count)
            found += [_Visit(int(user), surface, int(at)) for user, at in zip(users, times, strict=True)]
        return sorted(found, key=lambda one: one.at_ms)

    def _served(self, visit: _Visit) -> list[Feedback]:
        body = {"user_id": visit.user, "now_ms": visit.at_ms}
        answer = self._post(f"/v1/surfaces/{visit.surface}/rank", body)
        items = np.array([one["item_id"] for one in answer["items"]], np.int64)
        if not len(items):
            return []
        found = self._world.respond(visit.user, items, np.arange(len(items)), visit.surface, visit.at_ms)
        return [
            Feedback(
                request_id=answer["request_id"],
                user_id=visit.user,
                item_id=int(item),
                surface=visit.surface,
                time_ms=visit.at_ms,
                position=place,
                viewed=int(found.viewed[place]),
                watch_ms=int(found.watch_ms[place]),
                **_acts(found.heads[place]),
            )
            for place, item in enumerate(items)
        ]

    def _tell(self, records: list[Feedback]) -> None:
        self._post("/v1/events", {"events": records}, {"authorization": f"Bearer {self._server.token}"})

    def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
        answer = self._clients.post(self._server.url + path, content=msgspec.json.encode(body), headers=headers)
        if answer.status_code >= 300:
            raise RemoteError(
                f"the server answered {answer.status_code} to {path}: {answer.text[:300]}",
                code="remote-024",
                hint="what it said is in server.log",
            )
        return msgspec.json.decode(answer.content)

    def __enter__(self) -> MadeTraffic:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._clients.close()
