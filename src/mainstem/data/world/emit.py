"""What does a made world's log look like in the tables that every stack reads?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.heads import HEADS, SURFACES
from mainstem.data.log import write_log
from mainstem.data.manifest import Manifest
from mainstem.data.world.catalogue import LEAVES_PER_TOPIC, SUBTAG_BASE, Catalogue
from mainstem.data.world.faults import apply_faults
from mainstem.data.world.people import People
from mainstem.data.world.policy import show
from mainstem.data.world.settings import DAY_MS, HOME_OFFSET_MIN, WorldFaults, local_days
from mainstem.data.world.traffic import make_requests
from mainstem.data.world.world import Outcomes, World, pair_chances

HISTORY_LENGTH: Final = 50
"""Earlier impressions kept of each user, as in KuaiRand's history sequences."""

_LENGTH_UNKNOWN_SHARE: Final = 0.016  # of rows, as in KuaiRand-Pure


def make_log(
    world: World,
    policy: str = "standard",
    faults: WorldFaults | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, pl.DataFrame]:
    """What would this world have logged under a policy?

    Args:
        world: The world.
        policy: ``standard``, ``popularity`` or ``random``.
        faults: What went wrong on the way from the world to the log.
        progress: Told what is being done and how much of all is done, 0 to 1.

    Returns:
        ``impressions``, ``items``, ``users``, ``history`` and, with duplicated events, ``dropped``, in the columns of
        ``docs/reference/tables.md``.

    Raises:
        ConfigError: config-903, no such policy.
    """
    tell = progress or _silent
    s = world.settings
    tell("earlier actions", 0.1)
    earlier = s.start_ms - s.history_days * DAY_MS
    before = _run(world, "standard", earlier, s.history_days, np.random.default_rng([s.seed, 5]))
    tell("impressions", 0.4)
    # One traffic for every policy, so that their logs differ in what was shown alone.
    during = _run(world, policy, s.start_ms, s.days, np.random.default_rng([s.seed, 4]))
    tell("tables", 0.9)
    tables = {
        "impressions": _impressions(world, during),
        "items": _items(world.items),
        "users": _users(world.people),
        "history": _history(world, before),
    }
    return apply_faults(tables, faults or WorldFaults(), s)


def write_world_log(
    world: World,
    folder: Path | str,
    policy: str = "standard",
    faults: WorldFaults | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Manifest:
    """Writes a made log as a log folder, labelled *made*, and tells what was written."""
    tables = make_log(world, policy, faults, progress)
    impressions, repeats = tables["impressions"].height, tables["dropped"].height if "dropped" in tables else 0
    manifest = Manifest(
        name=f"made world, seed {world.settings.seed}",
        loader="world",
        made=True,
        licence="made for this project, Apache-2.0",
        rows_in=impressions + repeats,
        dropped={"duplicate": repeats} if repeats else {},
        utc_offset_min=HOME_OFFSET_MIN,
        notes=["made: from a seeded world with known truth; no number from it stands in for one from real logs"],
        facts=asdict(world.settings)
        | {"policy": policy}
        | {f"fault_{name}": amount for name, amount in asdict(faults or WorldFaults()).items() if amount},
    )
    return write_log(tables, folder, manifest)


def _silent(_doing: str, _share: float) -> None:
    """A progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Some days of a world under a policy, one array entry an impression; ``users`` and ``rows`` are rows, not ids."""

    requests: NDArray[np.int64]
    users: NDArray[np.int64]
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    surfaces: NDArray[np.int64]
    scenarios: NDArray[np.int16]
    time_ms: NDArray[np.int64]
    propensity: NDArray[np.float32] | None
    outcomes: Outcomes


def _run(world: World, policy: str, start_ms: int, days: int, rng: np.random.Generator) -> _Run:
    """Asks, shows and answers."""
    people, items = world.people, world.items
    asked = make_requests(people, start_ms, days, world.settings.impressions * days // world.settings.days, rng)
    shown = show(policy, people, items, asked, rng)
    at, rows = shown.requests, shown.rows
    users, time_ms, surfaces = asked.users[at], asked.time_ms[at], asked.surfaces[at]
    c = pair_chances(people, items, world.intercepts, users, rows, surfaces, time_ms, shown.positions)
    outcomes = world.outcomes(c, people.user_ids[users], items.item_ids[rows], time_ms)
    return _Run(at, users, rows, shown.positions, surfaces, asked.scenarios[at], time_ms, shown.propensity, outcomes)


def _impressions(world: World, run: _Run) -> pl.DataFrame:
    s = world.settings
    length_ms = np.round(1000 * world.items.duration_s[run.rows]).astype(np.int64)
    known = np.random.default_rng([s.seed, 6]).random(len(run.rows)) >= _LENGTH_UNKNOWN_SHARE
    days = np.array(local_days(s.start_ms, s.days), dtype=np.int32)
    frame = pl.DataFrame(
        {
            "request_id": run.requests + 1,
            "user_id": world.people.user_ids[run.users],
            "item_id": world.items.item_ids[run.rows],
            "surface": np.array(SURFACES)[run.surfaces],
            "scenario": run.scenarios,
            "time_ms": run.time_ms,
            "day": days[(run.time_ms - s.start_ms) // DAY_MS],
            "position": run.positions.astype(np.int16),
            "viewed": run.outcomes.viewed,
            **{head: run.outcomes.heads[:, column] for column, head in enumerate(HEADS)},
            "watch_ms": run.outcomes.watch_ms,
            "duration_ms": np.where(known, length_ms, 0),
        }
    )
    unknown = [pl.lit(None, dtype=pl.String).alias(name) for name in ("stack", "arm")]
    chance = pl.lit(None) if run.propensity is None else pl.lit(pl.Series(run.propensity))
    return frame.with_columns(*unknown, chance.cast(pl.Float32).alias("propensity"))


def _history(world: World, run: _Run) -> pl.DataFrame:
    """The last fifty of each user, newest first, with the user's last known time in place of their own times."""
    frame = pl.DataFrame(
        {
            "user_id": world.people.user_ids[run.users],
            "item_id": world.items.item_ids[run.rows],
            "time_ms": run.time_ms,
            "long_view": run.outcomes.heads[:, HEADS.index("long_view")],
            "like": run.outcomes.heads[:, HEADS.index("like")],
        }
    )
    back = pl.int_range(pl.len(), dtype=pl.Int32).reverse().over("user_id").alias("back")
    last = pl.col("time_ms").max().over("user_id")
    return (
        frame.with_columns(back, last)
        .filter(pl.col("back") < HISTORY_LENGTH)
        .select("user_id", "item_id", "back", "time_ms", "long_view", "like")
        .sort("user_id", "back")
    )


def _items(items: Catalogue) -> pl.DataFrame:
    """The items as a log shows them: tags and not topics, checks and not the truth."""
    topic_tag = pl.col("leaf") // LEAVES_PER_TOPIC + 1
    tags = (
        pl.when(pl.col("count") == 0)
        .then(pl.concat_list(topic_tag).list.head(0))
        .when(pl.col("count") == 1)
        .then(pl.concat_list(topic_tag))
        .otherwise(pl.concat_list(topic_tag, pl.col("leaf") + SUBTAG_BASE))
    )
    integrity = pl.when(pl.col("checked")).then(pl.col("violating").cast(pl.Int8)).otherwise(None)
    frame = pl.DataFrame(
        {
            "item_id": items.item_ids,
            "canonical_id": items.canonical,
            "creator_id": items.creator_ids,
            "entity_id": items.entity_ids,
            "created_ms": items.created_ms,
            "duration_ms": np.round(1000 * items.duration_s).astype(np.int64),
            "kind": np.where(items.is_ad, "AD", "NORMAL"),
            "leaf": items.leaf.astype(np.int32),
            "count": items.tag_count,
            "audio_id": items.audio_ids,
            "violating": items.violating,
            "checked": items.checked,
        }
    )
    frame = frame.with_columns(tags=tags, integrity=integrity)
    category = pl.col("tags").list.first().fill_null(-1).cast(pl.Int32).alias("category")
    return frame.with_columns(category).drop("leaf", "count", "violating", "checked")


def _users(people: People) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": people.user_ids,
            "utc_offset_min": people.utc_offset_min,
            "activity": people.activity_name,
            "following_count": people.following_count,
            "follower_count": people.follower_count,
            "registered_days": people.registered_days,
        }
    ).with_columns(pl.Series("traits", people.traits.tolist(), dtype=pl.List(pl.Int16)))
