"""What Prometheus is told of launches: who was served as which arm by which stack, and what was lost on the way."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from mainstem.api.arms import Call
from mainstem.api.relay import Relay
from mainstem.base.request import Slate


class LaunchMeters:
    """Counters of one process; nothing is shown before there is a launch."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, about: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"mainstem_{name}", about, labels, registry=registry)

        self._served = Counter(
            "mainstem_launch_requests",
            "Requests of launched surfaces answered",
            ["launch", "surface", "arm", "stack"],
            registry=registry,
        )
        self._failed = Counter(
            "mainstem_legacy_failed",
            "Requests that the unified stack answered because the legacy stack did not",
            ["stack"],
            registry=registry,
        )
        self._unheard = gauge("legacy_unheard", "Legacy slates that the memories did not hear of")
        self._dropped = gauge("launch_shadow_dropped", "Mirrored requests of a launch that there was no room for")
        self._told = gauge("legacy_told_offset", "Last outcome that a legacy stack was told", ("stack",))
        self._passed = gauge("legacy_passed_over", "Outcomes that a legacy stack refused")

    def served(self, call: Call, slate: Slate) -> None:
        """Counts one answer."""
        self._served.labels(call.launch, call.surface, call.arm or "outside", slate.stack).inc()

    def stood_in(self, stack: str) -> None:
        """Counts one answer that a legacy stack owed."""
        self._failed.labels(stack).inc()

    def gauges(self, unheard: int, dropped: int, relay: Relay | None) -> None:
        """Sets what is counted elsewhere."""
        self._unheard.set(unheard)
        self._dropped.set(dropped)
        if relay is not None:
            self._passed.set(relay.passed_over)
            for name, offset in relay.places().items():
                self._told.labels(name).set(offset)
