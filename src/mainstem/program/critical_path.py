"""When each task is, how much slack it has, and why it is, or is not, critical: the plan at its medians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ProgramError, did_you_mean
from mainstem.program.network import Network

_TIGHT = 1e-9


@dataclass(frozen=True, slots=True)
class Schedule:
    """Dates of every node in working days from the start.

    Shapes:
        start, finish, slack: n, in the order of the network. Slack is how much later a node may end without moving the end.
    """

    network: Network
    start: NDArray[np.float64]
    finish: NDArray[np.float64]
    slack: NDArray[np.float64]

    @property
    def end(self) -> float:
        """When everything is done, in working days."""
        return float(self.finish.max(initial=0.0))

    def critical(self) -> list[str]:
        """The nodes without slack, in order."""
        return [name for name, slack in zip(self.network.names, self.slack, strict=True) if slack <= _TIGHT]


@dataclass(frozen=True, slots=True)
class Why:
    """Why a node is, or is not, critical."""

    name: str
    critical: bool
    slack: float
    path: tuple[str, ...]
    sentence: str


def schedule_network(network: Network, durations: NDArray[np.float64] | None = None) -> Schedule:
    """The earliest dates of every node, and their slack.

    Args:
        network: The plan.
        durations: Days of each node; the medians when left out.

    Source: the critical path method (Kelley and Walker 1959), with landing windows.
    """
    days = network.points[:, 1] if durations is None else durations
    n = len(network.names)
    start, finish = np.zeros(n), np.zeros(n)
    for node in range(n):
        start[node], finish[node] = _dates(network, node, finish, float(days[node]))
    latest = np.full(n, finish.max(initial=0.0))
    for node in range(n - 1, -1, -1):
        # What a window gives back is slack too: a node that waits for the end of a freeze may be late for nothing.
        gap = finish[node] - start[node]
        waited = gap - days[node] if network.frozen[node] and network.ended[node] < 0 else 0.0
        late_start = latest[node] - gap + max(waited, 0.0)
        if network.begun[node] >= 0 or network.ended[node] >= 0:
            continue
        for before, lag in network.links_into(node):
            latest[before] = min(latest[before], late_start - lag)
    return Schedule(network, start, finish, np.maximum(latest - finish, 0.0))


def _dates(network: Network, node: int, finish: NDArray[np.float64], days: float) -> tuple[float, float]:
    if network.ended[node] >= 0:
        ended = float(network.ended[node])
        return (float(network.begun[node]) if network.begun[node] >= 0 else max(ended - days, 0.0)), ended
    if network.begun[node] >= 0:
        begun = float(network.begun[node])
        return begun, max(begun + days, network.now)
    ready = max((finish[before] + lag for before, lag in network.links_into(node)), default=0.0)
    start = max(float(network.earliest[node]), ready)
    end = start + days
    if network.frozen[node]:
        for opens, closes in network.windows:
            # Landing after `opens` working days is landing on the last day before the window.
            if opens < end <= closes:
                end = float(closes) + 1.0
    return start, end


def why_critical(schedule: Schedule, name: str) -> Why:
    """Why is this node critical, or why is it not?

    Raises:
        ProgramError: The plan has no such node (``program-005``).
    """
    network = schedule.network
    if name not in network.names:
        raise ProgramError(
            f"{name!r} is neither a task nor a milestone", code="program-005", hint=did_you_mean(name, network.names)
        )
    node = network.names.index(name)
    slack = float(schedule.slack[node])
    if network.ended[node] >= 0:
        return Why(name, False, slack, (name,), f"{name} is done, so it moves nothing.")
    path = (*_back(schedule, node), name, *_forward(schedule, node))
    if slack <= _TIGHT:
        sentence = f"{name} is critical: any day later moves the end, along {' → '.join(path)}."
        return Why(name, True, slack, path, sentence)
    last = path[-1]
    spare = f"the chain it feeds ends {slack:g} working days before it would hold anything up"
    return Why(name, False, slack, path, f"{name} is not critical: {spare} ({' → '.join(path)}; it ends in {last}).")


def _back(schedule: Schedule, node: int) -> list[str]:
    """What drove the start of a node, from the first cause on."""
    chain: list[str] = []
    while True:
        links = schedule.network.links_into(node)
        if schedule.network.begun[node] >= 0 or schedule.network.ended[node] >= 0:
            return chain
        tight = [at for at, lag in links if abs(schedule.finish[at] + lag - schedule.start[node]) <= _TIGHT]
        if not tight:
            return chain
        node = min(tight)
        chain.insert(0, schedule.network.names[node])


def _forward(schedule: Schedule, node: int) -> list[str]:
    """What the node's lateness would move first, to the end."""
    chain: list[str] = []
    network = schedule.network
    while True:
        followers = [
            (schedule.slack[other], other)
            for other in range(node + 1, len(network.names))
            if network.begun[other] < 0 and any(before == node for before, _ in network.links_into(other))
        ]
        if not followers:
            return chain
        node = int(min(followers)[1])
        chain.append(network.names[node])
