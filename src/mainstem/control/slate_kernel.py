"""The compiled pass that fills a slate: the same answers as ``slate_plain``, with counts kept instead of made anew."""

from __future__ import annotations

import math

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


def fill(task: SlateTask) -> Filled:
    """The slate of a task: greedily with variety, caps and spacing; then quotas; then chance."""
    k, lifted, slate, chances, charged, moves, n_moves, crowded = _fill(
        task.count, task.score, task.mode, task.trade_off, task.gain, task.kept, task.category, task.gram,
        task.codes, task.caps, task.gaps, task.members, task.least, task.hard, task.soft_price, task.share, task.draws,
    )  # fmt: skip
    return Filled(slate[:k], chances[:k], lifted, charged, moves[:n_moves], crowded)


@njit(cache=True, nogil=True)
def _fill(
    count: int, score, mode: int, trade_off: float, gain, kept, category, gram, codes, caps, gaps, members, least,
    hard: int, soft_price: float, share: float, draws,
):  # fmt: skip
    n = len(score)
    slate = np.empty(count, np.int64)
    lifted = np.zeros(n, np.bool_)
    chances = np.ones(count, np.float64)
    charged = np.zeros(n, np.int16)
    taken = np.zeros(n, np.bool_)
    held = np.zeros(codes.shape, np.int32)
    met = np.zeros(len(least), np.int64)
    moves = np.empty((count * (len(least) + 1), 3), np.int64)
    k = _greedy(
        count, mode, trade_off, gain, kept, category, gram, codes, caps, gaps, slate, lifted, charged, taken, held
    )  # fmt: skip
    for place in range(k):
        for quota in range(len(least)):
            met[quota] += members[quota, slate[place]]
    n_moves = 0
    for quota in range(len(least)):
        n_moves = _meet(
            quota, quota >= hard, k, score, codes, caps, gaps, members, least, hard, soft_price, slate, taken,
            held, met, moves, n_moves,
        )  # fmt: skip
    if share > 0:
        n_moves = _explore(
            k, codes, caps, gaps, members, least, share, draws, slate, taken, held, met, chances, moves, n_moves
        )
    crowded = np.zeros(len(gaps), np.int64)
    for attribute in range(len(gaps)):
        for place in range(k):
            crowded[attribute] += _too_near(codes, gaps, slate, place, slate[place], place, attribute)
    return k, lifted, slate, chances, charged, moves, n_moves, crowded


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
            for other in range(codes.shape[1]):
                held[attribute, other] += change * (codes[attribute, other] == code)


@njit(cache=True, nogil=True)
def _pick(gain, worth, codes, caps, gaps, slate, k: int, taken, held, full, window: int, spaced: bool) -> int:
    """The open candidate of the highest gain, those beyond the window after all of it; -1 when nobody may stand there."""
    best = -1
    for i in range(window):
        better = not taken[i] and full[i] < 0 and (best < 0 or worth[i] > worth[best])
        if better and (not spaced or _near(codes, gaps, slate, k, i, k) < 0):
            best = i
    if best >= 0:
        return best
    for i in range(window, len(taken)):
        if not taken[i] and full[i] < 0 and (not spaced or _near(codes, gaps, slate, k, i, k) < 0):
            return i
    return -1


@njit(cache=True, nogil=True)
def _charge(worth, codes, caps, gaps, slate, k: int, taken, full, charged, pick: int, window: int) -> bool:
    """Charges those who stood before the pick; True when one of them might have had the place but for variety."""
    passed = False
    last = len(taken) if pick < 0 or pick < window else pick
    for i in range(last):
        if taken[i] or i == pick or (charged[i] != 0 and i > pick):
            continue
        if pick < 0:
            before = True
        elif pick < window:
            if i >= window:
                break
            before = worth[i] > worth[pick] or (worth[i] == worth[pick] and i < pick)
        else:
            before = True
        if not before and i > pick:
            continue
        if full[i] >= 0:
            if before and charged[i] == 0:
                charged[i] = 1 + full[i]
            continue
        near = _near(codes, gaps, slate, k, i, k)
        if near >= 0:
            if before and charged[i] == 0:
                charged[i] = 1 + len(caps) + near
        elif pick >= 0 and i < pick:
            passed = True
    return passed


@njit(cache=True, nogil=True)
def _greedy(
    count: int, mode: int, trade_off: float, gain, kept, category, gram, codes, caps, gaps, slate, lifted, charged,
    taken, held,
) -> int:  # fmt: skip
    """Fills place by place; how many could be filled."""
    n = len(taken)
    window = 0 if mode == NO_VARIETY else len(gain)
    worth = np.empty(window, np.float64)
    free = np.ones(window, np.float64)
    norms = np.zeros(count, np.float64)
    rows = count if mode >= DETERMINANTAL else 0
    shares = np.empty((rows, window), np.float64)
    full = np.full(n, -1, np.int64)
    compared = 0
    _worth(mode, trade_off, gain, free, norms, compared, worth)
    for k in range(count):
        pick = _pick(gain, worth, codes, caps, gaps, slate, k, taken, held, full, window, True)
        if pick < 0:
            pick = _pick(gain, worth, codes, caps, gaps, slate, k, taken, held, full, window, False)
        passed = _charge(worth, codes, caps, gaps, slate, k, taken, full, charged, pick, window)
        if pick < 0:
            return k
        lifted[pick] = passed and pick < window
        slate[k] = pick
        taken[pick] = True
        _hold(codes, caps, held, pick, 1)
        for attribute in range(len(caps)):
            if caps[attribute] > 0 and codes[attribute, pick] > 0 and held[attribute, pick] >= caps[attribute]:
                for i in range(n):
                    if codes[attribute, i] == codes[attribute, pick] and (full[i] < 0 or full[i] > attribute):
                        full[i] = attribute
        if pick < window:
            if mode == DISCOUNT:
                _discount(gain, kept, category, slate, k + 1, window, pick, worth)
            else:
                compared = _compare(mode, gram, pick, compared, free, norms, shares)
                _worth(mode, trade_off, gain, free, norms, compared, worth)
    return count


@njit(cache=True, nogil=True)
def _discount(gain, kept, category, slate, k: int, window: int, pick: int, worth) -> None:
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
    for place in range(1, k):
        explores = draws[0, place] < share
        found = 0
        for i in range(n):
            if taken[i] or _full(codes, caps, held, i, slate[place]) >= 0:
                continue
            if _near(codes, gaps, slate, k, i, place) >= 0:
                continue
            if not _keeps_quotas(slate[place], i, members, least, met, len(least)):
                continue
            rest[found] = i
            found += 1
            if not explores:  # that there is one is enough to know the chance
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
