"""The unified model on the real log: the figures docs/concepts/unified-model.md quotes, with bounds they must keep.

``pytest -m real -s tests/ranking/test_ranking_real.py`` prints them.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mainstem.base.heads import HEADS, SURFACES
from mainstem.data.importer import import_log
from mainstem.data.log import Log, read_log
from mainstem.evaluate.metrics import auc, grouped_auc, ndcg_at
from mainstem.features.statics import LONG_VIEW
from mainstem.ranking.lesson import lesson
from mainstem.ranking.model import Model, load_model
from mainstem.ranking.score_log import score_moments
from mainstem.ranking.train import train

VALIDATION, FIRST_TEST, LAST_TEST = 20220428, 20220429, 20220505
ENOUGH = 500

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def log(pack, tmp_path_factory: pytest.TempPathFactory) -> Log:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("kuairand") / "log"
    import_log(pack("kuairand_pure"), folder)
    return read_log(folder)


@pytest.fixture(scope="module")
def model(log: Log, tmp_path_factory: pytest.TempPathFactory) -> Model:
    started, cpu = time.perf_counter(), time.process_time()
    made = lesson(log.items, log.users, log.impressions, log.history, VALIDATION)
    featured = time.process_time() - cpu
    model = train(made)
    folder = tmp_path_factory.mktemp("model")
    model.save(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _say(
        f"\nfeatures {featured:.0f} CPU-s, training {model.card['train_cpu_s']} CPU-s, both {time.perf_counter() - started:.0f} s,"
    )
    _say(f"peak {peak:.0f} MiB, epochs {model.card['epochs']}, validation loss {model.card['validation_loss']}")
    return load_model(folder)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _primary(name: str, users: np.ndarray, label: np.ndarray, score: np.ndarray) -> float:
    within, top = grouped_auc(score, label, users), ndcg_at(score, label, users)
    assert within is not None
    assert top is not None
    _say(f"{name}: primary {(within + top) / 2:.4f}, GAUC {within:.4f}, nDCG@5 {top:.4f}, AUC {auc(score, label):.4f}")
    return (within + top) / 2


def _so_far(users: np.ndarray, label: np.ndarray) -> np.ndarray:
    """No item, no model: how many judged impressions of the user were not viewed long so far, less those that were."""
    order = np.argsort(users, kind="stable")
    signed = 1.0 - 2.0 * label[order]
    before = np.cumsum(signed) - signed
    out = np.empty(len(users))
    out[order] = before - before[np.searchsorted(users[order], users[order])]
    return out


def test_figures_of_the_real_log(log: Log, model: Model) -> None:
    day = log.impressions["day"].to_numpy()
    test = (day >= FIRST_TEST) & (day <= LAST_TEST)
    validation = day == VALIDATION
    label = {head: log.impressions[head].to_numpy()[test] for head in HEADS}
    users, times = log.impressions["user_id"].to_numpy(), log.impressions["time_ms"].to_numpy()
    scored, past = score_moments(model, log, test), score_moments(model, log, validation)
    frozen = score_moments(model, log, test, known_until_ms=int(times[test].min()))
    long_view = label["long_view"]
    _primary(
        "validation, order across moments",
        users[validation],
        log.impressions["long_view"].to_numpy()[validation],
        past.order,
    )
    order = _primary("test, order across moments", users[test], long_view, scored.order)
    head = _primary("test, P(long view)", users[test], long_view, scored.predictions[:, LONG_VIEW])
    still = _primary("test, P(long view), user state frozen", users[test], long_view, frozen.predictions[:, LONG_VIEW])
    _primary("test, order across moments, user state frozen", users[test], long_view, frozen.order)
    luck = _primary(
        "test, counting the user's luck so far, no item read", users[test], long_view, _so_far(users[test], long_view)
    )
    _, each, shown = np.unique(users[test], return_inverse=True, return_counts=True)
    rate = np.bincount(each, long_view)[each] / shown[each]
    drawn = (np.random.default_rng(0).random(len(rate)) < rate).astype(np.int8)
    placebo = _primary(
        "labels drawn from each user's own rate, counting the luck so far",
        users[test],
        drawn,
        _so_far(users[test], drawn),
    )
    surfaces = log.impressions["surface"].to_numpy()[test]
    for place in ("all", *SURFACES):
        here = np.ones(len(surfaces), bool) if place == "all" else surfaces == place
        told = []
        for at, name in enumerate(HEADS):
            p, y = scored.predictions[here, at], label[name][here]
            told.append(f"{name} {auc(p, y) or float('nan'):.4f} ({int(y.sum())}, {p.sum() / max(y.sum(), 1):.2f})")
            if y.sum() >= ENOUGH:
                # A week after the rows it learned from, likes are told .89 times as often as they come.
                assert p.sum() / y.sum() == pytest.approx(1.0, abs=0.15 if place == "all" else 0.25)
        _say(f"{place}: {', '.join(told)}")
    assert order > 0.66
    assert still > head
    assert still > 0.578
    assert placebo > 0.60
    assert luck > 0.61, "the measure pays for counting: if this stops, the warning in the docs is out of date"
    assert (auc(scored.predictions[:, LONG_VIEW], long_view) or 0.0) > 0.75


def test_scores_do_not_depend_on_what_else_is_asked(log: Log, model: Model) -> None:
    day = log.impressions["day"].to_numpy()
    some = np.zeros(len(day), bool)
    some[np.flatnonzero(day == FIRST_TEST)[::40]] = True
    alone = score_moments(model, log, some)
    whole = score_moments(model, log, day == FIRST_TEST)
    np.testing.assert_allclose(alone.predictions, whole.predictions[some[day == FIRST_TEST]], rtol=1e-5, atol=1e-5)


def test_the_model_folder_is_small(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 12_000_000
