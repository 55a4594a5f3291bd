from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import ItemContent, Sequences, leave_one_out
from mainstem.evaluate.next_item import judge
from mainstem.retrieval import hstu_serving
from mainstem.retrieval.neural.encoder import EncoderShape
from mainstem.retrieval.neural.recipes import Recipe
from mainstem.retrieval.neural.softmax_loss import full_softmax
from mainstem.retrieval.neural.train import held_of
from mainstem.retrieval.neural.train_on_device import DeviceNoise, _OnDevice, _whole_softmax, train_encoder_on
from mainstem.retrieval.neural.windows import batches, cut

SHAPE = EncoderShape(length=8, dim=16, heads=2, inner=32, blocks=1, dropout=0.1)
RECIPE = Recipe(shape=SHAPE, epochs=6, rate=2e-2, places=500, every=2, average=0.8)
ON = [
    pytest.param("cpu"),
    pytest.param("gpu", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def _circle(users: int = 120, items: int = 24, length: int = 9) -> Sequences:
    rows = (np.random.default_rng(0).integers(0, items, (users, 1)) + np.arange(length)) % items
    return Sequences(
        name="circle",
        starts=np.arange(users + 1, dtype=np.int64) * length,
        rows=rows.astype(np.int32).ravel(),
        items=items,
        item_ids=np.arange(items),
        user_ids=np.arange(users),
        times_ms=np.tile(np.arange(length, dtype=np.int64) * 60_000, users),
        content=ItemContent(np.arange(items + 1, dtype=np.int64), np.arange(items, dtype=np.int32) % 3, 3),
    )


@pytest.mark.parametrize("where", ON)
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, shape=replace(SHAPE, block="hstu")),
        replace(RECIPE, shape=replace(SHAPE, queries=2), negatives=16),
    ],
    ids=["transformer", "hstu", "two queries"],
)
def test_it_learns_and_what_was_learned_is_served_without_torch(where: str, recipe: Recipe) -> None:
    assert {"hstu", "hstu_asked"} <= set(hstu_serving.FORWARDS)
    split = leave_one_out(_circle())
    model = train_encoder_on(split.fit, recipe, 1, where=where, held=held_of(split))  # pyright: ignore[reportArgumentType]
    judged = judge(model, split)
    assert (judged.value("hr@1") or 0.0) > 0.7
    # The look of the training, with torch, and the judge, without it, see the same.
    best = max(point["ndcg@10"] for point in model.card["curve"] if "ndcg@10" in point)
    assert judged.value("ndcg@10") == pytest.approx(best, abs=2e-3)
    assert model.card["device"] == ("cuda" if where == "gpu" else "cpu")


def test_the_plain_softmax_is_the_fused_one() -> None:
    torch.manual_seed(0)
    states, keys = torch.randn(20, 6, requires_grad=True), torch.randn(11, 6)
    targets = torch.randint(-1, 11, (20, 2))
    targets[:, 0].clamp_(min=0)
    weights = torch.tensor([1.0, 0.3]).expand(20, -1)
    mass = float((weights * (targets >= 0)).sum())
    for smoothing in (0.0, 0.1):
        recipe = replace(RECIPE, ahead=2, ahead_weight=0.3, smoothing=smoothing)
        fused = full_softmax(states, keys, targets, weights, smoothing)
        plain = _whole_softmax(states @ keys.T, targets, recipe) / mass
        (of_fused,) = torch.autograd.grad(fused, states)
        (of_plain,) = torch.autograd.grad(plain, states)
        assert torch.allclose(of_fused, of_plain, atol=1e-6)
    # Without smoothing the losses are the same too; with it the fused one is told without.
    recipe = replace(RECIPE, ahead=2, ahead_weight=0.3)
    plain = _whole_softmax(states @ keys.T, targets, recipe) / mass
    assert plain.item() == pytest.approx(full_softmax(states, keys, targets, weights).item(), rel=1e-5)


def test_noise_is_off_outside_training() -> None:
    noise, x = DeviceNoise(), torch.ones(50, 50)
    assert (noise.drop(x, 0.5) == x).all()
    noise.rng = np.random.default_rng(0)
    assert 0.3 < float((noise.drop(x, 0.5) == 0).float().mean()) < 0.7


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(RetrievalError) as error:
        train_encoder_on(
            replace(_circle(), starts=np.arange(121, dtype=np.int64), rows=np.zeros(120, np.int32)), RECIPE
        )
    assert error.value.code == "retrieval-034"


@pytest.mark.parametrize("block", ["transformer", "hstu", "hstu_asked"])
@pytest.mark.parametrize("negatives", [0, 16])
def test_a_step_keeps_everything_on_its_device(block: str, negatives: int) -> None:
    """On the meta device nothing is computed, but most operations refuse numbers left on the processor, as a GPU would."""
    recipe = replace(RECIPE, shape=replace(SHAPE, block=block, gaps=True), negatives=negatives, ahead=2)
    fit = _circle(users=20)
    training = _OnDevice(fit, recipe, 0, None, torch.device("meta"), "nowhere")
    run = training.started()
    run.model.noise.rng = rng = np.random.default_rng(0)
    batch = next(batches(fit, cut(fit, 8), 100, rng, 2))
    rows = training.rows(batch)
    assert rows.times_ms is not None
    # A look-up is one that does not refuse.
    assert {part.device.type for part in (rows.items, rows.lengths, rows.times_ms)} == {"meta"}
    loss = training.loss(run.model, batch, rng)
    loss.backward()
    assert loss.device.type == "meta"
    assert all(value.grad is None or value.grad.device.type == "meta" for value in run.model.parameters())
