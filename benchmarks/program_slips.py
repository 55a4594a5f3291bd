"""Slips of the Kubernetes enhancements, forecast with what was known at each release, and scored by what came.

    .venv/bin/python benchmarks/program_slips.py FOLDER_OF_k8s_keps

Dates of releases as the Kubernetes project published them. Forecasts at 1.22 to 1.28; the delay of what people write
down is chosen at 1.20 and 1.21; releases before a forecast only teach.
"""

from __future__ import annotations

import hashlib
import sys
from datetime import date
from pathlib import Path

from mainstem.program.slips import read_keps, replay

RELEASED = {
    18: date(2020, 3, 25), 19: date(2020, 8, 26), 20: date(2020, 12, 8), 21: date(2021, 4, 8), 22: date(2021, 8, 4),
    23: date(2021, 12, 7), 24: date(2022, 5, 3), 25: date(2022, 8, 23), 26: date(2022, 12, 9), 27: date(2023, 4, 11),
    28: date(2023, 8, 15), 29: date(2023, 12, 13), 30: date(2024, 4, 17), 31: date(2024, 8, 13), 32: date(2024, 12, 11),
}  # fmt: skip


def main() -> None:
    file = Path(sys.argv[1]) / "kep_milestone_history.csv"
    history = read_keps(file)
    print(f"{len(history)} revisions, md5 {hashlib.md5(file.read_bytes()).hexdigest()[:8]}")
    tried = {delay: replay(history, RELEASED, 20, 21, delay=delay)[0] for delay in (0, 1, 2)}
    for delay, one in tried.items():
        print(f"validation, delay {delay}: {one.cases} forecasts, covers {one.coverage:.1%}, CRPS {one.crps:.3f}")
    chosen = min(tried, key=lambda delay: tried[delay].crps)
    print(f"chosen: delay {chosen}")
    for one in replay(history, RELEASED, 22, 28, delay=chosen):
        said = "in" if 0.75 <= one.coverage <= 0.87 else "outside"
        covers = f"P10–P90 covers {one.coverage:.1%} ({said} 75–87 %)"
        print(f"{one.method:10} {one.cases} forecasts, {covers}, CRPS {one.crps:.3f} releases")


if __name__ == "__main__":
    main()
