"""The closed-form model: what it learns, keeps, refuses, and how it is refreshed, saved and blended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mainstem.base.errors import RetrievalError
from mainstem.data.loaders.sequences import grouped, with_marks
from mainstem.data.sequences import Sequences, leave_one_out
from mainstem.evaluate.next_item import judge
from mainstem.retrieval.blend import Blend, Member, draw_choices, fit_weights, learn_weights, surprise
from mainstem.retrieval.content_followers import Marks
from mainstem.retrieval.followers import Followers, as_evidence, recency, spread, strongest
from mainstem.retrieval.linear import LinearNextItem
from mainstem.retrieval.linear_folder import load_linear, save_linear
from mainstem.retrieval.linear_settings import (
    ExpertSettings,
    Horizon,
    LinearSettings,
    PopularitySettings,
)
from mainstem.retrieval.pair_sums import Decay
from mainstem.retrieval.recipes import RECIPES, recipe

ITEMS, USERS = 60, 150
SETTINGS = LinearSettings(
    horizons=(Horizon("near", Decay(2, 0.5), 2.0), Horizon("far", Decay(10, 5), 5.0)),
    experts=(
        ExpertSettings("near", "each", 2),
        ExpertSettings("far", "sum", 10),
        ExpertSettings("alike", "each", 3, 0.3),
        ExpertSettings("marks/near", "sum", 3, 0.3),
        ExpertSettings("items/near", "sum", 3, 0.3),
        ExpertSettings("around/near", "sum", 3, 0.3),
    ),
    popularity=PopularitySettings(10.0, 0.05),
    kept=20,
    marks_ridge=5.0,
)


def walks(users: int = USERS, seed: int = 0, timed: bool = True) -> Sequences:
    """Users who mostly step from an item to the next, inside families of ten items; item 59 is never taken."""
    rng = np.random.default_rng(seed)
    rows = np.empty((users, 12), np.int64)
    rows[:, 0] = rng.integers(0, ITEMS - 1, users)
    for t in range(1, 12):
        step = rows[:, t - 1] // 10 * 10 + (rows[:, t - 1] % 10 + 1) % 10
        rows[:, t] = np.where(rng.random(users) < 0.7, step, rng.integers(0, ITEMS - 1, users)) % (ITEMS - 1)
    times = np.tile(np.arange(12), users) * 86_400_000 + 10**12
    made = grouped(
        "walks", np.repeat(np.arange(users), 12), rows.ravel(), times_ms=times if timed else None,
        known_items=np.arange(ITEMS),
    )  # fmt: skip
    return with_marks(made, {i: [f"family {i // 10}", f"place {i % 10}"] for i in range(ITEMS)})


@pytest.fixture(scope="module")
def model() -> LinearNextItem:
    return LinearNextItem.fit(walks(), SETTINGS, keep_sums=True)


def test_it_learns_who_follows_whom(model: LinearNextItem) -> None:
    history = grouped("asked", np.zeros(2, np.int64), np.array([21, 22]), known_items=np.arange(ITEMS))
    scores = model.scores(history)
    assert scores.shape == (1, ITEMS)
    assert scores.dtype == np.float32
    assert int(np.delete(scores[0], [21, 22]).argmax()) + 2 * (np.delete(scores[0], [21, 22]).argmax() >= 21) == 23


def test_an_item_nobody_took_is_found_by_what_it_is(model: LinearNextItem) -> None:
    history = grouped("asked", np.zeros(2, np.int64), np.array([57, 58]), known_items=np.arange(ITEMS))
    by_name = {expert.name: expert.scores(history)[0] for expert in model.experts}
    assert by_name["near:each:2"][59] == 0.0
    assert by_name["alike:each:3"][59] > 0
    assert by_name["around/near:sum:3"][59] > 0
    unlike = [i for i in range(50) if i % 10 not in (7, 8, 9)]
    assert model.scores(history)[0, 59] > np.median(model.scores(history)[0, unlike])


def test_an_item_nobody_took_has_followers_too(model: LinearNextItem) -> None:
    history = grouped("asked", np.zeros(1, np.int64), np.array([59]), known_items=np.arange(ITEMS))
    best = np.argsort(-model.scores(history)[0])[:5]
    assert sum(item // 10 == 5 or item % 10 == 9 for item in best) >= 4


def test_an_empty_history_gets_popularity_and_what_is_taken_lately_counts_more() -> None:
    users, items = np.array([0, 0, 0, 1, 1]), np.array([3, 3, 4, 5, 5])
    times = np.array([0, 1, 90, 88, 89]) * 86_400_000 + 10**12
    sequences = grouped("made", users, items, times_ms=times, known_items=np.arange(7))
    nobody = replace(sequences.take(np.array([0])), starts=np.zeros(2, np.int64), rows=np.zeros(0, np.int32))
    lately = LinearNextItem.fit(sequences, SETTINGS).scores(nobody)[0]
    assert lately.argmax() == 5
    assert lately[4] > lately[3] > lately[0] == 0.0


def test_same_events_same_bytes(model: LinearNextItem) -> None:
    again = LinearNextItem.fit(walks(), SETTINGS)
    assert (again.scores(walks()) == model.scores(walks())).all()


def test_refreshing_with_a_day_equals_fitting_on_everything(model: LinearNextItem) -> None:
    everything = walks()
    old = LinearNextItem.fit(everything.without_last(3), SETTINGS, keep_sums=True)
    refreshed = old.refreshed(everything, old_lengths := everything.lengths - 3)
    assert old_lengths.min() == 9
    np.testing.assert_allclose(refreshed.scores(everything), model.scores(everything), rtol=2e-3, atol=2e-3)
    assert refreshed.facts is not None
    assert refreshed.facts["events"] == len(everything.rows)
    assert np.abs(old.scores(everything) - model.scores(everything)).max() > 0.1


def test_beyond_the_dense_bound_it_says_the_same() -> None:
    dense, sparse = (LinearNextItem.fit(walks(), replace(SETTINGS, dense_most=most)) for most in (100, 0))
    np.testing.assert_allclose(sparse.scores(walks()), dense.scores(walks()), rtol=1e-3, atol=1e-3)


def test_few_followers_kept_lose_little() -> None:
    split = leave_one_out(walks())
    whole, few = (judge(LinearNextItem.fit(split.fit, replace(SETTINGS, kept=k)), split) for k in (60, 15))
    assert (few.value("hr@5") or 0) > 0.95 * (whole.value("hr@5") or 1)


def test_a_folder_gives_the_model_back(model: LinearNextItem, tmp_path: Path) -> None:
    save_linear(model, tmp_path / "m")
    back = load_linear(tmp_path / "m")
    assert (back.scores(walks()) == model.scores(walks())).all()
    assert (back.settings, back.facts) == (model.settings, model.facts)
    more = walks(5, seed=3)
    one, two = (m.refreshed(more, np.zeros(5, np.int64)) for m in (back, model))
    assert (one.scores(more) == two.scores(more)).all()


@pytest.mark.parametrize(
    ("code", "harm"),
    [
        ("retrieval-020", lambda folder: (folder / "linear.json").unlink()),
        ("retrieval-021", lambda folder: (folder / "linear.json").write_text("{")),
        ("retrieval-021", lambda folder: _edit(folder, "format", 99)),
        ("retrieval-022", lambda folder: (folder / "linear.npz").write_bytes(b"PK")),
        ("retrieval-022", lambda folder: (folder / "linear.npz").unlink()),
    ],
)
def test_a_harmed_folder_is_refused(model: LinearNextItem, tmp_path: Path, code: str, harm) -> None:
    save_linear(replace(model, sums=()), tmp_path)
    harm(tmp_path)
    with pytest.raises(RetrievalError) as caught:
        load_linear(tmp_path)
    assert caught.value.code == code


def _edit(folder: Path, key: str, value: object) -> None:
    card = json.loads((folder / "linear.json").read_text())
    (folder / "linear.json").write_text(json.dumps(card | {key: value}))


def test_learned_weights_beat_equal_ones_and_any_model_can_join(model: LinearNextItem) -> None:
    split = leave_one_out(walks())
    fitted = LinearNextItem.fit(split.fit, SETTINGS)

    class Noise:
        name = "noise"

        def scores(self, histories: Sequences, now_ms=None):
            return np.random.default_rng(1).normal(size=(len(histories), histories.items)).astype(np.float32) * 50

    members = [*(Member(expert, "as_is") for expert in fitted.experts), Member(Noise())]
    choices = draw_choices(members, split)
    weights = fit_weights(choices)
    assert weights == learn_weights(members, split)
    assert abs(weights[-1]) < 0.2
    assert surprise(choices, weights) < surprise(choices, [1.0] * len(members)) - 0.1
    blend = Blend("all", tuple(members), weights)
    learned = judge(blend, split, "test")
    assert (learned.value("ndcg@10") or 0) > (judge(Noise(), split, "test").value("ndcg@10") or 1)
    reweighted = fitted.reweighted(weights[:-1])
    assert (judge(reweighted, split, "test").value("ndcg@10") or 0) == pytest.approx(learned.value("ndcg@10"), abs=0.05)
    assert min(fit_weights(choices, non_negative=True)) >= 0


def test_forms_of_a_member() -> None:
    class Masses:
        name = "masses"

        def scores(self, histories: Sequences, now_ms=None):
            return np.array([[0.0, 1.0, 3.0, -5.0]] * len(histories), np.float32)

    asked = grouped("asked", np.zeros(1, np.int64), np.array([1]), known_items=np.arange(4))
    np.testing.assert_allclose(Member(Masses(), "evidence").formed(asked)[0], np.log1p([0, 1, 3, 0]), rtol=1e-6)
    standard = Member(Masses()).formed(asked)[0]
    assert standard.mean() == pytest.approx(0, abs=1e-6)
    assert standard.std() == pytest.approx(1, abs=1e-6)


def test_the_strongest_are_kept_and_ties_go_to_the_smaller_column() -> None:
    kept = strongest([(0, np.array([[1, 5, 5, -9, 2], [0, 0, 0, 0, 0]], np.float32))], 3)
    assert kept.columns[0].tolist() == [1, 2, 4]
    assert kept.weights[0].tolist() == [5, 5, 2]
    assert kept.mean[0] == pytest.approx(13 / 5)
    assert np.isfinite(kept.as_evidence()).all()


def test_reading_a_history() -> None:
    asked = grouped("asked", np.zeros(3, np.int64), np.array([0, 1, 0]), known_items=np.arange(2))
    event_weights = recency(asked, 1.0, window=2)
    assert event_weights.tolist() == [0.0, 0.5, 1.0]
    kept = Followers(np.array([[1], [0]], np.int32), np.array([[4.0], [6.0]], np.float32), np.ones(2, np.float32))
    assert spread(asked, event_weights, kept.columns, kept.weights).tolist() == [[3.0, 4.0]]
    assert as_evidence(np.zeros((1, 3), np.float32)).tolist() == [[0.0, 0.0, 0.0]]


def test_arms_and_settings() -> None:
    content, interest = SETTINGS.arm("content"), SETTINGS.arm("interest")
    assert {e.source for e in content.experts} == {"alike", "marks/near", "items/near"}
    assert {e.source for e in interest.experts} == {"near", "far"}
    bare = replace(walks(), content=None)
    assert [e.name for e in LinearNextItem.fit(bare, SETTINGS).experts] == ["near:each:2", "far:sum:10", "popularity"]
    assert recipe("ml-1m") is RECIPES["ml-1m"]
    assert recipe("anything else").name == "linear"


def test_an_arm_of_a_fitted_model_is_the_model_fitted_as_that_arm() -> None:
    split = leave_one_out(walks())
    whole = LinearNextItem.fit(split.fit, SETTINGS)
    for name in ("content", "interest"):
        apart = LinearNextItem.fit(split.fit, SETTINGS.arm(name))
        assert (whole.arm(name).scores(walks()) == apart.scores(walks())).all()
        assert whole.arm(name).weighed(split).settings == LinearNextItem.tuned(split, SETTINGS.arm(name)).settings


def test_bad_settings_and_data_are_refused(model: LinearNextItem) -> None:
    content = walks().content
    assert content is not None
    nothing = replace(walks(), starts=np.zeros(2, np.int64), rows=np.zeros(0, np.int32), times_ms=np.zeros(0, np.int64))
    split = leave_one_out(nothing)
    for code, act in (
        ("retrieval-013", lambda: Marks(content, ITEMS + 1)),
        ("retrieval-013", lambda: Marks(replace(content, vocabulary=2), ITEMS)),
        ("retrieval-014", lambda: LinearNextItem.fit(nothing, SETTINGS)),
        ("retrieval-015", lambda: replace(model, sums=()).refreshed(walks(), np.zeros(USERS, np.int64))),
        ("retrieval-016", lambda: LinearSettings(experts=(ExpertSettings("nowhere", "each", 1),))),
        ("retrieval-016", lambda: model.reweighted([1.0])),
        ("retrieval-017", lambda: Blend("b", (Member(model),), (float("nan"),))),
        ("retrieval-018", lambda: draw_choices([Member(model)], split)),
    ):
        with pytest.raises(RetrievalError) as caught:
            act()
        assert caught.value.code == code
