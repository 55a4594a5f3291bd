"""Is the matched arm as slow as the new stack? Served requests of three arms, and the quantiles of their logged latency.

``python -m benchmarks.launch_matched`` serves the made platform in this process, with a legacy stack that answers at once in
another. Old, new and matched units are asked in turn, so that a busy machine is busy for all of them.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse  # noqa: E402
import asyncio  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from benchmarks.launch_serving import OLD, Asked, start_launch  # noqa: E402
from benchmarks.made_platform import NOW_MS, made_live  # noqa: E402
from mainstem.api.app import create_app  # noqa: E402
from mainstem.api.slowed import LEAST  # noqa: E402
from mainstem.data.records import decode_impression  # noqa: E402
from mainstem.launch.delay import check_match  # noqa: E402
from mainstem.launch.plan_file import Latency  # noqa: E402
from mainstem.stacks.remote import RemoteStack  # noqa: E402
from mainstem.store.event_log import IMPRESSION  # noqa: E402

ARMS = ("control", "treatment", "matched")


async def served_ms(folder: Path, url: str, each: int) -> dict[str, np.ndarray]:
    """Logged latencies by arm."""
    live = made_live(folder)
    live.remotes = {"old": RemoteStack("old", url, 5.0)}
    app = create_app(live, worker=1)
    service, asked = app.state.service, Asked(app)
    await service.start()
    while not service.started:
        await asyncio.sleep(0.01)
    start_launch(folder, 0.25, Latency(share=0.1), at_ms=NOW_MS)
    of = service.launched.arms.of
    users = {arm: [user for user in range(1, 4_000) if of("feed", user).arm == arm] for arm in ARMS}
    for at in range(2 * LEAST):
        for arm in ("control", "treatment"):
            await asked.rank(users[arm][at % len(users[arm])])
    for at in range(each):
        for arm in ARMS:
            await asked.rank(users[arm][at % len(users[arm])])
    await service.stop()
    again = made_live(folder).log
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for one in again.read(0, 100_000, IMPRESSION):
        shown = decode_impression(one.payload)
        found[(shown.arm or "").rpartition(".")[2]].append(shown.timings_ms["total"])
    again.close()
    return {arm: np.array(ms[-each:]) for arm, ms in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=1_000, help="requests of an arm")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-c", OLD], stdout=subprocess.PIPE, text=True) as old,
    ):
        assert old.stdout is not None
        try:
            url = f"http://127.0.0.1:{old.stdout.readline().strip()}"
            found = asyncio.run(served_ms(Path(folder), url, given.each))
        finally:
            old.kill()
    print("quantile   old ms   new ms   matched ms   matched over new, 90 % interval")
    for one in check_match(found["matched"], found["treatment"], margin=0.05):
        old_ms = float(np.quantile(found["control"], one.quantile))
        print(
            f"p{one.quantile * 100:<8g} {old_ms:7.2f}  {one.new_ms:7.2f}  {one.matched_ms:11.2f}   "
            f"{one.difference:+.1%}  ({one.low:+.1%} to {one.high:+.1%})"
        )


if __name__ == "__main__":
    main()
