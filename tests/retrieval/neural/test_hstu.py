from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import Sequences, leave_one_out
from mainstem.evaluate.next_item import judge
from mainstem.retrieval import hstu_serving
from mainstem.retrieval.encoder_serving import EncoderModel
from mainstem.retrieval.neural.device import compute_on
from mainstem.retrieval.neural.encoder import EncoderShape, Noise
from mainstem.retrieval.neural.hstu import (
    Asked,
    HstuBlock,
    Timeless,
    asked_times,
    event_times,
    time_buckets,
    without_times,
)
from mainstem.retrieval.neural.recipes import Recipe
from mainstem.retrieval.neural.train import train_encoder

SHAPE = EncoderShape(length=12, dim=8, heads=2, blocks=1, block="hstu", dropout=0.0, content=False)


def _block(asked: bool = False, seed: int = 0) -> HstuBlock:
    torch.manual_seed(seed)
    block = HstuBlock(SHAPE, Noise(), asked)
    for value in block.parameters():
        torch.nn.init.normal_(value, std=0.5)
    return block.eval()


def _times(n: int, length: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.cumsum((10.0 ** random.uniform(0, 8, (n, length))).astype(np.int64), axis=1))


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_the_numpy_twin_agrees(asked: bool, timed: bool) -> None:
    block, x = _block(asked), torch.randn(5, 12, 8)
    times = _times(5, 12) if timed else None
    weights = {name: value.numpy() for name, value in block.state_dict().items()}
    twin = hstu_serving.hstu_asked if asked else hstu_serving.hstu
    with torch.inference_mode():
        wanted = block(x, times).numpy()
    got = twin(x.numpy(), None if times is None else times.numpy(), weights, 2)
    assert np.allclose(got, wanted, atol=1e-5)
    assert got.dtype == np.float32


@settings(max_examples=25)
@given(at=st.integers(0, 11), asked=st.booleans(), seed=st.integers(0, 99))
def test_no_place_sees_what_comes_later(at: int, asked: bool, seed: int) -> None:
    block, x, times = _block(asked, seed), torch.randn(2, 12, 8), _times(2, 12, seed)
    later, later_times = x.clone(), times.clone()
    # Not a shift: the norm would not see one.
    later[:, at + 1 :] = torch.randn(2, 11 - at, 8)
    later_times[:, at + 1 :] += 10**9
    with torch.inference_mode():
        same = torch.allclose(block(x, times)[:, : at + 1], block(later, later_times)[:, : at + 1], atol=1e-6)
    assert same


def test_the_loop_says_what_the_matrices_compute() -> None:
    """Equations 1 to 3 written out for one head, one pair at a time."""
    torch.manual_seed(1)
    block = HstuBlock(replace(SHAPE, heads=1), Noise(), asked=False)
    for value in block.parameters():
        torch.nn.init.normal_(value, std=0.4)
    x, times = torch.randn(1, 6, 8), _times(1, 6)
    with torch.inference_mode():
        gate, v, q, k = torch.nn.functional.silu(block.parts(block.norm_in(x)))[0].split(8, dim=1)
        rows = []
        for i in range(6):
            total = torch.zeros(8)
            for j in range(i + 1):
                seconds = int((times[0, i] - times[0, j]) // 1000)
                bias = block.place_bias[i - j] + block.time_bias[seconds.bit_length()]
                total += torch.nn.functional.silu(q[i] @ k[j] + bias) / 12 * v[j]
            rows.append(x[0, i] + block.out(block.norm_mid(total) * gate[i]))
        assert torch.allclose(block(x, times)[0], torch.stack(rows), atol=1e-5)


def test_buckets_are_powers_of_two_of_seconds() -> None:
    gaps = torch.tensor([[0, 999, 1000, 1999, 2000, 3999, 4000, 10**12]])
    assert time_buckets(gaps, torch.zeros_like(gaps))[0, :, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 30]
    assert time_buckets(torch.zeros_like(gaps), gaps).max() == 0


def _sequences(users: int = 40, items: int = 30, length: int = 12, seed: int = 0) -> Sequences:
    """Items go round in a circle; the step depends on how long the pause was, so that only a clock can tell."""
    random = np.random.default_rng(seed)
    pause = random.integers(0, 2, (users, length))
    rows = (random.integers(0, items, (users, 1)) + np.cumsum(1 + 7 * pause, axis=1)) % items
    times = np.cumsum(np.where(pause == 1, 86_400_000, 5_000), axis=1) + 10**12
    return Sequences(
        name="clock",
        starts=np.arange(users + 1, dtype=np.int64) * length,
        rows=rows.astype(np.int32).ravel(),
        items=items,
        item_ids=np.arange(items),
        user_ids=np.arange(users),
        times_ms=times.ravel().astype(np.int64),
    )


def test_asked_times_are_those_of_the_next_event_and_lead_back_to_the_events() -> None:
    some = _sequences(users=3, length=4)
    assert some.times_ms is not None
    now = some.times_ms.reshape(3, 4)[:, -1] + 77
    asked = asked_times(some, now).times_ms
    assert asked is not None
    of = some.times_ms.reshape(3, 4)
    assert (asked.reshape(3, 4)[:, :-1] == of[:, 1:]).all()
    assert (asked.reshape(3, 4)[:, -1] == now).all()
    assert (event_times(torch.from_numpy(asked.reshape(3, 4)))[:, 1:].numpy() == of[:, 1:]).all()
    at_once = asked_times(some).times_ms
    assert at_once is not None
    assert (at_once.reshape(3, 4)[:, -1] == of[:, -1]).all()
    earlier = asked_times(some, now - 10**9).times_ms
    assert earlier is not None
    assert (earlier.reshape(3, 4)[:, -1] == of[:, -1]).all()


def test_asked_times_of_users_without_events_and_of_sets_without_times() -> None:
    none = replace(
        _sequences(users=2), starts=np.zeros(3, np.int64), rows=np.zeros(0, np.int32), times_ms=np.zeros(0, np.int64)
    )
    times = asked_times(none, np.zeros(2, np.int64)).times_ms
    assert times is not None
    assert len(times) == 0
    with pytest.raises(RetrievalError) as error:
        asked_times(without_times(_sequences()))
    assert error.value.code == "retrieval-056"


def _trained(block: str, fit: Sequences) -> EncoderModel:
    shape = EncoderShape(length=10, dim=16, blocks=1, heads=1, block=block, dropout=0.0, content=False)
    recipe = Recipe(shape=shape, epochs=30, rate=1e-2, places=400, warm=False, average=0.9, numbers="float32")
    return train_encoder(fit, recipe, seed=1)


@pytest.mark.slow
def test_the_clock_tells_only_a_model_that_reads_it() -> None:
    """The training loop of every block trains this one; what the target's time gives away is seen only by who is told."""
    split = leave_one_out(_sequences(users=150))
    blind = judge(Timeless(_trained("hstu", without_times(split.fit))), split, "test")
    asked = Asked(_trained("hstu_asked", asked_times(split.fit)))
    told = judge(asked, split, "test", now_ms="target")
    untold = judge(asked, split, "test")
    figures = [judged.value("hr@1") or 0.0 for judged in (blind, untold, told)]
    # Half of the steps cannot be known without the clock; what was seen is left out, which tells some of them.
    assert figures[2] > max(figures[0], figures[1]) + 0.05


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute_on().type == compute_on("auto").type == "cpu"
    for where in ("gpu", "tpu"):
        with pytest.raises(RetrievalError) as error:
            compute_on(where)  # pyright: ignore[reportArgumentType]
        assert error.value.code == "retrieval-052"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert compute_on("auto").type == compute_on("gpu").type == "cuda"
    assert compute_on("cpu").type == "cpu"
