"""Waiting told apart from ranking, out of a served log: on made traffic with both planted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_launch import START_MS, plan_for

from mainstem.data.records import Feedback, pack_impression
from mainstem.launch.gate import Phase
from mainstem.launch.latency_told import latency_parts
from mainstem.launch.plan_file import Latency
from mainstem.launch.served_log import ServedLog, reader_of
from mainstem.store.event_log import IMPRESSION, EventLog

ARMS = ("control", "matched", "treatment", "dose")
RATE = {"control": 0.5, "matched": 0.4, "treatment": 0.46, "dose": 0.3}
WAIT_MS = {"control": 50.0, "matched": 100.0, "treatment": 100.0, "dose": 150.0}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> ServedLog:
    folder: Path = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(3)
    with EventLog(folder / "events.sqlite") as events:
        shown, answered = [], []
        for user in range(6_000):
            arm = ARMS[user % 4]
            told = {"request_id": user, "user_id": user, "surface": "feed", "time_ms": START_MS + user}
            shown.append(
                pack_impression(
                    np.array([1]), {}, stack="x", arm=f"made.{arm}", timings_ms={"total": WAIT_MS[arm]}, **told
                )
            )
            answered.append(Feedback(item_id=1, click=int(rng.random() < RATE[arm]), **told))
        events.append(shown, IMPRESSION)
        events.append(answered)
    found = ServedLog(reader_of(folder / "events.sqlite"), plan_for("feed"))
    found.follow()
    return found


def test_the_parts_are_what_was_planted_and_add_up(log: ServedLog) -> None:
    plan = msgspec.structs.replace(plan_for("feed"), latency=Latency(share=0.05, dose_ms=100))
    found = {
        one.metric: one
        for one in latency_parts(plan, "feed", log, Phase(START_MS, ((START_MS, 0.05),)), START_MS + 10**6)
    }
    clicks = found["clicks"]
    assert clicks.latency.mid + clicks.ranking.mid == pytest.approx(clicks.total.mid, abs=1e-12)
    assert clicks.latency.low < -0.2 < clicks.latency.high
    assert clicks.ranking.low < 0.12 < clicks.ranking.high
    assert clicks.per_100_ms is not None
    assert clicks.per_100_ms.low < -0.4 < clicks.per_100_ms.high
    assert "hates" not in found  # nobody hated anything, so there is nothing to split


def test_nobody_slowed_is_no_split(log: ServedLog) -> None:
    phase = Phase(START_MS, ((START_MS, 0.05),))
    assert latency_parts(plan_for("feed"), "feed", log, phase, START_MS + 10**6) == ()
    slowed = msgspec.structs.replace(plan_for("feed"), latency=Latency(share=0.05))
    half = Phase(START_MS, ((START_MS, 0.5),))
    assert latency_parts(slowed, "feed", log, half, START_MS + 10**6) == ()
    assert latency_parts(slowed, "feed", log, phase, START_MS + 50) == ()
