"""A small stack with the whole control layer and plain parts around it: the value of an item is its row's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from mainstem.base.clock import SetClock
from mainstem.base.request import Found, Request
from mainstem.base.settings import Settings, parse_settings
from mainstem.base.withdrawn import Withdrawn
from mainstem.control.groups import ItemAttributes
from mainstem.control.rule_checks import item_groups, slate_rules
from mainstem.control.slate import SurfaceControl
from mainstem.features.catalog import Catalog
from mainstem.retrieval.union import RankFusion
from mainstem.stacks.rule_chain import ControlFiles, rule_chain
from mainstem.stacks.stage import Stack
from mainstem.store.blocked_list import BlockedList
from mainstem.store.day_counts import DayCounts

NOW_MS = 1_700_000_000_000
ITEMS = 60


@dataclass
class Nobody:
    seen_rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass
class Every:
    """A source that offers every item."""

    rows: np.ndarray
    name: str = "every"

    def retrieve(self, request, user, limit):
        return Found(self.rows[:limit], np.zeros(len(self.rows))[:limit])


class Plain:
    names = ("row",)
    heads = ("click",)

    def __init__(self, worth: np.ndarray) -> None:
        self.worth = worth

    def user(self, request):
        return Nobody()

    def items(self, request, user, rows):
        return rows[:, None].astype(float)

    def predict(self, request, user, rows, features):
        return self.worth[rows][:, None]

    def values(self, request, user, rows, predictions):
        return predictions[:, 0]

    def terms(self, request, user, rows, predictions):
        return {"click": predictions[:, 0]}


def made_catalog(canonical: dict[int, int] | None = None, items: int = ITEMS) -> Catalog:
    """Items 1 … n, ten creators in turn, four categories in blocks, every seventh violating and every eleventh unchecked."""
    ids = np.arange(1, items + 1)
    table = {
        "item_id": ids,
        "canonical_id": [(canonical or {}).get(one, one) for one in ids.tolist()],
        "creator_id": 500 + ids % 10,
        "category": (ids * 4 // (items + 1)).astype(np.int32),
        "integrity": np.where(ids % 7 == 0, 1, np.where(ids % 11 == 0, -1, 0)).astype(np.int8),
        "created_ms": NOW_MS - ids * 1_000,
    }
    return Catalog.from_tables(pl.DataFrame(table), pl.DataFrame({"user_id": np.arange(1, 40)}))


def made_settings(rules: str, more: str = "") -> Settings:
    return parse_settings(f"{more}\n[surfaces.feed]\ncount = 6\n[surfaces.feed.rules]\n{rules}\n")


def made_stack(folder: Path, rules: str, catalog: Catalog | None = None, more: str = "", **changes) -> Stack:
    """A stack over the files of a folder: two of one folder are two processes of one platform."""
    catalog, settings = catalog or made_catalog(), made_settings(rules, more)
    attributes, withdrawn = ItemAttributes(catalog), Withdrawn(len(catalog.items))
    groups = item_groups(settings.groups, attributes)
    files = ControlFiles(DayCounts(folder / "served"), BlockedList(folder / "blocked"), SetClock(NOW_MS))
    chain = rule_chain(catalog, settings, withdrawn, attributes, groups, files)
    slates = {
        name: slate_rules(one, name, ["every"], ["every"], groups, attributes)
        for name, one in settings.served().items()
    }
    items = catalog.items
    parts = Plain(np.linspace(1.0, 0.1, len(items) + 1))
    control = SurfaceControl(
        changes.get("filters", chain.filters), slates, items.creator, items.category, 7, boosts=chain.boosts
    )
    return Stack(
        name="made",
        catalog=catalog,
        sources=(Every(np.arange(len(items))),),
        union=RankFusion(("every",), dict.fromkeys(settings.served(), 1_000)),
        features=parts,
        ranker=parts,
        value=parts,
        control=control,
        surfaces=tuple(settings.served()),
        withdrawn=withdrawn,
        guards=chain.guards,
        claims=chain.memory,
        blocking=chain.blocking,
    )


def asked(number: int = 1, user: int = 1, **changes) -> Request:
    return Request(
        **({"request_id": number, "user_id": user, "surface": "feed", "now_ms": NOW_MS, "count": 6} | changes)
    )
