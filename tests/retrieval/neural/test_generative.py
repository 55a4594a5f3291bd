from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mainstem.base.errors import RetrievalError
from mainstem.data.sequences import ItemContent, Sequences, leave_one_out
from mainstem.evaluate.next_item import judge
from mainstem.retrieval.code_trie import code_trie
from mainstem.retrieval.item_vectors import ItemVectors, VectorSettings, learn_vectors
from mainstem.retrieval.neural.checkpoint import read_state, write_state
from mainstem.retrieval.neural.encoder import EncoderShape
from mainstem.retrieval.neural.generative import GenerativeNet, beam_scores, exact_scores, tree
from mainstem.retrieval.neural.generative_model import GenerativeModel
from mainstem.retrieval.neural.generative_train import GenerativeRecipe, _Training, train_generative
from mainstem.retrieval.neural.windows import batches, cut
from mainstem.retrieval.semantic_ids import SemanticIds, learn_ids

SHAPE = EncoderShape(length=8, dim=16, inner=32, heads=2, blocks=1, dropout=0.1)
RECIPE = GenerativeRecipe(SHAPE, epochs=4, places=200, rate=1e-2, average=0.8, every=1, patience=9)


def _sequences(users: int = 60, items: int = 48, length: int = 9, seed: int = 0) -> Sequences:
    """Users walk round a circle of eight themes of six items each; the theme is each item's one mark."""
    random = np.random.default_rng(seed)
    theme = (random.integers(0, 8, (users, 1)) + np.arange(length)) % 8
    rows = theme + 8 * random.integers(0, items // 8, (users, length))
    return Sequences(
        name="circle",
        starts=np.arange(users + 1, dtype=np.int64) * length,
        rows=rows.astype(np.int32).ravel(),
        items=items,
        item_ids=np.arange(items),
        user_ids=np.arange(users),
        content=ItemContent(np.arange(items + 1, dtype=np.int64), np.arange(items, dtype=np.int32) % 8, 8),
    )


def _vectors(fit: Sequences) -> ItemVectors:
    return learn_vectors(fit, VectorSettings(behaviour=6, content=8, content_weight=2.0))


def _ids(fit: Sequences) -> SemanticIds:
    return learn_ids(_vectors(fit).of, levels=2, size=8)


@pytest.fixture(scope="module")
def trained() -> GenerativeModel:
    fit = leave_one_out(_sequences(users=150)).fit
    return train_generative(fit, _ids(fit), replace(RECIPE, epochs=12), seed=1)


def _net(ids: SemanticIds, seed: int = 0) -> GenerativeNet:
    torch.manual_seed(seed)
    return GenerativeNet(SHAPE, ids).eval()


def _by_hand(net: GenerativeNet, ids: SemanticIds, state: torch.Tensor) -> np.ndarray:
    """log p of each item, one at a time: at each code a softmax over the codes that lead on to some item."""
    out = np.zeros(len(ids))
    for item, codes in enumerate(ids.codes.astype(np.int64)):
        here = state
        for level, code in enumerate(codes):
            may = np.unique(ids.codes[(ids.codes[:, :level] == codes[:level]).all(axis=1), level])
            logits = net.voices[level](here)
            out[item] += float(torch.log_softmax(logits[may.tolist()], 0)[may.tolist().index(code)])
            if level < ids.levels:
                here = here + net.said[level][code]
    return out


def test_exact_scores_are_the_chances_multiplied_by_hand_and_sum_to_one() -> None:
    ids = _ids(_sequences())
    net = _net(ids)
    states = torch.randn(3, 16)
    with torch.inference_mode():
        got = exact_scores(net, tree(net, code_trie(ids)), states).numpy()
        wanted = np.stack([_by_hand(net, ids, state) for state in states])
    assert np.allclose(got, wanted, atol=1e-4)
    assert np.allclose(np.exp(got.astype(np.float64)).sum(axis=1), 1.0, atol=1e-5)


def test_a_beam_as_wide_as_the_catalog_is_exact_and_a_narrow_one_keeps_what_it_finds() -> None:
    ids = _ids(_sequences())
    net = _net(ids)
    of, states = tree(net, code_trie(ids)), torch.randn(6, 16)
    exact = exact_scores(net, of, states)
    assert torch.allclose(beam_scores(net, of, states, 48), exact, atol=1e-5)
    narrow = beam_scores(net, of, states, 5)
    assert torch.isfinite(narrow).all()
    for row, whole in zip(narrow, exact, strict=True):
        found = row > row.min()
        assert 1 <= int(found.sum()) <= 5
        assert torch.allclose(row[found], whole[found], atol=1e-5)


def test_it_learns_what_follows_and_beats_popularity(trained: GenerativeModel) -> None:
    split = leave_one_out(_sequences(users=150))
    judged = judge(trained, split, "test")
    # Six of 48 items follow; who knows the theme alone puts the target among the first ten.
    assert (judged.value("hr@10") or 0.0) > 0.7
    assert judged.coverage > 0.9


def test_new_items_are_retrieved_by_content_alone(trained: GenerativeModel) -> None:
    fit = leave_one_out(_sequences(users=150)).fit
    learned = _vectors(fit)
    assert learned.content is not None
    new = ItemContent(np.arange(9, dtype=np.int64), np.arange(8, dtype=np.int32), 8)
    grown = trained.with_items(learned.content.vectors(new))
    histories = replace(fit.take(np.arange(40)), items=56)
    scores = grown.scores(histories)
    assert scores.shape == (40, 56)
    assert np.isfinite(scores).all()
    assert np.allclose(np.exp(scores.astype(np.float64)).sum(axis=1), 1.0, atol=1e-4)
    best = scores[:, 48:].argmax(axis=1)
    following = (histories.rows[histories.starts[1:] - 1] + 1) % 8
    assert (best == following).mean() > 0.7
    # And read: after a new item comes what comes after its theme.
    after = replace(
        histories, starts=np.arange(9, dtype=np.int64), rows=np.arange(48, 56, dtype=np.int32), user_ids=np.arange(8)
    )
    assert (grown.scores(after)[:, 48:].argmax(axis=1) == (np.arange(8) + 1) % 8).mean() > 0.7
    assert trained.scores(fit.take(np.arange(2))).shape == (2, 48), "the old model is as it was"


def test_a_history_without_events_gets_what_people_begin_with(trained: GenerativeModel) -> None:
    histories = replace(_sequences(users=2), starts=np.zeros(3, np.int64), rows=np.zeros(0, np.int32))
    scores = trained.scores(histories)
    assert np.isfinite(scores).all()
    assert (scores[0] == scores[1]).all()
    assert scores[0].std() > 0


def test_histories_of_another_catalog_are_refused(trained: GenerativeModel) -> None:
    with pytest.raises(RetrievalError) as error:
        trained.scores(replace(_sequences(), items=49))
    assert error.value.code == "retrieval-051"
    with pytest.raises(RetrievalError) as error:
        train_generative(replace(_sequences(), items=49), trained.ids, RECIPE)
    assert error.value.code == "retrieval-051"


def _state(model: GenerativeModel) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.net.state_dict().values())


def test_a_training_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    split = leave_one_out(_sequences())
    ids, held = _ids(split.fit), (split.users, split.validation)
    told: list[float] = []
    whole = train_generative(split.fit, ids, RECIPE, 3, lambda share, _: told.append(share), held=held)
    assert told == [0.25, 0.5, 0.75, 1.0]
    train_generative(split.fit, ids, RECIPE, 3, held=held, folder=tmp_path, most_epochs=2)
    again = train_generative(split.fit, ids, RECIPE, 3, held=held, folder=tmp_path)
    assert _state(again) == _state(whole)
    assert [point["loss"] for point in again.card["curve"]] == [point["loss"] for point in whole.card["curve"]]
    with pytest.raises(RetrievalError, match="differs in seed") as error:
        train_generative(split.fit, ids, RECIPE, 4, held=held, folder=tmp_path)
    assert error.value.code == "retrieval-059"


def test_a_training_stops_when_held_targets_are_found_no_better() -> None:
    split = leave_one_out(_sequences())
    recipe = replace(RECIPE, epochs=40, patience=1, rate=5e-2)
    model = train_generative(split.fit, _ids(split.fit), recipe, held=(split.users, split.validation))
    looks = [point["ndcg@10"] for point in model.card["curve"]]
    assert len(looks) < 40
    assert looks[-1] <= max(looks[:-1])


def test_nothing_to_learn_from_and_steps_too_large_are_refused() -> None:
    fit = _sequences()
    ids = _ids(fit)
    single = replace(fit, starts=np.arange(61, dtype=np.int64), rows=fit.rows[:60])
    for of, recipe in ((single, RECIPE), (fit, replace(RECIPE, rate=1e30))):
        with pytest.raises(RetrievalError) as error:
            train_generative(of, ids, recipe)
        assert error.value.code == "retrieval-057"
    with pytest.raises(RetrievalError) as error:
        train_generative(fit, ids, RECIPE, where="gpu" if not torch.cuda.is_available() else "tpu")  # pyright: ignore[reportArgumentType]
    assert error.value.code == "retrieval-052"


def test_a_saved_model_answers_the_same_and_mixed_halves_are_refused(trained: GenerativeModel, tmp_path: Path) -> None:
    histories = _sequences(users=5)
    trained.save(tmp_path)
    back = GenerativeModel.load(tmp_path)
    assert (back.scores(histories) == trained.scores(histories)).all()
    assert json.dumps(back.card, sort_keys=True) == json.dumps(trained.card, sort_keys=True)
    learn_ids(_vectors(_sequences(seed=5)).of, levels=2, size=8).save(tmp_path / "ids.npz")
    with pytest.raises(RetrievalError) as error:
        GenerativeModel.load(tmp_path)
    assert error.value.code == "retrieval-051"
    trained.ids.save(tmp_path / "ids.npz")
    arrays, card = read_state(tmp_path / "generative.bin")
    for said in (card | {"shape": card["shape"] | {"dim": 24}}, {"ids": card["ids"]}):
        write_state(tmp_path / "generative.bin", arrays, said)
        with pytest.raises(RetrievalError) as error:
            GenerativeModel.load(tmp_path)
        assert error.value.code == "retrieval-058"


def test_a_step_and_a_search_keep_everything_on_their_device() -> None:
    """On the meta device nothing is computed, but most operations refuse numbers left on the processor, as a GPU would."""
    fit = _sequences(users=20)
    training = _Training(fit, _ids(fit), RECIPE, 0, None, "cpu", None, "nowhere")
    training.on = torch.device("meta")
    net = training.started().net
    net.noise.rng = rng = np.random.default_rng(0)
    loss = training.loss(net, next(batches(fit, cut(fit, 8), 100, rng)))
    loss.backward()
    assert loss.device.type == "meta"
    states = torch.empty(3, 16, device="meta")
    assert beam_scores(net, tree(net, code_trie(_ids(fit))), states, 5).shape == (3, 48)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_it_learns_and_scores_the_same_as_on_the_processor() -> None:
    split = leave_one_out(_sequences(users=150))
    model = train_generative(split.fit, _ids(split.fit), replace(RECIPE, epochs=12), where="gpu")
    assert model.card["device"] == "cuda"
    assert (judge(model, split, "test").value("hr@10") or 0.0) > 0.7
    here = model.scores(split.fit.take(np.arange(5)))
    assert np.allclose(here, model.on("gpu").scores(split.fit.take(np.arange(5))), atol=1e-2)
