"""``python -m benchmarks.random_exposure``: popularity bias where exposure was random, on a made world.

One world, one training period under its old ranker. The held-out days are emitted twice: once as the old ranker would have
shown them, once at random. On the random days what an arm's order prefers is its own doing and not the offer's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import polars as pl

from mainstem.cli.terminal import table
from mainstem.data.log import read_log, write_log
from mainstem.data.manifest import Manifest
from mainstem.data.world import WorldSettings, make_log, make_world, write_world_log
from mainstem.workspace.compare import silent
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import split
from mainstem.workspace.responsible import assess
from mainstem.workspace.responsible_text import exposure_rows, floor_rows
from mainstem.workspace.train import train_legacy, train_unified


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=4_000)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--impressions", type=int, default=80_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--no-legacy", action="store_true")
    asked = parser.parse_args()
    began = time.process_time()
    world = make_world(
        WorldSettings(users=asked.users, items=asked.items, impressions=asked.impressions, seed=asked.seed)
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = Workspace.open(Path(scratch), {})
        write_world_log(world, place.log)
        log = read_log(place.log)
        parts = split(place, log)
        train_unified(place, log, parts, asked.seed, silent)
        if not asked.no_legacy:
            print(train_legacy(place, parts.validation_day, asked.seed))
        show("held-out days under the old ranker", place, legacy=not asked.no_legacy)
        random = make_log(world, "random")["impressions"]
        early = log.impressions.filter(pl.col("day") < parts.validation_day)
        late = random.filter(pl.col("day") >= parts.validation_day)
        # Requests are numbered anew in each log: the random ones must not meet the old ranker's.
        late = late.with_columns(pl.col("request_id") + log.impressions["request_id"].max() + 1)
        joined = pl.concat([early, late.cast(early.schema)]).sort("time_ms", "request_id", "position")
        tables = {"impressions": joined, "items": log.items, "users": log.users, "history": log.history}
        write_log(
            tables, place.log, Manifest(name="made world, random from the validation day", loader="world", made=True)
        )
        show("the same days at random", place, legacy=not asked.no_legacy)
    print(f"{time.process_time() - began:.0f} CPU seconds of this process")


def show(title: str, place: Workspace, *, legacy: bool) -> None:
    found = assess(place, legacy=legacy, canaries=False)
    print(f"\n{title}: {found.assessment.rows:,} test rows\n{table(exposure_rows(found.exposure))}")
    print(f"\n{table(floor_rows(found.floors))}")


if __name__ == "__main__":
    main()
