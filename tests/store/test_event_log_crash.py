"""An acknowledged event survives kill -9: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mainstem.store.event_log import EventLog

CHILD = Path(__file__).with_name("crash_child.py")
EVENTS = 10_000
KILLS = 50


def _append_until_killed(path: Path, start: int, kill_after: int) -> int:
    """Runs the child from ``start``; kills it after so many acknowledgements. Returns the first number without one."""
    command = [sys.executable, str(CHILD), str(path), str(start), str(EVENTS), "7"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = start - 1
    for seen, line in enumerate(child.stdout):
        acknowledged = int(line)
        if seen == kill_after:
            child.send_signal(signal.SIGKILL)
    child.stdout.close()
    child.wait()
    return acknowledged + 1


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_is_twice_over_fifty_kills(tmp_path: Path) -> None:
    rng = random.Random(11)
    path = tmp_path / "events.db"
    start, kills = 0, 0
    while kills < KILLS:
        # The remaining events are spread over the remaining kills, so that every kill falls inside the writing.
        share = (EVENTS - start) // 7 // (KILLS - kills)
        start = _append_until_killed(path, start, rng.randrange(1, max(2, share)))
        kills += 1
        with EventLog(path) as log:
            numbers = [json.loads(row.payload)["request_id"] for row in log.read(0, 2 * EVENTS)]
        # Beyond the acknowledged ones, a group may be on disk whose acknowledgement the kill cut off: whole, or not.
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= start
        assert len(numbers) == EVENTS or len(numbers) % 7 == 0
    assert start < EVENTS, "the child finished before the last kill: the test did not kill it inside the writing"
    start = _append_until_killed(path, start, EVENTS)
    with EventLog(path) as log:
        rows = log.read(0, 2 * EVENTS)
    assert start == EVENTS
    assert [json.loads(row.payload)["request_id"] for row in rows] == list(range(EVENTS))
