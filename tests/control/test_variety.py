"""Each kind of variety is the published one: checked against determinants and Gram-Schmidt done the long way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mainstem.base.request import Pool, Request
from mainstem.control.slate import SlateRules, SurfaceControl
from mainstem.control.slate_kernel import fill
from mainstem.control.slate_task import DETERMINANTAL, SLIDING_SPECTRUM, SPECTRUM_WINDOW, SlateTask
from mainstem.control.variety import NONE, SUNK, variety


def asked(mode: int, trade_off: float, count: int, n: int, seed: int, d: int = 40) -> tuple[SlateTask, np.ndarray]:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n + 1, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    score = np.sort(random.normal(size=n))[::-1].copy()
    made = variety(mode, trade_off, score, np.arange(n), count, np.zeros(n + 1, np.int32), vectors)
    none = np.empty((0, n))
    task = SlateTask(
        count, score, made.mode, made.trade_off, made.gain, made.kept, made.category, made.gram, none.astype(np.int32),
        np.empty(0, np.int64), np.empty(0, np.int64), none.astype(bool), np.empty(0, np.int64), 0, 0.0, 0.0,
        np.empty((2, 0)),
    )  # fmt: skip
    return task, vectors[:n].astype(float)


def relevance(task: SlateTask) -> np.ndarray:
    height = task.score - task.score[len(task.gain) - 1]
    return height / height[0]


@pytest.mark.parametrize("seed", range(4))
def test_determinantal_takes_what_makes_the_largest_determinant(seed):
    task, vectors = asked(DETERMINANTAL, 0.6, 6, 24, seed)
    alike = vectors @ vectors.T
    chosen: list[int] = []
    for _ in range(6):
        rest = [i for i in range(24) if i not in chosen]

        def worth(i: int) -> float:
            held = [*chosen, i]
            return 0.6 * relevance(task)[held].sum() + 0.4 * np.linalg.slogdet(alike[np.ix_(held, held)])[1]

        chosen.append(max(rest, key=worth))
    assert fill(task).slate.tolist() == chosen


@pytest.mark.parametrize("seed", range(3))
def test_sliding_spectrum_takes_what_adds_most_volume_to_the_last_places(seed):
    count, n = SPECTRUM_WINDOW + 6, 60
    task, vectors = asked(SLIDING_SPECTRUM, 0.5, count, n, seed)
    rest, chosen, window = vectors.copy(), [], []
    for _ in range(count):
        volume = np.prod([np.linalg.norm(added) for added, _ in window])
        worth = 0.5 * relevance(task) + 0.5 * volume * np.linalg.norm(rest, axis=1)
        worth[chosen] = -np.inf
        pick = int(worth.argmax())
        chosen.append(pick)
        added = rest[pick].copy()
        along = rest @ added / (added @ added)
        rest = rest - along[:, None] * added
        window.append((added, along))
        if len(window) == SPECTRUM_WINDOW:  # the oldest no longer counts: what it took is given back
            oldest, share = window.pop(0)
            rest = rest + share[:, None] * oldest
    assert fill(task).slate.tolist() == chosen


def control(kind: str, share: float, vectors: np.ndarray) -> SurfaceControl:
    unknown = np.zeros(len(vectors), np.int32)
    rules = SlateRules(variety=share, variety_by=kind)
    return SurfaceControl({"feed": ()}, {"feed": rules}, unknown, unknown, 1, vectors=vectors)


@pytest.mark.parametrize("kind", ["determinantal", "sliding_spectrum"])
def test_of_two_items_that_are_the_same_the_second_waits(kind):
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8], [0, 0]], np.float32)
    asked = (
        Request(1, 1, "feed", 0, 2),
        None,
        Pool(np.arange(4), np.zeros(4, np.uint32), np.zeros(4)),
        np.array([4.0, 3, 2, 1]),
    )
    chosen = control(kind, 0.4, vectors).select(*asked)
    assert chosen.order.tolist() == [0, 2]
    assert ("variety", 2, "promoted") in chosen.fired
    assert control(kind, 1.0, vectors).select(*asked).order.tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["determinantal", "sliding_spectrum"])
def test_more_variety_never_shows_more_of_the_same(kind):
    random = np.random.default_rng(0)
    vectors = random.normal(size=(81, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pool = Pool(np.arange(80), np.zeros(80, np.uint32), np.zeros(80))
    likeness = []
    for share in (0.0, 0.5, 0.9, 1.0):
        order = (
            control(kind, share, vectors).select(Request(1, 1, "feed", 0, 6), None, pool, random.normal(size=80)).order
        )
        likeness.append(np.mean([abs(vectors[i] @ vectors[j]) for i, j in combinations(order.tolist(), 2)]))
    assert likeness[0] < likeness[-1]


def test_nothing_is_made_where_variety_is_off_or_there_is_nothing_to_choose():
    vectors, codes, rows = np.zeros((9, 2), np.float32), np.zeros(9, np.int32), np.arange(8)
    assert variety(DETERMINANTAL, 1.0, np.arange(8.0)[::-1], rows, 3, codes, vectors) is NONE
    assert variety(DETERMINANTAL, 0.5, np.full(8, SUNK), rows, 3, codes, vectors) is NONE
