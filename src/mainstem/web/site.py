"""What every page needs to answer: the live platform, the workspace's evidence, and figures that were drawn before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from mainstem.report.figure import Drawn
from mainstem.stacks.live import Live
from mainstem.web.catalogue import Catalogue, read_catalogue
from mainstem.workspace.layout import Workspace

T = TypeVar("T")
OnLive = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function on the thread that owns the live platform, and waits for its answer."""


async def inline(work: Callable[[], T]) -> T:
    """Runs it here: for a platform that nobody else is using."""
    return work()


@dataclass(frozen=True)
class Site:
    """The pages' one way to everything they show.

    Args:
        live: The running platform; None shows evidence alone.
        workspace: Where evidence and the log lie.
        on_live: How work reaches the thread that owns ``live``.
    """

    live: Live | None
    workspace: Workspace
    on_live: OnLive = inline
    drawn: Drawn = field(default_factory=Drawn)

    @cached_property
    def catalogue(self) -> Catalogue:
        """What the log knows of items and users, read when first asked for."""
        return read_catalogue(self.workspace.log)

    async def evidence(self, name: str) -> Any | None:
        """Stored evidence as plain values; None when there is none yet."""
        return await anyio.to_thread.run_sync(self.workspace.read_evidence, name)

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Runs what would hold the server up in a thread of its own."""
        return await anyio.to_thread.run_sync(work)
