"""The fused softmax is the plain one, and a pool estimates it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mainstem.retrieval.neural import softmax_loss
from mainstem.retrieval.neural.softmax_loss import draw_pool, full_softmax, pooled_softmax


def made(n: int = 137, items: int = 23, dim: int = 8, wanted: int = 1) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    states, keys = torch.randn(n, dim, requires_grad=True), torch.randn(items, dim, requires_grad=True)
    targets = torch.stack([torch.randperm(items)[:wanted] for _ in range(n)])
    return states, keys, targets, torch.tensor([0.5**step for step in range(wanted)]).expand(n, -1)


@pytest.mark.parametrize("tile", [64 * 23, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_fused_gradient_is_that_of_the_plain_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, tile: int, smoothing: float
) -> None:
    monkeypatch.setattr(softmax_loss, "TILE", tile)
    states, keys, targets, weights = made()
    full_softmax(states, keys, targets, weights, smoothing).backward()
    fused = states.grad, keys.grad
    states.grad = keys.grad = None
    functional.cross_entropy(states @ keys.T, targets[:, 0], label_smoothing=smoothing).backward()
    for one, other in zip(fused, (states.grad, keys.grad), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_several_wanted_items_are_several_cross_entropies() -> None:
    states, keys, targets, weights = made(wanted=3)
    targets[3, 2] = -1
    loss = full_softmax(states, keys, targets, weights)
    loss.backward()
    fused = states.grad
    states.grad = None
    logs = torch.log_softmax(states @ keys.T, dim=1)
    known = (targets >= 0).float() * weights
    plain = -(logs.gather(1, targets.clamp(min=0)) * known).sum() / known.sum()
    plain.backward()
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(fused, states.grad, atol=1e-6, rtol=1e-4)


def test_narrow_numbers_move_the_gradient_by_little() -> None:
    states, keys, targets, weights = made(200, 300, 16)
    full_softmax(states, keys, targets, weights).backward()
    wide = keys.grad
    assert wide is not None
    keys.grad = None
    full_softmax(states, keys, targets, weights, kind=torch.bfloat16).backward()
    assert keys.grad is not None
    assert float((keys.grad - wide).norm() / wide.norm()) < 0.02


def test_the_pool_estimates_the_whole_softmax_whatever_it_was_drawn_by() -> None:
    states, keys, targets, weights = made(60, 400, 8)
    states = states * 0.3
    popularity = np.random.default_rng(3).dirichlet(np.full(400, 0.3))
    whole = full_softmax(states, keys, targets, weights).item()
    for in_batch in (0.0, 0.5):
        rng = np.random.default_rng(0)
        losses = []
        for _ in range(60):
            taken = rng.choice(400, 500, p=popularity)
            pool = draw_pool(rng, popularity, 200, in_batch, taken)
            losses.append(pooled_softmax(states[:, None], keys, targets[:, 0], pool).item())
        assert np.mean(losses) == pytest.approx(whole, abs=0.06)


def test_of_several_queries_the_best_counts() -> None:
    keys = torch.eye(4)
    queries = torch.stack([torch.tensor([[9.0, 0, 0, 0], [0, 9.0, 0, 0]])])
    pool = softmax_loss.Pool(torch.arange(4), torch.zeros(4))
    first = pooled_softmax(queries, keys, torch.tensor([0]), pool)
    second = pooled_softmax(queries, keys, torch.tensor([1]), pool)
    other = pooled_softmax(queries, keys, torch.tensor([3]), pool)
    assert float(first) == pytest.approx(float(second))
    assert float(other) > float(first) + 5.0
