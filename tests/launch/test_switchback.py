"""Switchbacks count blocks and not rows, and their p-value is even when nothing happened."""

from __future__ import annotations

import numpy as np
import pytest

from mainstem.base.errors import LaunchError
from mainstem.launch.switchback import Blocks, blocks_of, judge_switchback

HOUR = 3_600_000


def made(seed: int, blocks: int = 40, lift: float = 0.0, carry: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    new = rng.permutation(np.arange(blocks) % 2 == 0)
    rows = 30
    time = (np.arange(blocks)[:, None] * HOUR + np.sort(rng.integers(0, HOUR, (blocks, rows)), axis=1)).ravel()
    felt = np.repeat(new, rows)
    if carry:
        felt = np.where(time % HOUR < HOUR // 4, np.repeat(np.r_[False, new[:-1]], rows), felt)
    values = np.repeat(rng.normal(10, 1, blocks), rows) + rng.normal(0, 1, len(time)) + lift * felt
    return {"time_ms": time, "values": values, "new": np.repeat(new, rows)}


def test_error_rates_are_those_of_blocks():
    held, small = [], []
    for seed in range(300):
        found = judge_switchback(blocks_of(**made(seed), block_ms=HOUR), draws=199)
        held.append(found.effect.low <= 0 <= found.effect.high)
        small.append(found.p_value <= 0.1)
    # Four standard deviations of 300 draws: .05 and .07.
    assert abs(np.mean(held) - 0.95) < 0.05
    assert abs(np.mean(small) - 0.1) < 0.07


def test_an_effect_is_found_and_carry_over_is_left_out():
    blocks = blocks_of(**made(1, blocks=200, lift=2.0, carry=True), block_ms=HOUR, carry_ms=HOUR // 4)
    clean = judge_switchback(blocks)
    dirty = judge_switchback(blocks_of(**made(1, blocks=200, lift=2.0, carry=True), block_ms=HOUR))
    assert clean.p_value <= 0.001
    assert clean.effect.low <= 2.0 <= clean.effect.high
    assert dirty.effect.mid < clean.effect.mid - 0.2
    assert blocks.dropped > 0
    assert judge_switchback(blocks) == clean
    assert clean.blocks == (100, 100)


def test_a_ratio_is_of_sums_and_places_switch_apart():
    time = np.arange(16) * HOUR
    new = np.arange(16) % 2 == 0
    weights = np.arange(1.0, 17.0)
    blocks = blocks_of(time, 3.0 * weights + new * weights, new, HOUR, weights=weights)
    found = judge_switchback(blocks)
    assert found.effect.mid == pytest.approx(1.0)
    assert found.p_value == pytest.approx(1 / 5000, abs=5e-4)
    twice = blocks_of(np.r_[time, time], np.ones(32), np.r_[new, ~new], HOUR, place=np.repeat([0, 1], 16))
    assert len(twice.totals) == 32


def test_what_is_no_switchback_is_refused():
    rows = made(3)
    for ask, code in (
        (lambda: blocks_of(**rows, block_ms=HOUR, carry_ms=HOUR), "launch-072"),
        (lambda: blocks_of(rows["time_ms"], rows["values"] * np.nan, rows["new"], HOUR), "launch-072"),
        (lambda: blocks_of(rows["time_ms"], rows["values"][1:], rows["new"], HOUR), "launch-072"),
        (lambda: blocks_of(**rows, block_ms=2 * HOUR), "launch-073"),
        (lambda: judge_switchback(blocks_of(**made(3, blocks=6), block_ms=HOUR)), "launch-073"),
        (lambda: judge_switchback(Blocks(np.ones(8), np.zeros(8), np.arange(8) < 4, 0)), "launch-073"),
    ):
        with pytest.raises(LaunchError) as refused:
            ask()
        assert refused.value.code == code
