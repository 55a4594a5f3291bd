"""Training learns, stops, goes on after a kill to the same bytes, refuses torn checkpoints, and serves without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import ItemContent, LeaveOneOut, Sequences, leave_one_out
from mainstem.evaluate.next_item import judge
from mainstem.retrieval.encoder_serving import EncoderModel, gap_buckets
from mainstem.retrieval.neural import encoder as network
from mainstem.retrieval.neural.checkpoint import read_state, write_state
from mainstem.retrieval.neural.encoder import EncoderShape, Rows, SequenceEncoder
from mainstem.retrieval.neural.recipes import Recipe
from mainstem.retrieval.neural.train import held_of, train_encoder
from mainstem.retrieval.neural.warm_start import warm_table

ITEMS = 60


def made(users: int = 80, content: bool = True, times: bool = False, seed: int = 0) -> LeaveOneOut:
    """Users who walk round a ring of items in steps of their own; an item's mark is its place on a coarser ring."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 25, users)
    rows = np.concatenate(
        [(rng.integers(ITEMS) + rng.choice((1, 2)) * np.arange(length)) % ITEMS for length in lengths]
    ).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    marks = ItemContent(np.arange(ITEMS + 1), (np.arange(ITEMS) // 6).astype(np.int32), 10) if content else None
    clock = np.cumsum(rng.integers(0, 90_000, len(rows))) if times else None
    return leave_one_out(
        Sequences("ring", starts, rows, ITEMS, np.arange(ITEMS), np.arange(users), clock, marks, sha256="ab")
    )


def small(**changed: object) -> Recipe:
    shape = EncoderShape(length=8, dim=16, blocks=2, heads=2, inner=32, dropout=0.1)
    of_shape = {key[6:]: changed.pop(key) for key in list(changed) if key.startswith("shape_")}
    shape = replace(shape, **of_shape)  # pyright: ignore[reportArgumentType]
    base = Recipe(shape=shape, epochs=6, every=1, places=128, rate=1e-2, average=0.9, numbers="float32")
    return replace(base, **changed)  # pyright: ignore[reportArgumentType]


def hits(model: EncoderModel, split: LeaveOneOut) -> float:
    best = np.argsort(-model.scores(split.fit.take(split.users)), axis=1)[:, :5]
    return float((best == split.validation[:, None]).any(axis=1).mean())


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"negatives": 40, "in_batch": 0.5},
        {"negatives": 40, "shape_queries": 3},
        {"shape_cosine": True},
        {"ahead": 3, "smoothing": 0.05},
        {"warm": False, "epochs": 10},
    ],
    ids=lambda changed: ",".join(changed) or "full",
)
def test_every_kind_of_training_learns_the_ring(changed: dict[str, object]) -> None:
    split = made(160)
    model = train_encoder(split.fit, small(**changed), held=held_of(split))
    assert hits(model, split) > 0.6
    assert model.card["curve"][-1]["loss"] < model.card["curve"][0]["loss"]
    assert model.card["train_cpu_s"] >= 0


@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize(("queries", "cosine"), [(1, False), (3, True)])
@pytest.mark.parametrize("block", ["transformer", "hstu"])
def test_serving_agrees_with_torch(
    block: str, queries: int, cosine: bool, times: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = made(40, times=times)
    seen: list[SequenceEncoder] = []
    kept = network.SequenceEncoder.__init__

    def remembering(self: SequenceEncoder, *arguments: object) -> None:
        kept(self, *arguments)  # pyright: ignore[reportArgumentType]
        seen.append(self)

    monkeypatch.setattr(network.SequenceEncoder, "__init__", remembering)
    recipe = small(
        epochs=1, negatives=20, shape_queries=queries, shape_cosine=cosine, shape_gaps=True, shape_block=block
    )
    model = train_encoder(split.fit, recipe)
    twin = SequenceEncoder(recipe.shape, ITEMS, split.fit.content)
    twin.load_state_dict(
        {name: torch.from_numpy(value) for name, value in model.weights.items() if name not in ("vectors", "counts")},
        strict=False,
    )
    vectors = torch.from_numpy(model.weights["vectors"])
    for user in range(6):
        items = split.fit.of(user)[-8:]
        at = slice(split.fit.starts[user + 1] - len(items), split.fit.starts[user + 1])
        clock = None if split.fit.times_ms is None else split.fit.times_ms[at]
        rows = Rows(
            torch.from_numpy(items.astype(np.int64))[None],
            torch.tensor([len(items)]),
            None if clock is None else torch.from_numpy(clock)[None],
        )
        with torch.no_grad():
            wanted = twin.queries(twin(rows, vectors)[:, -1])[0].numpy()
        found = model.queries(split.fit.of(user), None if clock is None else split.fit.times_ms[at.start - 0 : at.stop])  # pyright: ignore[reportOptionalSubscript]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        row = split.fit.take(np.array([user]))
        np.testing.assert_allclose(model.scores(row)[0], (found @ model.keys.T).max(axis=0), atol=2e-5)


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    split = made(60)
    whole = train_encoder(split.fit, small(), held=held_of(split), folder=tmp_path / "whole")
    train_encoder(split.fit, small(), held=held_of(split), folder=tmp_path / "killed", most_epochs=2)
    (tmp_path / "killed" / "checkpoint.bin.part-1").write_bytes(b"half")
    again = train_encoder(split.fit, small(), held=held_of(split), folder=tmp_path / "killed")
    assert len(again.card["curve"]) == len(whole.card["curve"])
    for name, value in whole.weights.items():
        assert value.tobytes() == again.weights[name].tobytes(), name


@pytest.mark.slow
def test_a_training_killed_outright_leaves_a_checkpoint_that_goes_on(tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_encoder_training import made, small\n"
        "from mainstem.retrieval.neural.train import held_of, train_encoder\n"
        "split = made(60)\n"
        "die = lambda share, what: os.kill(os.getpid(), 9) if share > 0.4 else None\n"
        "train_encoder(split.fit, small(), progress=die, held=held_of(split), folder=Path(sys.argv[1]))\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    died = subprocess.run(arguments, check=False, capture_output=True)
    assert died.returncode == -9, died.stderr.decode()[-2000:]
    split = made(60)
    again = train_encoder(split.fit, small(), held=held_of(split), folder=tmp_path)
    whole = train_encoder(split.fit, small(), held=held_of(split))
    for name, value in whole.weights.items():
        assert value.tobytes() == again.weights[name].tobytes(), name


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    split = made(30)
    train_encoder(split.fit, small(), folder=tmp_path, most_epochs=1)
    for seed, recipe, data in ((1, small(), split), (0, small(rate=0.02), split), (0, small(), made(30, seed=5))):
        with pytest.raises(RetrievalError, match="differs in") as refused:
            train_encoder(data.fit, recipe, seed, folder=tmp_path)
        assert refused.value.code == "retrieval-035"


@pytest.mark.parametrize("torn", ["short", "flipped", "foreign", "empty"])
def test_torn_files_are_told_apart_from_weights(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "checkpoint.bin"
    write_state(path, {"a": np.arange(50.0)}, {"epoch": 1})
    raw = bytearray(path.read_bytes())
    raw[300] ^= 1
    held = {
        "short": path.read_bytes()[:200],
        "flipped": bytes(raw),
        "foreign": b"PK\x03\x04" + bytes(400),
        "empty": b"",
    }
    path.write_bytes(held[torn])
    with pytest.raises(RetrievalError, match="not those that were written") as refused:
        read_state(path)
    assert refused.value.code == "retrieval-032"
    with pytest.raises(RetrievalError) as refused:
        train_encoder(made(30).fit, small(), folder=tmp_path)
    assert refused.value.code == "retrieval-032"


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    split = made(30)
    model = train_encoder(split.fit, small(epochs=1))
    first = model.save(tmp_path / "one").read_bytes()
    again = EncoderModel.load(tmp_path / "one")
    assert again.save(tmp_path / "two").read_bytes() == first
    np.testing.assert_array_equal(again.scores(split.fit), model.scores(split.fit))
    with pytest.raises(RetrievalError) as refused:
        EncoderModel.load(tmp_path / "none")
    assert refused.value.code == "retrieval-031"
    write_state(tmp_path / "encoder.bin", model.weights, model.card | {"shape": {"block": "none"}})
    with pytest.raises(RetrievalError) as refused:
        EncoderModel.load(tmp_path)
    assert refused.value.code == "retrieval-033"


def test_it_stops_when_nothing_gets_better_and_keeps_the_best() -> None:
    split = made(60)
    model = train_encoder(split.fit, small(epochs=60, patience=2, rate=0.03), held=held_of(split))
    looks = [point["ndcg@10"] for point in model.card["curve"]]
    assert len(looks) < 60
    assert len(looks) - 1 - int(np.argmax(looks)) == 2
    assert max(looks) > looks[-1]
    judged = judge(model, split)
    assert judged.value("ndcg@10") == pytest.approx(max(looks), abs=1e-4)


def test_an_item_nobody_took_is_found_by_its_marks_and_without_marks_is_nothing() -> None:
    split = made(120)
    rows = np.where(split.fit.rows == 7, 8, split.fit.rows).astype(np.int32)
    model = train_encoder(replace(split.fit, rows=rows), small(id_dropout=0.5))
    vectors = model.weights["vectors"]
    near = np.argsort(-(vectors @ vectors[7]))[:8]
    assert np.isin(near, np.arange(6, 12)).sum() >= 5
    bare = train_encoder(replace(split.fit, rows=rows, content=None), small(epochs=1))
    assert not bare.weights["vectors"][7].any()


def test_an_empty_history_gets_the_order_of_popularity() -> None:
    split = made(40)
    model = train_encoder(split.fit, small(epochs=1))
    empty = replace(split.fit.take(np.array([0, 1])).without_last(100))
    counts = np.bincount(split.fit.rows, minlength=ITEMS)
    np.testing.assert_array_equal(
        np.argsort(-model.scores(empty)[1], kind="stable"), np.argsort(-counts, kind="stable")
    )
    assert not model.queries(np.zeros(0, np.int64)).any()


def test_a_later_event_changes_nothing_before_it() -> None:
    torch.manual_seed(0)
    for block in ("transformer", "hstu"):
        model = SequenceEncoder(EncoderShape(length=8, dim=16, block=block), ITEMS)
        items = torch.arange(8)[None].repeat(2, 1)
        items[1, 5:] = 40
        with torch.no_grad():
            first, second = model(Rows(items, torch.tensor([8, 8])), model.item_vectors())
        torch.testing.assert_close(first[:5], second[:5])
        assert not torch.allclose(first[5:], second[5:])


def test_what_cannot_be_learned_is_refused() -> None:
    split = made(10)
    with pytest.raises(RetrievalError) as refused:
        train_encoder(split.fit.without_last(100), small())
    assert refused.value.code == "retrieval-034"
    with pytest.raises(RetrievalError, match="unknown") as refused:
        train_encoder(split.fit, small(shape_block="unknown"))
    assert refused.value.code == "retrieval-030"
    with pytest.raises(RetrievalError) as refused:
        train_encoder(split.fit, small(rate=1e30))
    assert refused.value.code == "retrieval-036"


@pytest.mark.parametrize("numbers", ["float32", "bfloat16"])
def test_both_kinds_of_numbers_learn(numbers: Literal["float32", "bfloat16"]) -> None:
    split = made(100)
    assert hits(train_encoder(split.fit, small(numbers=numbers)), split) > 0.6


def test_the_warm_table_puts_neighbours_together() -> None:
    split = made(200)
    table = warm_table(split.fit, 16)
    near = np.argsort(-(table @ table.T), axis=1)[:, 1:5]
    away = np.abs((near - np.arange(ITEMS)[:, None] + 30) % ITEMS - 30)
    assert np.median(away) <= 3
    assert warm_table(split.fit, 16).tobytes() == table.tobytes()


def test_gaps_are_bucketed_alike_with_and_without_torch() -> None:
    times = np.cumsum(np.random.default_rng(0).integers(0, 10**8, (5, 40)) ** 2 // 10**6, axis=1)
    np.testing.assert_array_equal(gap_buckets(times), network.gap_buckets(torch.from_numpy(times)).numpy())


def test_serving_does_not_import_torch() -> None:
    script = "import sys, mainstem.retrieval.encoder_serving, mainstem.retrieval.hstu_serving; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
