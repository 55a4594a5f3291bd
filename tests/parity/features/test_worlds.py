"""The served world and the recomputed one are the same bits, however the served one went; and a difference is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_worlds import small_asked, small_configuration

from mainstem.parity.features.compare import Comparison, compare
from mainstem.parity.features.configuration import Arranged, arranged
from mainstem.parity.features.recomputed import Recomputed
from mainstem.parity.features.served import Course, Replay

CONFIGURATION = small_configuration()
ASKED = small_asked(CONFIGURATION)


def _both(course: Course, log: Arranged, threads: int = 1) -> Comparison:
    served = Replay(CONFIGURATION, log, ASKED, course).run()
    table = Recomputed(CONFIGURATION, log.streams, threads=threads).table(ASKED, served.as_of)
    return compare(served.table, table, served.metas)


@pytest.mark.parametrize("seed", [1, 2])
def test_worlds_agree_in_every_bit_whatever_the_order_batches_and_restarts(seed: int) -> None:
    log = arranged(CONFIGURATION.streams, seed, late_share=0.05)
    found = _both(Course(seed, restarts=seed, other_process=False, poll_ms=100_000 * seed), log, threads=seed)
    assert found.gate().passed, found.gate().sentence
    assert sum(one.total.cells for one in found.report.features) > 20_000
    names = {one.name for one in found.report.features}
    # Inner aggregates, kept lists and vectors of places, not only what the ranker reads.
    assert {"user_due_click", "kept.item_id", "kept_vector", "scenario_is", "item_lately_24h"} <= names


@pytest.mark.slow
def test_a_snapshot_from_another_process_goes_on_with_the_same_bits() -> None:
    assert _both(Course(3, restarts=2, other_process=True), arranged(CONFIGURATION.streams, 3)).gate().passed


def test_late_events_are_in_the_log_after_their_time() -> None:
    log = arranged(CONFIGURATION.streams, 5, late_share=0.2)
    time_ms = np.asarray(log.streams["feedback"].columns["time_ms"])
    assert (np.diff(time_ms[time_ms >= 0]) < 0).any()
    assert (np.diff(log.arrival_ms) >= 0).all()
    whole = [events for _, events in log.between(0, len(log.arrival_ms))]
    assert sum(len(one) for one in whole) == len(log.arrival_ms)
    user = CONFIGURATION.streams["feedback"].columns["user_id"]
    assert (log.streams["feedback"].columns["user_id"][log.offset_of] == user).all()


def test_two_streams_are_replayed_in_the_order_of_the_log() -> None:
    events = CONFIGURATION.streams["feedback"]
    half = {"a": events.take(slice(0, None, 2)), "b": events.take(slice(1, None, 2))}
    log = arranged(half, 1)
    parts = log.between(500, 700)
    assert {stream for stream, _ in parts} == {"a", "b"}
    assert np.concatenate([part.offset for _, part in parts]).tolist() == list(range(500, 700))


def test_an_event_the_server_never_saw_is_found_by_feature_and_offset() -> None:
    log = arranged(CONFIGURATION.streams, 1)
    gone = 900
    served = Replay(CONFIGURATION, log, ASKED, Course(1, restarts=0)).run()
    fewer = log.streams["feedback"]
    kept = fewer.take(fewer.offset != gone)
    table = Recomputed(CONFIGURATION, {"feedback": kept}).table(ASKED, served.as_of)
    found = compare(served.table, table, served.metas)
    assert not found.gate().passed
    assert "item_events" in found.gate().failing
    assert all(one.total.first.offset > gone for one in found.report.features if one.total.first)


def test_a_failed_lookup_is_served_and_recomputed_as_the_declared_defaults() -> None:
    log = arranged(CONFIGURATION.streams, 1)
    asked = replace(ASKED, failed=np.ones(len(ASKED), bool))
    served = Replay(CONFIGURATION, log, asked, Course(1, restarts=0)).run()
    column = served.table["long_view_last_1"].to_numpy()[: len(asked)]
    assert (column == np.float32(CONFIGURATION.features.by_name["long_view_last_1"].default)).all()
    table = Recomputed(CONFIGURATION, log.streams).table(asked, served.as_of)
    assert compare(served.table, table, served.metas).gate().passed
