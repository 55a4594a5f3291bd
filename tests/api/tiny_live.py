"""A whole platform of forty items, small enough to reason about, with every part breakable on command."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import numpy as np
import polars as pl
import uvicorn

from mainstem.api.app import create_app
from mainstem.base.clock import SetClock
from mainstem.base.request import Found, Selection
from mainstem.base.settings import parse_settings
from mainstem.features.catalog import Catalog
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.follow import Follower
from mainstem.stacks.live import Live
from mainstem.stacks.stage import Stack
from mainstem.store.event_log import EventLog

NOW_MS = 1_650_812_741_436
TOKEN = "a-token"
AUTH = {"authorization": f"Bearer {TOKEN}"}
ITEMS = pl.DataFrame({"item_id": np.arange(100, 140)})
USERS = pl.DataFrame({"user_id": [1, 2]})
SETTINGS = """
[serve]
queue_limit = 4
request_budget_ms = 400
source_budget_ms = 30
body_limit_bytes = 20000
token = "a-token"
[surfaces.feed]
count = 3
[surfaces.groups]
extends = "feed"
count = 5
"""


@dataclass
class Source:
    """A fixed list; blocks or breaks on command."""

    name: str
    rows: list[int]
    blocking: bool = False
    gate: threading.Event | None = None
    broken: bool = False

    def retrieve(self, request, user, limit):
        if self.broken:
            raise ConnectionError("index is gone")
        if self.gate is not None:
            self.gate.wait()
        return Found(np.array(self.rows[:limit], np.int64), -np.arange(len(self.rows[:limit]), dtype=float))


@dataclass
class Parts:
    """Everything else. An item's value is its row plus how often it was clicked; odd rows are removed by a rule."""

    names: tuple[str, ...] = ("row", "clicks")
    heads: tuple[str, ...] = ("click",)
    rules: tuple[str, ...] = ("odd",)
    off: str = ""
    reader_broken: bool = False
    ranker_broken: bool = False
    control_broken: bool = False
    gate: threading.Event | None = None
    busy: threading.Event = field(default_factory=threading.Event)
    clicks: np.ndarray = field(default_factory=lambda: np.zeros(40))
    applied: list[int] = field(default_factory=list)
    catalog: Catalog = field(default_factory=lambda: Catalog.from_tables(ITEMS, USERS))

    def user(self, request):
        if self.reader_broken and "features" not in request.failures:
            raise TimeoutError("feature store is down")
        return {"id": request.user_id}

    def items(self, request, user, rows):
        return np.stack([rows, self.clicks[rows]], axis=1).astype(np.float32)

    def predict(self, request, user, rows, features):
        if self.gate is not None:
            self.busy.set()
            self.gate.wait()
        if self.ranker_broken:
            raise RuntimeError("weights do not fit")
        return features.sum(axis=1, keepdims=True) / 100

    def values(self, request, user, rows, predictions):
        return predictions[:, 0].astype(np.float64)

    def terms(self, request, user, rows, predictions):
        return {"click": predictions[:, 0]}

    def select(self, request, user, pool, values):
        if self.control_broken:
            raise ZeroDivisionError("no rules")
        odd = (pool.rows % 2 == 1) & (self.off != "odd")
        removed_by = np.where(odd, 3, 2).astype(np.int16)
        order = np.lexsort((pool.rows, -np.where(odd, -np.inf, values)))[: min(request.count, int((~odd).sum()))]
        removed_by[order] = 0
        fired = tuple(("odd", int(at), "removed") for at in np.flatnonzero(odd))
        return Selection(order, removed_by, np.ones(len(order)), fired)

    def without(self, rule):
        return replace(self, off=rule)

    def apply(self, feedback):
        rows = self.catalog.item_rows(feedback.item_id)
        np.add.at(self.clicks, rows[rows >= 0], 100.0 * (feedback.outcomes[rows >= 0, 0] == 1))
        self.applied.append(len(feedback))

    def served(self, request, rows):
        pass

    def save(self, path: Path) -> None:
        np.savez(path, clicks=self.clicks)

    def load(self, path: Path) -> None:
        self.clicks = np.load(path)["clicks"]


@dataclass
class Tiny:
    """The platform and the switches of its parts."""

    live: Live
    parts: Parts
    near: Source
    far: Source
    folder: Path


def tiny(folder: Path, settings: str = SETTINGS, clock: SetClock | None = None, **log) -> Tiny:
    parts = Parts()
    near, far = Source("near", list(range(12))), Source("far", list(range(8, 20)), blocking=True)
    stack = Stack(
        "unified",
        parts.catalog,
        (near, far),
        RankFusion(("near", "far"), {"feed": 1000, "groups": 1000}),
        parts,
        parts,
        parts,
        parts,
        memories=(parts,),
        quotas={name: {"near": 10, "far": 10} for name in ("feed", "groups")},
        rank={"feed": 14, "groups": 14},
        surfaces=("feed", "groups"),
    )
    event_log = EventLog(folder / "events.db", **log)
    follower = Follower(event_log, stack, keep=folder / "state")
    live = Live(
        stack, parse_settings(settings), clock or SetClock(NOW_MS), event_log, follower, np.array([2, 4, 6, 8, 10])
    )
    return Tiny(live, parts, near, far, folder)


@contextmanager
def served(whole: Tiny, **more) -> Iterator[httpx2.Client]:
    """A client of the platform behind a real server on a free loopback port."""
    started = threading.Event()

    class Announcing(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            started.set()

    app = create_app(whole.live, **more)
    server = Announcing(uvicorn.Config(app, port=0, access_log=False, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
            wait_until_ready(client)
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def wait_until_ready(client: httpx2.Client) -> None:
    for _ in range(2000):
        if client.get("/v1/ready").status_code == 200:
            return
    raise AssertionError("never ready")


def event(**changes) -> dict:
    known = {"request_id": 1, "user_id": 1, "item_id": 100, "surface": "feed", "time_ms": NOW_MS, "click": 1}
    return known | changes
