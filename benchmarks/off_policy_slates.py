"""``python -m benchmarks.off_policy_slates``: error and coverage of the slate methods where a place depends on those above.

Slates of five out of twelve items; a viewer who liked one is less likely to like the next. Six policies of known value.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import EvidenceError
from mainstem.evaluate.bandit_log import SlateLog
from mainstem.evaluate.off_policy_slates import SLATE_METHODS, estimate_slates

ITEMS, PLACES = 12, 5
Floats = NDArray[np.float64]


def given(above: NDArray[np.int64], taste: Floats) -> Floats:
    """A policy without repeats: by taste among what is not above."""
    p = np.tile(taste, (len(above), 1))
    p[np.arange(len(above))[:, None], above] = 0
    return p / p.sum(axis=1, keepdims=True)


def draw(
    taste: Floats, appeal: Floats, rows: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats, Floats]:
    items, chance = np.zeros((rows, 0), np.int64), []
    for _ in range(PLACES):
        p = given(items, taste)
        one = (p.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(max=ITEMS - 1)
        chance.append(p[np.arange(rows), one])
        items = np.column_stack([items, one])
    liked = np.zeros((rows, PLACES))
    for place in range(PLACES):
        tired = np.where(liked[:, :place].any(axis=1), 0.4, 1.0)
        liked[:, place] = rng.random(rows) < appeal[items[:, place]] * tired
    return items, liked, np.column_stack(chance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--seed", type=int, default=3)
    asked = parser.parse_args()
    began, rng = time.process_time(), np.random.default_rng(asked.seed)
    appeal, noise = rng.uniform(0.02, 0.4, ITEMS), rng.normal(0, 1, ITEMS)
    shown = np.exp(0.5 * noise)
    wanted = {
        "the same": shown,
        "uniform": np.ones(ITEMS),
        "sharper": np.exp(0.8 * noise),
        "nearer the truth": np.exp(0.5 * noise + 2 * appeal),
        "by the truth": np.exp(4 * appeal),
        "against it": np.exp(-0.1 * noise),
    }
    print(f"{asked.runs} runs of {asked.rows} slates of {PLACES} of {ITEMS} items, seed {asked.seed}")
    print(
        f"{'policy':18} {'truth':>7} {'ESS/n':>7} {'refused':>7} "
        + " ".join(f"{m:>11} {'covers':>7}" for m in SLATE_METHODS)
    )
    for name, taste in wanted.items():
        truth = float(draw(taste, appeal, 400_000, np.random.default_rng(1))[1].sum(axis=1).mean())
        errors: dict[str, list[float]] = {method: [] for method in SLATE_METHODS}
        covers: dict[str, list[bool]] = {method: [] for method in SLATE_METHODS}
        share, refused = 0.0, 0
        for run in range(asked.runs):
            items, liked, chance = draw(shown, appeal, asked.rows, np.random.default_rng((asked.seed, run)))
            log = SlateLog(items, liked, chance, np.arange(asked.rows), ITEMS)
            target = np.stack([given(items[:, :place], taste) for place in range(PLACES)], axis=1)
            for method in SLATE_METHODS:
                try:
                    found = estimate_slates(log, target, method)
                except EvidenceError:
                    refused += 1
                    continue
                errors[method].append(found.value - truth)
                covers[method].append(found.low <= truth <= found.high)
                share = found.effective_share
        print(
            f"{name:18} {truth:7.4f} {share:7.3f} {refused:7d} "
            + " ".join(
                f"{100 * np.sqrt(np.mean(np.square(errors[m] or [np.nan]))) / truth:11.2f} {np.mean(covers[m] or [np.nan]):7.3f}"
                for m in SLATE_METHODS
            )
        )
    print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
