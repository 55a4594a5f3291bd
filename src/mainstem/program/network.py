"""The plan as arrays: tasks and milestones in an order in which what comes before stands before."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import ProgramError
from mainstem.program.checks import link_parts
from mainstem.program.durations import three_points
from mainstem.program.records import Milestone, Program, Task
from mainstem.program.workdays import WorkCalendar


@dataclass(frozen=True, slots=True)
class Network:
    """What a schedule is computed from.

    Shapes:
        names: n, in topological order that does not depend on the order of the file.
        points: (n, 3) quantiles of the duration in working days.
        first: n + 1; the links into node i are ``first[i]:first[i+1]`` of ``before`` and ``lags``.
        earliest: n, days before which it cannot start.
        ended: n, the day on which it ended, or -1; begun: the day on which it began, or -1.
        stream: n, which workstream (an index), or -1.
        frozen: n, whether it cannot land in a window; windows: (w, 2) from, until in working days, in order.
    """

    names: tuple[str, ...]
    points: NDArray[np.float64]
    first: NDArray[np.int64]
    before: NDArray[np.int64]
    lags: NDArray[np.float64]
    earliest: NDArray[np.float64]
    begun: NDArray[np.float64]
    ended: NDArray[np.float64]
    stream: NDArray[np.int64]
    frozen: NDArray[np.bool_]
    windows: NDArray[np.float64]
    now: float

    def links_into(self, node: int) -> list[tuple[int, float]]:
        """What comes directly before a node, with the days waited."""
        span = slice(self.first[node], self.first[node + 1])
        return list(zip(self.before[span].tolist(), self.lags[span].tolist(), strict=True))


def calendar_of(program: Program) -> WorkCalendar:
    """The working days of a plan."""
    return WorkCalendar(program.program.start, program.program.holidays)


def network_of(program: Program) -> Network:
    """The plan as arrays.

    Raises:
        ProgramError: Tasks wait for each other in a circle (``program-006``); the message names the path.
    """
    nodes: dict[str, Task | Milestone] = program.tasks | program.milestones
    links = {name: [link_parts(link, nodes) for link in one.after] for name, one in nodes.items()}
    names = _in_order({name: [at for at, _ in held] for name, held in links.items()})
    place = {name: at for at, name in enumerate(names)}
    calendar = calendar_of(program)
    now = float(calendar.before(program.program.as_of)) if program.program.as_of else 0.0
    streams = {name: at for at, name in enumerate(sorted(program.workstreams))}
    ordered = [nodes[name] for name in names]
    counts = [len(links[name]) for name in names]
    return Network(
        names=tuple(names),
        points=np.array([_points(name, nodes[name]) for name in names]).reshape(-1, 3),
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        before=np.array([place[at] for name in names for at, _ in links[name]], dtype=np.int64),
        lags=np.array([lag for name in names for _, lag in links[name]], dtype=np.float64),
        earliest=np.array([_earliest(one, calendar, now) for one in ordered]),
        begun=np.array([_day(getattr(one, "started", None), calendar, ends=False) for one in ordered]),
        ended=np.array([_day(one.done, calendar, ends=True) for one in ordered]),
        stream=np.array([streams.get(one.workstream, -1) for one in ordered], dtype=np.int64),
        frozen=np.array([isinstance(one, Milestone) and one.frozen for one in ordered], dtype=np.bool_),
        windows=_windows(program, calendar),
        now=now,
    )


def _points(name: str, node: Task | Milestone) -> tuple[float, float, float]:
    return three_points(node.duration, f"tasks.{name}.duration") if isinstance(node, Task) else (0.0, 0.0, 0.0)


def _earliest(node: Task | Milestone, calendar: WorkCalendar, now: float) -> float:
    given = getattr(node, "not_before", None)
    return max(float(calendar.before(given)) if given else 0.0, now if node.done is None else 0.0)


def _day(day: object, calendar: WorkCalendar, *, ends: bool) -> float:
    if day is None:
        return -1.0
    return float((calendar.through if ends else calendar.before)(day))  # type: ignore[arg-type]


def _windows(program: Program, calendar: WorkCalendar) -> NDArray[np.float64]:
    spans = sorted((calendar.before(one.first), calendar.through(one.last)) for one in program.freezes.values())
    return np.array(spans, dtype=np.float64).reshape(-1, 2)


def _in_order(links: dict[str, list[str]]) -> list[str]:
    """Kahn's order with the least name first, so that the same plan always has the same order."""
    waits = {name: len(held) for name, held in links.items()}
    follow: dict[str, list[str]] = {name: [] for name in links}
    for name, held in links.items():
        for one in held:
            follow[one].append(name)
    ready = [name for name, count in waits.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        name = heapq.heappop(ready)
        order.append(name)
        for one in follow[name]:
            waits[one] -= 1
            if waits[one] == 0:
                heapq.heappush(ready, one)
    if len(order) < len(links):
        raise _circle(links, set(links) - set(order))
    return order


def _circle(links: dict[str, list[str]], left: set[str]) -> ProgramError:
    at = min(left)
    path: list[str] = []
    while at not in path:
        path.append(at)
        at = min(one for one in links[at] if one in left)
    circle = [*path[path.index(at) :], at]
    return ProgramError(
        "tasks wait for each other in a circle: " + " waits for ".join(circle),
        code="program-006",
        hint=f"take {circle[1]!r} out of the `after` of {circle[0]!r}, or another link of the circle",
    )
