"""Learning goes on after a kill, keeps to the heads it is asked for, and what a log lacks or gets wrong has a declared answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_training import SMALL

from mainstem.base.errors import ModelError
from mainstem.base.heads import HEADS
from mainstem.features.unified import UNIFIED
from mainstem.ranking import train as training
from mainstem.ranking.batches import Batches, drawn, user_lists
from mainstem.ranking.lesson import Lesson
from mainstem.ranking.model import Model
from mainstem.ranking.rows import rows_in_memory
from mainstem.ranking.train import taught_heads, train

SHORT = replace(SMALL, epochs=2, checkpoint_every=3)


class _KilledError(Exception):
    pass


def _predicted(model: Model, lesson: Lesson) -> np.ndarray:
    v = lesson.values
    return model.network(lesson.catalog).many(v.user, v.item_row, v.item, v.cross)


def _same(one: Model, two: Model) -> None:
    assert one.weights.keys() == two.weights.keys()
    for name, weight in one.weights.items():
        np.testing.assert_array_equal(weight, two.weights[name], err_msg=name)
    assert one.card["validation_loss"] == two.card["validation_loss"]


@pytest.mark.parametrize("saves", [2, 8])
def test_a_killed_training_goes_on_to_the_same_bytes(
    small_lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    whole = train(small_lesson, SHORT)
    real, done = training.save_checkpoint, []

    def dies(*given: object) -> object:
        found = real(*given)  # type: ignore[arg-type]
        done.append(found)
        if len(done) == saves:
            raise _KilledError
        return found

    monkeypatch.setattr(training, "save_checkpoint", dies)
    with pytest.raises(_KilledError):
        train(small_lesson, SHORT, checkpoint=tmp_path / "held")
    monkeypatch.setattr(training, "save_checkpoint", real)
    told: list[float] = []
    again = train(small_lesson, SHORT, lambda share, what: told.append(share), tmp_path / "held")
    assert told[-1] == 1.0
    _same(whole, again)
    assert not (tmp_path / "held").exists()


def test_a_checkpoint_of_other_settings_is_refused(
    small_lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "drop_checkpoints", lambda folder: None)
    short = replace(SHORT, epochs=1)
    train(small_lesson, short, checkpoint=tmp_path)
    with pytest.raises(ModelError) as refused:
        train(small_lesson, replace(short, rate=1e-3), checkpoint=tmp_path)
    assert refused.value.code == "model-040"


def test_a_single_task_twin_learns_its_head_and_leaves_the_others_at_their_prior(small_lesson: Lesson) -> None:
    model = train(small_lesson, replace(SHORT, heads=("long_view",)))
    got = _predicted(model, small_lesson)
    assert model.card["learned_heads"] == ["long_view"]
    assert np.ptp(got[:, HEADS.index("long_view")]) > 0.1
    for name in ("click", "like"):
        prior = small_lesson.statics.rates.overall[HEADS.index(name)]
        np.testing.assert_allclose(got[:, HEADS.index(name)], prior, rtol=1e-4)


def test_a_head_there_is_none_of_is_refused(small_lesson: Lesson) -> None:
    for heads in ((), ("purchase",)):
        with pytest.raises(ModelError) as refused:
            train(small_lesson, replace(SHORT, heads=heads))
        assert refused.value.code == "model-020"


def test_a_head_without_a_positive_row_is_not_taught(small_lesson: Lesson) -> None:
    outcomes = small_lesson.feedback.outcomes.copy()
    at = HEADS.index("like")
    outcomes[outcomes[:, at] == 1, at] = 0
    bare = replace(small_lesson, feedback=replace(small_lesson.feedback, outcomes=outcomes))
    assert "like" in taught_heads(small_lesson)
    assert "like" not in taught_heads(bare)
    model = train(bare, replace(SHORT, epochs=1))
    assert "like" not in model.card["learned_heads"]
    got = _predicted(model, bare)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got[:, at], bare.statics.rates.overall[at], rtol=1e-4)


def test_a_surface_that_training_never_saw_changes_no_score(small_lesson: Lesson, small_model: Model) -> None:
    user = small_lesson.values.user[:40].copy()
    at = UNIFIED.columns_of("user").index("surface_7")
    assert "surface_7" in small_model.card["still_columns"]
    v, network = small_lesson.rows.take(np.arange(40)), small_model.network(small_lesson.catalog)
    before = network.many(user, v.item_row, v.item, v.cross)
    user[:, at] = 1.0
    np.testing.assert_array_equal(before, network.many(user, v.item_row, v.item, v.cross))


def test_numbers_that_are_not_finite_are_taken_as_their_defaults(small_lesson: Lesson) -> None:
    v = small_lesson.values
    user, item = v.user.copy(), v.item.copy()
    user[3, 5], item[7, 1] = np.inf, np.nan
    with np.errstate(all="ignore"):
        rows = rows_in_memory(replace(v, user=user, item=item), small_lesson.train)
        model = train(replace(small_lesson, rows=rows), replace(SHORT, epochs=1))
    assert model.card["not_finite"] >= 2
    assert np.isfinite(_predicted(model, small_lesson)).all()


def test_a_training_that_comes_apart_says_so(small_lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "HEAD_WEIGHT", (float("inf"),) * len(HEADS))
    with pytest.raises(ModelError) as refused:
        train(small_lesson, SHORT)
    assert refused.value.code == "model-021"


def test_contradicting_labels_are_learned_from_and_told(small_lesson: Lesson) -> None:
    outcomes = small_lesson.feedback.outcomes.copy()
    rows = np.flatnonzero(small_lesson.train & small_lesson.timed)[:6]
    outcomes[rows, HEADS.index("like")], outcomes[rows, HEADS.index("click")] = 1, 0
    model = train(
        replace(small_lesson, feedback=replace(small_lesson.feedback, outcomes=outcomes)), replace(SHORT, epochs=1)
    )
    assert model.card["contradictions"]["like without click"] >= 6


def test_batches_of_lists_keep_every_list_together(small_lesson: Lesson) -> None:
    rows, lists = np.flatnonzero(small_lesson.train), user_lists(small_lesson)
    seen: list[np.ndarray] = []
    met: dict[int, int] = {}
    for at, (some, own) in enumerate(drawn(rows, lists, 256, (0, 0))):
        seen.append(some)
        assert own is not None
        np.testing.assert_array_equal(np.unique(lists[some], return_inverse=True)[1], own)
        for name in np.unique(lists[some])[1:-1]:
            assert met.setdefault(int(name), at) == at or at - met[int(name)] == 1
    whole = np.concatenate(seen)
    assert len(np.unique(whole)) == len(whole) == len(rows) // 256 * 256


def test_an_order_within_users_can_be_learned(small_lesson: Lesson) -> None:
    model = train(small_lesson, replace(SHORT, within=0.3, epochs=1))
    assert np.isfinite(_predicted(model, small_lesson)).all()


def test_outcomes_come_back_as_they_were(small_lesson: Lesson) -> None:
    batches = Batches.of(small_lesson, 5, 4, 0.4)
    some = np.array([5, 1, 9])
    outcomes = batches.outcomes(some)
    np.testing.assert_array_equal(outcomes.heads.numpy(), small_lesson.feedback.outcomes[some])
    assert outcomes.watch.shape == (3, 4)
    np.testing.assert_allclose(outcomes.weight.numpy(), np.where(small_lesson.timed[some], 1.0, 0.4))
