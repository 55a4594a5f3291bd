"""Slates to fill, made at random with every rule in play: for the test and the benchmark that the two passes are one."""

from __future__ import annotations

import numpy as np

from mainstem.control.slate_task import DETERMINANTAL, DISCOUNT, NO_VARIETY, SlateTask


def random_task(random: np.random.Generator, most: int = 60) -> SlateTask:
    """A task of up to ``most`` candidates; equal scores, unknown values, impossible quotas and identical items among them."""
    n, count = int(random.integers(0, most + 1)), int(random.integers(1, 14))
    mode = int(random.integers(0, 4))
    window = 0 if mode == NO_VARIETY else int(random.integers(0, n + 1))
    attributes, quotas = int(random.integers(0, 4)), int(random.integers(0, 4))
    score = np.sort(np.round(random.normal(size=n), int(random.integers(0, 4))))[::-1].copy()
    height = score[:window] - score[window - 1] if window else np.empty(0)
    share = float(random.choice([0.0, 0.3, 1.0]))
    trade_off = float(random.uniform(0, 1))
    vectors = random.normal(size=(window, 3)).astype(np.float32)
    vectors[random.random(window) < 0.2] = 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gram = vectors @ vectors.T
    np.fill_diagonal(gram, 1.0)
    return SlateTask(
        count=count,
        score=score,
        mode=mode,
        trade_off=trade_off,
        gain=np.exp(-random.uniform(0, 3, window)) if mode == DETERMINANTAL else height,
        kept=np.power(trade_off, np.arange(count + 1, dtype=np.float64)),
        category=random.integers(-1, 4, window if mode == DISCOUNT else 0).astype(np.int32),
        gram=gram if mode >= DETERMINANTAL else np.empty((0, 0), np.float32),
        codes=random.integers(-1, 7, (attributes, n)).astype(np.int32),
        caps=random.integers(0, 4, attributes),
        gaps=random.integers(0, 4, attributes),
        members=random.random((quotas, n)) < 0.2,
        least=random.integers(0, 5, quotas),
        hard=int(random.integers(0, quotas + 1)),
        soft_price=float(random.choice([0.0, 0.5, 9.0])),
        share=share,
        draws=random.random((2, count)),
    )
