"""One request over HTTP, unified and plain, at several rates; each stage beside its arithmetic bound."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import httpx2
import msgspec
import numpy as np

from benchmarks.bounds import Bounds, measured_bounds
from benchmarks.load import Measured, measure, rss_bytes
from benchmarks.made_platform import EXPERT, HIDDEN, ITEMS, SLATE, USERS, VECTOR_DIM, made_stack
from benchmarks.stages import Stages, measured_stages
from mainstem.base.heads import PREDICTIONS
from mainstem.features.unified import UNIFIED
from mainstem.ranking.network import EXPERTS

SHARES = (0.25, 0.5, 0.75)
SECONDS = 4.0
TARGET_CPU_MS = 4.0
TARGET_RATIO = 3.0
_WIDTHS = (7, 11, 12, 9, 9, 9, 16)


def bodies(count: int = 500) -> list[bytes]:
    """Requests of viewers drawn at random."""
    users = np.random.default_rng(11).integers(1, USERS + 1, count).tolist()
    return [msgspec.json.encode({"user_id": user, "count": SLATE}) for user in users]


@contextmanager
def server(module: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its port and process id."""
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen([sys.executable, "-m", module, folder], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            address = child.stdout.readline().strip()
            _wait(address)
            yield int(address.rsplit(":", 1)[1]), child.pid
        finally:
            child.terminate()
            child.wait(30)


def _wait(address: str) -> None:
    """Until the first slate comes back."""
    with httpx2.Client(base_url=address, timeout=60, trust_env=False) as client:
        for _ in range(2_000):
            answer = client.post("/v1/surfaces/feed/rank", json={"user_id": 1, "count": SLATE})
            if answer.status_code == 200:
                assert len(answer.json()["items"]) == SLATE, answer.text[:300]
                return
    raise SystemExit(f"{address} never answered")


def over_http(module: str, shares: tuple[float, ...], seconds: float) -> dict[str, Any]:
    """Latency, rate and CPU time at 500 (feed) and 1,000 (pages) ranked candidates."""
    found: dict[str, Any] = {}
    with server(module) as (port, pid):
        for ranked, surface in ((500, "feed"), (1_000, "pages")):
            path = f"/v1/surfaces/{surface}/rank"
            found[str(ranked)] = [asdict(one) for one in measure(port, pid, path, bodies(), shares, seconds)]
        found["rss_bytes"] = rss_bytes(pid)
    return found


def bounds_of(stages: Stages, bounds: Bounds, ranked: int) -> dict[str, float]:
    """The least CPU milliseconds the arithmetic of a stage can take on this machine now."""
    inputs = len(UNIFIED.columns_of("item")) + len(UNIFIED.columns_of("cross"))
    flops = 2 * ranked * (inputs * HIDDEN + HIDDEN * EXPERTS * EXPERT + EXPERTS * EXPERT * len(PREDICTIONS))
    gathered = ranked * HIDDEN * 4
    return {
        "source:item_to_item": bounds.scan_ms,
        "rank": flops / bounds.product_gflop_per_s / 1e6 + 2 * gathered / bounds.copy_gb_per_s / 1e6,
        "log": 2 * stages.impression_bytes / bounds.copy_gb_per_s / 1e6,
    }


def run(quick: bool = False) -> dict[str, Any]:
    """Everything, as plain values."""
    shares, seconds = (SHARES[1:2], 2.0) if quick else (SHARES, SECONDS)
    stack, _, model = made_stack()
    before = measured_bounds()
    stages = {str(ranked): measured_stages(stack, surface) for ranked, surface in ((500, "feed"), (1_000, "pages"))}
    bounds = measured_bounds()
    del stack
    unified = over_http("benchmarks.unified_server", shares, seconds)
    plain = over_http("benchmarks.plain_stack", shares, seconds)
    return {
        "what": {"items": ITEMS, "dimensions": VECTOR_DIM, "heads": len(PREDICTIONS), "parameters": _parameters(model)},
        "bounds": {"before": asdict(before), "after": asdict(bounds)},
        "stages": {
            ranked: asdict(one) | {"bounds_ms": bounds_of(one, bounds, int(ranked))} for ranked, one in stages.items()
        },
        "unified": unified,
        "plain": plain,
        "ratio": {ranked: _cpu(plain, ranked) / _cpu(unified, ranked) for ranked in ("500", "1000")},
    }


def _parameters(model: Any) -> int:
    return sum(array.size for name, array in model.weights.items() if name not in ("id_in", "category_in"))


def _cpu(found: dict[str, Any], ranked: str) -> float:
    return float(np.median([one["cpu_ms"] for one in found[ranked]]))


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The result as a person reads it."""
    what, bound = found["what"], found["bounds"]["after"]
    yield f"one request: retrieve 1,000 of {what['items']:,} ({what['dimensions']}-d), rank 500 or 1,000 with"
    yield f"{what['parameters']:,} parameters and {what['heads']} heads, value, control, {SLATE} back, impression logged"
    yield (
        f"bounds now: product {bound['product_gflop_per_s']:.0f} GFLOP/s, scan of all vectors {bound['scan_ms']:.2f} ms "
        f"({bound['scan_gb_per_s']:.0f} GB/s), copy {bound['copy_gb_per_s']:.0f} GB/s; one core"
    )
    yield ""
    titles = ("ranked", "offered/s", "answered/s", "refused", "p50 ms", "p99 ms", "CPU ms/request")
    yield f"{'stack':<9}" + "".join(f"{title:>{width}}" for title, width in zip(titles, _WIDTHS, strict=True))
    for name in ("unified", "plain"):
        for ranked in ("500", "1000"):
            for row in found[name][ranked]:
                one = Measured(**row)
                yield (
                    f"{name:<9}{ranked:>7}{one.offered_per_s:>11.0f}{one.answered_per_s:>12.0f}{one.refused:>9}"
                    f"{one.p50_ms:>9.1f}{one.p99_ms:>9.1f}{one.cpu_ms:>16.2f}"
                )
    yield ""
    for ranked, stages in found["stages"].items():
        yield from _stage_lines(ranked, stages)
    cpu_ms, ratio = _cpu(found["unified"], "500"), found["ratio"]["500"]
    yield (
        f"at 500 ranked: unified {cpu_ms:.2f} CPU ms a request over HTTP ({_verdict(cpu_ms <= TARGET_CPU_MS)} {TARGET_CPU_MS:g}), "
        f"{ratio:.1f} times less than the plain stack ({_verdict(ratio >= TARGET_RATIO)} {TARGET_RATIO:g})"
    )


def _stage_lines(ranked: str, stages: dict[str, Any]) -> Iterator[str]:
    total = stages["total_ms"]
    yield f"stages at {ranked} ranked, CPU ms in process: {total:.2f} in all"
    for stage, spent in stages["by_stage_ms"].items():
        bound = stages["bounds_ms"].get(stage)
        beside = f"   bound {bound:.3f}, {spent / bound:.1f} times it" if bound else ""
        yield f"  {stage:<22}{spent:>8.3f}{spent / total:>7.0%}{beside}"
    size, bound = stages["impression_bytes"], stages["bounds_ms"]["log"]
    yield f"  {'log one impression':<22}{stages['log_ms']:>8.3f}         {size:.0f} bytes; memcpy bound {bound:.5f}"
    yield ""


def _verdict(holds: bool) -> str:
    return "meets" if holds else "MISSES"
