"""A day of made traffic in two processes, one of them killed in the middle: what of the day's promises was kept.

``python -m benchmarks --only control-day``. Every slate is also written to a file of its own process after it was claimed; all
figures are counted from these files, not from the memory that is judged. After the day both processes serve one viewer at once.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import polars as pl

from mainstem.base.clock import SetClock
from mainstem.base.request import SCORED_TOO_LOW, Found, Request
from mainstem.base.settings import Settings, parse_settings
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.groups import ItemAttributes
from mainstem.control.rule_checks import item_groups, slate_rules
from mainstem.control.slate import SurfaceControl
from mainstem.features.catalog import Catalog
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.rule_chain import ControlFiles, rule_chain
from mainstem.stacks.run import run as run_stack
from mainstem.stacks.stage import Stack
from mainstem.store.blocked_list import BlockedList
from mainstem.store.day_counts import DayCounts

START_MS: Final = 1_700_006_400_000
DAY_MS: Final = 86_400_000
ITEMS, CREATORS, VIEWERS, CANDIDATES, PLACES = 4_000, 300, 1_200, 200, 10
EVERY_CAP, FLOOR, SHARE, FRESH = 2, 0.12, 0.1, 2

SETTINGS = f"""
[groups]
small = "creator_items <= 4"
[surfaces.feed]
count = {PLACES}
[surfaces.feed.rules]
seen = 600
creator_cap = 0
exploration_share = {SHARE}
fatigue = 0.9
[surfaces.feed.rules.quotas]
fresh = {FRESH}
[surfaces.feed.rules.day_caps]
creator = {EVERY_CAP}
[surfaces.feed.rules.floors]
small = {FLOOR}
"""


def made_catalog() -> Catalog:
    """A third of the creators make most items; one item in twenty is a repost."""
    random, ids = np.random.default_rng(5), np.arange(1, ITEMS + 1)
    creators = np.where(
        random.random(ITEMS) < 0.85, random.integers(1, 60, ITEMS), random.integers(60, CREATORS, ITEMS)
    )
    canonical = ids.copy()
    canonical[20::20] = ids[19:-1:20]
    items = {
        "item_id": ids,
        "canonical_id": canonical,
        "creator_id": creators,
        "category": random.integers(0, 30, ITEMS).astype(np.int32),
        "integrity": (random.random(ITEMS) < 0.02).astype(np.int8),
        "created_ms": START_MS - ids,
    }
    return Catalog.from_tables(pl.DataFrame(items), pl.DataFrame({"user_id": np.arange(1, VIEWERS + 1)}))


class Made:
    """Sources, features, ranker and value in one: every viewer has tastes of their own, popular items suit most."""

    names, heads = ("row",), ("click",)

    def __init__(self, catalog: Catalog, small: np.ndarray) -> None:
        self.worth = np.random.default_rng(6).normal(1.0, 0.3, ITEMS + 1) - 0.25 * small

    def user(self, request: Request) -> Any:
        return SimpleNamespace(seen_rows=np.empty(0, np.int64))

    def items(self, request: Request, user: Any, rows: np.ndarray) -> np.ndarray:
        return rows[:, None].astype(float)

    def predict(self, request: Request, user: Any, rows: np.ndarray, features: np.ndarray) -> np.ndarray:
        taste = np.random.default_rng(request.request_id).normal(0, 0.3, len(rows))
        return (self.worth[rows] + taste)[:, None]

    def values(self, request: Request, user: Any, rows: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        return predictions[:, 0]

    def terms(self, request: Request, user: Any, rows: np.ndarray, predictions: np.ndarray) -> dict[str, np.ndarray]:
        return {"click": predictions[:, 0]}


class Drawn:
    """Offers items drawn for this request, of the whole catalog or of its newest part."""

    def __init__(self, name: str, below: int, count: int) -> None:
        self.name, self._below, self._count = name, below, count

    def retrieve(self, request: Request, user: Any, limit: int) -> Found:
        random = np.random.default_rng([request.request_id, self._below])
        rows = random.choice(self._below, min(self._count, limit), replace=False)
        return Found(rows.astype(np.int64), np.zeros(len(rows)))


def made_stack(folder: Path) -> tuple[Stack, Settings]:
    """The whole control layer over plain parts, with the files of a folder."""
    catalog, settings = made_catalog(), parse_settings(SETTINGS)
    attributes, withdrawn, sources = ItemAttributes(catalog), Withdrawn(ITEMS), ("all", "fresh")
    groups = item_groups(settings.groups, attributes)
    files = ControlFiles(
        DayCounts(folder / "served", keep=600, busy_s=5), BlockedList(folder / "blocked"), SetClock(START_MS)
    )
    chain = rule_chain(catalog, settings, withdrawn, attributes, groups, files)
    rules = slate_rules(settings.surfaces["feed"], "feed", list(sources), sources, groups, attributes)
    items, parts = catalog.items, Made(catalog, groups["small"].rows_now(START_MS))
    stack = Stack(
        name="made",
        catalog=catalog,
        sources=(Drawn("all", ITEMS, CANDIDATES - 30), Drawn("fresh", ITEMS // 10, 30)),
        union=RankFusion(sources, {"feed": CANDIDATES}),
        features=parts,
        ranker=parts,
        value=parts,
        control=SurfaceControl(chain.filters, {"feed": rules}, items.creator, items.category, 7, boosts=chain.boosts),
        surfaces=("feed",),
        withdrawn=withdrawn,
        guards=chain.guards,
        claims=chain.memory,
        blocking=chain.blocking,
    )
    return stack, settings


def asked(number: int, requests: int) -> Request:
    """The request of this number: a viewer at random, the same for two neighbours; after the day always the last viewer."""
    viewer = 1 + int(np.random.default_rng(number // 2).integers(VIEWERS)) if number < requests else VIEWERS
    return Request(number, viewer, "feed", START_MS + number * DAY_MS // requests, PLACES)


class Counted:
    """Claims, and how many of them were lost to another process."""

    def __init__(self, claims: Any) -> None:
        self._claims, self.lost = claims, 0

    def claim(self, request: Request, rows: np.ndarray) -> bool:
        won = self._claims.claim(request, rows)
        self.lost += not won
        return won

    def alone(self) -> Any:
        return self._claims.alone()


def worker(folder: str, part: int, first: int, last: int, requests: int, both: Any = None) -> None:
    """One process: serves every second request and tells of each slate in its own file."""
    stack, _ = made_stack(Path(folder))
    floors, claims = stack.claims._floors["feed"], Counted(stack.claims)
    stack = replace(stack, claims=claims)
    if both is not None:
        both.wait()
    with open(f"{folder}/told-{part}-{first}", "w") as told:
        for number in range(first, last, 2):
            request, before = asked(number, requests), time.process_time_ns()
            slate = run_stack(stack, request, explain=False)
            taken, trace = time.process_time_ns() - before, slate.trace
            assert trace is not None
            at = stack.catalog.item_rows(slate.item_ids)
            left = trace.removed_by == SCORED_TOO_LOW
            left[[at for rule, at, effect in trace.fired if (rule, effect) == ("exploration", "demoted")]] = False
            others = np.sort(trace.values[left])  # who might have been drawn, but for those who stood there
            quantile = (np.searchsorted(others, slate.scores) / max(1, len(others))).round(4).tolist()
            record = {
                "request": number, "viewer": request.user_id, "rows": at.tolist(), "chance": slate.propensities.tolist(),
                "quantile": quantile, "unmet": [(one.rule, one.name, one.least, one.met) for one in trace.unmet],
                "fresh": int(sum(bool(trace.source_mask[trace.item_ids == one][0] & 2) for one in slate.item_ids)),
                "cpu_ms": taken / 1e6, "claim_ms": trace.timings_ms.get("claim", 0.0), "degraded": len(slate.degraded),
                "boost": floors.states["small"].boost, "lost": claims.lost,
            }  # fmt: skip
            told.write(json.dumps(record) + "\n")
            told.flush()


def run(quick: bool = False) -> dict[str, Any]:
    """The day, with the second process killed at its middle and started again."""
    requests, races = (1_200, 100) if quick else (6_000, 400)
    with tempfile.TemporaryDirectory() as folder:
        one, two = (_started(folder, part, part, requests, requests) for part in (0, 1))
        first = Path(folder) / "told-1-1"
        while _last(first) < requests // 2:
            time.sleep(0.02)
        two.kill()
        two.join()
        _ended([one, _started(folder, 1, _last(first) + 2, requests, requests)])
        both = SPAWN.Barrier(2)
        _ended([_started(folder, part, requests + part - 2, requests + races, requests, both) for part in (2, 3)])
        told = [json.loads(line) for path in sorted(Path(folder).glob("told-*")) for line in _whole(path)]
        file_bytes = sum(path.stat().st_size for path in Path(folder).glob("served*"))
    told.sort(key=lambda one: one["request"])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    day = judged([one for one in told if one["request"] < requests], requests)
    race = judged([one for one in told if one["request"] >= requests], races)
    race["lost"] = sum(max((one["lost"] for one in told if one["request"] % 2 == part), default=0) for part in (0, 1))
    return day | {
        "race": race,
        "file_bytes": file_bytes,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


SPAWN: Final = multiprocessing.get_context("spawn")


def _started(folder: str, *given: Any) -> Any:
    process = SPAWN.Process(target=worker, args=(folder, *given))
    process.start()
    return process


def _ended(processes: list[Any]) -> None:
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _whole(path: Path) -> list[str]:
    """Complete lines: the last one of a killed process may be half."""
    text = path.read_text()
    return text[: text.rfind("\n") + 1].splitlines()


def _last(path: Path) -> int:
    lines = _whole(path) if path.exists() else []
    return json.loads(lines[-1])["request"] if lines else 1


def judged(told: list[dict[str, Any]], requests: int) -> dict[str, Any]:
    """What the files say: counted here from nothing but viewers and rows."""
    catalog = made_catalog()
    attributes = ItemAttributes(catalog)
    small = attributes.group("creator_items <= 4").rows_now(START_MS)
    original, creator = catalog.items.canonical_row, catalog.items.creator
    viewers: dict[int, list[int]] = {}
    for one in told:
        viewers.setdefault(one["viewer"], []).extend(one["rows"])
    broken = repeated = most = 0
    for rows in viewers.values():
        originals = original[np.array(rows, np.int64)]
        counts = np.bincount(creator[np.unique(originals)])
        broken += int((counts[1:] > EVERY_CAP).sum())
        most = max(most, int(counts[1:].max()))
        repeated += len(originals) - len(np.unique(originals))
    rows = [np.array(one["rows"], np.int64) for one in told]
    shares = np.array([small[one].mean() for one in rows if len(one)])
    chance = np.concatenate([one["chance"] for one in told])
    may = chance < 1
    drawn = chance < 1 - SHARE - 1e-9
    quantiles = np.concatenate([one["quantile"] for one in told])[drawn]
    boosts = np.array([one["boost"] for one in told])
    places, half = int(sum(map(len, rows))), len(told) // 2
    return {
        "requests": requests, "told": len(told), "places": places, "short": sum(len(one) < PLACES for one in rows),
        "degraded": sum(one["degraded"] for one in told),
        "caps_broken": broken, "most_of_a_creator": most, "cap": EVERY_CAP, "repeats": repeated,
        "floor": FLOOR, "floor_share": float(small[np.concatenate(rows)].mean()),
        "share_first_tenth": float(shares[: len(shares) // 10].mean()),
        "boost_end": float(boosts[-1]), "boost_sd_second_half": float(boosts[half:].std()), "boost_max": float(boosts.max()),
        "explored_share": float(drawn[may].mean()), "explored_ci": 1.96 * float(np.sqrt(SHARE * (1 - SHARE) / max(1, may.sum()))),
        "declared_share": SHARE, "places_that_may": float(may.mean()),
        "drawn_quantile": float(quantiles.mean()), "drawn_ci": 1.96 * float(quantiles.std() / np.sqrt(max(1, len(quantiles)))),
        "quota_met": float(np.mean([one["fresh"] >= FRESH for one in told])),
        "quota_unmet_told": sum(any(name == "fresh" for _, name, _, _ in one["unmet"]) for one in told),
        "cpu_ms_request": float(np.median([one["cpu_ms"] for one in told])),
        "claim_ms": float(np.median([one["claim_ms"] for one in told])),
    }  # fmt: skip


def lines(found: dict[str, Any]) -> list[str]:
    """The figures as a reader wants them."""
    return [
        f"control over a day: {found['told']} of {found['requests']} slates told by 2 processes, one killed "
        f"(-9) and started again; {found['places']} places, {found['short']} slates short, {found['degraded']} degraded",
        f"  day cap on creators {found['cap']}: {found['caps_broken']} broken, most {found['most_of_a_creator']}; "
        f"repeats of an original to a viewer: {found['repeats']}",
        f"  floor {found['floor']:.1%}: {found['floor_share']:.2%} of the day's places "
        f"({100 * (found['floor_share'] - found['floor']):+.2f} points; first tenth of the day {found['share_first_tenth']:.2%}); "
        f"boost at the end {found['boost_end']:.2f} spreads, deviation in the second half {found['boost_sd_second_half']:.3f}, "
        f"most {found['boost_max']:.2f}",
        f"  exploration {found['declared_share']:.0%} of the {found['places_that_may']:.0%} of places that may: "
        f"{found['explored_share']:.2%} ± {found['explored_ci'] * 100:.2f} points; those drawn stand at quantile "
        f"{found['drawn_quantile']:.3f} ± {found['drawn_ci']:.3f} of the candidates left (0.5 when drawn alike)",
        f"  quota of {FRESH} fresh: met in {found['quota_met']:.2%} of slates, told as unmet in {found['quota_unmet_told']}",
        f"  both processes on one viewer at once: {found['race']['told']} slates, {found['race']['lost']} claims lost and "
        f"chosen again, {found['race']['caps_broken']} day caps broken, {found['race']['repeats']} repeats",
        f"  {found['cpu_ms_request']:.2f} ms CPU a request in all, claim {found['claim_ms']:.3f} ms (wall); "
        f"file {found['file_bytes'] / 1e6:.1f} MB; {found['cpu_s']:.0f} CPU s, peak {found['peak_mb']:.0f} MB",
    ]
