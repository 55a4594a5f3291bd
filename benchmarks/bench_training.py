"""How long training takes and how much memory, in a process of its own; beside the time its products alone need."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bounds import measured_bounds

QUICK_IMPRESSIONS, IMPRESSIONS = 20_000, 300_000


def run(quick: bool = False) -> dict[str, Any]:
    """Trains in a child, so that peak memory is the training's own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.bench_training", folder, *(["--quick"] if quick else [])]
        child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = msgspec.json.decode(child.stdout.splitlines()[-1])
    flops = 6 * found["parameters"] * found["rows"] * found["epochs"]  # forward, and twice that backward
    found["bound_s"] = flops / measured_bounds().product_gflop_per_s / 1e9
    return found


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The result as a person reads it."""
    yield ""
    yield (
        f"training on {found['log']}: {found['rows']:,} rows, {found['epochs']} epochs, {found['parameters']:,} parameters: "
        f"{found['features_s']:.1f} s features + {found['train_s']:.1f} s training, {found['cpu_s']:.0f} CPU s, "
        f"peak {found['peak_bytes'] / 1e9:.2f} GB"
    )
    yield f"its products alone need {found['bound_s']:.1f} s of one core: {found['train_s'] / found['bound_s']:.1f} times the bound"


def _real_log(folder: Path) -> Path | None:
    """The KuaiRand pack as a log folder; None where there is none."""
    from mainstem.data.importer import import_log

    data = Path(os.environ.get("MAINSTEM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    source, packed = data / "kuairand_pure", data / "kuairand_pure.tar.xz"
    if not source.is_dir() and packed.is_file():
        with tarfile.open(packed) as tar:
            tar.extractall(folder, filter="data")
        source = folder / "kuairand_pure"
    if not source.is_dir():
        return None
    import_log(source, folder / "log")
    return folder / "log"


def _made_log(folder: Path, impressions: int) -> Path:
    from mainstem.data.world import WorldSettings, make_world, write_world_log

    write_world_log(make_world(WorldSettings(impressions=impressions)), folder / "log")
    return folder / "log"


def _train(folder: Path, quick: bool) -> dict[str, Any]:
    from mainstem.data.log import read_log
    from mainstem.ranking.lesson import lesson
    from mainstem.ranking.train import TrainSettings, train

    path = None if quick else _real_log(folder)
    log = read_log(path or _made_log(folder, QUICK_IMPRESSIONS if quick else IMPRESSIONS))
    days = log.days
    started, cpu = time.perf_counter(), time.process_time()
    taught = lesson(
        log.items, log.users, log.impressions, log.history, days[max(1, int(len(days) * 0.5)) - (len(days) < 3)]
    )
    between = time.perf_counter()
    model = train(taught, TrainSettings(seed=7))
    return {
        "log": log.manifest.name,
        "made": bool(log.manifest.made),
        "rows": model.card["rows"]["train"],
        "epochs": model.card["epochs"],
        "parameters": model.card["parameters"],
        "features_s": between - started,
        "train_s": time.perf_counter() - between,
        "cpu_s": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print(msgspec.json.encode(_train(Path(sys.argv[1]), "--quick" in sys.argv)).decode())
