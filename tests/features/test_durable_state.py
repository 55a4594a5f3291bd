"""Feature state behind a store: exactly once over crashes, the same bits after a load, one atomic switch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from feature_log import START_MS, Tables

from mainstem.base.errors import StoreError
from mainstem.features.catalog import Catalog
from mainstem.features.durable import DurableState
from mainstem.features.events import Events
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.language.plan import Plan
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading
from mainstem.features.statics import Rates, Statics
from mainstem.features.steps import Arrays
from mainstem.features.unified import UNIFIED
from mainstem.features.unified_tables import unified_tables
from mainstem.store.state.lmdb_store import LmdbStore
from mainstem.store.state.memory import MemoryStore
from mainstem.store.state.protocol import StateStore


class Broken(MemoryStore):
    """A store whose next commit dies before anything is written."""

    dies = False

    def commit(self, namespace: str, changes: Mapping[bytes, bytes | None], applied: int, expect: int) -> None:
        if self.dies:
            raise StoreError("the disk is full", code="store-063")
        super().commit(namespace, changes, applied, expect)


@pytest.fixture(scope="module")
def made(small: Tables) -> tuple[Plan, Arrays, Events]:
    catalog = Catalog.from_tables(small.items, small.users)
    past, timed = FeedbackBatch.from_history(small.history), FeedbackBatch.from_frame(small.impressions)
    tables = unified_tables(catalog, Statics.fit(catalog, past, Rates.fit(past)))
    return Plan(UNIFIED), tables, Events.from_feedback(past.then(timed), 0)  # type: ignore[return-value]


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    return MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "state")


def _fresh(made: tuple[Plan, Arrays, Events]) -> LiveState:
    return LiveState(made[0], made[1], track=True)  # type: ignore[arg-type]


def _values(state: LiveState) -> np.ndarray:
    reading = Reading(state.plan, state.tables, UNIFIED.columns_of("item") + UNIFIED.columns_of("cross"))
    given = {
        "user_id": np.array([7, 10, 13]),
        "now_ms": np.full(3, START_MS + 5 * 86_400_000),
        "surface": np.array([0, 1, 2]),
        "scenario": np.array([1, 2, -1]),
        "item_id": np.tile(np.arange(100, 200, 5), (3, 1)),
    }
    found = state.read(reading, given)
    return np.stack([found[column.name] for column in reading.columns])


def test_what_was_flushed_is_read_back_to_the_bit(made: tuple[Plan, Arrays, Events], store: StateStore) -> None:
    state, events = _fresh(made), made[2]
    durable = DurableState(state, store)
    for start in range(0, 1500, 130):
        state.apply("feedback", events.take(slice(start, min(start + 130, 1500))))
        assert durable.flush() > 0
    again = _fresh(made)
    assert DurableState(again, store).load() == 1499
    for one in (state, again):
        one.apply("feedback", events.take(slice(1400, len(events))))
    assert again.counted.again == 100
    np.testing.assert_array_equal(_values(state), _values(again))


def test_a_commit_that_dies_is_made_again_and_counts_once(made: tuple[Plan, Arrays, Events]) -> None:
    store = Broken()
    state, events = _fresh(made), made[2]
    durable = DurableState(state, store)
    state.apply("feedback", events.take(slice(0, 500)))
    durable.flush()
    store.dies = True
    state.apply("feedback", events.take(slice(500, 900)))
    with pytest.raises(StoreError):
        durable.flush()
    crashed = _fresh(made)
    assert DurableState(crashed, store).load() == 499
    store.dies = False
    state.apply("feedback", events.take(slice(900, 1000)))
    durable.flush()
    again = _fresh(made)
    assert DurableState(again, store).load() == 999
    crashed.apply("feedback", events.take(slice(0, 1000)))
    np.testing.assert_array_equal(_values(again), _values(state))
    np.testing.assert_array_equal(_values(again), _values(crashed))


def test_a_second_writer_is_fenced_off(made: tuple[Plan, Arrays, Events]) -> None:
    store, events = MemoryStore(), made[2]
    one, other = (DurableState(_fresh(made), store) for _ in range(2))
    for durable in (one, other):
        durable.live.apply("feedback", events.take(slice(0, 300 if durable is one else 200)))
    one.flush()
    with pytest.raises(StoreError) as fenced:
        other.flush()
    assert fenced.value.code == "store-062"


def test_nothing_new_writes_nothing_and_the_switch_is_one_step(
    made: tuple[Plan, Arrays, Events], store: StateStore
) -> None:
    state = _fresh(made)
    durable = DurableState(state, store)
    state.apply("feedback", made[2].take(slice(0, 50)))
    assert durable.flush() > 0
    assert durable.flush() == 0
    assert store.active() is None
    durable.serve()
    assert store.active() == durable.namespace
