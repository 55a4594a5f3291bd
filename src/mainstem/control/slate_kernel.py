"""The compiled pass that fills a slate: the same answers as ``slate_plain``, with counts kept instead of made anew."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit

from mainstem.control.slate_task import (
    BY_CHANCE,
    BY_QUOTA,
    BY_SOFT_QUOTA,
    DETERMINANTAL,
    DISCOUNT,
    NO_VARIETY,
    SAME,
    SPECTRUM_WINDOW,
    Filled,
    SlateTask,
)

_START: Final = 0
"""Where counters begin; handed in, since what begins at a constant is compiled once as a constant and once as a number."""


def fill(task: SlateTask) -> Filled:
    """The slate of a task: greedily with variety, caps and spacing; then quotas; then chance."""
    n, q = len(task.score), len(task.least)
    count = min(task.count, n)
    slate = np.empty(count, np.int64)
    lifted, taken, charged = np.zeros(n, np.bool_), np.zeros(n, np.bool_), np.zeros(n, np.int16)
    k = _greedy(
        count, task.mode, task.trade_off, task.gain, task.kept, task.category, task.gram, task.codes, task.caps,
        task.gaps, slate, lifted, charged, taken, _START,
    )  # fmt: skip
    chances, crowded = np.ones(k), np.zeros(len(task.gaps), np.int64)
    moves = np.empty((k * (q + 1), 3), np.int64)
    n_moves = _settle(
        k, task.score, task.codes, task.caps, task.gaps, task.members, task.least, task.hard, task.soft_price,
        task.share, task.draws, slate, taken, chances, moves, crowded, _START,
    )  # fmt: skip
    return Filled(slate[:k], chances, lifted, charged, moves[:n_moves], crowded)


@njit(cache=True, nogil=True)
def _settle(
    k: int, score, codes, caps, gaps, members, least, hard: int, soft_price: float, share: float, draws, slate, taken,
    chances, moves, crowded, n_moves: int,
) -> int:  # fmt: skip
    """Quotas, then chance, on a slate that was filled greedily; how many moves that made."""
    if len(least) > 0 or share > 0:
        held, met = np.zeros(codes.shape, np.int32), np.zeros(len(least), np.int64)
        for place in range(k):
            _hold(codes, caps, held, slate[place], 1)
            for quota in range(len(least)):
                met[quota] += members[quota, slate[place]]
        for quota in range(len(least)):
            n_moves = _meet(
                quota, quota >= hard, k, score, codes, caps, gaps, members, least, hard, soft_price, slate, taken,
                held, met, moves, n_moves,
            )  # fmt: skip
        if share > 0:
            n_moves = _explore(
                k, codes, caps, gaps, members, least, share, draws, slate, taken, held, met, chances, moves, n_moves
            )
    for attribute in range(len(gaps)):
        if gaps[attribute] > 0:
            for place in range(k):
                crowded[attribute] += _too_near(codes, gaps, slate, place, slate[place], place, attribute)
    return n_moves


@njit(cache=True, nogil=True)
def _full(codes, caps, held, i: int, leaving: int) -> int:
    """The first attribute whose cap is full for a candidate, were another (-1: nobody) to leave; -1 when none is."""
    for attribute in range(len(caps)):
        if caps[attribute] > 0 and codes[attribute, i] > 0:
            freed = leaving >= 0 and codes[attribute, leaving] == codes[attribute, i]
            if held[attribute, i] - freed >= caps[attribute]:
                return attribute
    return -1


@njit(cache=True, nogil=True)
def _too_near(codes, gaps, slate, k: int, i: int, place: int, attribute: int) -> bool:
    """Whether an equal one of the first k stands nearer to the place than the gap allows."""
    if gaps[attribute] > 0 and codes[attribute, i] > 0:
        for other in range(max(0, place - gaps[attribute]), min(k, place + gaps[attribute] + 1)):
            if other != place and codes[attribute, slate[other]] == codes[attribute, i]:
                return True
    return False


@njit(cache=True, nogil=True)
def _near(codes, gaps, slate, k: int, i: int, place: int) -> int:
    """The first attribute whose spacing the candidate would break in this place; -1 when none."""
    for attribute in range(len(gaps)):
        if _too_near(codes, gaps, slate, k, i, place, attribute):
            return attribute
    return -1


@njit(cache=True, nogil=True)
def _hold(codes, caps, held, i: int, change: int) -> None:
    """Counts a candidate that enters or leaves the slate for all candidates of its values."""
    for attribute in range(len(caps)):
        code = codes[attribute, i]
        if caps[attribute] > 0 and code > 0:
            row, counts = codes[attribute], held[attribute]
            for other in range(len(row)):
                counts[other] += change if row[other] == code else 0


@njit(cache=True, nogil=True)
def _pick(open_worth, window: int, tail: int, closed, codes, gaps, slate, k: int, spaced: bool) -> int:
    """The open candidate of the highest worth, those beyond the window after all of it; -1 when nobody may stand there."""
    best, most = -1, -np.inf
    for i in range(window):
        if open_worth[i] > most and (not spaced or _near(codes, gaps, slate, k, i, k) < 0):
            best, most = i, open_worth[i]
    if best >= 0:
        return best
    for i in range(tail, len(closed)):
        if not closed[i] and (not spaced or _near(codes, gaps, slate, k, i, k) < 0):
            return i
    return -1


@njit(cache=True, nogil=True)
def _charge(worth, caps, full, closed, taken, codes, gaps, slate, k: int, pick: int, window: int, charged) -> bool:
    """Charges those who stood before the pick; True when one of them might have had the place but for variety."""
    passed = False
    last = len(taken) if pick < 0 else (window if pick < window else pick)
    for i in range(last):
        if taken[i]:
            continue
        above = pick < 0 or i < pick
        before = True
        if pick >= 0 and pick < window:
            before = worth[i] > worth[pick] or (worth[i] == worth[pick] and i < pick)
        if closed[i]:
            if before and charged[i] == 0:
                charged[i] = 1 + full[i]
            continue
        if not (before or above):
            continue
        near = _near(codes, gaps, slate, k, i, k)
        if near < 0:
            passed = passed or (above and pick >= 0)
        elif before and charged[i] == 0:
            charged[i] = 1 + len(caps) + near
    return passed


@njit(cache=True, nogil=True)
def _charge_capped(worth, full, pending, waiting: int, pick: int, charged) -> int:
    """As ``_charge`` for a pick of the window where nothing is spaced: only those whom a cap closed wait to be charged."""
    at = 0
    while at < waiting:
        i = pending[at]
        if worth[i] > worth[pick] or (worth[i] == worth[pick] and i < pick):
            charged[i] = 1 + full[i]
            waiting -= 1
            pending[at] = pending[waiting]
        else:
            at += 1
    return waiting


@njit(cache=True, nogil=True)
def _close(codes, caps, slate, k: int, window: int, full, closed, charged, open_worth, pending, waiting: int) -> int:
    """Closes all whom the last of the first k leaves no place under a cap; how many of the window now wait to be charged."""
    pick = slate[k - 1]
    for attribute in range(len(caps)):
        code = codes[attribute, pick]
        if caps[attribute] == 0 or code <= 0:
            continue
        row, alike = codes[attribute], 0
        for place in range(k):
            alike += row[slate[place]] == code
        if alike < caps[attribute]:
            continue
        for i in range(len(row)):
            if row[i] == code:
                if full[i] < 0 or full[i] > attribute:
                    full[i] = attribute
                if not closed[i]:
                    closed[i] = True
                    if i < window:
                        open_worth[i] = -np.inf
                        pending[waiting] = i
                        waiting += 1
    return waiting


@njit(cache=True, nogil=True)
def _greedy(
    count: int, mode: int, trade_off: float, gain, kept, category, gram, codes, caps, gaps, slate, lifted, charged, taken,
    start: int,
) -> int:  # fmt: skip
    """Fills place by place; how many could be filled."""
    n = len(taken)
    window = 0 if mode == NO_VARIETY else len(gain)
    worth, free = np.empty(window, np.float64), np.ones(window, np.float64)
    norms = np.zeros(count, np.float64)
    shares = np.empty((count if mode >= DETERMINANTAL else 0, window), np.float64)
    full, closed, pending = np.full(n, -1, np.int64), np.zeros(n, np.bool_), np.empty(window, np.int64)
    spaced = gaps.max() > 0 if len(gaps) else False
    compared, waiting, first, tail = start, start, start, window
    _worth(mode, trade_off, gain, free, norms, compared, worth)
    open_worth = worth.copy()
    for k in range(count):
        pick = _pick(open_worth, window, tail, closed, codes, gaps, slate, k, spaced)
        if pick < 0 and spaced:
            pick = _pick(open_worth, window, tail, closed, codes, gaps, slate, k, not spaced)
        if spaced or pick < 0 or pick >= window:
            passed = _charge(worth, caps, full, closed, taken, codes, gaps, slate, k, pick, window, charged)
        else:
            waiting = _charge_capped(worth, full, pending, waiting, pick, charged)
            while closed[first]:
                first += 1
            passed = first < pick
        if pick < 0:
            return k
        slate[k], lifted[pick], taken[pick], closed[pick] = pick, passed and pick < window, True, True
        if pick < window:
            open_worth[pick] = -np.inf
        waiting = _close(codes, caps, slate, k + 1, window, full, closed, charged, open_worth, pending, waiting)
        while tail < n and closed[tail]:
            tail += 1
        if pick < window:
            if mode == DISCOUNT:
                _discount(gain, kept, category, slate, k + 1, window, pick, worth, closed, open_worth)
            else:
                compared = _compare(mode, gram, pick, compared, free, norms, shares)
                _worth(mode, trade_off, gain, free, norms, compared, worth)
                for i in range(window):
                    open_worth[i] = -np.inf if closed[i] else worth[i]
    return count


@njit(cache=True, nogil=True)
def _discount(gain, kept, category, slate, k: int, window: int, pick: int, worth, closed, open_worth) -> None:
    """The others of the pick's category keep one share less."""
    code = category[pick]
    if code <= 0:
        return
    alike = 0
    for place in range(k):
        alike += slate[place] < window and category[slate[place]] == code
    for i in range(window):
        if category[i] == code:
            worth[i] = gain[i] * kept[alike]
            if not closed[i]:
                open_worth[i] = worth[i]


@njit(cache=True, nogil=True)
def _first_compared(mode: int, shown: int) -> int:
    return 0 if mode == DETERMINANTAL else max(0, shown - SPECTRUM_WINDOW + 1)


@njit(cache=True, nogil=True)
def _compare(mode: int, gram, pick: int, shown: int, free, norms, shares) -> int:
    """Takes the pick's direction from the others, and gives back that of one that stands too far above.

    Source: the incremental Cholesky step of Chen, Zhang and Zhou (NeurIPS 2018); with a window, the Gram-Schmidt step of Huang
    and others (KDD 2021), which is the same step and its undoing.
    """
    norm = math.sqrt(free[pick]) if free[pick] > SAME else 0.0
    first = _first_compared(mode, shown)
    share = shares[shown]
    share[:] = 0.0
    if norm > 0.0:
        for older in range(first, shown):
            times = shares[older, pick]
            for i in range(len(free)):
                share[i] += times * shares[older, i]
        for i in range(len(free)):
            share[i] = (float(gram[pick, i]) - share[i]) / norm
    for i in range(len(free)):
        free[i] = max(free[i] - share[i] * share[i], 0.0)
    norms[shown] = norm
    oldest = _first_compared(mode, shown + 1) - 1
    if oldest >= first:
        for i in range(len(free)):
            free[i] = min(free[i] + shares[oldest, i] * shares[oldest, i], 1.0)
    return shown + 1


@njit(cache=True, nogil=True)
def _worth(mode: int, trade_off: float, gain, free, norms, shown: int, worth) -> None:
    """What each candidate of the window adds now."""
    if mode == DETERMINANTAL:
        for i in range(len(worth)):
            worth[i] = gain[i] * free[i]
    elif mode == DISCOUNT:
        for i in range(len(worth)):
            worth[i] = gain[i]
    else:
        volume = 1.0
        for older in range(_first_compared(mode, shown), shown):
            volume *= norms[older]
        for i in range(len(worth)):
            worth[i] = trade_off * gain[i] + (1.0 - trade_off) * volume * math.sqrt(free[i])


@njit(cache=True, nogil=True)
def _meet(
    quota: int, soft: bool, k: int, score, codes, caps, gaps, members, least, hard: int, soft_price: float, slate,
    taken, held, met, moves, n_moves: int,
) -> int:  # fmt: skip
    """Gives places to members of a quota that has too few."""
    for i in range(len(score)):
        if met[quota] >= least[quota]:
            break
        if taken[i] or not members[quota, i]:
            continue
        place = _place_for(i, quota, soft, k, codes, caps, gaps, members, least, hard, slate, held, met)
        if place < 0:
            continue
        if soft and score[slate[place]] - score[i] > soft_price:
            break
        moves[n_moves, 0] = BY_SOFT_QUOTA if soft else BY_QUOTA
        _swap(place, i, codes, caps, members, slate, taken, held, met, moves, n_moves)
        n_moves += 1
    return n_moves


@njit(cache=True, nogil=True)
def _place_for(
    i: int, quota: int, soft: bool, k: int, codes, caps, gaps, members, least, hard: int, slate, held, met
) -> int:
    """The lowest place that no quota needs and no cap forbids; a hard quota may take the first place, or crowd, at last."""
    for relaxed in range(1 if soft else 2):
        for place in range(k - 1, 0 if soft else -1, -1):
            leaving = slate[place]
            if members[quota, leaving] or _full(codes, caps, held, i, leaving) >= 0:
                continue
            if not _keeps_quotas(leaving, i, members, least, met, len(least) if soft else hard):
                continue
            if relaxed or _near(codes, gaps, slate, k, i, place) < 0:
                return place
    return -1


@njit(cache=True, nogil=True)
def _keeps_quotas(leaving: int, i: int, members, least, met, quotas: int) -> bool:
    """Whether no quota that has not more than it should loses a place."""
    for quota in range(quotas):  # noqa: SIM110 - a generator does not compile
        if members[quota, leaving] and not members[quota, i] and met[quota] <= least[quota]:
            return False
    return True


@njit(cache=True, nogil=True)
def _is_needed(leaving: int, members, least, met) -> bool:
    """Whether some quota that has not more than it should counts it."""
    for quota in range(len(least)):  # noqa: SIM110 - a generator does not compile
        if members[quota, leaving] and met[quota] <= least[quota]:
            return True
    return False


@njit(cache=True, nogil=True)
def _swap(place: int, i: int, codes, caps, members, slate, taken, held, met, moves, n_moves: int) -> None:
    leaving = slate[place]
    moves[n_moves, 1] = i
    moves[n_moves, 2] = leaving
    for quota in range(len(met)):
        met[quota] += members[quota, i]
        met[quota] -= members[quota, leaving]
    _hold(codes, caps, held, leaving, -1)
    _hold(codes, caps, held, i, 1)
    taken[leaving] = False
    taken[i] = True
    slate[place] = i


@njit(cache=True, nogil=True)
def _explore(
    k: int, codes, caps, gaps, members, least, share: float, draws, slate, taken, held, met, chances, moves,
    n_moves: int,
) -> int:  # fmt: skip
    """Places whose draw says so go to one of those who may stand there; writes down the chance of every place."""
    n = len(taken)
    rest = np.empty(n, np.int64)
    spaced = gaps.max() > 0 if len(gaps) else False
    witness = 0
    for place in range(1, k):
        leaving = slate[place]
        explores = draws[0, place] < share
        kept = len(least) if _is_needed(leaving, members, least, met) else 0
        found = 0
        # that there is one is enough to know the chance, and one that could stand elsewhere is likely to
        for at in range(0 if explores else -1, n):
            i = at if at >= 0 else witness
            if taken[i] or _full(codes, caps, held, i, leaving) >= 0:
                continue
            if spaced and _near(codes, gaps, slate, k, i, place) >= 0:
                continue
            if kept and not _keeps_quotas(leaving, i, members, least, met, kept):
                continue
            rest[found] = i
            found += 1
            if not explores:
                witness = i
                break
        if found == 0:
            continue
        chances[place] = 1.0 - share
        if explores:
            chances[place] = share / found
            drawn = rest[min(int(draws[1, place] * found), found - 1)]
            moves[n_moves, 0] = BY_CHANCE
            _swap(place, drawn, codes, caps, members, slate, taken, held, met, moves, n_moves)
            n_moves += 1
    return n_moves


@njit(cache=True, nogil=True)
def _mixed(key):
    """As ``base.seeds.mix`` of one number."""
    z = key + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def draws(seed: int, request_id: int, count: int):
    """For each place, whether it explores and whom it shows: ``uniforms(seed, …)`` and ``uniforms(seed + 1, …)``.

    Shapes: [2, count].
    """
    out = np.empty((2, count), np.float64)
    for kind in range(2):
        state = _mixed(_mixed(np.uint64(seed + kind)) ^ np.uint64(request_id))
        for place in range(count):
            out[kind, place] = np.float64(_mixed(state ^ np.uint64(place)) >> np.uint64(11)) * 2.0**-53
    return out
