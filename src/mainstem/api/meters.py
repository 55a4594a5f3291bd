"""What Prometheus is told: how many requests, how fast, where the time went, and what was degraded or dropped."""

from __future__ import annotations

from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mainstem.base.request import Slate

BUCKETS_S: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


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

    def answered(self, route: str, surface: str, status: int) -> None:
        """Counts one answer."""
        self._requests.labels(route, surface, str(status)).inc()

    def ranked(self, slate: Slate, seconds: float) -> None:
        """Counts one slate: its time, the time of its stages, and what was replaced."""
        self._latency.labels(slate.surface).observe(seconds)
        if slate.trace is not None:
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
