"""How many events a second become durable feature state: applied, packed and committed to LMDB with their offset.

python -m benchmarks.feature_durable
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from mainstem.features.durable import DurableState
from mainstem.features.events import Events
from mainstem.features.language import Context, Feature, Source, count, total
from mainstem.features.language.feature_set import FeatureSet
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.store.state.lmdb_store import LmdbStore

SALES = Source("sales", {"time_ms": "int64", "user_id": "int64", "item_id": "int64", "price": "float64"})
FEATURES = FeatureSet(
    [
        Feature("user_id", Context()),
        Feature("now_ms", Context()),
        Feature("item_id", Context(per="candidate")),
        *(
            Feature(f"{what}_{key}", of, over=key, source=SALES, windows=("1h", "1d", "7d"))
            for key in ("user_id", "item_id")
            for what, of in (("n", count()), ("sum", total("price")))
        ),
    ]
)


def made_events(first: int, n: int, random: np.random.Generator) -> Events:
    """Events of Zipf-distributed users and items, 20 a second."""
    at = np.arange(first, first + n)
    columns = {"time_ms": 1_700_000_000_000 + at * 50, "price": np.round(random.random(n) * 100, 2)}
    columns |= {"user_id": random.zipf(1.2, n) % 200_000, "item_id": random.zipf(1.2, n) % 100_000}
    return Events(at, columns)


def main() -> None:
    """Prints events a second, wall and per CPU second, by batch."""
    random, plan = np.random.default_rng(0), Plan(FEATURES)
    print("batch  events/s wall  events/s CPU  (user and item, count and sum x 1h, 1d, 7d; fsync on every commit)")
    for batch in (100, 1_000, 10_000):
        wall, cpu = [], []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as folder:
                live = LiveState(plan, {}, track=True)
                durable = DurableState(live, LmdbStore(Path(folder) / "state"))
                parts = [made_events(first, batch, random) for first in range(0, 11 * batch, batch)]
                live.apply("sales", parts[0])
                durable.flush()
                began, used = time.perf_counter(), time.process_time()
                for part in parts[1:]:
                    live.apply("sales", part)
                    durable.flush()
                wall.append(10 * batch / (time.perf_counter() - began))
                cpu.append(10 * batch / (time.process_time() - used))
        print(f"{batch:6,d} {statistics.median(wall):13,.0f} {statistics.median(cpu):13,.0f}")


if __name__ == "__main__":
    main()
