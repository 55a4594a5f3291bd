"""The effective pull of every weight of a surface, over requests of the workspace's own log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from mainstem.base.errors import RequestError, did_you_mean
from mainstem.base.heads import HEADS, WATCH
from mainstem.base.request import Request
from mainstem.data.log import Log
from mainstem.stacks.neutral import surface_values
from mainstem.stacks.run import run
from mainstem.value.pull import SurfacePull, surface_pull
from mainstem.workspace.layout import Workspace
from mainstem.workspace.log import open_log
from mainstem.workspace.platform import open_stack
from mainstem.workspace.shadow import sample_requests

Progress = Callable[[float, str], None]
_BUDGET_S: Final = 10.0


def pull_of(
    workspace: Workspace, surface: str, requests: int = 200, progress: Progress = lambda share, what: None
) -> SurfacePull:
    """What each term of a surface's value does to the order of its candidates; evidence ``pull_SURFACE``.

    Args:
        workspace: Whose log and model; requests are asked as of the log's end.
        surface: One that is served.
        requests: How many logged requests of the surface are asked again.
        progress: Told what is done.

    Raises:
        RequestError: The surface is not served (``request-001``).
    """
    known_surface(workspace, surface)
    log = open_log(workspace)
    progress(0.0, "opening the stack")
    stack = replace(open_stack(workspace, log), memories=(), claims=None)
    asked = requests_of(log, surface, requests, workspace.settings.seed)
    parts = []
    for at, request in enumerate(asked):
        trace = run(stack, request, source_budget_s=_BUDGET_S).trace
        parts.append(trace.terms if trace is not None else {})
        progress((at + 1) / len(asked), f"{surface}: {at + 1} requests")
    found = surface_pull(
        surface, surface_values(workspace.settings)[surface], [one for one in parts if one], rates_of(log, surface)
    )
    workspace.write_evidence(f"pull_{surface}", found)
    return found


def worthless_at_rates(workspace: Workspace) -> tuple[str, ...]:
    """A sentence for each surface by whose weights the average item of the log is worth less than nothing."""
    if not (workspace.log / "manifest.json").exists():
        return ()
    log, said = open_log(workspace), []
    for surface, expression in surface_values(workspace.settings).items():
        rates = rates_of(log, surface)
        known = {name: rate for name, rate in rates.items() if rate is not None}
        if expression.reads <= known.keys() and expression.logless and expression.at(known) < 0:
            told = ", ".join(f"{name} {known[name]:.4g}" for name in sorted(expression.reads))
            said.append(
                f"by {surface}'s weights the average item is worth {expression.at(known):.4g} (base rates: {told})"
            )
    return tuple(said)


def known_surface(workspace: Workspace, surface: str) -> None:
    """Refuses a surface that is not served."""
    served = workspace.settings.served()
    if surface not in served:
        raise RequestError(
            f"surface {surface!r} is not one of this workspace",
            code="request-001",
            status=404,
            hint=did_you_mean(surface, served),
        )


def requests_of(log: Log, surface: str, most: int, seed: int) -> list[Request]:
    """Logged requests of one surface, drawn evenly; from other surfaces' viewers where it has none."""
    drawn = sample_requests(log, 10 * most, seed)  # every surface gets at least a tenth of them
    here = [one for one in drawn if one.surface == surface]
    return here[:most] or [replace(one, surface=surface) for one in drawn[:most]]


def rates_of(log: Log, surface: str) -> dict[str, float | None]:
    """How often each head happens on a surface, and the seconds watched; None where the log does not tell."""
    here = log.impressions.filter(pl.col("surface") == surface)
    rates: dict[str, float | None] = {}
    for head in HEADS:
        known = here[head].drop_nulls().cast(pl.Float64).to_numpy() if head in here.columns else np.empty(0)
        rates[head] = float(known.mean()) if len(known) else None
    seconds = here["watch_ms"].drop_nulls().to_numpy() if "watch_ms" in here.columns else np.empty(0)
    rates[WATCH] = float(seconds.mean()) / 1_000 if len(seconds) else None
    return rates
