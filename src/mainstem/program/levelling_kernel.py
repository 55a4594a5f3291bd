"""The compiled search for a short schedule that no pool forbids: lists of tasks, decoded, pushed to and fro, crossed.

Everything is arrays; ``mainstem.program.levelling`` is what others call. Time is whole days. A schedule is made from a list
in which what comes before stands before: each task in turn starts as early as its links and the pools allow.

Source: serial schedule generation and activity-list crossover (Hartmann 1998, 2002); forward-backward improvement, also
called double justification (Valls, Ballestín and Quintanilla 2005, 2008).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SLACK = 1e-9
_A_TASK = 12
"""Steps of placing one task beside looking at pools: its links, its place in lists, its share of what is drawn."""


@njit(cache=True, nogil=True)
def next_random(state):
    """The next 64 mixed bits, as an integer of at least 0 (SplitMix64)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(2))


@njit(cache=True, nogil=True)
def _fits(room, needs, node, at):
    """Whether every pool has what a node needs on one day."""
    for pool in range(room.shape[1]):  # noqa: SIM110  compiled: a loop, not a generator
        if room[at, pool] < needs[node, pool] - _SLACK:
            return False
    return True


@njit(cache=True, nogil=True)
def _take(room, needs, node, start, days):
    for at in range(start, start + days):
        for pool in range(room.shape[1]):
            room[at, pool] -= needs[node, pool]


@njit(cache=True, nogil=True)
def _earliest_fit(room, needs, node, start, days):
    run, at = 0, start
    while run < days:
        if _fits(room, needs, node, at):
            run += 1
        else:
            run = 0
            start = at + 1
        at += 1
    return start


@njit(cache=True, nogil=True)
def _latest_fit(room, needs, node, end, days):
    run, at = 0, end - 1
    while run < days:
        if at < 0:
            return -1
        if _fits(room, needs, node, at):
            run += 1
        else:
            run = 0
            end = at
        at -= 1
    return end - days


@njit(cache=True, nogil=True)
def _place_fixed(room, needs, days, fixed, start):
    for node in range(days.shape[0]):
        if fixed[node] >= 0:
            start[node] = fixed[node]
            _take(room, needs, node, start[node], days[node])


@njit(cache=True, nogil=True)
def decode(order, days, needs, capacity, first, before, lags, release, fixed, frozen, windows, room, start, steps):
    """Earliest starts of a list's tasks; returns the end. What it did is added to ``steps``, in pools looked at.

    Shapes:
        order, days, release, fixed, frozen, start: n. needs: (n, pools). capacity, room: (time, pools).
    """
    room[:, :] = capacity
    pools = room.shape[1]
    steps[0] += room.shape[0] * pools // 8
    _place_fixed(room, needs, days, fixed, start)
    end = 0
    for place in range(order.shape[0]):
        node = order[place]
        if fixed[node] < 0:
            at = release[node]
            for link in range(first[node], first[node + 1]):
                at = max(at, start[before[link]] + days[before[link]] + lags[link])
            tried = at
            at = _earliest_fit(room, needs, node, at, days[node])
            steps[0] += (at - tried + 2 * days[node]) * pools + _A_TASK
            if frozen[node]:
                for w in range(windows.shape[0]):
                    if windows[w, 0] < at + days[node] <= windows[w, 1]:
                        at = windows[w, 1] + 1 - days[node]
            start[node] = at
            _take(room, needs, node, at, days[node])
        end = max(end, start[node] + days[node])
    return end


@njit(cache=True, nogil=True)
def _push_right(order, days, needs, capacity, after_first, after, after_lags, fixed, end, room, start, steps):
    """Each task as late as what follows it, the pools and the end allow, the last ones first."""
    room[:, :] = capacity
    pools = room.shape[1]
    steps[0] += room.shape[0] * pools // 8
    _place_fixed(room, needs, days, fixed, start)
    for place in range(order.shape[0] - 1, -1, -1):
        node = order[place]
        if fixed[node] >= 0:
            continue
        latest = end
        for link in range(after_first[node], after_first[node + 1]):
            if fixed[after[link]] < 0:
                latest = min(latest, start[after[link]] - after_lags[link])
        at = _latest_fit(room, needs, node, latest, days[node])
        steps[0] += (latest - at + days[node]) * pools + _A_TASK
        if at < 0:
            return False
        start[node] = at
        _take(room, needs, node, at, days[node])
    return True


@njit(cache=True, nogil=True)
def _sort_by(order, keys, rank, steps):
    """Orders a list by key; equal keys stay as in ``rank``. Insertion: lists are short and nearly in order."""
    for place in range(1, order.shape[0]):
        node = order[place]
        at = place - 1
        while at >= 0 and (
            keys[order[at]] > keys[node] or (keys[order[at]] == keys[node] and rank[order[at]] > rank[node])
        ):
            order[at + 1] = order[at]
            at -= 1
        order[at + 1] = node
        steps[0] += place - at


@njit(cache=True, nogil=True)
def improve(order, problem, room, start, scratch, keys, steps):
    """Decodes a list, pushes it to the right and back to the left; leaves the better list and start. Returns the end."""
    (
        days,
        needs,
        capacity,
        first,
        before,
        lags,
        release,
        fixed,
        frozen,
        windows,
        after_first,
        after,
        after_lags,
        rank,
    ) = problem
    end = decode(order, days, needs, capacity, first, before, lags, release, fixed, frozen, windows, room, start, steps)
    keys[:] = start + days
    _sort_by(order, keys, rank, steps)
    scratch[:] = start
    if _push_right(order, days, needs, capacity, after_first, after, after_lags, fixed, end, room, scratch, steps):
        keys[:] = scratch
        other = order.copy()
        _sort_by(other, keys, rank, steps)
        again = decode(
            other, days, needs, capacity, first, before, lags, release, fixed, frozen, windows, room, scratch, steps
        )
        if again <= end:
            order[:] = other
            start[:] = scratch
            end = again
    keys[:] = start
    _sort_by(order, keys, rank, steps)
    return end


@njit(cache=True, nogil=True)
def _random_list(order, late, first, before, after_first, after, state, greed):
    """A list drawn from what is ready, mostly what must end soonest; ``greed`` candidates are compared."""
    n = order.shape[0]
    waits = first[1:] - first[:-1]
    ready = np.empty(n, np.int64)
    count = 0
    for node in range(n):
        if waits[node] == 0:
            ready[count] = node
            count += 1
    waits = waits.copy()
    for place in range(n):
        best = next_random(state) % count
        for _ in range(greed - 1):
            other = next_random(state) % count
            if late[ready[other]] < late[ready[best]]:
                best = other
        node = ready[best]
        count -= 1
        ready[best] = ready[count]
        order[place] = node
        for link in range(after_first[node], after_first[node + 1]):
            waits[after[link]] -= 1
            if waits[after[link]] == 0:
                ready[count] = after[link]
                count += 1


@njit(cache=True, nogil=True)
def _cross(mother, father, child, taken, state):
    """Two-point crossover of lists: what comes before still stands before."""
    n = mother.shape[0]
    cut = next_random(state) % n
    until = next_random(state) % n
    if cut > until:
        cut, until = until, cut
    taken[:] = False
    for place in range(cut):
        child[place] = mother[place]
        taken[mother[place]] = True
    place = cut
    for node in father:
        if place >= until:
            break
        if not taken[node]:
            child[place] = node
            taken[node] = True
            place += 1
    for node in mother:
        if not taken[node]:
            child[place] = node
            place += 1


@njit(cache=True, nogil=True)
def _mutate(order, first, before, state, one_in):
    for place in range(order.shape[0] - 1):
        if next_random(state) % one_in:
            continue
        left, right = order[place], order[place + 1]
        linked = False
        for link in range(first[right], first[right + 1]):
            linked |= before[link] == left
        if not linked:
            order[place], order[place + 1] = right, left


@njit(cache=True, nogil=True)
def search(problem, late, bound, schedules, most, seed, people):
    """The shortest schedule found within a number of schedules and of steps; stops when the lower bound is met.

    Returns:
        Starts, the end, how many schedules were made, and the steps that took.
    """
    days, first, before, after_first, after = problem[0], problem[3], problem[4], problem[10], problem[11]
    n = days.shape[0]
    room = np.empty_like(problem[2])
    lists = np.empty((people, n), np.int64)
    ends = np.empty(people, np.int64)
    start, scratch, keys = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    best, best_end = np.zeros(n, np.int64), np.int64(1 << 40)
    child, taken = np.empty(n, np.int64), np.empty(n, np.bool_)
    state = np.array([np.uint64(seed)], np.uint64)
    made, still, filled, spins = 0, 0, 0, 0
    steps = np.zeros(1, np.int64)
    while made < schedules and steps[0] < most and best_end > bound and spins < 3 * schedules:
        spins += 1
        if filled < people:
            _random_list(child, late, first, before, after_first, after, state, 1 + filled % 6)
            at = filled
            filled += 1
            ends[at] = np.int64(1 << 40)
        else:
            a, b = next_random(state) % people, next_random(state) % people
            mother = a if ends[a] <= ends[b] else b
            a, b = next_random(state) % people, next_random(state) % people
            father = a if ends[a] <= ends[b] else b
            _cross(lists[mother], lists[father], child, taken, state)
            _mutate(child, first, before, state, 20)
            a, b = next_random(state) % people, next_random(state) % people
            at = a if ends[a] >= ends[b] else b
        end = improve(child, problem, room, start, scratch, keys, steps)
        made += 3
        still += 1
        if end <= ends[at]:
            ends[at] = end
            lists[at] = child
        if end < best_end:
            best_end, still = end, 0
            best[:] = start
        if still > 60 * people:
            # Everybody is alike by now: begin again, and keep what was best.
            filled, still = 0, 0
    return best, best_end, made, steps[0]


Problem = tuple[NDArray, ...]
