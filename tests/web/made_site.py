"""A small platform with a log, two outside stacks and evidence made by the code that makes it for real."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx2
import msgspec
import numpy as np
import polars as pl
import uvicorn
from made_desks import fill_capacity, fill_program
from starlette.applications import Starlette

from mainstem.base.clock import SetClock
from mainstem.base.heads import HEADS
from mainstem.base.request import Found, Request, Slate
from mainstem.base.settings import parse_settings
from mainstem.control.filters import Integrity
from mainstem.control.slate import SlateRules, SurfaceControl
from mainstem.data.log import write_log
from mainstem.data.manifest import Manifest
from mainstem.data.world import WorldSettings, make_world
from mainstem.evaluate.blast_radius import Asked, blast_radius
from mainstem.evaluate.plan import SideBySidePlan
from mainstem.evaluate.rows import ArmScores, split_rows
from mainstem.evaluate.side_by_side import side_by_side
from mainstem.features.catalog import Catalog
from mainstem.launch.migration import MigrationPlan, migrate
from mainstem.parity.shadow import diff_traces
from mainstem.parity.trace import from_slate
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.live import Live
from mainstem.stacks.remote import RemoteStack
from mainstem.stacks.run import run
from mainstem.stacks.stage import Stack
from mainstem.value.expression import Expression, SurfaceValues
from mainstem.web.routes import routes
from mainstem.workspace.compare import SCORE, Regime
from mainstem.workspace.launching import write_standing
from mainstem.workspace.layout import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "report"))
import made_standing

NOW_MS = 1_650_812_741_436
ITEMS, USERS = 900, 120
RISKY = '<script>alert("kind")</script>'
"""Stands in item kinds and stack names: a page must show it as text."""
SETTINGS = """
[surfaces.base]
value = "long_view + 0.5 * click + 2 * like - 20 * hate"
[surfaces.feed]
extends = "base"
[surfaces.groups]
extends = "base"
count = 6
[surfaces.pages]
extends = "base"
value = "long_view * click + 3 * comment"
"""
SURFACES = ("feed", "groups", "pages")


def items_table() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    ids = np.arange(5000, 5000 + ITEMS)
    return pl.DataFrame(
        {
            "item_id": ids,
            "canonical_id": ids,
            "creator_id": rng.integers(1, 90, ITEMS),
            "entity_id": rng.integers(1, 90, ITEMS),
            "created_ms": NOW_MS - rng.integers(0, 10**9, ITEMS),
            "duration_ms": rng.integers(4_000, 180_000, ITEMS),
            "kind": np.where(ids % 97 == 0, RISKY, "NORMAL").tolist(),
            "category": rng.integers(0, 30, ITEMS),
            "integrity": np.where(ids % 41 == 0, 1, 0),
        }
    )


def write_made_log(folder: Path) -> None:
    rng = np.random.default_rng(4)
    n = 4_000
    users = np.minimum((rng.pareto(1.2, n) * 12).astype(np.int64), USERS - 1) + 1
    shown = pl.DataFrame(
        {
            "request_id": np.arange(n),
            "user_id": users,
            "item_id": rng.integers(5000, 5000 + ITEMS, n),
            "surface": rng.choice(SURFACES, n, p=[0.8, 0.12, 0.08]).tolist(),
            "time_ms": NOW_MS - np.sort(rng.integers(0, 10**9, n))[::-1],
            "day": np.full(n, 20220420),
        }
        | {head: (rng.random(n) < 0.2).astype(np.int64) for head in HEADS}
    )
    viewers = pl.DataFrame({"user_id": np.arange(1, USERS + 1)})
    tables = {"impressions": shown, "items": items_table(), "users": viewers}
    write_log(tables, folder, Manifest(name="a made log", loader="test", made=True))


class Made:
    """The parts: every number is a fixed function of user and item."""

    names = ("affinity", "age", "quality")
    heads = HEADS

    def __init__(self, bent: float = 1.0) -> None:
        self.catalog = Catalog.from_tables(items_table(), pl.DataFrame({"user_id": np.arange(1, USERS + 1)}))
        rng = np.random.default_rng(5)
        self.taste, self.nature = rng.normal(size=(64, 3)), rng.normal(size=(ITEMS + 1, 3))
        self.bent = bent

    def user(self, request):
        return self.taste[request.user_id % 64]

    def items(self, request, user, rows):
        return np.stack([self.nature[rows] @ user, self.nature[rows, 0], self.nature[rows, 1] * self.bent], axis=1)

    def predict(self, request, user, rows, features):
        scale = np.array([0.44, 0.02, 0.002, 0.004, 0.002, 0.001, 0.31])
        signal = 1 / (
            1 + np.exp(-np.clip(features @ np.array([0.6, 0.2, 0.4]), -20, 20)[:, None] * np.linspace(0.6, 1.3, 7))
        )
        return scale * 2 * signal


class Offers:
    """A source: a fixed order of the catalogue."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._order = np.random.default_rng(seed).permutation(ITEMS)

    def retrieve(self, request, user, limit):
        rows = np.roll(self._order, request.user_id * 7)[:limit]
        return Found(rows, -np.arange(len(rows), dtype=float))


class Busy:
    """The fewest things a ``Live`` asks of its log and follower on these pages: nothing."""


def made_stack(name: str = "unified", *, bent: float = 1.0, seed: int = 11) -> Stack:
    made, settings = Made(bent), parse_settings(SETTINGS)
    sources = tuple(
        Offers(one, seed + at)
        for at, one in enumerate(("item_to_item", "interests", "popular", "connected", "exploration"))
    )
    names = tuple(settings.served())
    quotas = {"item_to_item": 240, "interests": 200, "popular": 160, "connected": 60, "exploration": 30}
    return Stack(
        name=name,
        catalog=made.catalog,
        sources=sources,
        union=RankFusion(tuple(one.name for one in sources), dict.fromkeys(names, 500)),
        features=made,
        ranker=made,
        value=SurfaceValues({n: Expression(s.value, HEADS, n) for n, s in settings.served().items()}, HEADS),
        control=SurfaceControl(
            {n: (Integrity(made.catalog.items.integrity, closed=True),) for n in names},
            dict.fromkeys(names, SlateRules(creator_cap=1, variety=0.9, exploration_share=0.1)),
            np.asarray(made.catalog.items.creator),
            np.asarray(made.catalog.items.category),
            seed=7,
        ),
        quotas=dict.fromkeys(names, quotas),
        rank=dict.fromkeys(names, 300),
        surfaces=names,
    )


def remote(name: str, stack: Stack) -> RemoteStack:
    """The stack behind the remote protocol, without a network."""

    def answer(asked: httpx2.Request) -> httpx2.Response:
        told = msgspec.json.decode(asked.content)
        request = live_request(told)
        return httpx2.Response(200, content=msgspec.json.encode(protocol(run(stack, request))))

    return RemoteStack(name, "http://127.0.0.1:1", transport=httpx2.MockTransport(answer))


def dead(name: str) -> RemoteStack:
    def refuse(asked: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=asked)

    return RemoteStack(name, "http://127.0.0.1:1", transport=httpx2.MockTransport(refuse))


def live_request(told: Mapping) -> SimpleNamespace:
    return SimpleNamespace(
        **{key: told[key] for key in ("request_id", "user_id", "surface", "now_ms", "count", "scenario")},
        item_ids=None,
        failures=frozenset(),
    )


def protocol(slate: Slate) -> dict:
    trace = slate.trace
    assert trace is not None
    candidates = [
        {
            "item_id": int(item),
            "sources": list(trace.sources_of(at)),
            "value": float(trace.values[at]) if at < len(trace.values) else None,
            "removed_by": {"kept": None, "scored_too_low": "rank", "not_ranked": "rank"}.get(
                trace.reason(at), trace.reason(at)
            ),
        }
        for at, item in enumerate(trace.item_ids)
    ]
    items = [{"item_id": int(i), "score": float(s)} for i, s in zip(slate.item_ids, slate.scores, strict=True)]
    return {"request_id": slate.request_id, "items": items, "candidates": candidates, "timings_ms": {"rank": 1.0}}


def made_live(remotes: Mapping[str, RemoteStack]) -> Live:
    return Live(
        made_stack(),
        parse_settings(SETTINGS),
        SetClock(NOW_MS),
        Busy(),
        Busy(),
        np.arange(5),
        remotes=remotes,  # type: ignore[arg-type]
    )


def made_side_by_side(gain: float = 1.0, regime: Regime = "frozen", resamples: int = 60):
    """The comparison as ``evaluate`` makes it, from scores with planted causes; the order differs from the heads."""
    rng = np.random.default_rng(1)
    n = 8_000
    content, interest = rng.normal(size=n), rng.normal(size=n)
    chance = 1 / (1 + np.exp(1 - content - interest))
    rates = {"click": 0.9, "like": 0.2, "hate": 0.02, "long_view": 1.0}
    days = np.sort(rng.integers(20220425, 20220431, n))
    rows = split_rows(
        users=rng.integers(0, 600, n),
        items=rng.integers(0, 300, n),
        surfaces=rng.choice(SURFACES, n, p=[0.7, 0.25, 0.05]),
        days=days,
        labels={head: (rng.random(n) < rate * chance).astype(float) for head, rate in rates.items()},
        train=days < 20220428,
        validation=days == 20220428,
        test=days > 20220428,
    )

    def heads(signal):
        return {head: rate / (1 + np.exp(1 - signal)) for head, rate in rates.items()}

    both = content + gain * interest
    arms = {
        "unified": ArmScores(order=both + content, heads=heads(both), calibrated=True),
        "content-first": ArmScores(order=content, heads=heads(content), calibrated=True),
        "interest-first": ArmScores(order=interest),
    }
    return side_by_side(arms, rows, SideBySidePlan(resamples=resamples, least_rows=300, score=SCORE[regime]))


def made_shadow():
    """The diff of the stack and a twin with one feature scaled."""
    one, other = made_stack(), made_stack("broken", bent=1000.0)
    live = made_live({})
    requests = [live.request(n, n, SURFACES[n % 3]) for n in range(1, 41)]
    pairs = [(from_slate(run(one, request)), from_slate(run(other, request))) for request in requests]
    return diff_traces(pairs, left="unified", right="broken")


def made_migration():
    """A migration in a small made world: ``unified`` shows good items, on pages it shows the worst ones."""
    world = make_world(WorldSettings(users=3_000, items=900, days=3))
    quality = np.argsort(-np.asarray(world.items.quality), kind="stable")
    ids = np.asarray(world.items.item_ids)

    def serve(stack: str, surface: str, user: int, now_ms: int, count: int) -> np.ndarray:
        start = {"old": 300, "unified": 850 if surface == "pages" else 200}[stack]
        return ids[quality[start + user % 20 :][:count]]

    return migrate(world, serve, MigrationPlan("old", "unified", requests_a_look=200))


def made_blast_radius():
    """What dropping the creator cap moves, on requests of the made stack."""
    before = made_stack()
    after = replace(before, control=before.control.without("creator_cap"))
    asked = [Request(n, 1 + n % 40, ("feed", "pages")[n % 2], NOW_MS, 10) for n in range(80)]
    pairs = [(run(before, one), run(after, one)) for one in asked]
    items = before.catalog.items
    who = [
        Asked(one.user_id, {"surface": one.surface, "activity": ("light", "heavy")[one.user_id % 2]}) for one in asked
    ]
    creators = dict(zip(items.ids.tolist(), items.creator_id.tolist(), strict=False))
    return blast_radius(pairs, who, creators, before="now", after="feed.rules.creator_cap=0")


def made_assessment() -> dict:
    """What `mainstem responsible` stores, with one risk of each state."""
    interval = {"low": 0.9, "mid": 1.0, "high": 1.1, "level": 0.95, "n": 90, "source": "made"}
    risks = [
        {"name": name, "what": "a harm", "measure": "a number", "value": value, "low": low, "high": high, "bound": "at most",
         "threshold": 0.1, "state": state, "note": note}
        for name, value, low, high, state, note in (
            ("calibration", 0.05, 0.02, 0.08, "met", ""),
            ("order", 0.3, 0.2, 0.4, "not met", "long_view, surface: pages"),
            ("hides", None, None, None, "not measured", "nobody hid anything"),
        )
    ]  # fmt: skip
    slices = [
        {"by": "surface", "slice": name, "arm": "unified", "head": "long_view", "rows": 900, "users": 90, "positives": 300,
         "over_observed": interval, "error": 0.01, "floor": 0.005, "gauc": 0.6, "gap": interval, "enough": True}
        for name in ("feed", "groups", "pages")
    ]  # fmt: skip
    shown = {"gini": 0.7, "top_share": 0.2, "effective": 300.0, "reached": 0.8}
    exposure = [
        {
            "arm": arm,
            "items": shown,
            "creators": shown,
            "small_creators": interval,
            "new_items": interval,
            "popularity": interval,
        }
        for arm in ("unified", "popularity")
    ]
    canaries = [
        {
            "name": "future row",
            "of": "the unified model",
            "measured": "0 rows moved",
            "clean": True,
            "expected_clean": True,
        }
    ]
    assessment = {
        "made": "2026-11-22T00:00:00+00:00",
        "log": "0123456789abcdef",
        "model": "0001-made",
        "rows": 900,
        "risks": risks,
    }
    return {
        "assessment": assessment, "slices": slices, "exposure": exposure, "canaries": canaries, "floors": [],
        "notes": ["a made log"],
    }  # fmt: skip


def made_floor() -> dict:
    """What `mainstem mitigate` stores."""
    front = [
        {
            "method": method,
            "asked": share,
            "share": share,
            "value": 100 - cost,
            "price": cost,
            "price_share": cost / 100,
            "boost": cost,
        }
        for method, share, cost in (
            ("floor", 0.1, 0.0),
            ("floor", 0.2, 1.0),
            ("re-weighting", 0.1, 0.0),
            ("re-weighting", 0.2, 3.0),
        )
    ]
    return {
        "surface": "feed", "requests": 40, "places": 10, "free": 0.1, "floor": 0.2, "share": 0.2, "price_share": 0.01,
        "front": front,
    }  # fmt: skip


def fill(workspace: Workspace) -> None:
    """Writes the log and every kind of evidence."""
    write_made_log(workspace.log)
    comparison = made_side_by_side()
    workspace.write_evidence("side_by_side_frozen", comparison)
    workspace.write_evidence("side_by_side_continuous", made_side_by_side(gain=0.7, regime="continuous"))
    shadow = made_shadow()
    workspace.write_evidence("shadow", {"content-first": replace(shadow, left="content-first", right="unified")})
    workspace.write_evidence("migration", made_migration())
    workspace.write_evidence("blast_radius", made_blast_radius())
    term = {
        "term": "2 * like",
        "weight": 2.0,
        "rate": 0.02,
        "typical": 0.04,
        "spread": 0.05,
        "share": 1.0,
        "moved": 4.0,
    }
    workspace.write_evidence("pull_feed", {"surface": "feed", "requests": 40, "terms": [term]})
    workspace.write_evidence("responsible", made_assessment())
    workspace.write_evidence("mitigation", made_floor())
    steps = [
        {"name": "data", "text": "4,000 impressions of 120 users; 0 dropped", "seconds": 1.2},
        {"name": "side by side", "text": comparison.verdicts[0].sentence, "seconds": 20.4},
    ]
    answer = (
        "on made days 20220429–20220430 of a made log, the unified stack orders long views better: +0.0800 (+0.0623…+0.0958) "
        "against content-first (the better legacy stack on validation). None of 6 heads is worse by more than "
        ".005 AUC. In a made world 2 of 3 surfaces moved to 100 %; not moved: pages."
    )
    headline = "The unified stack orders long views better than both stacks it replaces."
    workspace.write_evidence(
        "demo", {"headline": headline, "sentence": answer, "made": True, "user": 32, "item": 5300, "steps": steps}
    )
    workspace.write_evidence("break", shadow)
    fill_program(workspace)
    fill_capacity(workspace)
    write_standing(workspace, made_standing.compact())
    write_standing(workspace, replace(made_standing.begun(), launch="spring-1", started_ms=made_standing.START_MS - 1))
    line = {
        "request_id": 9,
        "user_id": 3,
        "surface": "feed",
        "now_ms": NOW_MS,
        "live": "unified",
        "target": "content-first",
    }
    file = workspace.evidence("shadow").with_suffix(".jsonl")
    file.write_bytes(msgspec.json.encode(line | {"sentence": shadow.sentence}) + b'\n{"cut short')


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The app on a real server on a free loopback port; gives its address."""
    started = threading.Event()

    class Announcing(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            started.set()

    server = Announcing(uvicorn.Config(app, port=0, access_log=False, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def site_app(folder: Path, live: Live | None, full: bool = True) -> Starlette:
    """The pages over a workspace in this folder."""
    workspace = Workspace(folder, parse_settings(SETTINGS))
    if full:
        fill(workspace)
    return Starlette(routes=routes(live, workspace))


def full_live() -> Live:
    """The platform with both outside stacks answering."""
    return made_live(
        {
            "interest-first": remote("interest-first", made_stack("interest-first", seed=12)),
            "content-first": remote("content-first", made_stack("content-first", bent=1.5, seed=11)),
        }
    )
