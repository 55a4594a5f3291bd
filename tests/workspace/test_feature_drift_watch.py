"""Drift of a made log: an alarm for a unit that changed on the last day, none without, and it is logged and written."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "parity" / "features"))
from small_worlds import DAY_MS, START_MS, small_configuration

from mainstem.features.events import Events
from mainstem.parity.features.configuration import Asked, Configuration
from mainstem.workspace.feature_parity_drift import Drifted, drift_text, drifted, warn

LAST = START_MS // DAY_MS + 5
"""A day of the log; those up to two before it are the training days."""


def _asked(configuration: Configuration) -> Asked:
    events = configuration.streams["feedback"]
    rows = np.flatnonzero(events.columns["time_ms"] >= 0)
    context = {name: np.asarray(events.columns[name][rows], np.int64) for name in ("user_id", "surface", "scenario")}
    items = np.asarray(events.columns["item_id"][rows], np.int64)[:, None]
    time_ms = np.asarray(events.columns["time_ms"][rows], np.int64)
    return Asked(rows, time_ms, context, items, np.ones(len(rows), np.int64), np.zeros(len(rows), np.bool_), rows)


def _found(planted: bool) -> Drifted:
    configuration = small_configuration(rows=4_000)
    asked = _asked(configuration)
    if planted:
        events = configuration.streams["feedback"]
        wrong = events.columns["time_ms"] >= LAST * DAY_MS
        columns = dict(events.columns)
        columns["watch_s"] = np.where(wrong, columns["watch_s"] * 1_000, columns["watch_s"]).astype(np.float32)
        changed = Events(events.offset, columns)
        configuration = replace(configuration, streams={"feedback": changed})
    return drifted(configuration, asked, LAST - 2, 0, 3, source="made")


@pytest.fixture(scope="module")
def planted() -> Drifted:
    return _found(planted=True)


def test_a_clean_log_raises_no_alarm() -> None:
    found = _found(planted=False)
    assert found.alarms == ()
    assert found.sentence.startswith("No alarm. ")
    assert found.watched > 50
    assert any("label delay" in one for one in found.unknown)


def test_a_unit_that_changed_on_the_last_day_is_an_alarm_on_that_day(planted: Drifted) -> None:
    assert planted.alarms
    assert {one.day for one in planted.alarms} <= {str(np.datetime64(LAST + more, "D")) for more in (0, 1)}
    assert all("watch" in one.name or "complet" in one.name for one in planted.alarms)


def test_alarms_are_warnings_and_lines(planted: Drifted, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="mainstem.features"):
        warn(planted)
    assert len(caplog.records) == len(planted.alarms)
    assert planted.alarms[0].sentence in drift_text(planted)
