"""How long does it take to measure an SLO on a live log, and is the share the one that was planted?

    .venv/bin/python -m benchmarks.evidence_slo

300,000 made answers of a week, one in a thousand too late, written by the event log itself; CPU seconds of the measurement alone.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from mainstem.base.settings import parse_settings
from mainstem.data.records import Impression
from mainstem.store.event_log import IMPRESSION, EventLog
from mainstem.workspace.evidence_slo import measure_slo
from mainstem.workspace.layout import Workspace

ANSWERS, LATE_EVERY, GROUP = 300_000, 1_000, 5_000
WEEK_MS = 7 * 86_400_000
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def answer(at: int) -> Impression:
    """One of the week's answers, with features of twenty items as the server writes them."""
    ends_ms = int(NOW.timestamp() * 1e3)
    return Impression(
        request_id=at, user_id=1, surface="feed", time_ms=ends_ms - (ANSWERS - 1 - at) * (WEEK_MS // ANSWERS),
        item_ids=bytes(8 * 20), features=bytes(4 * 20 * 100), stack="unified",
        timings_ms={"rank": 1.0, "total": 950.0 if at % LATE_EVERY == 0 else 50.0},
    )  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        with EventLog(folder / "live" / "events.sqlite") as log:
            for first in range(0, ANSWERS, GROUP):
                log.append([answer(at) for at in range(first, first + GROUP)], IMPRESSION)
        text = files("mainstem.program").joinpath("migration", "slo", "feed.yaml").read_text(encoding="utf-8")
        (folder / "slo.yaml").write_text(text)
        began = time.process_time()
        (one,) = measure_slo(Workspace(folder, parse_settings("")), folder / "slo.yaml", now=NOW)
        spent = time.process_time() - began
    print(one.sentence)
    right = (one.answers, one.answers - one.good) == (ANSWERS, ANSWERS // LATE_EVERY)
    print(f"{one.answers} answers in {spent:.1f} s of CPU; the planted share is found: {'met' if right else 'missed'}")


if __name__ == "__main__":
    main()
