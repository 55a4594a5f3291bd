"""Is the plan one that can be steered by? The fourteen checks of the DCMA, on what a plan here holds.

Source: Defense Contract Management Agency, 14-point schedule assessment; thresholds as published there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from mainstem.program.checks import link_parts
from mainstem.program.critical_path import Schedule, schedule_network
from mainstem.program.network import Network, calendar_of, network_of
from mainstem.program.records import Program

LONG_DAYS = 44.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the fourteen checks: the share (or index) found, its threshold, and the records behind it."""

    number: int
    check: str
    value: float | None
    limit: str
    passed: bool
    records: tuple[str, ...]
    sentence: str


def lint(program: Program, baseline: Program | None = None) -> list[Finding]:
    """The fourteen checks; those that need a baseline or a day (``as_of``) say so when there is none."""
    network = network_of(program)
    done = schedule_network(network)
    today = program.program.as_of
    return [
        *_logic(program),
        *_dates(program, network, done),
        _missed(program, baseline, today),
        _test(program, network),
        *_indices(program, baseline, today, done.end),
    ]


def _logic(program: Program) -> list[Finding]:
    nodes = program.tasks | program.milestones
    tasks = _open(program)
    links = [(name, *link_parts(link, nodes)) for name in sorted(nodes) for link in nodes[name].after]
    followed = {before for _, before, _ in links}
    loose = [name for name in tasks if name not in followed and not program.tasks[name].after] if len(tasks) > 1 else []
    among, of_links = len(tasks) or 1, len(links) or 1
    bound = [name for name in tasks if program.tasks[name].not_before is not None]
    return [
        _share(1, "no predecessor and no successor", loose, among, 0.05),
        _share(2, "leads", [name for name, _, lag in links if lag < 0], of_links, 0.0),
        _share(3, "lags", [name for name, _, lag in links if lag > 0], of_links, 0.05),
        _share(4, "links that are not finish to start", [], of_links, 0.1),
        _share(5, "hard constraints", bound, among, 0.05),
    ]


def _dates(program: Program, network: Network, done: Schedule) -> list[Finding]:
    calendar = calendar_of(program)
    tasks, today = _open(program), program.program.as_of
    among = len(tasks) or 1
    slack = dict(zip(network.names, done.slack.tolist(), strict=True))
    finish = dict(zip(network.names, done.finish.tolist(), strict=True))
    middle = dict(zip(network.names, network.points[:, 1].tolist(), strict=True))
    late = [
        name
        for name, one in sorted(program.milestones.items())
        if one.due is not None and one.done is None and calendar.ends_on(finish[name]) > one.due
    ]
    ahead = [
        name
        for name, one in sorted(program.tasks.items())
        if today is not None and any(day is not None and day > today for day in (one.started, one.done))
    ]
    return [
        _share(6, "slack of more than 44 days", [name for name in tasks if slack[name] > LONG_DAYS], among, 0.05),
        _share(7, "a promised day is missed at the medians", late, len(program.milestones) or 1, 0.0),
        _share(8, "longer than 44 days", [name for name in tasks if middle[name] > LONG_DAYS], among, 0.05),
        _share(9, "begun or done after today", ahead, len(program.tasks) or 1, 0.0),
        _share(10, "nobody answers for it", [name for name in tasks if not program.owner_of(name)], among, 0.0),
    ]


def _open(program: Program) -> list[str]:
    return sorted(name for name, one in program.tasks.items() if one.done is None)


def _share(number: int, check: str, held: list[str], total: int, limit: float) -> Finding:
    value = len(held) / total
    told = f"{check}: {len(held)} of {total}" + (f" ({', '.join(held[:5])})" if held else "")
    return Finding(number, check, value, f"at most {limit:.0%}", value <= limit, tuple(held), told)


def _absent(number: int, check: str, why: str) -> Finding:
    return Finding(number, check, None, "", False, (), f"{check}: not known, {why}")


def _planned(baseline: Program, today: date) -> dict[str, date]:
    """When each task was to end, of those that were to have ended by today."""
    network = network_of(baseline)
    calendar = calendar_of(baseline)
    ends = zip(network.names, schedule_network(network).finish.tolist(), strict=True)
    return {n: day for n, at in ends if n in baseline.tasks and (day := calendar.ends_on(at)) <= today}


def _missed(program: Program, baseline: Program | None, today: date | None) -> Finding:
    check = "ended later than the baseline"
    if baseline is None or today is None:
        return _absent(11, check, "there is no baseline or no as_of")
    planned = _planned(baseline, today)
    held = []
    for name, day in sorted(planned.items()):
        ended = program.tasks[name].done if name in program.tasks else day
        if ended is None or ended > day:
            held.append(name)
    return _share(11, check, held, len(planned) or 1, 0.05)


def _test(program: Program, network: Network) -> Finding:
    """A critical task made 600 days longer must move the end by as much."""
    check = "critical path test"
    plain = schedule_network(network)
    critical = [n for n in plain.critical() if n in program.tasks and program.tasks[n].done is None]
    if not critical:
        return _absent(12, check, "no open task is critical")
    days = network.points[:, 1].copy()
    days[network.names.index(critical[0])] += 600.0
    moved = schedule_network(network, days).end - plain.end
    # A freeze window may swallow or add days, so the end moves by 600 give or take the windows.
    wide = float((network.windows[:, 1] - network.windows[:, 0] + 1).sum()) if len(network.windows) else 0.0
    good = abs(moved - 600.0) <= wide + 1e-6
    return Finding(
        12,
        check,
        moved,
        "600 days",
        good,
        (critical[0],),
        f"{check}: {critical[0]} + 600 days moves the end by {moved:g}",
    )


def _indices(program: Program, baseline: Program | None, today: date | None, end: float) -> list[Finding]:
    if baseline is None or today is None:
        why = "there is no baseline or no as_of"
        return [_absent(13, "critical path length index", why), _absent(14, "baseline execution index", why)]
    calendar = calendar_of(program)
    network = network_of(baseline)
    promised = calendar.through(calendar_of(baseline).ends_on(schedule_network(network).end))
    now = calendar.before(today)
    left = max(end - now, 1e-9)
    length = (left + promised - end) / left
    planned = _planned(baseline, today)
    finished = [n for n, one in program.tasks.items() if one.done is not None and one.done <= today]
    index = len(finished) / len(planned) if planned else 1.0
    told = f"critical path length index: {length:.2f}"
    also = f"baseline execution index: {index:.2f}, {len(finished)} done of {len(planned)} planned"
    return [
        Finding(13, "critical path length index", length, "at least 0.95", length >= 0.95, (), told),
        Finding(14, "baseline execution index", index, "at least 0.95", index >= 0.95, (), also),
    ]
