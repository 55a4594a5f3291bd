"""An outside flag service for tests: the SDK's own in-memory provider, whose flag ``feed-new`` is set by hand."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider


@dataclass
class Service:
    """What the flag says: of units by name, else ``otherwise``; fails or hangs on command."""

    arms: dict[str, str] = field(default_factory=dict)
    otherwise: str = "outside"
    reason: str = "SPLIT"
    broken: str = ""
    gate: threading.Event | None = None
    asked: list[str] = field(default_factory=list)
    ended: bool = False

    def told(self, flag: Any, context: Any) -> FlagResolutionDetails[str]:
        self.asked.append(context.targeting_key)
        if self.gate is not None:
            self.gate.wait(10)
        if self.broken:
            raise ConnectionError(self.broken)
        return FlagResolutionDetails(self.arms.get(context.targeting_key, self.otherwise), reason=self.reason)  # type: ignore[arg-type]


service = Service()


class Made(InMemoryProvider):
    """The provider of the service."""

    def __init__(self) -> None:
        def told(flag: Any, context: Any) -> FlagResolutionDetails[str]:
            return service.told(flag, context)

        super().__init__({"feed-new": InMemoryFlag("none", {"none": "outside"}, context_evaluator=told)})

    def shutdown(self) -> None:
        service.ended = True


def reset() -> Service:
    """A service that says nothing of anybody."""
    global service
    service = Service()
    return service


def broken() -> None:
    """Makes no provider."""
    raise OSError("no such host")


number = 7
