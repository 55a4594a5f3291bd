"""The compiled worlds of a plan: durations drawn, dates passed forward, the critical chain traced back.

Every draw is a pure function of seed, task and world, so that a task that is added, or a file in another order, changes no
other task's draw (common random numbers), and two plans are compared world by world.

Source: SplitMix64 (Steele, Lea, Flood 2014); inverse normal by Acklam's rational approximation (relative error 1.2e-9).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_A = (
    -39.69683028665376,
    220.9460984245205,
    -275.9285104469687,
    138.3577518672690,
    -30.66479806614716,
    2.506628277459239,
)
_B = (-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572)
_C = (
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838,
    -2.549732539343734, 4.374664141464968, 2.938163982698783,
)  # fmt: skip
_D = (0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416)
_LOW = 0.02425


@njit(cache=True, nogil=True)
def _mix(z):
    z += np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def uniform_of(key, world):
    """A number in (0, 1) fixed by a key and a world."""
    return (float(_mix(key ^ (np.uint64(world) * np.uint64(0xD1342543DE82EF95))) >> np.uint64(11)) + 0.5) * 2.0**-53


@njit(cache=True, nogil=True)
def normal_of(p):
    """The standard normal score of a chance."""
    if _LOW <= p <= 1 - _LOW:
        q = p - 0.5
        r = q * q
        top = (((((_A[0] * r + _A[1]) * r + _A[2]) * r + _A[3]) * r + _A[4]) * r + _A[5]) * q
        return top / (((((_B[0] * r + _B[1]) * r + _B[2]) * r + _B[3]) * r + _B[4]) * r + 1.0)
    q = math.sqrt(-2.0 * math.log(p if p < 0.5 else 1.0 - p))
    top = ((((_C[0] * q + _C[1]) * q + _C[2]) * q + _C[3]) * q + _C[4]) * q + _C[5]
    value = top / ((((_D[0] * q + _D[1]) * q + _D[2]) * q + _D[3]) * q + 1.0)
    return value if p < 0.5 else -value


@njit(cache=True, nogil=True)
def _lasts(middle, below, above, score):
    return middle * math.exp((above if score > 0 else below) * score)


@njit(cache=True, nogil=True)
def _draw_days(days, world, keys, middle, below, above, stream, common, own):
    for node in range(len(keys)):
        if below[node] == 0.0 and above[node] == 0.0:
            days[node] = middle[node]
            continue
        score = normal_of(uniform_of(keys[node], world))
        if stream[node] >= 0:
            score = common[stream[node]] + own * score
        days[node] = _lasts(middle[node], below[node], above[node], score)


@njit(cache=True, nogil=True)
def _add_risks(days, world, keys, chance, points, first, tasks):
    for risk in range(len(keys)):
        drawn = uniform_of(keys[risk], world)
        if drawn < chance[risk]:
            # What is left of the same draw, stretched to 0 to 1, says how bad it is.
            rest = min(max(drawn / chance[risk], 1e-12), 1 - 1e-12)
            late = _lasts(points[risk, 0], points[risk, 1], points[risk, 2], normal_of(rest))
            for at in range(first[risk], first[risk + 1]):
                days[tasks[at]] += late


@njit(cache=True, nogil=True)
def _pass_forward(start, finish, days, first, before, lags, earliest, begun, ended, frozen, windows, now):
    end = 0.0
    for node in range(len(days)):
        if ended[node] >= 0:
            finish[node] = ended[node]
            start[node] = begun[node] if begun[node] >= 0 else ended[node]
        elif begun[node] >= 0:
            start[node] = begun[node]
            finish[node] = max(begun[node] + days[node], now)
        else:
            at = earliest[node]
            for link in range(first[node], first[node + 1]):
                at = max(at, finish[before[link]] + lags[link])
            start[node] = at
            at += days[node]
            if frozen[node]:
                for w in range(windows.shape[0]):
                    if windows[w, 0] < at <= windows[w, 1]:
                        at = windows[w, 1] + 1.0
            finish[node] = at
        end = max(end, finish[node])
    return end


@njit(cache=True, nogil=True)
def _trace_back(chain, critical, start, finish, end, first, before, lags, begun, ended):
    for node in range(len(start)):
        chain[node] = finish[node] >= end - 1e-9
    for node in range(len(start) - 1, -1, -1):
        if chain[node] and ended[node] < 0:
            critical[node] += 1.0
            if begun[node] < 0:
                for link in range(first[node], first[node + 1]):
                    if finish[before[link]] + lags[link] >= start[node] - 1e-9:
                        chain[before[link]] = True


@njit(cache=True, nogil=True)
def run_worlds(
    first, before, lags, keys, middle, below, above, stream, stream_keys, shared, own, earliest, begun, ended, frozen,
    windows, now, risk_keys, risk_chance, risk_points, risk_first, risk_tasks, watched, timed, worlds,
):  # fmt: skip
    """Ends of every world and of watched nodes, days of timed ones, how often each is critical, the sums behind correlations."""
    n, streams = len(keys), len(stream_keys)
    days, start, finish = np.empty(n), np.empty(n), np.empty(n)
    chain = np.empty(n, np.bool_)
    common = np.empty(max(streams, 1))
    ends, seen, lasted = np.empty(worlds), np.empty((len(watched), worlds)), np.empty((len(timed), worlds))
    critical = np.zeros(n)
    mean_d, var_d, cov, mean_e, var_e = np.zeros(n), np.zeros(n), np.zeros(n), 0.0, 0.0
    for world in range(worlds):
        for s in range(streams):
            common[s] = shared * normal_of(uniform_of(stream_keys[s], world))
        _draw_days(days, world, keys, middle, below, above, stream, common, own)
        _add_risks(days, world, risk_keys, risk_chance, risk_points, risk_first, risk_tasks)
        end = _pass_forward(start, finish, days, first, before, lags, earliest, begun, ended, frozen, windows, now)
        ends[world] = end
        for at in range(len(watched)):
            seen[at, world] = finish[watched[at]]
        for at in range(len(timed)):
            lasted[at, world] = finish[timed[at]] - start[timed[at]]
        _trace_back(chain, critical, start, finish, end, first, before, lags, begun, ended)
        step = end - mean_e
        mean_e += step / (world + 1)
        var_e += step * (end - mean_e)
        for node in range(n):
            moved = days[node] - mean_d[node]
            mean_d[node] += moved / (world + 1)
            var_d[node] += moved * (days[node] - mean_d[node])
            cov[node] += moved * (end - mean_e)
    return ends, seen, lasted, critical / worlds, cov, var_d, var_e
