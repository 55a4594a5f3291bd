"""What Prometheus is told: how many requests, how fast, where the time went, and what was degraded or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mainstem.api.launch_meters import LaunchMeters
from mainstem.base.request import Slate

BUCKETS_S: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class FeatureMeters:
    """What the last ``mainstem parity verify`` found, as gauges; nothing is shown before there is evidence."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, about: str, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(f"mainstem_feature_{name}", about, labels, registry=registry)

        self._match = gauge("parity_match_ratio", "Values equal in every bit served and recomputed, 0 to 1", ["stack"])
        self._psi = gauge("drift_psi_max", "Largest stability index beyond chance since training", ["feature"])
        self._alarms = gauge("alarms", "Alarms of the last drift evidence")
        self._age = gauge("freshness_seconds", "Age of the newest outcome in the memories; NaN before the first")
        self._alarms.set(float("nan"))
        self._age.set(float("nan"))
        self._read: tuple[int, int] | None = None

    def fresh(self, age_s: float) -> None:
        """Sets how old the newest outcome is."""
        self._age.set(age_s)

    def read(self, folder: Path) -> None:
        """Takes the evidence in when it changed since the last call. Evidence that is broken leaves the gauges as they are."""
        files = (folder / "feature_parity.json", folder / "feature_drift.json")
        stamp = (_changed(files[0]), _changed(files[1]))
        if stamp == self._read:
            return
        self._read = stamp
        parity, drift = (_decoded(file) for file in files)
        if parity is not None:
            self._match.clear()
            for one in parity["stacks"]:
                self._match.labels(one["stack"]).set(one["matched"] / one["cells"] if one["cells"] else 0.0)
        if drift is not None:
            self._psi.clear()
            if drift["psi_worst"]:
                self._psi.labels(drift["psi_worst"]).set(drift["psi_max"])
            self._alarms.set(len(drift["alarms"]))


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _decoded(file: Path) -> Any | None:
    try:
        return msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


class Meters:
    """The counters of one process. Each ``Service`` has its own, so that two in one process do not mix."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self._requests = Counter("mainstem_requests", "Requests answered", ["route", "surface", "status"], registry=own)
        self._latency = Histogram(
            "mainstem_rank_seconds",
            "Time from the whole body to the answer",
            ["surface"],
            buckets=BUCKETS_S,
            registry=own,
        )
        self._stages = Counter("mainstem_stage_seconds", "Time spent in a stage", ["stage"], registry=own)
        self._known_stages: dict[str, Counter] = {}
        self._degraded = Counter("mainstem_degraded", "Answers in which a part was replaced", ["part"], registry=own)
        self._events = Counter("mainstem_events", "Feedback records", ["outcome"], registry=own)
        self.queue = Gauge("mainstem_queue", "Requests waiting or running", registry=own)
        self.lag = Gauge("mainstem_log_lag", "Outcomes not yet in the memories", registry=own)
        self.offset = Gauge("mainstem_log_offset", "Last outcome in the memories", registry=own)
        self.refused = Gauge("mainstem_log_refused", "Outcomes the memories could not take in", registry=own)
        self.written = Gauge("mainstem_impressions_written", "Impressions on disk", registry=own)
        self.dropped = Gauge("mainstem_impressions_dropped", "Impressions that were not written", registry=own)
        self.mirrored = Gauge("mainstem_shadow_mirrored", "Requests mirrored", registry=own)
        self.unmirrored = Gauge("mainstem_shadow_dropped", "Requests the mirror had no room for", registry=own)
        self.features = FeatureMeters(own)
        self.launches = LaunchMeters(own)

    def answered(self, route: str, surface: str, status: int) -> None:
        """Counts one answer."""
        self._requests.labels(route, surface, str(status)).inc()

    def ranked(self, slate: Slate, seconds: float, *, stages: bool = True) -> None:
        """Counts one slate: its time, the time of its stages where they are our own, and what was replaced."""
        self._latency.labels(slate.surface).observe(seconds)
        if stages and slate.trace is not None:
            for stage, spent_ms in slate.trace.timings_ms.items():
                self._stage(stage).inc(spent_ms / 1e3)
        for reason in slate.degraded:
            self._degraded.labels(part_of(reason)).inc()

    def _stage(self, name: str) -> Counter:
        """The counter of a stage, found once: looking a label up costs more than counting."""
        known = self._known_stages.get(name)
        if known is None:
            known = self._known_stages[name] = self._stages.labels(name)
        return known

    def took(self, accepted: int, duplicates: int) -> None:
        """Counts the records of one acknowledged write."""
        self._events.labels("accepted").inc(accepted)
        self._events.labels("duplicate").inc(duplicates)

    def page(self) -> tuple[bytes, bytes]:
        """The text Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST.encode()


def part_of(reason: str) -> str:
    """The part a degradation names: what stands before its error, so that a label has few values."""
    name, _, rest = reason.partition(": ")
    return name if not name.endswith("source") else f"{name}:{rest.split(':')[0]}"
