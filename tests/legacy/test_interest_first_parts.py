"""The parts of the interest-first program that are easy to get subtly wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fixture_interest_first import DAY_MS, NOW_MS, UNTIL, ask, event, write_folder
from interest_first.__main__ import load_stack, main, run_train
from interest_first.chance import _stir, draw, draws
from interest_first.codes import learn_codes
from interest_first.fit import _gradient, fit_listwise
from interest_first.folder import FolderError, read_impressions, read_items
from interest_first.memory import Rates
from interest_first.viewer import Past, _compare, _tabulate
from interest_first.wire import feedback, score_ask


def test_draws_are_splitmix_and_the_array_form_agrees() -> None:
    assert _stir(0) == 0xE220A8397B1DCDAF  # the published first output for seed 0
    things = np.array([-3, 0, 5, 2**62, -(2**63)])
    assert draws(7, 41, things).tolist() == [draw(7, 41, int(one)) for one in things]
    assert draw(7, 41, 5) != draw(8, 41, 5) != draw(7, 42, 5)
    many = draws(7, 1, np.arange(20_000))
    assert abs(many.mean() - 0.5) < 0.01
    assert 0.0 <= many.min() <= many.max() < 1.0


def test_counting_by_comparing_equals_counting_by_table() -> None:
    rng = np.random.default_rng(1)
    past = rng.integers(0, 9, (200, 8)) + 20 * np.arange(8)
    keys = rng.integers(0, 11, (30, 8)) + 20 * np.arange(8)
    weight = rng.integers(0, 2, (200, 6)) * np.repeat([1, 4], 3).astype(float)
    time_ms = rng.integers(1, 10**12, 200).astype(float)
    both = [count(keys, past, weight, time_ms, time_ms * (weight[:, 3] > 0)) for count in (_compare, _tabulate)]
    assert (both[0] == both[1]).all()
    assert both[0][:, :, 0].sum() > 0
    at = (past == keys[4]).T[2]
    assert both[0][4, 2, 0] == weight[at, 0].sum()


def test_a_late_record_weighs_what_it_would_weigh_by_now() -> None:
    keys = np.array([0, 1])
    in_order, late = Rates(2), Rates(2)
    for rates, times in ((in_order, (0, 14 * DAY_MS)), (late, (14 * DAY_MS, 0))):
        for time_ms in times:
            rates.add(keys, time_ms, 1.0, 1.0)
    assert in_order.read(keys, 14 * DAY_MS)[0, 0] == pytest.approx(1.5)
    assert late.read(keys, 14 * DAY_MS) == pytest.approx(in_order.read(keys, 14 * DAY_MS))
    assert late.read(keys, 28 * DAY_MS)[0, 0] == pytest.approx(0.75)


def test_the_listwise_gradient_is_the_slope_of_the_loss() -> None:
    rng = np.random.default_rng(2)
    inputs, first = rng.standard_normal((7, 3)), np.array([0, 4])
    label, known = np.array([1.0, 0, 0.4, 0, 0, 1, 0]), rng.standard_normal(7)
    weights = {"hidden": rng.standard_normal((3, 2)), "hidden_bias": rng.standard_normal(2)}
    weights |= {"out": rng.standard_normal(2), "out_bias": rng.standard_normal(1)}

    def loss() -> float:
        merit = np.tanh(inputs @ weights["hidden"] + weights["hidden_bias"]) @ weights["out"] + weights["out_bias"]
        score, total = known - np.log1p(np.exp(-merit)), 0.0
        for part in (slice(0, 4), slice(4, 7)):
            total -= label[part] @ (score[part] - np.log(np.exp(score[part]).sum())) / 2
        return total + 0.5e-2 * sum((weights[name] ** 2).sum() for name in ("hidden", "out"))

    slopes = _gradient(weights, inputs, first, label, known)
    for name, at in (("hidden", (1, 1)), ("hidden_bias", (0,)), ("out", (1,)), ("out_bias", (0,))):
        before = loss()
        weights[name][at] += 1e-6
        assert (loss() - before) / 1e-6 == pytest.approx(slopes[name][at], abs=1e-4)
        weights[name][at] -= 1e-6


def test_the_fit_orders_within_lists_and_ignores_what_is_equal_in_a_list() -> None:
    rng = np.random.default_rng(3)
    lists = np.repeat(np.arange(300), 4)
    signals = rng.standard_normal((1200, 2))
    label = (signals[:, 0] + 0.3 * rng.standard_normal(1200) > 0.5).astype(float)
    of_list = 5.0 * np.repeat(rng.standard_normal(300), 4)
    net = fit_listwise(signals, lists, label, np.zeros(1200), 7)
    moved = fit_listwise(signals, lists, label, of_list, 7)
    assert np.allclose(net["hidden"], moved["hidden"], atol=1e-6)
    scaled = (signals - net["centre"]) / net["scale"]
    merit = np.tanh(scaled @ net["hidden"] + net["hidden_bias"]) @ net["out"]
    assert np.corrcoef(merit, signals[:, 0])[0, 1] > 0.9


def test_a_copy_of_the_past_does_not_write_into_the_log() -> None:
    column = np.arange(3)
    past = Past(np.zeros((3, 8), dtype=np.int64), column, column, column * 1.0, column > 1)
    twin = past.newest(2, room=4)
    twin.time_ms[0] = 99
    assert len(twin) == 6
    assert column.tolist() == [0, 1, 2]


def test_codes_without_any_touch_come_from_tags_alone(tmp_path: Path) -> None:
    items = read_items(write_folder(tmp_path))
    nobody = np.zeros(0, dtype=np.int64)
    book, vectors = learn_codes(items, nobody, nobody, 7)
    interest, _ = book.codes(vectors)
    by_tag = {tag: set(interest[items.category == tag].tolist()) for tag in range(8)}
    assert all(len(codes) == 1 for codes in by_tag.values())
    assert len(set.union(*by_tag.values())) == 8


def test_training_twice_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    log = write_folder(tmp_path / "log")
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        run_train(log, UNTIL, tmp_path / name, seed)
    first, second, other = ((tmp_path / name / "model.npz").read_bytes() for name in "abc")
    assert first == second
    assert first != other


def test_until_is_exclusive(tmp_path: Path) -> None:
    rows = read_impressions(write_folder(tmp_path), 20220427)
    assert set(rows.day.tolist()) == {20220425, 20220426}


def test_a_long_memory_forgets_its_older_half(tmp_path: Path) -> None:
    run_train(write_folder(tmp_path / "log"), UNTIL, tmp_path / "model", 7)
    stack = load_stack(tmp_path / "log", tmp_path / "model")
    for at in range(700):
        stack.take(feedback(event(1000 + at % 70, user_id=5, request_id=80_000 + at, time_ms=NOW_MS + at)))
    viewer = stack._memory.viewer(5)
    assert viewer is not None
    assert 256 <= viewer.used <= 512
    newest = viewer.past.time_ms[: viewer.used]
    assert newest[-1] == NOW_MS + 699
    assert (np.diff(newest) == 1).all()
    assert len(stack.score(score_ask(ask([1001, 1002], user_id=5)))["scores"]) == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "items.parquet").unlink(), "items.parquet is not in the log folder"),
        (lambda folder: (folder / "users.parquet").write_bytes(b"PAR1 cut"), "users.parquet cannot be read"),
    ],
)
def test_a_spoiled_folder_is_refused_in_words(tmp_path: Path, capsys, spoil, said: str) -> None:
    spoil(write_folder(tmp_path / "log"))
    words = ["train", "--log", str(tmp_path / "log"), "--until", str(UNTIL), "--out", str(tmp_path / "model")]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_day_before_the_log_leaves_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="nothing to train on"):
        run_train(write_folder(tmp_path / "log"), 20220101, tmp_path / "model", 7)


def test_state_from_the_log_equals_state_from_events(tmp_path: Path) -> None:
    log, model = write_folder(tmp_path / "log"), tmp_path / "model"
    run_train(log, UNTIL, model, 7)
    whole, told = load_stack(log, model, 20220429), load_stack(log, model, UNTIL)
    last = pl.read_parquet(log / "impressions.parquet").filter(pl.col("day") == UNTIL)
    for row in last.to_dicts():
        assert told.take(feedback(row))
        assert not whole.take(feedback(row))  # the log's own rows are known
    items = list(range(1000, 1080))
    for user in (3, 8, 999):
        now_ms = int(last["time_ms"][-1])
        one, other = (stack.score(score_ask(ask(items, user_id=user, now_ms=now_ms))) for stack in (whole, told))
        assert one["scores"] == pytest.approx(other["scores"], abs=2e-9)
