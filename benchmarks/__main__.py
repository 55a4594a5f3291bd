"""``python -m benchmarks [--quick]``: prints the tables and writes ``.bench/latest.json``."""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import argparse  # noqa: E402
import datetime  # noqa: E402
import importlib.metadata  # noqa: E402
import platform  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import msgspec  # noqa: E402

from benchmarks import (  # noqa: E402
    bench_request,
    bench_training,
    capacity_numbers,
    control_day,
    control_slate,
    launch_characteristics,
    launch_layers,
)

RESULTS = Path(__file__).resolve().parents[1] / ".bench"
LIBRARIES = ("numpy", "polars", "msgspec", "starlette", "uvicorn", "torch", "fastapi", "pydantic", "hnswlib")


def machine() -> dict[str, Any]:
    """What it ran on: a figure without this is an opinion."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_1m": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one rate, two seconds: whether it runs, not how fast")
    parser.add_argument(
        "--only",
        choices=("request", "training", "control", "control-day", "launch", "launch-layers", "capacity"),
        help="one of them",
    )
    asked = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    ran_on = found["machine"]
    print(f"{ran_on['cpu']}, {ran_on['cores']} cores, load {ran_on['load_1m']:.1f}, {ran_on['date']}\n")
    for name, part in (
        ("request", bench_request),
        ("training", bench_training),
        ("control", control_slate),
        ("control-day", control_day),
        ("launch", launch_characteristics),
        ("launch-layers", launch_layers),
        ("capacity", capacity_numbers),
    ):
        if asked.only in (None, name):
            found[name] = part.run(quick=asked.quick)
            print(*part.lines(found[name]), sep="\n")
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "latest.json"
    target.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    print(f"\nwritten to {target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}")


if __name__ == "__main__":
    main()
